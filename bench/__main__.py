"""Run the benchmarks: `python -m bench [name …]`. Prints a table and writes JSON; asserts nothing."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from typing import Final

import bench
from bench.report import Row, keep, show

NAMES: Final = sorted(m.name for m in pkgutil.iter_modules(bench.__path__) if m.name not in {"__main__", "report"})


def main() -> int:
    """Run what the command line names, or everything."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=bench.__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], metavar="name", help=f"one of {', '.join(NAMES)}")
    names = parser.parse_args().names or NAMES
    results: dict[str, list[Row]] = {}
    for name in names:
        print(f"{name} …", file=sys.stderr, flush=True)
        results[name] = importlib.import_module(f"bench.{name}").run()
    print(show(results))
    print(f"\nWritten to {keep(results).name} in bench/results.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
