"""Static analysis reads what every scenario deploys, and finds nothing that infra/checkov.json does not explain.

It reads the compiler's snapshots, as one template each: its own reader of Bicep knows no user-defined types, and none
of its checks knows Terraform's azapi. Both languages send the same bodies (test_parity.py).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.infra.scenarios import SCENARIOS
from tests.infra.toolbox import LOCKS, ROOT, python_tools, succeed

if TYPE_CHECKING:
    from pathlib import Path

SKIPS: dict[str, str] = json.loads((ROOT / "infra" / "checkov.json").read_text())


def template(snapshot: dict[str, Any]) -> str:
    resources = [
        {name: value for name, value in each.items() if name not in {"id", "scope"}}
        for each in snapshot["predictedResources"]
    ]
    schema = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
    return json.dumps({"$schema": schema, "contentVersion": "1.0.0.0", "resources": resources})


def scan(folder: Path) -> dict[str, Any]:
    python = python_tools("checkov") / "python"
    found: dict[str, Any] = json.loads(succeed([python, LOCKS / "scan.py", "arm", folder]))
    return found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("templates")
    for scenario in SCENARIOS:
        (folder / f"{scenario.name}.json").write_text(template(scenario.snapshot()))
    return scan(folder)


def test_nothing_is_found_but_what_is_explained(report: dict[str, Any]) -> None:
    assert {check for check, _, _ in report["failed"]} == set(SKIPS)
    assert len(report["passed"]) > 100


def test_every_template_is_read(report: dict[str, Any]) -> None:
    assert report["unparsed"] == []
    assert {name.rsplit("/", 1)[1] for name in report["files"]} == {f"{scenario.name}.json" for scenario in SCENARIOS}


def test_every_skip_says_why() -> None:
    for check, reason in SKIPS.items():
        assert check.startswith("CKV")
        assert len(reason.split()) > 3


def test_an_open_door_is_found(tmp_path: Path) -> None:
    [default] = [scenario for scenario in SCENARIOS if scenario.name == "default"]
    text = template(default.snapshot())
    assert '"httpsOnly": true' in text
    (tmp_path / "open.json").write_text(text.replace('"httpsOnly": true', '"httpsOnly": false'))
    assert {check for check, _, _ in scan(tmp_path)["failed"]} - set(SKIPS)
