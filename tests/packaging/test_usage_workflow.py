"""The monthly workflow, run as GitHub runs it: an issue whose patch applies, and none where events are missing."""

from __future__ import annotations

import datetime
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from devstack.entra.authority import Application, FederatedCredential
from tests.clients.servers import serve
from tests.evidence.recording import record
from tests.packaging.forges import PLATFORMS, TOKEN, Forge, Issue
from tests.packaging.monitor import RESOURCE, WORKSPACE, Workspace, refusal
from tests.packaging.origin import Origin, checkout
from tests.packaging.runners import Machine, Outcome, github_usage
from vending.acr.scope import parse as parse_scopes
from vending.cli.main import main
from vending.policy import Environment, load

if TYPE_CHECKING:
    from devstack.stack import Upstreams

pytestmark = pytest.mark.process

(GITHUB,) = (platform for platform in PLATFORMS if platform.name == "github")
RELEASE = {
    "repository_id": "123456",
    "repository_owner_id": "9919",
    "event_name": "push",
    "ref": "refs/heads/main",
    "ref_protected": "true",
}
PULL_REQUEST = {**RELEASE, "event_name": "pull_request", "ref": "refs/pull/1/merge"}
EVERYTHING = [
    (RELEASE, "repository:web/api:pull,push,metadata_read"),
    (PULL_REQUEST, "repository:web/api:pull,metadata_read"),
]
NOW = datetime.datetime.now(datetime.UTC)


@dataclass
class Month:
    """A policy repository on GitHub, the service's workspace, and the machine that runs the workflow."""

    machine: Machine
    directory: Path
    files: Path
    forge: Forge = field(default_factory=Forge)
    workspace: Workspace = field(default_factory=Workspace)
    runs: int = 0

    def run(self) -> Outcome:
        self.runs += 1
        outcome = github_usage(self.machine, self.directory / f"run-{self.runs}")
        assert TOKEN not in outcome.log
        assert "Traceback" not in outcome.log
        return outcome

    def happened(self, requests: list[tuple[dict[str, str], str]], *, days_ago: float = 89.5) -> None:
        """Write what requests leave in the audit log."""
        policy = load(self.files / "policy", Environment(allow_loopback=True))
        moment = NOW.timestamp() - days_ago * 86_400
        self.workspace.events += [
            record(policy, claims, parse_scopes(scope), moment, issuer="github")[0] for claims, scope in requests
        ]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    assert main(["init", str(folder), "--ci", "github"]) == 0
    return folder


@pytest.fixture
def month(upstreams: Upstreams, programs: tuple[Path, Path], files: Path, tmp_path: Path) -> Iterator[Month]:
    upstreams.authority.resources.add(RESOURCE)
    issuer = upstreams.issuers.github
    trusted = FederatedCredential(issuer.url, "repo:contoso/access:environment:audit", lambda: issuer.keys)
    application = upstreams.authority.register(Application(federated=[trusted]))
    variables = {
        "AZURE_TENANT_ID": upstreams.tenant.tenant_id,
        "AZURE_CLIENT_ID": application.client_id,
        "LOG_WORKSPACE_ID": WORKSPACE,
    }
    environment = {
        "PIP_NO_INDEX": "1",
        "SSL_CERT_FILE": str(upstreams.ca.ca_file),
        "AZURE_AUTHORITY_HOST": f"https://{upstreams.authority.host}",
    }

    def token_for(audience: str, subject: str) -> str:
        return issuer.token(audience=audience, claims={"sub": subject})

    def runner_for(subject: str) -> dict[str, str]:
        return issuer.job(sub=subject).github_env

    origin = Origin(tmp_path, files)
    machine = Machine(origin, programs, environment, variables, TOKEN, token_for, runner_for)
    found = Month(machine, tmp_path / "runs", files)
    with (
        serve(lambda _server: lambda seen: GITHUB.answer(found.forge, seen)) as forge,
        serve(lambda _server: found.workspace.answer) as monitor,
    ):
        own = {**environment, **GITHUB.variables(forge.url), "LOG_ANALYTICS": monitor.url}
        found.machine = replace(machine, environment=own)
        yield found


def patch_of(issue: Issue) -> str:
    (patch,) = re.findall(r"^```diff\n(.*?)^```$", issue.body, re.DOTALL | re.MULTILINE)
    return str(patch)


