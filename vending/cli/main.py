"""The frame of the command line: find the command, run it, print its report, exit with its status."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Final

from vending import __version__
from vending.cli import check, doctor, explain, schema
from vending.cli import compile as compile_command
from vending.cli import test as test_command
from vending.cli.frame import EXIT_STATUS
from vending.cli.printing import printer
from vending.cli.report import FINDINGS, USAGE, Report, UsageError, count, line, problem_data
from vending.policy import PolicyError

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM: Final = "python -m vending"
COMMANDS: Final = (check, compile_command, test_command, explain, schema, doctor)
_SIGINT_STATUS: Final = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 fine, 1 findings, 2 usage."""
    arguments = build_parser().parse_args(argv)
    try:
        report = _run(arguments)
        printer(arguments.format, sys.stdout).print(report)
        sys.stdout.flush()
    except UsageError as error:
        sys.stderr.write(f"{PROGRAM} {arguments.command}: error: {error}\n")
        return USAGE
    except BrokenPipeError:
        # Whoever read the output has had enough; keep the interpreter from complaining when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINDINGS
    except KeyboardInterrupt:
        return _SIGINT_STATUS
    return report.status


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Check, test and explain policies of ACR Token Vending; examine what it talks to.",
        epilog=f"{EXIT_STATUS} `{PROGRAM} COMMAND --help` explains each command.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"acr-token-vending {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")
    for command in COMMANDS:
        command.register(commands)
    return parser


def _run(arguments: argparse.Namespace) -> Report:
    try:
        report: Report = arguments.run(arguments)
    except PolicyError as error:
        return broken(error)
    return report


def broken(error: PolicyError) -> Report:
    """Report a policy, or another file of the same language, that cannot be read."""
    return Report(
        FINDINGS,
        data={"problems": problem_data(error.problems)},
        problems=error.problems,
        summary=(line(count(len(error.problems), "error")),),
    )
