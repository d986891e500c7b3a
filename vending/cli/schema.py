"""`schema`: print the JSON Schema of the files that people write."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from vending.cli.cases import tests_schema
from vending.cli.frame import add_command
from vending.cli.report import FINE, Report, line
from vending.policy.language.json_schema import policy_schema

if TYPE_CHECKING:
    import argparse

    from vending.cli.frame import Commands


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "schema",
        run,
        description="Print the JSON Schema of the policy file, or with --tests that of a policy-test file.\n"
        "In an editor: # yaml-language-server: $schema=vending/policy/policy.schema.json",
    )
    parser.add_argument("--tests", action="store_true", help="the schema of a policy-test file")


def run(arguments: argparse.Namespace) -> Report:
    """Print the schema, which is JSON in every format."""
    schema = tests_schema() if arguments.tests else policy_schema()
    return Report(FINE, data=schema, body=tuple(line(text) for text in json.dumps(schema, indent=2).splitlines()))
