"""The acceptance run itself is known to work: the real service on the local stack, the rest of Azure emulated."""

from __future__ import annotations

import importlib
import os
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from devstack.registry.tokens import Rights
from devstack.stack import Stack, Upstreams
from tests.infra.toolbox import ROOT, run
from vending.errors import Reason

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

FOLDER = ROOT / "infra" / "acceptance"
BEFORE = """
version: 1
audience: https://accept.vending.example
registries: {prod: {login_server: contoso.azurecr.io}}
issuers: {github: {preset: github}}
rules: []
"""


@pytest.fixture(scope="module")
def modules() -> Iterator[dict[str, Any]]:
    """The run's own tables."""
    sys.path.insert(0, str(FOLDER))
    try:
        yield {name: importlib.import_module(name) for name in ("service", "unverified")}
    finally:
        sys.path.remove(str(FOLDER))


@pytest.fixture
def scm() -> Iterator[str]:
    """An SCM host that takes every package."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.reply('"1"')

        def do_GET(self) -> None:
            self.reply('{"status": 4}')

        def reply(self, text: str) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the name is http.server's
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """The service with a registry whose identity is bounded to accept/, and an issuer that plays GitHub."""
    settings = {
        "VENDING_PUBLIC_URL": "https://vend.contoso.example",
        "VENDING_POLICY_REFRESH_SECONDS": "1",
    }
    with Upstreams() as upstreams:
        identity = upstreams.identity.system
        assert identity
        upstreams.registry.allow(
            identity.object_id, Rights([("accept/*", frozenset({"pull", "push", "metadata_read"}))])
        )
        with Stack(upstreams, policy=BEFORE, settings=settings) as running:
            yield running


def accept(stack: Stack, scm: str, folder: Path, *ways: str, broken: str = "") -> subprocess.CompletedProcess[str]:
    programs = folder / "bin"
    programs.mkdir()
    for name in ("az", "azd", "terraform", "docker"):
        (programs / name).write_text(f"#!{sys.executable}\n{(ROOT / 'tests/infra/fake_programs.py').read_text()}")
        (programs / name).chmod(0o755)
    issuer = stack.issuers.github
    job = issuer.job(repository_id="777", repository_owner_id="88")
    environment = {
        **job.github_env,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "FAKE_STATE": str(folder / "state"),
        "FAKE_POLICY": str(stack.policy_path),
        "FAKE_BREAK": broken,
        "ACCEPT_ISSUER": issuer.url,
        "ACCEPT_URL": stack.url,
        "ACCEPT_SCM": scm,
        "ACCEPT_REGISTRY": stack.registry.login_server,
        "VENDING_ALLOW_LOOPBACK": "1",
        "CONTAINER_NAME": "",  # a container of the tests is not Azure
        **stack.identity.env,
    }
    given: list[str | Path] = [
        "--prefix",
        "acceptzz",
        "--report",
        folder / "report.md",
        "--pause",
        "0.2",
        "--attempts",
        "25",
        "--policy-seconds",
        "15",
    ]
    command: list[str | Path] = [sys.executable, FOLDER, *given, "--ways", *ways]
    return run(command, env=environment)


def results(folder: Path) -> dict[str, str]:
    rows = re.findall(
        r"^\| (.*?) \| (pass|fail|not checked) \| (.*) \|$", (folder / "report.md").read_text(), re.MULTILINE
    )
    return {claim: f"{result}: {seen}" for claim, result, seen in rows}


def test_every_claim_holds_where_all_is_well(stack: Stack, scm: str, tmp_path: Path) -> None:
    done = accept(stack, scm, tmp_path, "bicep", "terraform", "azd")
    found = results(tmp_path)
    assert {claim: seen for claim, seen in found.items() if seen.startswith("fail")} == {}
    assert done.returncode == 0, done.stderr
    assert sum(seen.startswith("pass") for seen in found.values()) > 45
    assert [path.name for path in (tmp_path / "state").iterdir() if path.is_dir()] == []


def test_claims_that_do_not_hold_fail_and_the_rest_is_still_asked(stack: Stack, scm: str, tmp_path: Path) -> None:
    done = accept(stack, scm, tmp_path, "bicep", broken="change,left,widened")
    assert done.returncode == 1
    failed = {claim for claim, seen in results(tmp_path).items() if seen.startswith("fail")}
    assert failed == {
        "Bicep: what-if after it finds no change, and names every resource",
        "Bicep: the stack goes away, and leaves nothing",
        "an access token cannot be traded for one with more actions: a pull-only token does not push",
    }
    for claim in failed:
        assert claim in done.stderr


def test_a_plan_that_is_not_empty_fails(stack: Stack, scm: str, tmp_path: Path) -> None:
    done = accept(stack, scm, tmp_path, "terraform", broken="plan")
    assert done.returncode == 1
    assert results(tmp_path)["Terraform: the second plan is empty"].startswith("fail")
    assert results(tmp_path)["Terraform: destroy succeeds, and leaves nothing"].startswith("pass")


def test_the_report_is_one_page_of_markdown(stack: Stack, scm: str, tmp_path: Path) -> None:
    accept(stack, scm, tmp_path, "azd")
    text = (tmp_path / "report.md").read_text()
    assert text.startswith("# Acceptance of acceptzz in westeurope\n")
    assert re.search(r"^\d+ pass, 0 fail, \d+ not checked$", text, re.MULTILINE)


def test_every_documented_refusal_is_asked_for_or_explained(modules: dict[str, Any]) -> None:
    source = (FOLDER / "service.py").read_text()
    asked = set(re.findall(r'^ +\("(\w+)", \d{3}, ', source, re.MULTILINE)) | {
        "registry_grant_narrower",
        "issuer_disabled",
    }
    asked |= set(re.findall(r'^ +"(\w+)",\n +\d{3},$', source, re.MULTILINE))
    explained = set(modules["service"].NOT_PROVOKED)
    assert asked & explained == set()
    assert asked | explained == {reason.value for reason in Reason}


def unverified(page: str, heading: str, form: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text()
    section = text[text.index(heading) :]
    section = section[: section.find("\n## ", 1)]
    return re.findall(form, section, re.MULTILINE)


def test_the_run_knows_what_the_pages_call_unverified(modules: dict[str, Any]) -> None:
    bullets = unverified("deploy.md", "## What was checked", r"^- (.*)$")
    rows = [
        row
        for row in unverified("acr.md", "## What could not be verified", r"^\| (.*?) \|")
        if row not in {"Fact", "---"}
    ]
    for facts, table in ((bullets, modules["unverified"].DEPLOY), (rows, modules["unverified"].ACR)):
        for fact in facts:
            assert len([known for known in table if fact.startswith(known)]) == 1, fact
        for known in table:
            assert [fact for fact in facts if fact.startswith(known)], known


def test_every_settled_fact_names_a_claim_of_the_run(modules: dict[str, Any]) -> None:
    source = "".join((FOLDER / name).read_text() for name in ("service.py", "deployments.py"))
    for table in (modules["unverified"].DEPLOY, modules["unverified"].ACR):
        for claim in filter(None, table.values()):
            assert f'"{claim}' in source, claim
