"""The tool as people install it: from a wheel, into an empty environment, on each Python that it promises."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from devstack import tools
from tests.packaging import environments
from vending import __version__

pytestmark = pytest.mark.process

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = ("3.11", "3.12", "3.13")


def interpreters() -> list[str]:
    """Find the promised interpreters that this machine has; the one that runs the tests is always among them."""
    found = {f"{sys.version_info.major}.{sys.version_info.minor}": sys.executable}
    pyenv = sorted(Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob("versions/3.*/bin/python3"))
    for version in VERSIONS:
        others = [str(path) for path in pyenv if path.parents[1].name.startswith(f"{version}.")]
        for candidate in filter(None, [shutil.which(f"python{version}"), *others]):
            probe = [candidate, "-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])"]
            done = subprocess.run(probe, capture_output=True, text=True, check=False)
            if done.returncode == 0 and done.stdout.strip() == version:
                found.setdefault(version, candidate)
    return [found[version] for version in VERSIONS if version in found]


@pytest.fixture(scope="module", params=interpreters())
def tool(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`acr-vending` in an environment that has the wheel and what it requires, and nothing of the function."""
    tools.may_install("an environment with the wheel's requirements")
    return environments.environment(tmp_path_factory.mktemp("environment"), request.param, wheel) / "acr-vending"


def run(tool: Path, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(cwd)}
    command = [str(tool), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=environment)


def test_the_tool_works_without_the_functions_packages(tool: Path, tmp_path: Path) -> None:
    assert run(tool, "--version", cwd=tmp_path).stdout == f"acr-token-vending {__version__}\n"
    present = environments.installed_packages(tool.parent)
    assert not [name for name in ("azure-", "httpx", "msal", "aiohttp") if f"\n{name}" in present]
    policy, tests = ROOT / "policy.yaml", ROOT / "policy.tests.yaml"
    for arguments in (
        ["--help"],
        ["check", policy],
        ["test", policy, tests],
        ["schema"],
        ["init", tmp_path / "new"],
        ["--print-completion", "bash"],
    ):
        done = run(tool, *arguments, cwd=tmp_path)
        assert done.returncode in {0, 1}, done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "command", [["doctor"], ["deliver", "policy.yaml", "--blob", "https://a/b", "--service", "https://c"]]
)
def test_what_needs_more_packages_says_how_to_get_them(tool: Path, tmp_path: Path, command: list[str]) -> None:
    shutil.copy(ROOT / "policy.yaml", tmp_path)
    done = run(tool, *command, cwd=tmp_path)
    assert done.returncode == 2
    assert f"acr-token-vending[{command[0]}]" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_credential_helper_is_installed_and_is_the_file_that_runs_by_itself(wheel: Path, tool: Path) -> None:
    """A console script, which on Windows is the `.exe` that docker looks for."""
    helper = tool.parent / "docker-credential-acr-vending"
    done = subprocess.run([helper, "get"], input="x.example", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "credentials not found in native keychain\n")
    with zipfile.ZipFile(wheel) as archive:
        alone = (ROOT / "clients" / "docker-credential-acr-vending").read_bytes()
        assert archive.read("vending/credential_helper.py") == alone


@pytest.fixture(scope="module")
def installers() -> Path:
    """The folder of programs with pipx and uvx."""
    return environments.installers()


def test_pipx_installs_the_tool_by_itself(installers: Path, wheel: Path, tmp_path: Path) -> None:
    variables = {
        **os.environ,
        "PATH": f"{installers}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "PIPX_HOME": str(tmp_path / "pipx"),
        "PIPX_BIN_DIR": str(tmp_path / "bin"),
    }
    command = ["pipx", "install", "--quiet", "--python", sys.executable, str(wheel)]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "bin").iterdir()} == {"acr-vending", "docker-credential-acr-vending"}
    checked = run(tmp_path / "bin" / "acr-vending", "check", ROOT / "policy.yaml", cwd=tmp_path)
    assert (checked.returncode, checked.stderr) == (0, ""), checked.stdout


@pytest.mark.parametrize("interpreter", interpreters())
def test_uvx_runs_the_tool_without_installing_it(
    installers: Path, wheel: Path, interpreter: str, tmp_path: Path
) -> None:
    variables = {
        **environments.uv_variables(),
        "PATH": f"{installers}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
    }
    command = ["uvx", "--quiet", "--python", interpreter, "--from", str(wheel), "acr-vending"]
    for arguments, wanted in (
        (["--version"], f"acr-token-vending {__version__}\n"),
        (["check", str(ROOT / "policy.yaml")], None),
    ):
        done = subprocess.run([*command, *arguments], env=variables, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        assert wanted is None or done.stdout == wanted
