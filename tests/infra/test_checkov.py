"""Static analysis reads every file, finds nothing, and skips nothing without need."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.infra.toolbox import BICEP, LOCKS, TERRAFORM, python_tools, succeed

FOLDERS = {"bicep": BICEP, "terraform": TERRAFORM}
SUFFIX = {"bicep": "*.bicep", "terraform": "*.tf"}
MARK = "checkov:skip="
SKIP = re.compile(r"checkov:skip=(CKV\d?_AZURE_\d+): (\S+ \S+.*)")


def scan(framework: str, folder: Path) -> dict[str, Any]:
    python = python_tools("checkov") / "python"
    found: dict[str, Any] = json.loads(succeed([python, LOCKS / "scan.py", framework, folder]))
    return found


@pytest.fixture(scope="module", params=sorted(FOLDERS))
def framework(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def report(framework: str) -> dict[str, Any]:
    return scan(framework, FOLDERS[framework])


def files(framework: str) -> list[Path]:
    return sorted(FOLDERS[framework].rglob(SUFFIX[framework]))


def test_nothing_is_found(report: dict[str, Any]) -> None:
    assert report["failed"] == []
    assert report["passed"]


def test_every_file_is_parsed(framework: str, report: dict[str, Any]) -> None:
    assert report["unparsed"] == []
    # A file of variables or outputs alone is no definition to checkov; it parses those with the module's others.
    holding = [p for p in files(framework) if re.search(r"^(resource|module|var|locals) ", p.read_text(), re.MULTILINE)]
    assert {path.name for path in holding} <= {Path(name).name for name in report["files"]}
    assert len(report["files"]) >= len(holding) >= 6


def test_a_file_that_cannot_be_parsed_is_noticed(tmp_path: Path) -> None:
    shutil.copytree(BICEP, tmp_path / "bicep")
    broken = tmp_path / "bicep" / "modules" / "app.bicep"
    broken.write_text(broken.read_text().replace("name: 'FC1'", "name 'FC1'"))
    assert [Path(name).name for name in scan("bicep", tmp_path / "bicep")["unparsed"]] == ["app.bicep"]


def test_every_skip_has_a_reason_and_a_use(framework: str, report: dict[str, Any]) -> None:
    written = [(check, path.name) for path in files(framework) for check, _ in SKIP.findall(path.read_text())]
    assert len(written) == sum(path.read_text().count(MARK) for path in files(framework))
    assert set(written) == {(check, file) for check, file, _ in report["skipped"]}
