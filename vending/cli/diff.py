"""`diff`: the difference in access between two policies, not in their text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vending.assurance.comment import comment, headline
from vending.assurance.diff import compare
from vending.cli.frame import FORMATS, add_command, add_moment, moment
from vending.cli.inputs import existing, load_policy
from vending.cli.progress import Progress
from vending.cli.report import FINDINGS, FINE, Cell, Report, line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from vending.assurance.diff import Change, Difference
    from vending.cli.frame import Commands
    from vending.cli.report import Line


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "diff",
        run,
        formats=(*FORMATS, "markdown"),
        description="Show what NEW grants and OLD did not, and the reverse, each with an example that the evaluator\n"
        "confirms. Policies that are written differently but grant the same show no difference.",
        exit_status="Exit status: 0 nothing grew, 1 access grew, 2 the command cannot run as it was called.",
    )
    parser.add_argument("old", metavar="OLD", type=Path, help="a policy file or directory")
    parser.add_argument("new", metavar="NEW", type=Path, help="another one")
    add_moment(parser)


def run(arguments: argparse.Namespace) -> Report:
    """Compare the two policies."""
    old, new = (load_policy(existing(path)).policy for path in (arguments.old, arguments.new))
    progress = Progress("rules compared")
    difference = compare(old, new, moment(arguments), progress)
    progress.close()
    return Report(
        FINDINGS if difference.grew else FINE,
        data=difference.data(),
        body=tuple(_body(difference, arguments.format)),
        summary=() if arguments.format == "markdown" else (line(f"{headline(difference)}."),),
    )


def _body(difference: Difference, format_: str) -> list[Line]:
    if format_ == "markdown":
        return [line(text) for text in comment(difference).rstrip("\n").split("\n")]
    lines = [*_lines("+", "green", difference.grew), *_lines("-", "red", difference.shrank)]
    for entry in difference.not_decided:
        where = " ".join(filter(None, (*entry.rules, entry.registry, entry.repository, entry.action)))
        lines.append(line(Cell("? ", "yellow"), f"{entry.issuer} {where}: {entry.why}"))
    return lines


def _lines(sign: str, style: str, changes: Sequence[Change]) -> list[Line]:
    lines = []
    for change in changes:
        rules = ", ".join(change.rules)
        what = f"{change.action} {change.repository} in {change.registry}"
        lines.append(line(Cell(f"{sign} ", style), f"{change.issuer} {rules}: {what}"))
        lines.append(line(f"for example {change.example.scope} with {dict(change.example.claims)}", indent=4))
    return lines
