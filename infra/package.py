"""Build the deployment package: a zip of what .funcignore leaves of the files that git knows.

Usage: python infra/package.py [--telemetry] OUT.zip. Dependencies are not in it: Azure installs requirements.txt
(remote build); --telemetry puts requirements-telemetry.txt in its place, for VENDING_TELEMETRY=azure-monitor. The same
files give the same bytes, so that a package can be compared with a release.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Zip knows no earlier time; a fixed one keeps packages of the same files equal.
EPOCH = (1980, 1, 1, 0, 0, 0)


def _git(*arguments: str) -> list[str]:
    command = ["git", "-C", str(ROOT), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - arguments of ours alone
    return done.stdout.split("\0")[:-1]


def files() -> list[str]:
    """Give the paths of the package: what git tracks, or would track, less what .funcignore matches."""
    tracked = set(_git("ls-files", "-z", "--cached", "--others", "--exclude-standard"))
    ignored = set(_git("ls-files", "-z", "--cached", "--others", "--ignored", "--exclude-from=.funcignore"))
    return sorted(path for path in tracked - ignored if (ROOT / path).is_file())


def build(target: Path, *, telemetry: bool = False) -> list[str]:
    """Write the package to `target`, and give the paths in it."""
    source = {"requirements.txt": "requirements-telemetry.txt"} if telemetry else {}
    paths = files()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as package:
        for path in paths:
            entry = zipfile.ZipInfo(path, EPOCH)
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            package.writestr(entry, (ROOT / source.get(path, path)).read_bytes())
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the deployment package.")
    parser.add_argument("--telemetry", action="store_true", help="with the requirements for OpenTelemetry")
    parser.add_argument("target", type=Path, metavar="OUT.zip")
    given = parser.parse_args()
    sys.stdout.write("\n".join(build(given.target, telemetry=given.telemetry)) + "\n")


if __name__ == "__main__":
    main()
