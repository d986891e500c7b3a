"""Run the benchmarks: `python -m bench [--quick] [name …]`. Prints a table and writes JSON; asserts nothing.

A whole run, without names and not quick, writes `docs/performance.md` and its plots anew.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from typing import Final

import bench
from bench.report import Effort, Report, keep, show

NAMES: Final = (
    "warm",
    "steps",
    "transport",
    "cold",
    "memory",
    "decide",
    "refuse",
    "limits",
    "reload",
    "clients",
    "scale",
    "assurance",
)
"""In the order of the page."""


def main() -> int:
    """Run what the command line names, or everything."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=bench.__doc__)
    listed = "; ".join(f"{name}: {_about(name)}" for name in NAMES)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], metavar="name", help=listed)
    parser.add_argument("--quick", action="store_true", help="a short run, for trying things: one round of each kind")
    parser.add_argument("--page", action="store_true", help="write docs/performance.md from this run, whatever it is")
    arguments = parser.parse_args()
    if sys.platform != "linux":
        parser.error("the benchmarks read /proc and bind processes to cores: they need Linux")
    effort = Effort(quick=arguments.quick)
    reports: dict[str, Report] = {}
    failed: list[str] = []
    for name in arguments.names or NAMES:
        started = time.monotonic()
        print(f"{name} …", end=" ", file=sys.stderr, flush=True)
        try:
            reports[name] = importlib.import_module(f"bench.{name}").run(effort)
        except Exception as error:  # noqa: BLE001 - one benchmark that fails must not take the others along.
            failed.append(name)
            print(f"failed: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        print(f"{time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    print(show(reports))
    print(f"\nWritten to {keep(reports).name} in bench/results.", file=sys.stderr)
    if arguments.page or (not arguments.names and not arguments.quick and not failed):
        from bench.page import write

        print(f"Written to {write(reports)}.", file=sys.stderr)
    return 1 if failed else 0


def _about(name: str) -> str:
    """Return the first sentence of a benchmark's own description, without importing it."""
    from pathlib import Path

    return Path(bench.__path__[0], f"{name}.py").read_text(encoding="utf-8").split('"""')[1].split("\n")[0].rstrip(".")


if __name__ == "__main__":
    sys.exit(main())
