"""What is deployed is enough to vend a token, and holds nothing else."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from urllib.parse import urlencode

import pytest

from devstack import tools
from devstack.host.runtime import RUNTIME, Invocation, find_python, run_worker
from devstack.issuer.server import IssuerServer
from devstack.stack import Stack, Upstreams
from tests.infra.toolbox import CACHE, ROOT, SETUP_SECONDS, once, succeed
from tests.support.caller import GRANT_TYPE

FORM = {"content-type": "application/x-www-form-urlencoded"}
SCOPE = "repository:web/api:pull,push"

# The platform brings these two itself, so they are no requirement of the app.
PLATFORM = [RUNTIME, "azurefunctions-extensions-base==1.2.0"]


def build(target: Path, *options: str) -> Path:
    succeed([sys.executable, ROOT / "infra" / "package.py", *options, target])
    return target


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("package") / "app.zip")


@pytest.fixture(scope="module")
def app(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked package, far from the repository."""
    folder = tmp_path_factory.mktemp("wwwroot")
    with zipfile.ZipFile(package) as archive:
        archive.extractall(folder)
    return folder


def test_only_what_the_app_needs_is_deployed(package: Path) -> None:
    names = zipfile.ZipFile(package).namelist()
    assert {name.split("/")[0] for name in names} == {
        "function_app.py",
        "host.json",
        "policy.yaml",
        "requirements.txt",
        "vending",
    }
    assert not [name for name in names if name.endswith(".pyc") or "__pycache__" in name]


def test_every_source_file_of_the_app_is_deployed(package: Path) -> None:
    tracked = succeed(["git", "ls-files", "vending"]).splitlines()
    assert {path for path in tracked if (ROOT / path).is_file()} <= set(zipfile.ZipFile(package).namelist())


def test_the_same_files_give_the_same_package(package: Path, tmp_path: Path) -> None:
    assert build(tmp_path / "again.zip").read_bytes() == package.read_bytes()


def test_telemetry_brings_its_own_requirements(tmp_path: Path) -> None:
    with zipfile.ZipFile(build(tmp_path / "app.zip", "--telemetry")) as archive:
        assert archive.read("requirements.txt") == (ROOT / "requirements-telemetry.txt").read_bytes()


def empty_environment(app: Path, python: Path) -> Path:
    """Make an environment with the package's locked requirements alone, and give its interpreter."""
    folder = ROOT / ".venv-infra-package"

    def make() -> None:
        succeed([python, "-m", "venv", "--clear", folder], seconds=SETUP_SECONDS)
        install = ["install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r"]
        succeed([folder / "bin" / "python", "-m", "pip", *install, app / "requirements.txt"], seconds=SETUP_SECONDS)

    return once(folder, [app / "requirements.txt"], make) / "bin" / "python"


def platform_library(python: Path) -> Path:
    """Install what the platform itself has into a folder of its own."""
    folder = CACHE / "functions-runtime"

    def make() -> None:
        options: list[str | Path] = ["--quiet", "--disable-pip-version-check", "--no-deps", "--target", folder]
        succeed([python, "-m", "pip", "install", *options, *PLATFORM], seconds=SETUP_SECONDS)

    return once(folder, [Path(__file__)], make)


@pytest.mark.e2e
def test_the_deployed_package_vends_a_token(app: Path, upstreams: Upstreams, issuers: IssuerServer) -> None:
    try:
        base = find_python()
    except tools.Unavailable as reason:
        pytest.skip(str(reason))
    python, library = empty_environment(app, base), platform_library(base)
    with Stack(upstreams, start_host=False) as stack:
        form = {"grant_type": GRANT_TYPE, "subject_token": issuers.github.token(), "scope": SCOPE}
        settings = {
            **stack.settings,
            "VENDING_PUBLIC_URL": "https://vend.contoso.example",
            "PYTHONPATH": str(library),
        }
        url = "https://vend.contoso.example"
        run = run_worker(
            app,
            settings,
            [
                Invocation("token", "POST", f"{url}/token", headers=FORM, body=urlencode(form).encode()),
                Invocation("readyz", "GET", f"{url}/readyz"),
            ],
            python=python,
        )
    vended, ready = run.responses
    assert run.python.startswith("3.13")
    assert vended.status == 200, vended
    assert vended.json()["scope"] == SCOPE
    assert ready.status == 200, ready


def test_the_bundled_policy_of_the_package_loads(app: Path) -> None:
    succeed([sys.executable, "-m", "vending", "check", app / "policy.yaml"])
