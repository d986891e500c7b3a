"""Both replay stores behind one fixture, on a clock that tests can turn forward."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.support.azurite import Azurite
from tests.support.replay import Time, table_store
from vending.http_client import Http
from vending.replay.store import MemoryStore, ReplayStore

if TYPE_CHECKING:
    from pathlib import Path

    from devstack.stack import Upstreams


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture(scope="session")
def azurite(upstreams: Upstreams, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    with Azurite(tmp_path_factory.mktemp("azurite"), upstreams.ca, upstreams.tenant) as started:
        yield started


@pytest.fixture
def trusted(upstreams: Upstreams, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the app's HTTP client trust the local certificate authority, as an operator would."""
    monkeypatch.setenv("SSL_CERT_FILE", str(upstreams.ca.ca_file))
    return upstreams.ca.ca_file


@pytest.fixture
async def http(trusted: Path) -> AsyncIterator[Http]:
    async with Http() as client:
        yield client


@pytest.fixture(params=["memory", "table"])
def store(request: pytest.FixtureRequest, clock: Time) -> ReplayStore:
    if request.param == "memory":
        return MemoryStore(clock.clock)
    azurite: Azurite = request.getfixturevalue("azurite")
    return table_store(azurite.new_table(), azurite, request.getfixturevalue("http"), clock.clock)
