"""`who-can`: every rule that can grant something on one repository."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vending.acr.names import ACTIONS, is_repository_name
from vending.assurance.matrix import when_text, who_can
from vending.cli.frame import add_command, add_moment, moment
from vending.cli.inputs import existing, load_policy, places
from vending.cli.report import FINE, Cell, Report, Table, UsageError, count, line
from vending.errors import Refusal
from vending.policy.engine.registries import find_registry

if TYPE_CHECKING:
    import argparse

    from vending.cli.frame import Commands


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "who-can",
        run,
        description="List every rule that can grant something on a repository: who, until when, where it is written,\n"
        "and which deny entries take some of it away. Rules in audit mode are listed as such; they grant nothing.",
    )
    parser.add_argument("policy", metavar="POLICY", type=Path, help="a policy file or directory")
    parser.add_argument("--repository", metavar="NAME", required=True, help="the repository")
    parser.add_argument("--registry", metavar="R", help="one registry, by name or host (default: all)")
    parser.add_argument("--action", metavar="A", choices=ACTIONS, help=f"one action: {', '.join(ACTIONS)}")
    add_moment(parser)


def run(arguments: argparse.Namespace) -> Report:
    """List the rules."""
    if not is_repository_name(arguments.repository):
        raise UsageError(f"--repository: {arguments.repository!r} is not a repository name")
    loaded = load_policy(existing(arguments.policy))
    policy = loaded.policy
    registry = None
    if arguments.registry is not None:
        try:
            registry = find_registry(policy, arguments.registry, reveal=True).name
        except Refusal as refusal:
            raise UsageError(f"--registry: {refusal.description}") from None
    rows = who_can(policy, arguments.repository, moment(arguments), registry=registry, action=arguments.action)
    where = places(loaded)
    data = [row.data(where) for row in rows]
    table = Table(
        ("rule", "issuer", "registry", "actions", "when", "mode", "until", "denied by", "where"),
        tuple(
            tuple(
                map(
                    Cell,
                    (
                        str(entry["rule"]),
                        str(entry["issuer"]),
                        str(entry["registry"]),
                        " ".join(entry["actions"]),
                        when_text(entry["when"]),
                        str(entry["mode"]),
                        entry["expires"] or "-",
                        " ".join(entry["denied_by"]) or "-",
                        f"{entry['file']}:{entry['line']}",
                    ),
                )
            )
            for entry in data
        ),
    )
    listed = [{key: value for key, value in entry.items() if key not in {"repository", "not_before"}} for entry in data]
    return Report(
        FINE,
        data={"grants": listed},
        body=(table,) if rows else (),
        summary=(line(f"{count(len(rows), 'rule')} can grant this." if rows else "Nobody: no rule grants this."),),
    )
