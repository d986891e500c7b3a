"""docs/providers.md says what the files of the providers say: presets, dates, sources and sample tokens."""

from __future__ import annotations

import json
import re

import pytest

from tests.docs.markdown import ROOT, blocks, table
from vending.policy import PRESETS, Preset

PAGE = ROOT / "docs" / "providers.md"
TEXT = PAGE.read_text(encoding="utf-8")

SECTIONS = {
    match[1]: section
    for section in TEXT.split("\n## ")[1:]
    if (match := re.search(r"^Preset `([a-z-]+)`", section, re.MULTILINE))
}
"""The sections by their preset."""


def _unquoted(cell: str) -> list[str]:
    return [] if cell == "-" else [part.strip().strip("`") for part in cell.split(",")]


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


def test_every_provider_has_a_section() -> None:
    assert sorted(SECTIONS) == sorted(PRESETS)


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS.keys())
def test_a_section_has_the_date_and_the_source_of_its_facts(preset: Preset) -> None:
    said = f"Preset `{preset.name}`, as of {preset.as_of.isoformat()}; [source]({preset.page})."
    assert said in SECTIONS[preset.name]


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS.keys())
def test_a_section_shows_the_default_token(preset: Preset) -> None:
    heading = SECTIONS[preset.name].splitlines()[0]
    shown = [json.loads(block.text) for block in blocks(PAGE) if block.language == "json" and block.section == heading]
    assert shown == [dict(preset.samples["default"].claims)]


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS.keys())
def test_a_section_names_every_refused_trigger_and_every_end(preset: Preset) -> None:
    section = SECTIONS[preset.name]
    for claim, value in preset.refused:
        assert f"`{value}`" in section or f"`{claim.rpartition('/')[2]}: {str(value).lower()}`" in section
    for address in preset.addresses:
        assert address.ends is None or address.ends.isoformat() in section
