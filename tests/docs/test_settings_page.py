"""docs/settings.md lists every setting that the service reads, and no other."""

from __future__ import annotations

import ast
import json
import re

from devstack.stack import PROJECT
from vending.settings import KNOWN_SETTINGS, SECRET_PREFIX, SET_BY_THE_PLATFORM, Settings

PAGE = (PROJECT / "docs" / "settings.md").read_text(encoding="utf-8")
PREFIXES = "AZURE|IDENTITY|WEBSITE|FUNCTIONS|APPLICATIONINSIGHTS|PYTHON|SSL|VENDING"
OWN, READ, NEEDED = PAGE.split("\n## ")[1:]


def rows(section: str) -> dict[str, list[str]]:
    """Return the cells of a section's table by each setting of the first one."""
    found = {}
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        for name in re.findall(r"`([\w*]+)`", cells[0]):
            found[name] = cells[1:]
    return found


def read_elsewhere() -> set[str]:
    """Return names that look like settings in what reads an environment outside of `vending.settings`."""
    found = set()
    for path in (PROJECT / "vending").rglob("*.py"):
        if path.is_relative_to(PROJECT / "vending" / "starter") or path.is_relative_to(PROJECT / "vending" / "cli"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and re.fullmatch(rf"({PREFIXES})_[A-Z_]+", text):
                found.add(text)
    return found


def test_every_setting_of_the_service_has_its_row() -> None:
    assert set(rows(OWN)) == KNOWN_SETTINGS | {f"{SECRET_PREFIX}*"}


def test_every_other_setting_that_the_code_reads_has_its_row() -> None:
    listed = set(rows(READ)) | set(re.findall(r"`([A-Z_]+)`", READ))
    assert read_elsewhere() - KNOWN_SETTINGS - {SECRET_PREFIX} <= listed
    assert set(SET_BY_THE_PLATFORM) <= listed
    text = "".join(path.read_text(encoding="utf-8") for path in (PROJECT / "vending").rglob("*.py"))
    libraries = {"IDENTITY_HEADER"}  # Read by azure-identity.
    assert {name for name in rows(READ) if name not in text} <= libraries


def test_settings_that_the_service_needs_of_the_platform_are_those_of_the_templates() -> None:
    shared = json.loads((PROJECT / "infra" / "shared" / "settings.json").read_text())
    for name, (value, _) in rows(NEEDED).items():
        assert shared[name] == value.strip("`")


def test_defaults_are_those_of_the_code() -> None:
    settings = Settings.from_environment({"VENDING_PUBLIC_URL": "https://vend.contoso.example"})
    written = {name: cells[0].strip("`") for name, cells in rows(OWN).items()}
    assert settings.policy_refresh_seconds == float(written["VENDING_POLICY_REFRESH_SECONDS"])
    assert settings.policy_max_stale_seconds == float(written["VENDING_POLICY_MAX_STALE_SECONDS"])
    assert settings.deadline_seconds == float(written["VENDING_DEADLINE_SECONDS"])
    assert settings.replay_store == written["VENDING_REPLAY_STORE"]
    assert not settings.telemetry
    assert written["VENDING_TELEMETRY"] == "off"
