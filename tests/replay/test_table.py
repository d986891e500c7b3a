"""The shared table: lost answers, outages, foreign entries in the table, and the purge."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import pytest

from devstack.faults import Fault
from tests.support.replay import Time, new_key, soon, table_store
from tests.support.tablefront import TableFront
from vending.errors import Reason, Refusal
from vending.replay.store import new_owner

if TYPE_CHECKING:
    from devstack.stack import Upstreams
    from tests.support.azurite import Azurite
    from vending.http_client import Http
    from vending.replay.table import TableStore


@pytest.fixture
def table(azurite: Azurite) -> str:
    return azurite.new_table()


@pytest.fixture
def front(azurite: Azurite, upstreams: Upstreams) -> Iterator[TableFront]:
    with TableFront(azurite, upstreams.ca).start(upstreams.loop) as started:
        yield started


@pytest.fixture
def store(table: str, front: TableFront, azurite: Azurite, http: Http, clock: Time) -> TableStore:
    return table_store(front.of(table), azurite, http, clock.clock)


async def refused(work: Awaitable[object]) -> Refusal:
    with pytest.raises(Refusal) as caught:
        await work
    return caught.value


async def test_every_request_carries_what_the_service_requires(store: TableStore, front: TableFront) -> None:
    key, owner = new_key(), new_owner()
    await store.claim(key, owner, soon())
    await store.release(key, owner)
    assert [method for method, _ in front.headers] == ["POST", "GET", "DELETE"]
    for _, headers in front.headers:
        assert headers["x-ms-version"] >= "2020-12-06"
        assert headers["DataServiceVersion"] == "3.0"
        assert headers["Authorization"].startswith("Bearer ")
        sent = parsedate_to_datetime(headers["x-ms-date"])
        assert abs((datetime.now(UTC) - sent).total_seconds()) < 60
    assert "If-Match" in front.headers[-1][1]


async def test_nothing_of_the_token_but_its_digest_is_stored(store: TableStore, azurite: Azurite, table: str) -> None:
    key, owner = new_key(), new_owner()
    await store.claim(key, owner, 2_000_000_000.25)
    (row,) = azurite.rows(table)
    del row["Timestamp"]
    assert row == {
        "PartitionKey": key[:2],
        "RowKey": key,
        "Owner": owner,
        "ExpiresAt": "2000000001",
    }


async def test_a_claim_whose_answer_was_lost_is_still_the_claimants(
    store: TableStore, front: TableFront, azurite: Azurite, table: str
) -> None:
    front.lose = 1
    key, owner = new_key(), new_owner()
    assert await store.claim(key, owner, soon())
    assert [row["Owner"] for row in azurite.rows(table)] == [owner]
    assert not await store.claim(key, new_owner(), soon())


async def test_a_release_whose_answer_was_lost_is_a_release(store: TableStore, front: TableFront) -> None:
    key, owner = new_key(), new_owner()
    assert await store.claim(key, owner, soon())
    front.lose = 2
    await store.release(key, owner)
    assert not await store.is_claimed(key)


@pytest.mark.parametrize(
    ("fault", "tries"),
    [
        pytest.param(Fault(reset=True), 3, id="reset"),
        pytest.param(Fault(status=500), 3, id="500"),
        pytest.param(Fault(status=503), 3, id="503"),
        pytest.param(Fault(status=429), 3, id="429"),
        pytest.param(Fault(status=400), 1, id="400"),
        pytest.param(Fault(status=401), 1, id="401"),
        pytest.param(Fault(status=403), 1, id="403"),
        pytest.param(Fault(status=404), 1, id="404"),
        pytest.param(Fault(status=302, headers={"Location": "https://localhost:1/"}), 1, id="a redirect"),
        pytest.param(Fault(status=409, body=b"<html>no</html>"), 1, id="a conflict that says nothing"),
        pytest.param(Fault(status=200, body=b"[]"), 1, id="a 200 that an insert never is"),
        pytest.param(Fault(stream_bytes=8 * 1024 * 1024), 3, id="an endless answer"),
    ],
)
async def test_a_store_that_fails_never_lets_a_token_through(
    store: TableStore, front: TableFront, fault: Fault, tries: int
) -> None:
    front.board.set("table", fault)
    refusal = await refused(store.claim(new_key(), new_owner(), soon()))
    assert refusal.reason is Reason.REPLAY_STORE_UNAVAILABLE
    assert front.board.requests["table"] == tries


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(status=403), id="403"),
        pytest.param(Fault(status=500), id="500"),
        pytest.param(Fault(status=200, body=b"not json"), id="no JSON"),
        pytest.param(Fault(status=200, body=b'{"Owner": "x"}'), id="no expiry"),
        pytest.param(
            Fault(status=200, body=b'{"Owner": "x", "ExpiresAt": "soon", "odata.etag": "y"}'), id="an expiry in words"
        ),
        pytest.param(
            Fault(status=404, body=b'{"odata.error": {"code": "TableNotFound", "message": {}}}'), id="no such table"
        ),
    ],
)
async def test_a_store_that_cannot_be_read_never_says_that_a_key_is_free(
    store: TableStore, front: TableFront, fault: Fault
) -> None:
    front.board.set("table", fault)
    refusal = await refused(store.is_claimed(new_key()))
    assert refusal.reason is Reason.REPLAY_STORE_UNAVAILABLE


async def test_a_failure_in_passing_costs_one_more_try(store: TableStore, front: TableFront) -> None:
    front.board.set("table", Fault(status=503), times=1)
    assert await store.claim(new_key(), new_owner(), soon())
    assert front.board.requests["table"] == 2


async def test_a_store_that_asks_for_patience_is_quoted_to_the_caller(store: TableStore, front: TableFront) -> None:
    front.board.set("table", Fault(status=503, headers={"Retry-After": "30"}))
    refusal = await refused(store.claim(new_key(), new_owner(), soon()))
    assert (refusal.reason, refusal.retry_after) == (Reason.REPLAY_STORE_UNAVAILABLE, 30)
    assert front.board.requests["table"] == 1


async def test_a_table_that_is_not_there_is_an_outage_and_no_free_key(
    store: TableStore, azurite: Azurite, table: str
) -> None:
    azurite.delete_table(table)
    for work in (store.claim(new_key(), new_owner(), soon()), store.is_claimed(new_key())):
        assert (await refused(work)).reason is Reason.REPLAY_STORE_UNAVAILABLE


async def test_a_table_that_is_being_deleted_is_an_outage_and_no_replay(store: TableStore, front: TableFront) -> None:
    body = json.dumps({"odata.error": {"code": "TableBeingDeleted", "message": {"lang": "en-US", "value": "…"}}})
    front.board.set("table", Fault(status=409, body=body.encode()))
    refusal = await refused(store.claim(new_key(), new_owner(), soon()))
    assert refusal.reason is Reason.REPLAY_STORE_UNAVAILABLE


async def test_claim_that_is_over_itself_takes_nobodys_place(
    table: str, azurite: Azurite, http: Http, clock: Time
) -> None:
    """A clock that jumps between the check of a token and its claim must not clear the way for the token's next use."""
    right, jumped = table_store(table, azurite, http, clock.clock), Time()
    key, expires_at = new_key(), clock.now() + 100
    assert await right.claim(key, new_owner(), expires_at)
    jumped.ahead = 3600
    assert not await table_store(table, azurite, http, jumped.clock).claim(key, new_owner(), expires_at)
    assert await right.is_claimed(key)


