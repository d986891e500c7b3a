"""The wheel, what it requires, and an environment that has both: built and installed once a session."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from devstack import tools
from devstack.stack import Upstreams
from tests.packaging.environments import environment
from tests.packaging.runners import install_az, install_pip
from tests.support.azurite import Azurite

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
def offline(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Return the variables that let pip install the wheel, and what it and its build need, from a folder alone."""
    tools.may_install("a folder with the wheel's requirements")
    folder = tmp_path_factory.mktemp("wheelhouse")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    wanted = ["--dest", str(folder), f"{wheel}[deliver]", "hatchling"]
    subprocess.run([*command, *wanted], check=True, capture_output=True)
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of programs of an environment with the wheel and what `deliver` needs."""
    tools.may_install("an environment with the wheel's requirements")
    return environment(tmp_path_factory.mktemp("installed"), sys.executable, f"{wheel}[deliver]")


@pytest.fixture(scope="session")
def programs(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the folders of what jobs find first on their PATH: the stand-ins of az and pip, and the tool."""
    folder = tmp_path_factory.mktemp("programs")
    install_az(folder, installed / "python")
    install_pip(folder, installed / "python")
    return folder, installed


@pytest.fixture(scope="session")
def azurite(upstreams: Upstreams, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """Start the storage emulator."""
    with Azurite(tmp_path_factory.mktemp("azurite"), upstreams.ca, upstreams.tenant) as started:
        yield started
