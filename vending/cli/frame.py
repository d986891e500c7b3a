"""What every command shares: its parser, its `--format`, and the promise to return a report. Knows no command.

A command is a module with `register(commands)`, which calls `add_command` and adds its own arguments. Its `run` takes
the parsed arguments and returns a `Report`; it raises `UsageError` where it cannot run, and lets `PolicyError` pass.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from vending.cli.commands import COMMANDS
from vending.cli.report import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vending.cli.report import Report

    Run = Callable[[argparse.Namespace], Report]
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse names it nowhere else.

FORMATS = ("text", "json", "github")

_FORMATS = {
    "text": "for people",
    "json": "for programs",
    "github": "for annotations in a GitHub workflow",
    "markdown": "for a comment on a pull request or an issue",
    "html": "for a page",
    "csv": "for spreadsheets",
}

EXIT_STATUS = "Exit status: 0 fine, 1 findings, 2 the command cannot run as it was called."


def add_command(
    commands: Commands,
    name: str,
    run: Run,
    *,
    description: str,
    exit_status: str = EXIT_STATUS,
    formats: Sequence[str] = FORMATS,
    summary: str | None = None,
) -> argparse.ArgumentParser:
    """Add a command and return its parser, for its own arguments.

    `description` comes at the top of the command's own help; the line in the list of commands is its summary.
    """
    parser = commands.add_parser(
        name,
        help=COMMANDS[name].summary if summary is None else summary,
        description=description,
        epilog=exit_status,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--format",
        choices=formats,
        default=formats[0],
        help=", ".join(f"{name} {_FORMATS[name]}" for name in formats) + f" (default: {formats[0]})",
    )
    parser.set_defaults(run=run)
    return parser


def add_moment(parser: argparse.ArgumentParser) -> None:
    """Add `--at`, for commands that look at a policy as it is at a time."""
    parser.add_argument(
        "--at", metavar="TIME", help="look at this time: 2027-01-01 or 2027-01-01T08:00Z (default: now)"
    )


def moment(arguments: argparse.Namespace) -> float:
    """Return the time that `--at` gives, or now, in seconds since the epoch. Raises `UsageError`."""
    from vending.cli.inputs import now, parse_time

    if arguments.at is None:
        return now()
    try:
        return parse_time(arguments.at)
    except ValueError as error:
        raise UsageError(f"--at: {error}") from None