async def test_two_stores_that_race_for_an_expired_claim_get_it_once(
    table: str, azurite: Azurite, http: Http, clock: Time
) -> None:
    stores = [table_store(table, azurite, http, clock.clock) for _ in range(2)]
    for _ in range(20):
        key = new_key()
        assert await stores[0].claim(key, new_owner(), clock.now() - 1)
        outcomes = await asyncio.gather(*(s.claim(key, new_owner(), soon()) for s in stores * 5))
        assert outcomes.count(True) == 1


async def test_the_purge_deletes_what_expired_long_ago_over_all_pages_and_nothing_else(
    azurite: Azurite, table: str, http: Http, clock: Time
) -> None:
    store = table_store(table, azurite, http, clock.clock)
    long_ago, just_now, later = clock.now() - 3600, clock.now() - 60, clock.now() + 3600
    for start in range(0, 1050, 50):  # More than the thousand that fit on a page.
        await asyncio.gather(*(store.claim(new_key(), new_owner(), long_ago) for _ in range(start, start + 50)))
    kept = {new_key(): expires_at for expires_at in [just_now] * 5 + [later] * 5}
    for key, expires_at in kept.items():
        assert await store.claim(key, new_owner(), expires_at)
    assert await store.purge() == 1050
    assert {row["RowKey"] for row in azurite.rows(table)} == set(kept)


