"""Hold the version and the changelog together: the version is that of the package, and its heading is in the changelog.

Usage: python scripts/version.py [--expect VERSION] [--notes]

Prints the version. --expect fails where it is another one, or where the changelog has no section for it; --notes prints
that section.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_VERSION = re.compile(r'^__version__ = "([0-9]+\.[0-9]+\.[0-9]+)"$', re.MULTILINE)


def version() -> str:
    """Return the version of the package, without importing it."""
    found = _VERSION.search((ROOT / "vending" / "__init__.py").read_text())
    if found is None:
        sys.exit("vending/__init__.py: no __version__")
    return found[1]


def notes(wanted: str) -> str | None:
    """Return the changelog's section for a version; None where there is none."""
    for section in re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)[1:]:
        heading, _, text = section.partition("\n")
        if heading.split()[:1] == [wanted]:
            return text.strip() + "\n"
    return None


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description="Print the version; hold it and the changelog together.")
    parser.add_argument("--expect", metavar="VERSION", help="fail unless this is the version, with a changelog section")
    parser.add_argument("--notes", action="store_true", help="print the changelog's section instead")
    given = parser.parse_args()
    current = version()
    if given.expect not in {None, current}:
        sys.exit(f"The tag says {given.expect}, vending/__init__.py says {current}.")
    section = notes(current)
    if section is None and (given.expect or given.notes):
        sys.exit(f'CHANGELOG.md has no section "## {current}".')
    sys.stdout.write(section or "" if given.notes else current + "\n")


if __name__ == "__main__":
    main()
