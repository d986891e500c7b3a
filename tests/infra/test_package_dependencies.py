"""A package that carries its dependencies needs nothing but one Python, and compiles nothing when it starts."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.parse import urlencode

import pytest

from devstack import tools
from devstack.host.runtime import Invocation, WorkerRun, find_python, run_worker
from devstack.issuer.server import IssuerServer
from devstack.stack import Stack, Upstreams
from tests.infra.test_package import FORM, SAMPLE, SCOPE, platform_library
from tests.infra.toolbox import ROOT, run, succeed
from tests.support import forwarded
from tests.support.caller import GRANT_TYPE

PACKAGE = ROOT / "infra" / "package.py"
SITE_PACKAGES = ".python_packages/lib/site-packages"
URL = "https://vend.contoso.example"


@pytest.fixture(scope="module")
def python() -> Path:
    """The Python of the real worker, 3.13."""
    return find_python()


@pytest.fixture(scope="module")
def package(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The only whole build here: it downloads and compiles everything."""
    tools.may_install("the package's dependencies")
    target = tmp_path_factory.mktemp("package") / "app.zip"
    succeed([sys.executable, PACKAGE, *SAMPLE, "--with-dependencies", "--python", python, target])
    return target


@pytest.fixture
def app(package: Path, tmp_path: Path) -> Path:
    """The unpacked package, far from the repository."""
    with zipfile.ZipFile(package) as archive:
        archive.extractall(tmp_path / "wwwroot")
    return tmp_path / "wwwroot"