def difference(month: Month, issue: Issue, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Apply an issue's patch and compare the policies."""
    place = month.directory / "applied"
    checkout(month.machine.origin.url, "main", place, 1)
    subprocess.run(["git", "apply", "-"], input=patch_of(issue), text=True, cwd=place, check=True)
    capsys.readouterr()
    assert main(["diff", str(month.files / "policy"), str(place / "policy"), "--format", "json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_an_issue_carries_the_patch_and_another_month_rewrites_it(
    month: Month, capsys: pytest.CaptureFixture[str]
) -> None:
    month.happened([(RELEASE, "repository:web/api:pull,push"), EVERYTHING[1]])
    done = month.run()
    assert done.green, done.log
    expected = [(NOW.date() - datetime.timedelta(days=back)).isoformat() for back in range(90, 0, -1)]
    assert month.workspace.days == expected
    (issue,) = month.forge.issues
    assert issue.title == "Access that nobody used"
    assert "1 right was not used in 90 days" in issue.body
    assert "drop metadata_read on web/api" in issue.body
    found = difference(month, issue, capsys)
    assert found["grew"] == found["not_decided"] == []
    assert [(one["action"], one["repository"]) for one in found["shrank"]] == [("metadata_read", "web/api")]
    # Nobody did anything about it, and next month another right is unused as well.
    del month.workspace.events[1]
    again = month.run()
    assert again.green, again.log
    assert month.forge.issues == [issue]
    assert "expires:" in patch_of(issue)
    assert f"Updated https://github.com/contoso/access/issues/{issue.number}" in again.log


def test_what_was_closed_as_not_planned_is_not_asked_again_until_it_differs(month: Month) -> None:
    month.happened([EVERYTHING[0]])
    assert month.run().green
    month.forge.issues[0].closed_as = "not_planned"
    month.forge.issues[0].body = re.sub(r"expires: \S+", "expires: 2020-01-01", month.forge.issues[0].body)
    again = month.run()
    assert again.green, again.log
    assert "was closed as not planned" in again.log
    assert len(month.forge.issues) == 1
    month.workspace.events.clear()
    month.happened([(RELEASE, "repository:web/api:pull,push")])
    assert month.run().green
    assert len(month.forge.issues) == 2
    month.forge.issues[1].closed_as = "completed"
    assert month.run().green
    assert len(month.forge.issues) == 3, "it was closed as done, and is not"


def test_an_issue_that_another_wrote_is_left_alone(month: Month) -> None:
    month.happened([EVERYTHING[0]])
    month.forge.issues.append(Issue(101, "mallory", "Access that nobody used", "<!-- acr-vending: usage 0 -->"))
    assert month.run().green
    assert month.forge.issues[0].body == "<!-- acr-vending: usage 0 -->"
    assert len(month.forge.issues) == 2


def test_where_every_right_was_used_there_is_no_issue(month: Month) -> None:
    month.happened(EVERYTHING)
    done = month.run()
    assert done.green, done.log
    assert "Every right was used" in done.log
    assert month.forge.issues == []


def test_events_that_do_not_reach_back_are_said_in_the_issue(month: Month) -> None:
    month.happened([EVERYTHING[0]], days_ago=30.2)
    done = month.run()
    assert done.green, done.log
    assert "The events begin 60 days after the period does" in month.forge.issues[0].body


@pytest.mark.parametrize("code", ["InsufficientAccessError", "ThrottledError", "SemanticError"])
def test_a_query_that_fails_is_red(month: Month, code: str) -> None:
    status = {"InsufficientAccessError": 403, "ThrottledError": 429, "SemanticError": 400}[code]
    month.workspace.instead = refusal(status, code, f"{code}: the reason")
    failed = month.run()
    assert not failed.green
    assert f"{code}: the reason" in failed.log
    assert month.forge.issues == []


def test_a_query_that_the_platform_cut_is_red_and_says_what_to_do(month: Month) -> None:
    month.happened(EVERYTHING)
    month.workspace.most_rows = 1
    failed = month.run()
    assert not failed.green
    assert "holds a part of the answer only" in failed.log
    assert "Export the days again, in shorter pieces" in failed.log
    assert month.forge.issues == []


def test_a_workspace_without_events_is_red_and_says_what_to_do(month: Month) -> None:
    failed = month.run()
    assert not failed.green
    assert "There are no events" in failed.log
    assert month.forge.issues == []
