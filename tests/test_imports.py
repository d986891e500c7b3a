"""Imports run one way: the contracts of `[tool.importlinter]` hold, and each of them can be broken."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from devstack.stack import PROJECT

pytestmark = pytest.mark.process


def lint_imports(config: Path) -> subprocess.CompletedProcess[str]:
    program = str(Path(sys.executable).with_name("lint-imports"))
    command = [program, "--no-logo", "--no-cache", "--config", str(config)]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)


def test_imports_run_one_way() -> None:
    done = lint_imports(PROJECT / "pyproject.toml")
    assert done.returncode == 0, done.stdout


def test_import_against_the_direction_is_found(tmp_path: Path) -> None:
    """The check sees the imports that are there: turned round, the same contracts break."""
    text = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    turned = text.replace(
        '"lint", "compiler", "engine | language", "providers"', '"providers", "engine | language", "compiler", "lint"'
    )
    assert turned != text
    config = tmp_path / "pyproject.toml"
    config.write_text(turned, encoding="utf-8")
    done = lint_imports(config)
    assert done.returncode == 1
    assert "is not allowed to import vending.policy.providers" in done.stdout
