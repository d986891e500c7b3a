"""The service on a policy in a blob: read with the managed identity, followed, and never replaced by anything else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from devstack import plain
from devstack.policy import policy_text
from devstack.stack import Stack
from tests.support.azurite import Azurite
from tests.support.caller import exchange, reason, vend

if TYPE_CHECKING:
    from devstack.issuer.server import IssuerServer
    from devstack.stack import Upstreams

pytestmark = pytest.mark.e2e

PULL = "repository:web/api:pull"


@pytest.fixture(scope="module")
def azurite(upstreams: Upstreams, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    with Azurite(tmp_path_factory.mktemp("azurite"), upstreams.ca, upstreams.tenant) as started:
        yield started


def service(upstreams: Upstreams, blob: str, **settings: str) -> Stack:
    return Stack(
        upstreams,
        settings={
            "VENDING_POLICY": blob,
            "VENDING_POLICY_REFRESH_SECONDS": "1",
            "SSL_CERT_FILE": str(upstreams.ca.ca_file),
            **settings,
        },
    )


def until(url: str, sha256: str) -> None:
    deadline = time.monotonic() + 60
    while plain.get(f"{url}/readyz").json()["sha256"] != sha256:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_service_follows_its_blob(upstreams: Upstreams, azurite: Azurite, issuers: IssuerServer) -> None:
    import hashlib

    text = policy_text(upstreams)
    blob = azurite.new_blob("policy.yaml", text.encode())
    with service(upstreams, blob) as own:
        ready = plain.get(f"{own.url}/readyz")
        assert (ready.status_code, ready.json()["source"]) == (200, "blob")
        assert ready.json()["sha256"] == hashlib.sha256(text.encode()).hexdigest()
        vend(own.url, issuers.github.token(), scope=PULL)
        changed = text.replace("[web/api, web/ui]", "[web/ui]")
        azurite.put_blob(blob, changed.encode())
        until(own.url, hashlib.sha256(changed.encode()).hexdigest())
        assert reason(exchange(own.url, issuers.github.token(), scope=PULL)) == "scope_not_granted"
        assert blob not in ready.text


def test_configured_blob_never_falls_back_to_a_bundled_policy(
    upstreams: Upstreams, azurite: Azurite, issuers: IssuerServer
) -> None:
    blob = azurite.new_blob("policy.yaml", b"version: 1")
    with service(upstreams, blob.replace("policy.yaml", "other.yaml")) as own:
        ready = plain.get(f"{own.url}/readyz")
        assert (ready.status_code, ready.json()["reason"], ready.json()["error"]) == (
            503,
            "policy_unavailable",
            "temporarily_unavailable",
        )
        assert set(ready.json()) == {
            "sha256",
            "version",
            "age_seconds",
            "source",
            "replay_store",
            "issuers_in_trouble",
            "reload_failure",
            "reason",
            "error",
        }
        answer = exchange(own.url, issuers.github.token(), scope=PULL)
        assert (answer.status_code, reason(answer)) == (503, "policy_unavailable")
        metadata = plain.get(f"{own.url}/.well-known/oauth-authorization-server")
        assert (metadata.status_code, reason(metadata)) == (503, "policy_unavailable")
