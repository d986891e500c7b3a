"""What a release holds, and that it can be built again with the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from vending import __version__

pytestmark = pytest.mark.process

ROOT = Path(__file__).resolve().parents[2]


def build(out: Path) -> Path:
    subprocess.run([sys.executable, ROOT / "scripts" / "build_release.py", out], check=True, capture_output=True)
    return out


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("release") / "dist")


def wheel_of(release: Path) -> Path:
    (found,) = release.glob("*.whl")
    return found


def test_a_release_is_complete_and_its_checksums_hold(release: Path) -> None:
    lines = {}
    for line in (release / "SHA256SUMS").read_text().splitlines():
        digest, _, name = line.partition("  ")
        lines[name] = digest
    assert lines == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in release.iterdir()
        if path.name != "SHA256SUMS"
    }
    assert set(lines) == {
        "acr-token-vending-app-telemetry.zip",
        "acr-token-vending-app.zip",
        "acr-token-vending-clients.tar.gz",
        "acr-token-vending.cdx.json",
        f"acr_token_vending-{__version__}-py3-none-any.whl",
        f"acr_token_vending-{__version__}.tar.gz",
    }


def test_the_same_commit_gives_the_same_bytes(release: Path, tmp_path: Path) -> None:
    assert (build(tmp_path / "again") / "SHA256SUMS").read_text() == (release / "SHA256SUMS").read_text()


def test_the_wheel_holds_the_package_and_nothing_else(release: Path) -> None:
    names = zipfile.ZipFile(wheel_of(release)).namelist()
    assert {name.split("/")[0] for name in names} == {"vending", f"acr_token_vending-{__version__}.dist-info"}
    assert "vending/py.typed" in names
    assert "vending/policy/policy.schema.json" in names
    assert not [name for name in names if name.endswith(".pyc")]


def test_the_sdist_holds_the_package_and_its_papers(release: Path) -> None:
    (sdist,) = release.glob("acr_token_vending-*.tar.gz")
    with tarfile.open(sdist) as archive:
        members = archive.getnames()
    names = {name.split("/", 2)[1] for name in members if "/" in name}
    papers = {"CHANGELOG.md", "LICENSE", "README.md", "PKG-INFO", "pyproject.toml", ".gitignore"}
    assert names <= {"vending", "clients", *papers}
    assert [name for name in members if "/clients/" in name] == [
        f"acr_token_vending-{__version__}/clients/docker-credential-acr-vending"
    ]


def test_the_app_of_a_release_has_no_policy(release: Path) -> None:
    names = zipfile.ZipFile(release / "acr-token-vending-app.zip").namelist()
    assert not [name for name in names if name in {"policy.yaml", "policy.json"}]
    assert "function_app.py" in names


def test_the_bill_of_materials_names_every_locked_requirement(release: Path) -> None:
    bill = json.loads((release / "acr-token-vending.cdx.json").read_text())
    locked = re.findall(r"^([A-Za-z0-9_.-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert {name.lower() for name in locked} == {component["name"].lower() for component in bill["components"]}


def version(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "version.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_version_stands_in_one_place() -> None:
    assert version().stdout == f"{__version__}\n"
    assert __version__ not in (ROOT / "pyproject.toml").read_text()


def test_a_tag_that_is_not_the_version_is_refused() -> None:
    refused = version("--expect", "9.9.9")
    assert refused.returncode == 1
    assert "9.9.9" in refused.stderr


@pytest.mark.parametrize(
    ("tag", "starts"),
    [("v1.2.3", True), ("v10.0.12", True), ("v1", False), ("v1.2", False), ("v1.2.3-rc1", False), ("x1.2.3", False)],
)
def test_only_full_versions_start_a_release(tag: str, starts: bool) -> None:
    """GitHub's filter patterns know character classes and `+` (docs: workflow syntax, filter pattern cheat sheet)."""
    from ruamel.yaml import YAML

    workflow = YAML(typ="safe").load((ROOT / ".github" / "workflows" / "release.yml").read_text())
    (pattern,) = workflow["on"]["push"]["tags"]
    assert bool(re.fullmatch(pattern.replace(".", r"\."), tag)) is starts


def test_the_clients_of_a_release_carry_the_one_script(release: Path, tmp_path: Path) -> None:
    with tarfile.open(release / "acr-token-vending-clients.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    script = (ROOT / "clients" / "acr-token.sh").read_text()
    clients = tmp_path / "clients"
    assert (clients / "acr-token.sh").read_text() == script
    assert (clients / "github-action" / "acr-token.sh").read_text() == script
    assert os.access(clients / "docker-credential-acr-vending", os.X_OK)
    for template in ("gitlab/acr-token.yml", "azure-pipelines/acr-token.yml"):
        assert script.splitlines()[-1] in (clients / template).read_text()
