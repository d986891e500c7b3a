"""docs/policy-reference.md and the code name the same errors and keys."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from tests.docs.markdown import ROOT, table
from vending.cli.cases import CaseModel
from vending.policy.language.models import IssuerModel, PolicyModel
from vending.policy.language.problems import Code

PAGE = ROOT / "docs" / "policy-reference.md"
TUTORIAL = ROOT / "docs" / "policy.md"


def _unquoted(cell: str) -> list[str]:
    return [] if cell == "-" else [part.strip().strip("`") for part in cell.split(",")]


def test_every_error_is_listed_and_no_other() -> None:
    assert [row[0].strip("`") for row in table(PAGE, "code")] == [code.value for code in Code]


@pytest.mark.parametrize(
    ("heading", "model", "left_out"),
    [
        ("key", PolicyModel, {"sources"}),
        ("key", IssuerModel, set()),
        ("key", CaseModel, set()),
    ],
    ids=["policy", "issuer", "test"],
)
def test_every_key_is_in_a_table(heading: str, model: type[BaseModel], left_out: set[str]) -> None:
    listed = {key for row in table(PAGE, heading) for key in _unquoted(row[0])}
    assert set(model.model_fields) - left_out <= listed


@pytest.mark.parametrize("page", [PAGE, TUTORIAL], ids=lambda page: page.name)
def test_the_contents_lead_to_headings_of_the_page(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    headings = {
        line.lstrip("# ").lower().replace("`", "").replace(" ", "-").replace(",", "")
        for line in text.splitlines()
        if line.startswith("#")
    }
    targets = {part.split(")")[0] for part in text.split("](#")[1:]}
    assert targets <= headings
