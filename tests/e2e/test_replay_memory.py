"""The store in memory: what it protects on one instance, and what it does not on several."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from devstack import plain
from devstack.faults import Fault
from devstack.stack import Stack
from tests.support.caller import GRANT_TYPE, exchange, reason, vend

if TYPE_CHECKING:
    from devstack.issuer.server import IssuerServer
    from devstack.registry.server import Registry
    from devstack.stack import Upstreams

pytestmark = pytest.mark.e2e

PULL = "repository:web/api:pull"


async def test_of_fifty_requests_at_once_with_one_token_one_succeeds(stack: Stack, issuers: IssuerServer) -> None:
    form = {"grant_type": GRANT_TYPE, "subject_token": issuers.github.token(), "scope": PULL}
    async with plain.AsyncClient(timeout=120) as client:
        answers = await asyncio.gather(*(client.post(f"{stack.url}/token", data=form) for _ in range(50)))
    assert Counter(answer.json().get("reason", "none") for answer in answers) == {"none": 1, "token_replayed": 49}


def test_another_signature_over_the_same_claims_is_the_same_token(stack: Stack, issuers: IssuerServer) -> None:
    vend(stack.url, issuers.github.token(jti="same"), scope=PULL)
    assert reason(exchange(stack.url, issuers.github.token(jti="same"), scope=PULL)) == "token_replayed"


def test_the_same_id_at_another_issuer_is_another_token(stack: Stack, issuers: IssuerServer) -> None:
    vend(stack.url, issuers.github.token(jti="shared"), scope=PULL)
    assert vend(stack.url, issuers.gitlab.token(jti="shared"), scope="repository:api/server:pull")


def test_an_explanation_uses_no_token_up_and_refuses_one_that_is(stack: Stack, issuers: IssuerServer) -> None:
    token = issuers.github.token()
    for _ in range(3):
        assert exchange(stack.url, token, path="/explain", scope=PULL).json()["allowed"]
    vend(stack.url, token, scope=PULL)
    assert reason(exchange(stack.url, token, path="/explain", scope=PULL)) == "token_replayed"


@pytest.mark.parametrize(
    ("endpoint", "fault"),
    [
        pytest.param("exchange", Fault(status=500), id="exchange: 500"),
        pytest.param("exchange", Fault(reset=True), id="exchange: reset"),
        pytest.param("token", Fault(status=500), id="token: 500"),
        pytest.param("token", Fault(status=403), id="token: 403"),
        pytest.param("token", Fault(reset=True), id="token: reset"),
    ],
)
def test_a_token_whose_minting_failed_can_be_used_again(
    upstreams: Upstreams, issuers: IssuerServer, registry: Registry, endpoint: str, fault: Fault
) -> None:
    with Stack(upstreams) as stack:
        token = issuers.github.token()
        registry.board.set(endpoint, fault)
        assert exchange(stack.url, token, scope=PULL).status_code in {502, 503}
        registry.board.clear()
        assert exchange(stack.url, token, scope=PULL).status_code == 200


def test_what_memory_does_not_protect_is_as_documented(upstreams: Upstreams, issuers: IssuerServer) -> None:
    """Once on each instance, and once more after a restart: docs/operations.md says so, and the log warns."""
    token = issuers.github.token()
    with Stack(upstreams) as stack:
        second = stack.add_host()
        for host in stack.hosts:
            assert exchange(host.url, token, scope=PULL).status_code == 200
            assert reason(exchange(host.url, token, scope=PULL)) == "token_replayed"
        second.stop()
        restarted = stack.add_host()
        assert exchange(restarted.url, token, scope=PULL).status_code == 200
        assert "replay_store_is_per_process" in restarted.log
