"""`schema`: print the JSON Schema of the files that people write."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vending.cli.cases import tests_schema
from vending.cli.frame import add_command
from vending.cli.inputs import STDIN
from vending.cli.report import FINE, Report, UsageError, line
from vending.policy.language.json_schema import part_schema, policy_schema, render_schema

if TYPE_CHECKING:
    import argparse

    from vending.cli.frame import Commands


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "schema",
        run,
        description="Print the JSON Schema of the policy file, with --part that of a team's file in a directory of\n"
        "policy files, or with --tests that of a policy-test file. For an editor, write it beside the policy, and\n"
        "begin the policy with: # yaml-language-server: $schema=policy.schema.json",
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--part", action="store_true", help="the schema of a team's file: rules, deny and maps")
    kind.add_argument("--tests", action="store_true", help="the schema of a policy-test file")
    parser.add_argument("-o", "--output", metavar="FILE", help="write the schema to FILE (default: print it)")


def run(arguments: argparse.Namespace) -> Report:
    """Print the schema, which is JSON in every format, or write it."""
    schema = tests_schema() if arguments.tests else part_schema() if arguments.part else policy_schema()
    text = render_schema(schema)
    if arguments.output in {None, STDIN}:
        return Report(FINE, data=schema, body=tuple(line(each) for each in text.splitlines()))
    try:
        Path(arguments.output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{arguments.output}: {error.strerror or type(error).__name__}") from None
    return Report(FINE, data={"file": arguments.output}, summary=(line(f"{arguments.output}: written"),))
