"""The frame of the command line: find the command, run it, print its report, exit with its status."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Final

from vending import __version__
from vending.cli.commands import COMMANDS
from vending.cli.frame import EXIT_STATUS
from vending.cli.report import FINDINGS, USAGE, Report, UsageError, count, line, problem_data
from vending.policy.language.problems import PolicyError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

PROGRAM: Final = "acr-vending"
"""What the console script is called; in a checkout, `python -m vending` is the same."""

_SHELLS: Final = ("bash", "zsh", "tcsh")
_SIGINT_STATUS: Final = 130
_BARE: Final = frozenset({"json", "csv"})
"""Formats for programs, which have no place for what a person must know."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 fine, 1 findings, 2 usage."""
    given = sys.argv[1:] if argv is None else list(argv)
    arguments = build_parser(_called(given)).parse_args(given)
    try:
        report = _run(arguments)
        from vending.cli.printing import PlainPrinter, printer

        printer(arguments.format, sys.stdout).print(report)
        sys.stdout.flush()
        if arguments.format in _BARE:
            PlainPrinter(sys.stderr).blocks(report.aside)
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


def _called(arguments: Sequence[str]) -> Collection[str]:
    """Return the command that is called, if it is one."""
    first = next((argument for argument in arguments if not argument.startswith("-")), None)
    return () if first is None else {first}


def build_parser(complete: Collection[str] = COMMANDS.keys()) -> argparse.ArgumentParser:
    """Build the parser of all commands; of those outside of `complete` it knows the names alone.

    Importing what all commands need takes several times as long as running most of them.
    """
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Check, test and explain policies of ACR Token Vending; diagnose a deployment.",
        epilog=f"{EXIT_STATUS} `{PROGRAM} COMMAND --help` explains each command.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"acr-token-vending {__version__}")
    parser.add_argument(
        "--print-completion",
        choices=_SHELLS,
        action=_PrintCompletion,
        help="print a completion script for a shell, to be sourced by its start-up file",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")
    for name, command in COMMANDS.items():
        if name in complete:
            command.load().register(commands)
        else:
            commands.add_parser(name, help=command.summary)
    return parser


class _PrintCompletion(argparse.Action):
    """Print a completion script and exit."""

    def __call__(
        self, parser: argparse.ArgumentParser, _namespace: object, values: object, _option: object = None
    ) -> None:
        import shtab

        sys.stdout.write(shtab.complete(build_parser(), shell=str(values)))
        parser.exit()


def _run(arguments: argparse.Namespace) -> Report:
    try:
        report: Report = arguments.run(arguments)
    except PolicyError as error:
        return broken(error)
    except ModuleNotFoundError as error:
        name = arguments.command
        if not COMMANDS[name].extra or (error.name or "").startswith("vending"):
            raise
        raise UsageError(f"{error.name} is not installed; install acr-token-vending[{name}]") from None
    return report


def broken(error: PolicyError) -> Report:
    """Report a policy, or another file of the same language, that cannot be read."""
    return Report(
        FINDINGS,
        data={"problems": problem_data(error.problems)},
        problems=error.problems,
        summary=(line(count(len(error.problems), "error")),),
    )
