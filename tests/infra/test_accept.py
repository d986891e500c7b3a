"""The acceptance run itself is known to work: the real service on the local stack, the rest of Azure emulated."""

from __future__ import annotations

import importlib
import os
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest

from devstack.registry.tokens import Rights
from devstack.stack import Stack, Upstreams
from tests.infra.serving import Handler, served
from tests.infra.test_commands import command_of, wrong
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
        yield {name: importlib.import_module(name) for name in ("service", "faults", "unverified")}
    finally:
        sys.path.remove(str(FOLDER))


@pytest.fixture
def scm(stack: Stack) -> Iterator[str]:
    """An SCM host that takes every package; beside it, at /log, what the service logged."""

    class Host(Handler):
        def respond(self) -> None:
            self.content()
            read = stack.host.log.encode() if self.path == "/log" else b'{"status": 4}'
            self.reply(200, b'"1"' if self.command == "POST" else read)

    with served(Host) as port:
        yield f"http://127.0.0.1:{port}"


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
        upstreams.registry.tokens.allow_arm_audience = False
        upstreams.registry.tokens.mode = "abac"
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
        "FAKE_LOGS": f"{scm}/log",
        "ACCEPT_NOWHERE": "127.0.0.1:1",  # nothing listens there
        "ACCEPT_REGISTRY_URL": stack.registry.url,
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
    claims, _, _ = (folder / "report.md").read_text().partition("\n## ")
    rows = re.findall(r"^\| (.*?) \| (pass|fail|not checked) \| (.*) \|$", claims, re.MULTILINE)
    return {claim: f"{result}: {seen}" for claim, result, seen in rows}


def test_every_claim_holds_where_all_is_well(stack: Stack, scm: str, tmp_path: Path, modules: dict[str, Any]) -> None:
    done = accept(stack, scm, tmp_path, "bicep", "packed", "terraform", "azd")
    found = results(tmp_path)
    assert {claim: seen for claim, seen in found.items() if seen.startswith("fail")} == {}
    assert done.returncode == 0, done.stderr
    assert sum(seen.startswith("pass") for seen in found.values()) > 45
    assert [path.name for path in (tmp_path / "state").iterdir() if path.is_dir()] == []
    for line in (tmp_path / "state" / "calls").read_text().splitlines():
        if line.startswith("az "):
            known = command_of(line.removeprefix("az "))
            assert known, line
            assert wrong(known, line.removeprefix(f"az {known}")) == [], line
    text = (tmp_path / "report.md").read_text()
    assert text.startswith("# Acceptance of acceptzz in westeurope\n")
    assert re.search(r"^\d+ pass, 0 fail, \d+ not checked$", text, re.MULTILINE)
    facts = re.findall(r"^\| (.*?) \| (pass|not checked) \|", text[text.index("## What docs/") :], re.MULTILINE)
    assert dict(facts) == {
        **dict.fromkeys(modules["unverified"].SETTLED, "pass"),
        **dict.fromkeys(modules["unverified"].LEFT, "not checked"),
    }


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


def test_every_operations_event_is_brought_about_or_explained(modules: dict[str, Any]) -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    section = page[page.index("## The operations log") :]
    table = section[section.index("| event | level |") :]
    documented = re.findall(r"^\| `(\w+)` \|", table[: table.index("\n\n")], re.MULTILINE)
    known = [*modules["faults"].EVENTS, *modules["faults"].EVENTS_NOT_PROVOKED]
    assert len(documented) > 15
    assert sorted(known) == sorted(documented)


def test_every_documented_refusal_is_asked_for_or_explained(modules: dict[str, Any]) -> None:
    source = "".join((FOLDER / name).read_text() for name in ("service.py", "faults.py"))
    asked = set(re.findall(r'^ +\("(\w+)", \d{3}, ', source, re.MULTILINE)) | {
        "registry_grant_narrower",
        "issuer_disabled",
    }
    for reasons in re.findall(r"^ +\(\{(.*?)\}, |held\(\[\(\{(.*?)\}", source, re.MULTILINE):
        asked |= set(re.findall(r'"(\w+)"', "".join(reasons)))
    explained = set(modules["service"].NOT_PROVOKED)
    assert asked & explained == set()
    assert asked | explained == {reason.value for reason in Reason}


def unverified(page: str, heading: str, form: str) -> list[Any]:
    text = (ROOT / "docs" / page).read_text()
    section = text[text.index(heading) :]
    section = section[: section.find("\n## ", 1)]
    return re.findall(form, section, re.MULTILINE)


def unverified_facts() -> list[str]:
    bullets = unverified("deploy.md", "## What was checked", r"^- (.*)$")
    rows = unverified("acr.md", "## What could not be verified", r"^\| (.*?) \|")
    return [*bullets, *(row for row in rows if row not in {"Fact", "---"})]


def test_the_run_knows_what_the_pages_call_unverified(modules: dict[str, Any]) -> None:
    known = [*modules["unverified"].SETTLED, *modules["unverified"].LEFT]
    facts = unverified_facts()
    assert len(facts) > 20
    assert len(known) == len(facts)
    for fact in facts:
        assert len([each for each in known if fact.startswith(each)]) == 1, fact


def test_the_page_says_which_facts_the_run_settles(modules: dict[str, Any]) -> None:
    rows = unverified("acr.md", "## What could not be verified", r"^\| (.*?) \|.* \| (yes|no: .*) \|$")
    assert len(rows) > 10
    for fact, said in rows:
        why = [reason for known, reason in modules["unverified"].LEFT.items() if fact.startswith(known)]
        assert said == (f"no: {why[0]}" if why else "yes"), fact


def test_every_settled_fact_names_a_claim_of_the_run(modules: dict[str, Any]) -> None:
    source = "".join(path.read_text() for path in FOLDER.glob("*.py"))
    for claim in modules["unverified"].SETTLED.values():
        beginning = claim.removesuffix("`registry_refused`")  # which the run writes from its table of faults
        assert f'"{beginning}' in source, claim
