"""An author tries a rule over HTTP: `up --policy FILE` runs any policy, and `token` mints what its issuers would."""

import json
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devstack import plain

PATIENCE_SECONDS = 60
POLICY = """\
version: 1
audience: https://vend.northwind.example
registries:
  prod: {login_server: northwind.azurecr.io, hosts: [northwind.eastus.geo.azurecr.io], identity: partner}
  sovereign:
    login_server: r.example
    cloud: custom
    authority_host: login.example
    token_audience: https://r.example
identities:
  partner: {type: federated_app, tenant_id: 00000000-0000-0000-0000-000000000001,
            client_id: 00000000-0000-0000-0000-000000000002}
issuers:
  actions: {preset: github, replay: reuse}
  clusters: {preset: kubernetes, issuer: "https://oidc.example/1"}
  ours: {preset: generic, issuer: "https://idp.example", algorithms: [ES256], audience: other-audience}
rules:
  - name: web
    issuer: actions
    when: {repository_id: "42", ref: refs/heads/main}
    grant: [{registry: prod, repositories: [web/api], actions: [pull, push]}]
    expires: 2099-12-31
  - name: pods
    issuer: clusters
    when: {/kubernetes.io/namespace: shop}
    grant: [{registry: sovereign, repositories: ["shop/**"], actions: [pull]}]
  - name: service
    issuer: ours
    when: {sub: me}
    grant: [{registry: prod, repositories: [web/api], actions: [pull]}]
"""


class Author:
    """A person with two terminals: one runs the stack, the other asks it."""

    def __init__(self, policy: Path) -> None:
        self.policy = policy
        self._up = subprocess.Popen(
            [sys.executable, "-m", "devstack", "up", "--policy", policy, "--memory-registry", "--port", "0"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._up.stdout is not None
        self._said: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        told = ""
        while "KEY=VALUE" not in told:
            line = self._up.stdout.readline()
            assert line, told
            told += line
        self.told = told
        found = re.search(r"service +(http://\S+:(\d+))", told)
        assert found, told
        self.url, self.port = found[1], found[2]

    def _read(self) -> None:
        """Read standard error, lest a full pipe block the stack."""
        assert self._up.stderr is not None
        for line in self._up.stderr:
            self._said.put(line)

    def wait_until_said(self, text: str) -> None:
        while text not in self._said.get(timeout=PATIENCE_SECONDS):
            pass

    def token(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "devstack", "token", "--port", self.port, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)

    def ask(self, path: str, registry: str, scope: str, *arguments: str) -> dict[str, Any]:
        minted = self.token(*arguments)
        assert minted.returncode == 0, minted.stderr
        return self.ask_with(minted.stdout, path, registry, scope)

    def ask_with(self, token: str, path: str, registry: str, scope: str) -> dict[str, Any]:
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "audience": registry,
            "scope": scope,
            "subject_token": token,
        }
        answer: dict[str, Any] = plain.post(f"{self.url}{path}", data=form, timeout=30).json()
        return answer

    def close(self) -> int:
        self._up.send_signal(signal.SIGINT)
        status = self._up.wait(PATIENCE_SECONDS)
        self._reader.join(PATIENCE_SECONDS)
        for pipe in (self._up.stdout, self._up.stderr):
            assert pipe is not None
            pipe.close()
        return status


@pytest.fixture(scope="module")
def author(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Author]:
    policy = tmp_path_factory.mktemp("policies") / "policy.yaml"
    policy.write_text(POLICY)
    author = Author(policy)
    yield author
    assert author.close() == 0


@pytest.mark.process
def test_a_rule_is_tried_over_http(author: Author) -> None:
    main = ["--issuer", "actions", "--claim", "repository_id=42", "--claim", "ref=refs/heads/main"]
    vended = author.ask("/token", "prod", "repository:web/api:pull,push", *main)
    assert vended["scope"] == "repository:web/api:pull,push"
    assert vended["rules"] == ["web"]
    assert vended["registry"].startswith("127.0.0.1:")
    other = author.ask("/explain", "prod", "repository:web/api:push", *main, "--claim", "ref=refs/heads/x")
    assert not other["allowed"]
    assert other["rules"] == [{"name": "web", "matched": False, "failed_claims": ["ref"]}]
    assert other["claims"]["ref"] == "refs/heads/x"
    without = author.ask("/explain", "prod", "repository:web/api:push", *main, "--omit", "ref")
    assert "ref" not in without["claims"]


@pytest.mark.process
def test_every_issuer_and_registry_of_the_policy_is_there(author: Author) -> None:
    shop = ["--issuer", "clusters", "--claim", "/kubernetes.io/namespace=shop"]
    assert author.ask("/token", "sovereign", "repository:shop/web:pull", *shop)["rules"] == ["pods"]
    assert author.ask("/token", "prod", "repository:web/api:pull", "--issuer", "ours", "--claim", "sub=me")[
        "rules"
    ] == ["service"]
    assert "northwind" not in author.told
    assert "oidc.example" not in author.told


@pytest.mark.process
def test_what_cannot_be_minted_is_said(author: Author) -> None:
    unknown = author.token("--issuer", "nobody")
    assert unknown.returncode == 1
    assert "unknown issuer 'nobody'; expected one of actions, clusters, ours" in unknown.stderr
    assert not unknown.stdout
    assert "is not KEY=VALUE" in author.token("--issuer", "actions", "--claim", "ref").stderr
    nowhere = subprocess.run(
        [sys.executable, "-m", "devstack", "token", "--port", "1", "--issuer", "actions"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert nowhere.returncode == 1
    assert "no stack runs with its service on port 1" in nowhere.stderr


@pytest.mark.process
def test_an_edit_is_picked_up_and_a_bad_one_is_not(author: Author) -> None:
    token = author.token("--issuer", "actions", "--claim", "repository_id=42", "--claim", "ref=refs/heads/dev").stdout

    def allowed() -> bool:
        return bool(author.ask_with(token, "/explain", "prod", "repository:web/api:push")["allowed"])

    assert not allowed()
    author.policy.write_text(POLICY.replace("rules:", "rulez:"))
    author.policy.write_text(POLICY.replace("ref: refs/heads/main", "ref: refs/heads/dev"))
    author.wait_until_said("the policy has changed")
    end = time.monotonic() + PATIENCE_SECONDS
    while not allowed():  # The service looks at its file once a second.
        assert time.monotonic() < end, "the edit is not picked up"
        time.sleep(0.1)
    author.policy.write_text("version: 1")
    author.wait_until_said("the last good policy stays in force")
    assert allowed()


def test_a_policy_that_does_not_load_ends_the_command(tmp_path: Path) -> None:
    (tmp_path / "policy.json").write_text(json.dumps({"version": 2}))
    run = subprocess.run(
        [sys.executable, "-m", "devstack", "up", "--policy", tmp_path / "policy.json", "--memory-registry"],
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert run.returncode == 1
    assert "write 1, the version of this language" in run.stderr
    assert "Traceback" not in run.stderr
