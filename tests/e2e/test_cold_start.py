"""A cold start under many callers at once costs each upstream one call, but for the tokens that are handed out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from devstack import plain
from devstack.stack import PROJECT, Stack, Upstreams
from tests.support.caller import GRANT_TYPE, exchange, vend
from tests.support.waiting import wait_for

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


APP = """
import gc, importlib.util, json
import azure.functions as func

spec = importlib.util.spec_from_file_location("the_app", {path!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
app = module.app

@app.route("collector")
def collector(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(json.dumps([gc.get_freeze_count(), gc.get_threshold()[0]]))
"""


def test_what_the_start_made_is_kept_from_the_collector_after_the_first_token_and_not_before(tmp_path: Path) -> None:
    (tmp_path / "function_app.py").write_text(APP.format(path=str(PROJECT / "function_app.py")))
    (tmp_path / "host.json").write_text((PROJECT / "host.json").read_text())
    with Upstreams(docker_registry=False) as upstreams, Stack(upstreams, app=tmp_path) as stack:

        def collector() -> tuple[int, int]:
            frozen, threshold = plain.get(f"{stack.url}/collector").json()
            return frozen, threshold

        assert plain.get(f"{stack.url}/readyz").status_code == 200
        assert exchange(stack.url, "no.token.atall").status_code == 400
        time.sleep(0.2)
        before = collector()
        vend(stack.url, stack.issuers.github.token(), scope="repository:web/api:pull")
        wait_for(lambda: collector() != before)
        frozen, threshold = collector()
        assert (before[0], frozen > 50_000) == (0, True)
        assert threshold > before[1]
