"""A request that is cancelled in the middle gives its claim back, however often it is cancelled, and has its event."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from devstack.faults import Fault
from devstack.stack import Stack
from tests.support.caller import GRANT_TYPE
from tests.support.shared import table_settings
from tests.support.tablefront import TableFront
from vending import request
from vending.acr.scope import render
from vending.settings import Settings
from vending.wiring import build

if TYPE_CHECKING:
    from pathlib import Path

    from devstack.issuer.server import IssuerServer
    from devstack.registry.server import Registry
    from devstack.stack import Upstreams
    from tests.support.azurite import Azurite
    from vending.service import Service
    from vending.vendor import Vended

PULL = "repository:web/api:pull"


@pytest.fixture
def front(azurite: Azurite, upstreams: Upstreams) -> Iterator[TableFront]:
    with TableFront(azurite, upstreams.ca).start(upstreams.loop) as started:
        yield started


@pytest.fixture
def table(azurite: Azurite) -> str:
    return azurite.new_table()


@pytest.fixture
async def service(
    upstreams: Upstreams, front: TableFront, table: str, trusted: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Service]:
    with Stack(upstreams, settings=table_settings(upstreams, front.of(table)), start_host=False) as stack:
        for name, value in stack.settings.items():
            monkeypatch.setenv(name, value)
        built = build(Settings.from_environment({**stack.settings, "VENDING_PUBLIC_URL": "https://vend.example"}))
        yield built
        await built.http.aclose()


def parsed(token: str) -> request.TokenRequest:
    body = urlencode({"grant_type": GRANT_TYPE, "subject_token": token, "scope": PULL}).encode()
    return request.parse(query="", content_type="application/x-www-form-urlencoded", body=body, authorization=None)


async def ask(service: Service, token: str, request_id: str) -> Vended:
    return await service.vendor.token(parsed(token), service.recorder.trail("token", request_id))


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_a_cancelled_request_gives_its_claim_back_and_has_one_event(
    service: Service,
    issuers: IssuerServer,
    registry: Registry,
    azurite: Azurite,
    front: TableFront,
    table: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    token = issuers.github.token()
    registry.board.set("token", Fault(delay=30))
    with caplog.at_level(logging.INFO, "vending.audit"):
        asking = asyncio.create_task(ask(service, token, "cancelled"))
        await until(lambda: registry.board.requests["token"] > 0 and len(azurite.rows(table)) == 1)
        front.board.set("table", Fault(delay=0.5))
        asking.cancel()
        await asyncio.sleep(0.2)
        asking.cancel()  # While it is giving its claim back.
        with pytest.raises(asyncio.CancelledError):
            await asking
    await until(lambda: azurite.rows(table) == [])
    front.board.clear()
    registry.board.clear()
    events = [json.loads(record.getMessage()) for record in caplog.records if record.name == "vending.audit"]
    assert [(event["request_id"], event["outcome"]) for event in events] == [("cancelled", "error")]
    vended = await ask(service, token, "again")
    assert render(vended.case.decision.granted) == PULL


async def test_a_request_that_is_cancelled_while_it_claims_gives_the_claim_back_too(
    service: Service, issuers: IssuerServer, azurite: Azurite, front: TableFront, table: str
) -> None:
    await ask(service, issuers.github.token(), "warm-up")
    (kept,) = azurite.rows(table)
    before = front.board.requests["table"]
    front.board.set("table", Fault(delay=1), times=1)
    asking = asyncio.create_task(ask(service, issuers.github.token(), "cancelled"))
    await until(lambda: front.board.requests["table"] > before)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await until(lambda: front.board.requests["table"] >= before + 3)  # Insert, read, delete.
    await until(lambda: azurite.rows(table) == [kept])