@pytest.fixture(scope="module")
def bare(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has no package at all."""
    folder = tmp_path_factory.mktemp("bare")
    succeed([python, "-m", "venv", "--without-pip", folder])
    return folder / "bin" / "python"


def work(app: Path, bare: Path, settings: dict[str, str], *calls: Invocation) -> WorkerRun:
    """Run the app under the real worker library, which looks for packages where the platform does."""
    path = f"{app / SITE_PACKAGES}:{platform_library(find_python())}"
    return run_worker(app, {"PYTHONPATH": path, "WEBSITE_HOSTNAME": "vend.example", **settings}, calls, python=bare)


# --- What is in it


def test_every_locked_package_is_in_it_and_nothing_else(package: Path) -> None:
    lock = (ROOT / "requirements.txt").read_text()
    locked = re.findall(r"^([a-z0-9-]+)==([0-9.]+)(?: ; python_full_version (<|>=) '3\.13')?", lock, re.MULTILINE)
    names = zipfile.ZipFile(package).namelist()
    found = {name.split("/")[3].removesuffix(".dist-info") for name in names if ".dist-info/" in name}
    assert found == {f"{name.replace('-', '_')}-{version}" for name, version, until in locked if until != "<"}


def test_what_packages_say_of_themselves_is_true(package: Path) -> None:
    """Metadata and entry points stay, which telemetry reads; programs are left out, and RECORD names none of them."""
    with zipfile.ZipFile(package) as archive:
        names = set(archive.namelist())
        records = [name for name in names if name.endswith(".dist-info/RECORD")]
        assert len(records) > 20
        for record in records:
            rows = csv.reader(archive.read(record).decode().splitlines())
            assert {f"{SITE_PACKAGES}/{row[0]}" for row in rows} <= names
    assert not any(name.startswith(f"{SITE_PACKAGES}/bin/") for name in names)


def test_every_module_has_its_bytecode(package: Path) -> None:
    with zipfile.ZipFile(package) as archive:
        names = archive.namelist()
        made = {name for name in names if name.endswith(".pyc")}
        flags = {int.from_bytes(archive.read(name)[4:8], "little") for name in made}
    modules = [Path(name) for name in names if name.endswith(".py") and "vending/starter/files/" not in name]
    assert made == {f"{path.parent / '__pycache__' / path.stem}.cpython-313.pyc" for path in modules}
    assert flags == {0b01}, "PEP 552: by hash, and not checked"


# --- That it runs


@pytest.mark.e2e
def test_it_vends_a_token_from_bytecode_alone(
    app: Path, bare: Path, upstreams: Upstreams, issuers: IssuerServer
) -> None:
    """Every source would raise if it were compiled, and nothing is written."""
    for path in app.rglob("*.py"):
        path.write_text("raise RuntimeError('compiled anew')")
    before = sorted(app.rglob("*"))
    form = {"grant_type": GRANT_TYPE, "subject_token": issuers.github.token(), "scope": SCOPE}
    calls = [
        Invocation("healthz", "GET", f"{URL}/healthz"),
        Invocation("token", "POST", f"{URL}/token", headers=FORM, body=urlencode(form).encode()),
    ]
    with Stack(upstreams, start_host=False) as stack:
        seen = work(app, bare, {**stack.settings, "VENDING_PUBLIC_URL": URL}, *calls)
    assert [answer.status for answer in seen.responses] == [200, 200], seen
    assert seen.responses[1].json()["scope"] == SCOPE
    assert sorted(app.rglob("*")) == before


@pytest.mark.e2e
def test_dependencies_of_another_python_are_named_on_every_path(app: Path, bare: Path) -> None:
    """Built for 3.12 and started by 3.13: with that name a binary is invisible."""
    for path in app.rglob("*.cpython-313-*.so"):
        path.rename(path.with_name(path.name.replace("cpython-313", "cpython-312")))
    seen = work(app, bare, {}, Invocation("zz_fallback", "GET", f"{URL}/healthz"))
    assert sorted(seen.functions) == ["zz_fallback"]
    [answer] = seen.responses
    assert (answer.status, answer.json()["reason"]) == (503, "misconfigured")
    [event] = [event for event in forwarded.events(seen.forwarded) if event["event"] == "misconfigured"]
    assert "another Python" in event["error"]
    assert "cpython-312" in event["error"]
    assert "cpython-313" in event["error"]


# --- What is refused, and that the same gives the same


def small_clone(folder: Path) -> Path:
    """A clone whose lock has two packages, both with a program."""
    succeed(["git", "clone", "--quiet", "--no-hardlinks", ROOT, folder])
    shutil.copy(PACKAGE, folder / "infra" / "package.py")
    lock = (ROOT / "requirements.txt").read_text()
    kept = re.findall(r"^(?:httpx|idna)==(?:.*\\\n)+.*\n", lock, re.MULTILINE)
    assert len(kept) == 2
    (folder / "requirements-telemetry.txt").write_text("".join(kept))
    return folder


def pack(clone: Path, python: Path, target: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [sys.executable, clone / "infra" / "package.py", "--telemetry", "--with-dependencies"]
    return run([*command, "--python", python, target], env=environment)


def test_the_same_lock_gives_the_same_package_wherever_the_python_lies(python: Path, tmp_path: Path) -> None:
    tools.may_install("the package's dependencies")
    clone, elsewhere = small_clone(tmp_path / "clone"), tmp_path / "python"
    elsewhere.symlink_to(python)
    one, two = pack(clone, python, tmp_path / "one.zip"), pack(clone, elsewhere, tmp_path / "two.zip")
    assert (one.returncode, two.returncode) == (0, 0), one.stderr + two.stderr
    assert "for cpython-313" in one.stderr
    assert "without the remote build" in one.stderr
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    assert f"{SITE_PACKAGES}/httpx/__init__.py" in one.stdout


OFFLINE = {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_FIND_LINKS": "", "PIP_RETRIES": "0", "PIP_DEFAULT_TIMEOUT": "1"}


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param(OFFLINE, id="no_network"),
        pytest.param({"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}, id="no_wheel"),
    ],
)
def test_dependencies_that_cannot_be_had_are_refused(python: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    refused = pack(ROOT, python, tmp_path / "app.zip", **environment)
    assert refused.returncode == 1
    assert refused.stderr.startswith("package.py: the dependencies cannot be installed for CPython 3.13")
    assert "PIP_INDEX_URL" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "app.zip").exists()


def test_python_without_pip_is_refused(bare: Path, tmp_path: Path) -> None:
    refused = pack(ROOT, bare, tmp_path / "app.zip")
    assert refused.returncode == 1
    assert f"{bare} has no pip: run `{bare} -m ensurepip`" in refused.stderr
    assert not (tmp_path / "app.zip").exists()


@pytest.mark.parametrize("says", ["cpython 3.10", "cpython 3.14", "pypy 3.11", ""])
def test_python_that_the_app_does_not_run_on_is_refused(tmp_path: Path, says: str) -> None:
    other = tmp_path / "other"
    other.write_text(f"#!/bin/sh\necho {says}\n")
    other.chmod(0o755)
    refused = pack(ROOT, other, tmp_path / "app.zip")
    assert refused.returncode == 1
    assert f"{other} is {says or 'no Python'}; the app runs on CPython 3.11, 3.12, 3.13" in refused.stderr
    assert not (tmp_path / "app.zip").exists()
