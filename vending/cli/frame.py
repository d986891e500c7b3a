"""What every command shares: its parser, its `--format`, and the promise to return a report. Knows no command.

A command is a module with `register(commands)`, which calls `add_command` and adds its own arguments. Its `run` takes
the parsed arguments and returns a `Report`; it raises `UsageError` where it cannot run, and lets `PolicyError` pass.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from vending.cli.commands import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from vending.cli.report import Report

    Run = Callable[[argparse.Namespace], Report]
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse names it nowhere else.

FORMATS = ("text", "json", "github")

EXIT_STATUS = "Exit status: 0 fine, 1 findings, 2 the command cannot run as it was called."


def add_command(
    commands: Commands, name: str, run: Run, *, description: str, exit_status: str = EXIT_STATUS
) -> argparse.ArgumentParser:
    """Add a command and return its parser, for its own arguments.

    `description` comes at the top of the command's own help; the line in the list of commands is its summary.
    """
    parser = commands.add_parser(
        name,
        help=COMMANDS[name].summary,
        description=description,
        epilog=exit_status,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="text",
        help="text for people (default), json for programs, github for annotations in a GitHub workflow",
    )
    parser.set_defaults(run=run)
    return parser
