"""`schema`: what is printed is what is shipped, and tests agree with theirs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from jsonschema_rs import Draft202012Validator
from ruamel.yaml import YAML

from tests.docs.markdown import ROOT
from vending.policy.language.json_schema import SCHEMA_FILE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run

TEST_FILES = [ROOT / "policy.tests.yaml", *sorted((ROOT / "examples" / "teams" / "tests").glob("*.yaml"))]


def test_the_shipped_schema_is_current(run: Run) -> None:
    assert run("schema").out == SCHEMA_FILE.read_text(encoding="utf-8")


def test_every_format_prints_the_schema(run: Run) -> None:
    expected = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    assert run("schema", "--format", "json").json == expected


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.name)
def test_the_schema_of_tests_accepts_test_files(run: Run, path: Path) -> None:
    validator = Draft202012Validator(run("schema", "--tests").json)
    data = YAML(typ="safe", pure=True).load(path)
    assert [error.message for error in validator.iter_errors(json.loads(json.dumps(data, default=str)))] == []


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"tests": []},
        {"tests": [{"name": "a", "issuer": "github", "claims": {}}]},
        {"tests": [{"name": "a", "issuer": "github", "claims": {}, "expect": "maybe"}]},
        {"tests": [{"name": "a", "issuer": "github", "claims": {}, "expect": "deny", "why": "x"}]},
        {"tests": [{"name": "a", "issuer": "github", "claims": [], "expect": "deny"}]},
    ],
    ids=["nothing", "no-tests", "no-outcome", "other-outcome", "unknown-key", "list"],
)
def test_the_schema_of_tests_refuses_what_the_loader_refuses(run: Run, data: object) -> None:
    assert not Draft202012Validator(run("schema", "--tests").json).is_valid(data)
