"""The command line of the local stack: `python -m devstack up | host | demo`."""

import argparse
import sys
from pathlib import Path

_PROJECT = Path(__file__).resolve().parent.parent


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m devstack", description="The local stack, on 127.0.0.1.")
    commands = parser.add_subparsers(dest="command", required=True)
    host = commands.add_parser("host", help="run only the function app, with the settings of the environment")
    host.add_argument("--port", type=int, default=7071, help="0 picks a free one (default: %(default)s)")
    host.add_argument("--app", type=Path, default=_PROJECT, help="the directory of function_app.py and host.json")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return its exit status."""
    options = _parser().parse_args(arguments)
    from devstack import host

    return host.run(options.app, options.port)


if __name__ == "__main__":
    sys.exit(main())
