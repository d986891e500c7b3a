"""The wheel, and an environment that has it: built and installed once a session."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from devstack import tools
from tests.packaging.environments import environment

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel of this checkout."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (found,) = out.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of programs of an environment with the wheel and what `deliver` needs."""
    tools.may_install("an environment with the wheel's requirements")
    return environment(tmp_path_factory.mktemp("installed"), sys.executable, f"{wheel}[deliver]")
