"""Soak the service: `python -m tests.soak --seconds 600`. Exit code 1 where anything was lost or piled up."""

import argparse
import sys
import time
from pathlib import Path

from tests.soak.run import soak


def _say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="how long (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=20, help="calls a second (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the faults (default: the time)")
    parser.add_argument("--audit", type=Path, metavar="FILE", help="keep the service's log, with its audit events")
    arguments = parser.parse_args()
    _say(f"soaking for {arguments.seconds:g} s at {arguments.rate:g} calls a second, seed {arguments.seed}")
    outcome = soak(arguments.seconds, arguments.rate, arguments.seed, _say, audit=arguments.audit)
    for problem in outcome.problems:
        _say(f"PROBLEM {problem}")
    _say(f"{outcome.sent} calls, {len(outcome.problems)} problems")
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
