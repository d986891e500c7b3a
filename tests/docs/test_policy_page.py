"""docs/policy.md and the code name the same warnings, errors, presets and keys."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from tests.docs.markdown import ROOT, Block, blocks, table
from vending.cli.cases import CaseModel
from vending.policy import PRESETS
from vending.policy.language.models import IssuerModel, PolicyModel
from vending.policy.language.problems import Code
from vending.policy.lint import INFORMATION, Lint
from vending.policy.providers.preset import Preset

PAGE = ROOT / "docs" / "policy.md"


def _unquoted(cell: str) -> list[str]:
    return [] if cell == "-" else [part.strip().strip("`") for part in cell.split(",")]


def _warning_blocks() -> dict[str, list[Block]]:
    """Group the blocks under the headings that are codes."""
    found: dict[str, list[Block]] = {}
    for block in blocks(PAGE):
        if block.section.startswith("`"):
            found.setdefault(block.section.strip("`"), []).append(block)
    return found


def test_every_warning_is_explained_and_no_other() -> None:
    assert list(_warning_blocks()) == [code.value for code in Lint]


@pytest.mark.parametrize("code", Lint)
def test_a_warning_has_an_example_and_a_fix(code: Lint) -> None:
    example, fix = _warning_blocks()[code.value]
    assert example.mark == ("info" if code in INFORMATION else "warning", code.value)
    assert fix.mark is None


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


def _lifetime(preset: Preset) -> str:
    hours, rest = divmod(preset.lifetime, 3600)
    return f"{hours}h" if rest == 0 else f"{preset.lifetime // 60}m"


_TENANCY = {"yes": True, "no": False}


def test_every_preset_has_a_row() -> None:
    assert sorted(row[0].strip("`") for row in table(PAGE, "preset")) == sorted(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_the_table_of_presets_says_what_they_fill_in(name: str) -> None:
    preset = PRESETS[name]
    row = next(row for row in table(PAGE, "preset") if row[0] == f"`{name}`")
    _, issuer, tenancy, identity, immutable, caller, replay, lifetime = row
    assert _unquoted(issuer) == ([preset.default_issuer] if preset.default_issuer else [])
    assert _TENANCY.get(tenancy, "at_shared_issuer") == preset.multi_tenant
    assert tuple(_unquoted(identity)) == preset.identity
    assert tuple(_unquoted(immutable)) == preset.immutable
    assert [tuple(_unquoted(keys)) for keys in caller.split(" or ")] == list(preset.callers)
    assert (replay, lifetime) == (preset.replay, _lifetime(preset))


def test_the_contents_lead_to_headings_of_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    headings = {
        line.lstrip("# ").lower().replace("`", "").replace(" ", "-").replace(",", "")
        for line in text.splitlines()
        if line.startswith("#")
    }
    targets = {part.split(")")[0] for part in text.split("](#")[1:]}
    assert targets <= headings
