"""A cold start under many callers at once costs each upstream one call, but for the tokens that are handed out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import pytest

from devstack import plain
from devstack.stack import Stack, Upstreams
from tests.support.caller import GRANT_TYPE

pytestmark = pytest.mark.e2e

CALLERS = 200


@pytest.fixture
def cold() -> Iterator[Stack]:
    """Start a service that has not been called yet, on upstreams that nobody has called."""
    with Upstreams(docker_registry=False) as upstreams, Stack(upstreams) as stack:
        yield stack


async def vend_at_once(url: str, tokens: list[str]) -> list[httpx.Response]:
    limits = httpx.Limits(max_connections=None)
    async with plain.AsyncClient(base_url=url, timeout=120, limits=limits) as client:
        forms = (
            {"grant_type": GRANT_TYPE, "subject_token": token, "scope": "repository:web/api:pull,push"}
            for token in tokens
        )
        return await asyncio.gather(*(client.post("/token", data=form) for form in forms))


async def test_two_hundred_callers_of_a_cold_service_share_every_call_that_can_be_shared(cold: Stack) -> None:
    tokens = [cold.issuers.github.token() for _ in range(CALLERS)]
    answers = await vend_at_once(cold.url, tokens)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["token_id"] for answer in answers}) == CALLERS
    assert len({answer.json()["access_token"] for answer in answers}) == CALLERS
    assert cold.issuers.github.board.requests == {"discovery": 1, "jwks": 1}
    assert cold.identity.board.requests == {"token": 1}
    assert cold.registry.board.requests == {"exchange": 1, "token": CALLERS}
