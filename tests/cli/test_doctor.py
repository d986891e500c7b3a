"""The doctor finds what is wrong with policy, issuers, identities and registries, and names what fixes it."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from devstack.faults import Fault
from devstack.registry.tokens import Rights
from devstack.serving import bind
from devstack.stack import Upstreams
from vending.cli.main import main
from vending.settings import SET_BY_THE_PLATFORM

POLICY = """\
version: 1
audience: https://vend.contoso.example
registries:
  prod: {{login_server: "{login_server}"}}
issuers:
  github: {{preset: github, issuer: "{github}"}}
  gitlab: {{preset: gitlab, issuer: "{gitlab}"}}
  off: {{preset: generic, issuer: "https://off.example", enabled: false}}
maps:
  images: {{"1": mapped/image}}
rules:
  - name: web
    issuer: github
    when: {{repository_id: "123456"}}
    grant:
      - registry: prod
        repositories: [web/api, "cache/**", "ci/{{repository|lower|path}}", "{{repository_id|images}}"]
        actions: [pull, push]
"""


@pytest.fixture(scope="module")
def own() -> Iterator[Upstreams]:
    with Upstreams(docker_registry=False) as started:
        yield started


class Patient:
    """What the doctor is called to: settings, a policy, and upstreams that can be made ill."""

    def __init__(
        self, upstreams: Upstreams, directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.upstreams = upstreams
        self.monkeypatch = monkeypatch
        self.capsys = capsys
        self.path = directory / "policy.yaml"
        self.progress = ""
        self.write(POLICY)
        for name in SET_BY_THE_PLATFORM:  # Some build machines have one of these.
            monkeypatch.delenv(name, raising=False)
        self.set(
            VENDING_POLICY=str(self.path),
            VENDING_PUBLIC_URL="https://vend.contoso.example",
            VENDING_ALLOW_LOOPBACK="1",
            VENDING_DEADLINE_SECONDS="4",
            **upstreams.identity.env,
        )

    def set(self, **settings: str) -> None:
        for name, value in settings.items():
            self.monkeypatch.setenv(name, value)

    def write(self, policy: str, **values: str) -> None:
        issuers = self.upstreams.issuers
        honest = {
            "login_server": self.upstreams.registry.login_server,
            "github": issuers.github.url,
            "gitlab": issuers.gitlab.url,
        }
        self.path.write_text(policy.format(**{**honest, **values}))

    def examine(self, *arguments: str) -> tuple[int, str]:
        status = main(["doctor", *arguments])
        output = self.capsys.readouterr()
        self.progress = output.err
        return status, output.out

    def findings(self, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
        status, output = self.examine("--format", "json", *arguments)
        return status, json.loads(output)["findings"]

    def trouble(self) -> dict[str, Any]:
        """Examine; there is exactly one thing to fix."""
        status, findings = self.findings()
        [error] = [finding for finding in findings if finding["outcome"] == "error"]
        assert status == 1
        return error


@pytest.fixture
def patient(
    own: Upstreams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Patient]:
    assert own.identity.system is not None
    rights = Rights([("*", frozenset({"pull", "push", "metadata_read", "metadata_write"}))])
    own.registry.allow(own.identity.system.object_id, rights)
    yield Patient(own, tmp_path, monkeypatch, capsys)
    own.heal()


@pytest.fixture
def closed() -> Iterator[str]:
    sock: socket.socket = bind()
    yield f"127.0.0.1:{sock.getsockname()[1]}"
    sock.close()


def test_all_is_well(patient: Patient) -> None:
    status, findings = patient.findings()
    assert status == 0
    assert [(f["check"], f["name"], f["outcome"]) for f in findings] == [
        ("policy", str(patient.path), "ok"),
        ("replay store", "memory", "warning"),
        ("issuer", "github", "ok"),
        ("issuer", "gitlab", "ok"),
        ("issuer", "off", "warning"),
        ("identity", "default", "ok"),
        ("registry", "prod", "ok"),
    ]
    system = patient.upstreams.identity.system
    assert system is not None
    assert system.object_id in findings[5]["message"]
    assert "classic roles" in findings[6]["message"]


def test_it_reads_well(patient: Patient) -> None:
    status, output = patient.examine()
    assert status == 0
    lines = output.splitlines()
    assert lines[0].startswith("ok      policy ")
    assert lines[-1] == "0 things to fix, 2 warnings"
    assert any(line.startswith("        → Set VENDING_REPLAY_STORE") for line in lines)


def test_progress_shows_while_it_runs(patient: Patient) -> None:
    patient.examine()
    looked_at = {line.removeprefix("checking ").removesuffix(" ...") for line in patient.progress.splitlines()}
    assert looked_at == {
        "policy", "replay store", "issuer github", "issuer gitlab", "identity default", "registry prod",
    }  # fmt: skip


def test_no_token_is_shown(patient: Patient) -> None:
    for form in ("text", "json", "github"):
        _, output = patient.examine("--format", form)
        assert "eyJ" not in output + patient.progress


def test_policy_can_be_named_on_the_command_line(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENDING_POLICY", "/nowhere/policy.yaml")
    monkeypatch.chdir(patient.path.parent)
    assert patient.findings("--policy", "policy.yaml")[0] == 0


def test_policy_that_does_not_load_is_reported_by_line(patient: Patient) -> None:
    patient.write(POLICY.replace("[pull, push]", "[pul]"))
    status, output = patient.examine()
    assert status == 1
    assert f"{patient.path}:" in output
    assert "1 thing to fix" in output


def test_policy_that_is_not_there(patient: Patient) -> None:
    patient.path.unlink()
    error = patient.trouble()
    assert error["check"] == "policy"
    assert "Storage Blob Data Reader" in error["advice"]


def test_blob_that_cannot_be_read(patient: Patient, closed: str) -> None:
    patient.set(VENDING_POLICY=f"http://{closed}/policies/policy.yaml")
    error = patient.trouble()
    assert (error["check"], error["message"]) == ("policy", f"{closed}: it refuses connections on this port")


def test_replay_table_that_cannot_be_read(patient: Patient, closed: str) -> None:
    patient.set(VENDING_REPLAY_STORE=f"http://{closed}/devstoreaccount1/claims")
    error = patient.trouble()
    assert error["check"] == "replay store"
    assert error["message"] == f"{closed}: it refuses connections on this port"
    assert error["advice"] == "Check host and port, and that the server runs."


def test_setting_that_cannot_be_used(patient: Patient) -> None:
    patient.set(VENDING_DEADLINE_SECONDS="soon")
    error = patient.trouble()
    assert error["check"] == "settings"
    assert "VENDING_DEADLINE_SECONDS" in error["message"]


def test_missing_public_url_does_not_keep_it_from_looking_further(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VENDING_PUBLIC_URL")
    monkeypatch.delenv("WEBSITE_HOSTNAME", raising=False)
    status, findings = patient.findings()
    assert (status, findings[0]["check"], findings[-1]["check"]) == (1, "settings", "registry")


Setup = Callable[[Upstreams], object]


@pytest.mark.parametrize(
    ("make_ill", "message", "advice"),
    [
        pytest.param(
            lambda up: up.issuers.github.board.set("discovery", Fault(status=404)),
            "HTTP 404",
            "Check the issuer's URL",
            id="no discovery",
        ),
        pytest.param(
            lambda up: up.issuers.github.board.set("jwks", Fault(reset=True)),
            "closed the connection before its answer was complete",
            "Something between hangs up",
            id="unreachable keys",
        ),
        pytest.param(
            lambda up: up.issuers.github.board.set("discovery", Fault(body=b'{"issuer": "https://evil.example"}')),
            "names the issuer https://evil.example, the policy http://127.0.0.1",
            "Write the issuer exactly",
            id="another issuer",
        ),
        pytest.param(
            lambda up: up.issuers.github.board.set("jwks", Fault(body=b'{"keys": [{"kty": "oct", "k": "AA"}]}')),
            "0 usable keys published",
            "must publish a key",
            id="no usable key",
        ),
    ],
)
def test_trouble_with_an_issuer(patient: Patient, make_ill: Setup, message: str, advice: str) -> None:
    make_ill(patient.upstreams)
    error = patient.trouble()
    assert (error["check"], error["name"]) == ("issuer", "github")
    assert message in error["message"]
    assert advice in error["advice"]


def test_keys_of_another_algorithm_than_the_policy_allows(patient: Patient) -> None:
    patient.write(POLICY.replace("gitlab, issuer", "gitlab, algorithms: [ES256], issuer"))
    error = patient.trouble()
    assert "none is for ES256, as the policy demands, but for RS256" in error["message"]
    assert error["advice"] == "List the algorithm that the issuer signs with under algorithms."


def test_static_keys_are_looked_at_and_nothing_is_fetched(patient: Patient) -> None:
    keys = json.dumps(patient.upstreams.issuers.gitlab.jwks())
    patient.upstreams.issuers.gitlab.board.requests.clear()
    patient.write(POLICY.replace("gitlab, issuer", "gitlab, jwks: {keys}, issuer"), keys=keys)
    status, findings = patient.findings()
    assert status == 0
    assert findings[3]["message"] == "1 usable key written in the policy"
    assert not patient.upstreams.issuers.gitlab.board.requests


def test_identity_that_the_app_does_not_have(patient: Patient) -> None:
    patient.set(AZURE_CLIENT_ID="00000000-0000-0000-0000-000000000099")
    status, findings = patient.findings()
    identity, registry = findings[-2:]
    assert status == 1
    assert identity["outcome"] == "error"
    assert "Assign the identity to the app" in identity["advice"]
    assert registry["message"] == "not examined, for its identity default has no token"


def test_identity_outside_azure(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IDENTITY_ENDPOINT")
    monkeypatch.delenv("IDENTITY_HEADER")
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9")  # for the address of virtual machines
    _, findings = patient.findings()
    assert "IDENTITY_ENDPOINT is not set" in findings[-2]["advice"]


def test_developer_without_the_azure_cli(patient: Patient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    patient.write(POLICY.replace("issuers:", "identities:\n  default: {{type: developer}}\nissuers:", 1))
    _, findings = patient.findings()
    assert findings[-2]["advice"] == "Install the Azure CLI and run az login."


def lessen(up: Upstreams) -> None:
    assert up.identity.system is not None
    up.registry.allow(up.identity.system.object_id, Rights([("*", frozenset({"pull"}))]))


def no_rights(up: Upstreams) -> None:
    up.registry.tokens.rights.clear()


def abac(up: Upstreams) -> None:
    up.registry.tokens.mode = "abac"
    assert up.identity.system is not None
    writes = frozenset({"pull", "push"})
    up.registry.allow(up.identity.system.object_id, Rights([("web/*", writes), ("cache/*", writes), ("ci/*", writes)]))


@pytest.mark.parametrize(
    ("make_ill", "message", "advice"),
    [
        pytest.param(lessen, "lacks repository:cache/doctor:push", '--role "AcrPush"', id="too few rights"),
        pytest.param(no_rights, "HTTP 401: UNAUTHORIZED, retrieving permissions failed", "AcrPush", id="no rights"),
        pytest.param(
            abac,
            "(ABAC repository permissions): the identity lacks repository:mapped/image:pull, "
            "repository:mapped/image:push",
            '--role "Container Registry Repository Writer"',
            id="a condition that is too narrow",
        ),
        pytest.param(
            lambda up: setattr(up.registry, "firewalled", True),
            "HTTP 403: DENIED, client with IP '127.0.0.1'",
            "private endpoint",
            id="firewall",
        ),
        pytest.param(
            lambda up: up.registry.board.set("exchange", Fault(status=404)),
            "no registry at this login server",
            "Check login_server",
            id="no registry",
        ),
        pytest.param(
            lambda up: up.registry.board.set("exchange", Fault(body=b"<html>")),
            "could not be understood",
            "no Azure Container Registry",
            id="no ACR",
        ),
        pytest.param(
            lambda up: up.registry.board.set("exchange", Fault(reset=True)), "closed the connection", "hangs up",
            id="unreachable",
        ),
        pytest.param(
            lambda up: up.registry.board.set("token", Fault(status=429, headers={"Retry-After": "60"})),
            "throttling", "Wait", id="throttled",
        ),
    ],
)  # fmt: skip
def test_trouble_with_a_registry(patient: Patient, make_ill: Setup, message: str, advice: str) -> None:
    make_ill(patient.upstreams)
    error = patient.trouble()
    assert (error["check"], error["name"]) == ("registry", "prod")
    assert message in error["message"]
    assert advice in error["advice"]


def test_audience_that_the_registry_does_not_take(patient: Patient) -> None:
    patient.upstreams.registry.tokens.allow_arm_audience = False
    patient.write(
        POLICY.replace('"{login_server}"', '"{login_server}", token_audience: "https://management.azure.com"')
    )
    assert "leave token_audience out" in patient.trouble()["advice"]


def test_role_assignment_names_the_identity_and_the_registry(patient: Patient) -> None:
    lessen(patient.upstreams)
    advice = patient.trouble()["advice"]
    system = patient.upstreams.identity.system
    assert system is not None
    assert re.search(rf"--assignee-object-id {system.object_id} --assignee-principal-type ServicePrincipal", advice)


def test_registry_that_calls_itself_otherwise(patient: Patient) -> None:
    port = patient.upstreams.registry.port
    patient.write(POLICY, login_server=f"localhost:{port}")
    status, findings = patient.findings()
    assert status == 0
    assert f"Write service: 127.0.0.1:{port}" in findings[-1]["advice"]


def test_rights_beyond_the_policy_are_pointed_out(patient: Patient) -> None:
    system = patient.upstreams.identity.system
    assert system is not None
    patient.upstreams.registry.allow(system.object_id)
    status, findings = patient.findings()
    assert status == 0
    assert findings[-1]["outcome"] == "warning"
    assert findings[-1]["message"] == "the identity may delete everywhere, which no rule grants"


def test_nothing_is_written_anywhere(patient: Patient) -> None:
    patient.upstreams.registry.board.requests.clear()
    patient.examine()
    assert set(patient.upstreams.registry.board.requests) == {"exchange", "token"}