async def test_the_purge_leaves_rows_that_are_no_claims_of_ours(
    store: TableStore, azurite: Azurite, table: str
) -> None:
    foreign = {"PartitionKey": "x", "RowKey": "it's", "ExpiresAt": "1", "ExpiresAt@odata.type": "Edm.Int64"}
    with azurite.client() as client:
        client.post(table, json=foreign, headers={"Accept": "application/json"}).raise_for_status()
    assert await store.purge() == 0
    assert [row["RowKey"] for row in azurite.rows(table)] == ["it's"]


async def test_two_instances_that_purge_at_once_do_not_disturb_each_other(
    table: str, azurite: Azurite, http: Http, clock: Time
) -> None:
    stores = [table_store(table, azurite, http, clock.clock) for _ in range(2)]
    await asyncio.gather(*(stores[0].claim(new_key(), new_owner(), clock.now() - 3600) for _ in range(40)))
    await asyncio.gather(*(s.purge() for s in stores))
    assert azurite.rows(table) == []


async def test_claims_purge_the_table_from_time_to_time_without_waiting_for_it(
    store: TableStore, azurite: Azurite, table: str, clock: Time
) -> None:
    assert await store.claim(new_key(), new_owner(), clock.now() - 1)
    clock.ahead += 1300
    kept = new_key()
    assert await store.claim(kept, new_owner(), clock.now() + 300)
    deadline = time.monotonic() + 60
    while {row["RowKey"] for row in azurite.rows(table)} != {kept}:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


async def test_an_instance_that_finds_little_to_delete_searches_the_table_less_often(
    store: TableStore, front: TableFront, clock: Time
) -> None:
    """A search reads the whole table: a thousand instances that all search every ten minutes would use it up."""

    async def searches_within(seconds: float) -> int:
        """Claim every ten minutes for so long, and return how often the table was searched."""
        before = len(front.headers)
        for _ in range(round(seconds / 600)):
            clock.ahead += 600
            assert await store.claim(new_key(), new_owner(), clock.now() + 86_400)
            await asyncio.sleep(0.05)  # A search goes on behind the claim.
        return sum(method == "GET" for method, _ in front.headers[before:])

    assert await searches_within(1800) == 2  # After 10 minutes at most, and 20 minutes after that.
    assert await searches_within(9000) == 2  # After 40 and 80 minutes.
    assert await searches_within(8 * 3600) == 2  # After 160 minutes, and four hours after that.


async def test_a_purge_that_fails_is_no_failure_of_the_claim(
    store: TableStore, front: TableFront, clock: Time, caplog: pytest.LogCaptureFixture
) -> None:
    clock.ahead += 1300
    front.board.set("table", Fault(status=403), times=1)  # The purge is asked first: it needs no entity.
    key = new_key()
    try:
        await store.claim(key, new_owner(), clock.now() + 300)
    except Refusal:
        await store.claim(key, new_owner(), clock.now() + 300)
    assert await store.is_claimed(key)
