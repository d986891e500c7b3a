"""A policy delivered by a pipeline: uploaded with its federated identity, in force in the service, or undone."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import jwt
import pytest

from devstack import plain
from devstack.entra.authority import Application, FederatedCredential
from devstack.policy import policy_text
from devstack.stack import Stack
from tests.support.azurite import Azurite
from tests.support.caller import exchange, reason, vend

if TYPE_CHECKING:
    from pathlib import Path

    from devstack.issuer.server import IssuerServer
    from devstack.stack import Upstreams

pytestmark = pytest.mark.e2e

PULL = "repository:web/api:pull"


@pytest.fixture(scope="module")
def azurite(upstreams: Upstreams, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    with Azurite(tmp_path_factory.mktemp("azurite"), upstreams.ca, upstreams.tenant) as started:
        yield started


@dataclass
class Pipeline:
    """A pipeline with an OIDC token of its platform in a file, and an app registration that trusts it."""

    environment: dict[str, str]

    def deliver(self, policy: Path, blob: str, service: str, *more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "vending", "deliver", str(policy), "--blob", blob, "--service", service, *more]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture
def pipeline(upstreams: Upstreams, issuers: IssuerServer, tmp_path: Path) -> Pipeline:
    token = issuers.github.token(audience="api://AzureADTokenExchange")
    claims = jwt.decode(token, options={"verify_signature": False})
    trusted = FederatedCredential(claims["iss"], claims["sub"], lambda: issuers.github.keys)
    application = upstreams.authority.register(Application(federated=[trusted]))
    upstreams.authority.resources.add("https://storage.azure.com")
    file = tmp_path / "oidc-token"
    file.write_text(token)
    ca = str(upstreams.ca.ca_file)
    return Pipeline(
        {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "VENDING_ALLOW_LOOPBACK": "1",
            "AZURE_TENANT_ID": upstreams.tenant.tenant_id,
            "AZURE_CLIENT_ID": application.client_id,
            "AZURE_FEDERATED_TOKEN_FILE": str(file),
            "AZURE_AUTHORITY_HOST": f"https://{upstreams.authority.host}",
            "SSL_CERT_FILE": ca,
            "REQUESTS_CA_BUNDLE": ca,
        }
    )


def service(upstreams: Upstreams, blob: str) -> Stack:
    settings = {
        "VENDING_POLICY": blob,
        "VENDING_POLICY_REFRESH_SECONDS": "1",
        "SSL_CERT_FILE": str(upstreams.ca.ca_file),
    }
    return Stack(upstreams, settings=settings)


def held(azurite: Azurite, blob: str) -> bytes | None:
    with azurite.client() as client:
        answer = client.get(blob)
    return None if answer.status_code == httpx.codes.NOT_FOUND else answer.content


def directory(tmp_path: Path, text: str) -> Path:
    folder = tmp_path / "policy"
    folder.mkdir(exist_ok=True)
    (folder / "main.yaml").write_text(text)
    return folder


def test_a_delivered_policy_is_in_force_and_decides(
    upstreams: Upstreams, azurite: Azurite, issuers: IssuerServer, pipeline: Pipeline, tmp_path: Path
) -> None:
    text = policy_text(upstreams)
    blob = azurite.new_blob("policy.json", b"{}")
    azurite.delete_blob(blob)
    with service(upstreams, blob) as own:
        first = pipeline.deliver(directory(tmp_path, text), blob, own.url)
        assert first.returncode == 0, first.stderr
        assert "in force" in first.stderr
        vend(own.url, issuers.github.token(), scope=PULL)
        narrower = directory(tmp_path, text.replace("[web/api, web/ui]", "[web/ui]"))
        second = pipeline.deliver(narrower, blob, own.url, "--format", "json")
        assert second.returncode == 0, second.stderr
        digest = hashlib.sha256(held(azurite, blob) or b"").hexdigest()
        assert json.loads(second.stdout)["sha256"] == digest == plain.get(f"{own.url}/readyz").json()["sha256"]
        assert reason(exchange(own.url, issuers.github.token(), scope=PULL)) == "scope_not_granted"
        again = pipeline.deliver(narrower, blob, own.url)
        assert again.returncode == 0
        assert "already holds" in again.stderr


def test_a_policy_that_does_not_load_is_not_uploaded(
    upstreams: Upstreams, azurite: Azurite, pipeline: Pipeline, tmp_path: Path
) -> None:
    blob = azurite.new_blob("policy.json", b"old")
    refused = pipeline.deliver(
        directory(tmp_path, policy_text(upstreams) + "\nrulez: []\n"), blob, "http://127.0.0.1:9"
    )
    assert refused.returncode == 1
    assert "rulez" in refused.stdout
    assert held(azurite, blob) == b"old"


@pytest.mark.parametrize("before", [b'{"version": 1}', None], ids=["a previous version", "none before"])
def test_what_the_service_does_not_take_over_is_put_back(
    upstreams: Upstreams, azurite: Azurite, pipeline: Pipeline, tmp_path: Path, before: bytes | None
) -> None:
    blob = azurite.new_blob("policy.json", before or b"{}")
    if before is None:
        azurite.delete_blob(blob)
    failed = pipeline.deliver(directory(tmp_path, policy_text(upstreams)), blob, "http://127.0.0.1:9", "--timeout", "1")
    assert failed.returncode == 1
    assert "still has nothing in force" in failed.stdout
    assert held(azurite, blob) == before


def test_an_identity_that_nothing_trusts_writes_nothing_and_leaks_nothing(
    upstreams: Upstreams, azurite: Azurite, pipeline: Pipeline, tmp_path: Path
) -> None:
    blob = azurite.new_blob("policy.json", b"old")
    pipeline.environment["AZURE_CLIENT_ID"] = "00000000-0000-0000-0000-000000000009"
    failed = pipeline.deliver(directory(tmp_path, policy_text(upstreams)), blob, "http://127.0.0.1:9")
    assert failed.returncode == 1
    assert "federated credential" in failed.stdout
    assert "eyJ" not in failed.stdout + failed.stderr
    assert held(azurite, blob) == b"old"


@pytest.mark.parametrize("name", ["AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE"])
def test_half_an_identity_is_named_and_not_replaced_by_another(
    upstreams: Upstreams, azurite: Azurite, pipeline: Pipeline, tmp_path: Path, name: str
) -> None:
    del pipeline.environment[name]
    blob = azurite.new_blob("policy.json", b"old")
    failed = pipeline.deliver(directory(tmp_path, policy_text(upstreams)), blob, "http://127.0.0.1:9")
    assert failed.returncode == 1
    assert f"Set {name} too" in failed.stdout
