"""Delivering the code ends well only when the app itself says that it runs this version with this policy."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

import vending
from tests.infra.serving import Handler, served
from tests.infra.toolbox import ROOT, run

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

AZ = """#!/bin/sh
echo "$@" >> "$AZ_CALLS"
case "$*" in
  *get-access-token*) echo a-token ;;
  *"appsettings list"*) echo "$AZ_POLICY" ;;
  *runtime.version*) echo "$AZ_RUNTIME" ;;
esac
"""
POLICY_TEXT = b'{"version": 1}\n'
POLICY = hashlib.sha256(POLICY_TEXT).hexdigest()


@dataclass
class App:
    """An app and its SCM host: what was published, and what the two answer, one after the other."""

    published: list[tuple[str, str, bytes]] = field(default_factory=list)
    deployments: list[Any] = field(default_factory=lambda: [{"status": 1}, {"status": 4}])
    ready: list[tuple[int, Any]] = field(default_factory=list)
    accepts: int = 202
    url: str = ""

    def answer(self, path: str) -> tuple[int, Any]:
        queue: list[Any] = self.ready if path == "/readyz" else [(200, each) for each in self.deployments]
        found: tuple[int, Any] = queue[0]
        remaining = self.ready if path == "/readyz" else self.deployments
        if len(remaining) > 1:
            remaining.pop(0)
        return found


@pytest.fixture
def app() -> Iterator[App]:
    state = App()

    class Host(Handler):
        def respond(self) -> None:
            status, body = state.accepts, "4711"
            if self.command == "POST":
                state.published.append((self.path, self.headers["Authorization"], self.content()))
            else:
                status, body = state.answer(self.path)
            self.reply(status, json.dumps(body).encode())

    with served(Host) as port:
        state.url = f"http://127.0.0.1:{port}"
        yield state


def deliver(
    app: App, folder: Path, *options: str, policy: str = "[]", runtime: str = ""
) -> subprocess.CompletedProcess[str]:
    az = folder / "az"
    az.write_text(AZ)
    az.chmod(0o755)
    (folder / "mine.json").write_bytes(POLICY_TEXT)
    command: list[str | Path] = [
        sys.executable,
        ROOT / "infra" / "deliver.py",
        "--resource-group",
        "rg",
        "--name",
        "func",
    ]
    places: list[str | Path] = [
        "--package",
        folder / "app.zip",
        "--policy",
        folder / "mine.json",
        "--url",
        app.url,
        "--scm",
        app.url,
        "--attempts",
        "3",
        "--pause",
        "0",
    ]
    environment = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "AZ_CALLS": str(folder / "calls"),
        "AZ_POLICY": policy,
        "AZ_RUNTIME": runtime,
    }
    return run([*command, *places, *options], env=environment)


def running(**changes: Any) -> dict[str, Any]:
    return {"version": vending.__version__, "sha256": POLICY, **changes}


def test_the_package_is_published_and_the_app_says_that_it_runs(app: App, tmp_path: Path) -> None:
    app.ready = [(404, ""), (503, running()), (200, running())]
    done = deliver(app, tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == running()
    [(path, authorization, content)] = app.published
    assert (path, authorization) == ("/api/publish?RemoteBuild=true", "Bearer a-token")
    assert content == (tmp_path / "app.zip").read_bytes()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param((404, ""), id="did_not_start"),
        pytest.param((503, running()), id="not_ready"),
        pytest.param((200, running(version="0.0.9")), id="old_version"),
        pytest.param((200, running(sha256="0" * 64)), id="old_policy"),
    ],
)
def test_an_app_that_does_not_run_it_is_a_failure(app: App, tmp_path: Path, answer: tuple[int, Any]) -> None:
    app.ready = [answer]
    done = deliver(app, tmp_path)
    assert done.returncode == 1
    assert "/readyz does not answer" in done.stderr


def test_the_app_must_have_the_policy_that_is_in_the_package(app: App, tmp_path: Path) -> None:
    """A policy in YAML is delivered compiled, and a package that was built before says itself what is in it."""
    folder = tmp_path / "built"
    folder.mkdir()
    written = folder / "policy.yaml"
    written.write_bytes((ROOT / "policy.yaml").read_bytes())
    command: list[str | Path] = [
        sys.executable,
        ROOT / "infra" / "package.py",
        "--policy",
        written,
        "--allow-sample-policy",
    ]
    built = run([*command, tmp_path / "app.zip"])
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(tmp_path / "app.zip") as package:
        sha256 = hashlib.sha256(package.read("policy.json")).hexdigest()
    assert sha256 in built.stderr
    app.ready = [(200, running(sha256=sha256))]
    assert deliver(app, tmp_path, "--prebuilt").returncode == 0
    app.ready = [(200, running())]
    assert deliver(app, tmp_path, "--prebuilt").returncode == 1


def test_a_policy_blob_may_be_any(app: App, tmp_path: Path) -> None:
    app.ready = [(200, running(sha256="0" * 64))]
    blob = json.dumps([{"name": "VENDING_POLICY", "value": "https://st.blob.core.windows.net/policy/policy.yaml"}])
    assert deliver(app, tmp_path, policy=blob).returncode == 0


def test_the_sample_policy_is_not_delivered(app: App, tmp_path: Path) -> None:
    done = deliver(app, tmp_path, "--policy", str(ROOT / "policy.yaml"))
    assert done.returncode == 1
    assert "belongs to the sample policy" in done.stderr
    assert app.published == []


def test_an_app_whose_scm_host_is_not_told_is_a_failure(app: App, tmp_path: Path) -> None:
    done = deliver(app, tmp_path, "--scm", "")
    assert done.returncode == 1
    assert "names no host of the type Repository" in done.stderr
    assert app.published == []


def test_a_failed_build_is_told(app: App, tmp_path: Path) -> None:
    app.deployments = [{"status": 3, "status_text": "no matching distribution"}]
    app.ready = [(200, running())]
    done = deliver(app, tmp_path)
    assert done.returncode == 1
    assert "no matching distribution" in done.stderr


def test_a_refused_package_is_told(app: App, tmp_path: Path) -> None:
    app.accepts = 401
    done = deliver(app, tmp_path)
    assert done.returncode == 1
    assert "The package was not taken: 401" in done.stderr


def test_telemetry_s_setting_follows_its_package(app: App, tmp_path: Path) -> None:
    app.ready = [(200, running())]
    done = deliver(app, tmp_path, "--telemetry", "--settings-after", "VENDING_TELEMETRY=azure-monitor")
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / "app.zip") as package:
        assert package.read("requirements.txt") == (ROOT / "requirements-telemetry.txt").read_bytes()
    calls = (tmp_path / "calls").read_text().splitlines()
    assert "appsettings set" in calls[-1]
    assert "VENDING_TELEMETRY=azure-monitor" in calls[-1]


def packed_for(tag: str, folder: Path) -> None:
    """Write a package that carries its dependencies, as far as a delivery looks into it."""
    with zipfile.ZipFile(folder / "app.zip", "w") as package:
        package.writestr("policy.json", POLICY_TEXT)
        package.writestr(f".python_packages/lib/site-packages/__pycache__/httpx.{tag}.pyc", b"")


@pytest.mark.parametrize("runtime", ["3.12", ""])
def test_package_with_its_dependencies_is_published_without_the_remote_build(
    app: App, tmp_path: Path, runtime: str
) -> None:
    packed_for("cpython-312", tmp_path)
    app.ready = [(200, running())]
    done = deliver(app, tmp_path, "--prebuilt", runtime=runtime)
    assert done.returncode == 0, done.stderr
    assert [path for path, _, _ in app.published] == ["/api/publish?RemoteBuild=false"]


def test_package_with_dependencies_for_another_python_is_not_delivered(app: App, tmp_path: Path) -> None:
    packed_for("cpython-312", tmp_path)
    done = deliver(app, tmp_path, "--prebuilt", runtime="3.13")
    assert done.returncode == 1
    assert "dependencies for Python 3.12, but the app runs on 3.13" in done.stderr
    assert app.published == []


def test_dependencies_are_packed_where_that_is_asked_for(app: App, tmp_path: Path) -> None:
    """What cannot be packed is not delivered."""
    other = tmp_path / "python"
    other.write_text("#!/bin/sh\necho cpython 3.10\n")
    other.chmod(0o755)
    done = deliver(app, tmp_path, "--with-dependencies", "--python", str(other))
    assert done.returncode == 1
    assert f"{other} is cpython 3.10; the app runs on CPython" in done.stderr
    assert app.published == []
