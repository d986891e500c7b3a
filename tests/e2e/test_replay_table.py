"""Several instances, one table: a token counts once for all of them, whatever happens to any of them."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import httpx
import pytest

from devstack import plain
from devstack.faults import Fault
from devstack.policy import policy_text
from devstack.stack import Stack
from tests.support.azurite import Azurite
from tests.support.caller import GRANT_TYPE, exchange, reason, vend
from tests.support.shared import table_settings, two_instances
from tests.support.tablefront import TableFront

if TYPE_CHECKING:
    from pathlib import Path

    from devstack.issuer.server import IssuerServer
    from devstack.registry.server import Registry
    from devstack.stack import Upstreams

pytestmark = pytest.mark.e2e

PULL = "repository:web/api:pull"
SKEW = 60


@pytest.fixture(scope="module")
def azurite(upstreams: Upstreams, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    with Azurite(tmp_path_factory.mktemp("azurite"), upstreams.ca, upstreams.tenant) as started:
        yield started


@pytest.fixture(scope="module")
def table(azurite: Azurite) -> str:
    """The table of `pair`."""
    return azurite.new_table()


@pytest.fixture(scope="module")
def pair(upstreams: Upstreams, table: str) -> Iterator[Stack]:
    """Two instances that many tests share, with time enough for a slow machine; each test has tokens of its own."""
    with two_instances(upstreams, table, {"VENDING_DEADLINE_SECONDS": "50"}) as started:
        yield started


@pytest.fixture
def own_table(azurite: Azurite) -> str:
    return azurite.new_table()


async def present(client: httpx.AsyncClient, url: str, token: str) -> str:
    form = {"grant_type": GRANT_TYPE, "subject_token": token, "scope": PULL}
    answer = await client.post(f"{url}/token", data=form)
    return "200" if answer.status_code == 200 else str(answer.json()["reason"])


async def test_of_a_hundred_tokens_presented_to_two_instances_at_once_each_counts_once(
    pair: Stack, issuers: IssuerServer
) -> None:
    tokens = [issuers.github.token() for _ in range(100)]
    async with plain.AsyncClient(timeout=120, limits=httpx.Limits(max_connections=200)) as client:
        answers = await asyncio.gather(*(present(client, host.url, token) for token in tokens for host in pair.hosts))
    pairs = [tuple(sorted(answers[start : start + 2])) for start in range(0, 200, 2)]
    assert Counter(pairs) == {("200", "token_replayed"): 100}


def test_what_one_instance_claimed_the_other_explains_as_replayed(pair: Stack, issuers: IssuerServer) -> None:
    token = issuers.github.token()
    assert exchange(pair.hosts[1].url, token, path="/explain", scope=PULL).json()["allowed"]
    vend(pair.hosts[0].url, token, scope=PULL)
    assert reason(exchange(pair.hosts[1].url, token, path="/explain", scope=PULL)) == "token_replayed"


def test_a_killed_instance_takes_no_claim_with_it(
    upstreams: Upstreams, issuers: IssuerServer, registry: Registry, azurite: Azurite, own_table: str
) -> None:
    """The claim stays until `exp` and skew have passed; the same job's next token works at once."""
    with two_instances(upstreams, own_table) as pair:
        _kill_in_the_middle(pair, issuers, registry, lambda: len(azurite.rows(own_table)))


def _kill_in_the_middle(
    pair: Stack, issuers: IssuerServer, registry: Registry, count_claims: Callable[[], int]
) -> None:
    first, second = pair.hosts
    vend(second.url, issuers.github.token(), scope=PULL)  # The second one has all it needs to answer quickly.
    before = count_claims()
    expires_at = time.time() + 8 - SKEW  # Eight more seconds, all of them of the allowance for skewed clocks.
    token = issuers.github.token(exp=int(expires_at), iat=int(expires_at) - 300, nbf=int(expires_at) - 300)
    registry.board.set("token", Fault(delay=60))
    with pytest.raises(httpx.HTTPError):
        asyncio.run(_killed_in_the_middle(first.url, first.pid, token, lambda: count_claims() > before))
    registry.board.clear()
    assert reason(exchange(second.url, token, scope=PULL)) == "token_replayed"
    assert exchange(second.url, issuers.github.token(), scope=PULL).status_code == 200
    while time.time() < int(expires_at) + SKEW - 1:
        assert reason(exchange(second.url, token, scope=PULL)) in {"token_replayed", "token_expired"}
        time.sleep(0.3)
    while (said := reason(exchange(second.url, token, scope=PULL))) != "token_expired":
        assert said == "token_replayed"
        assert time.time() < expires_at + SKEW + 30
        time.sleep(0.3)


async def _killed_in_the_middle(url: str, pid: int, token: str, claimed: Callable[[], bool]) -> None:
    async with plain.AsyncClient(timeout=60) as client:
        asking = asyncio.create_task(present(client, url, token))
        deadline = time.monotonic() + 30
        while not await asyncio.to_thread(claimed):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        os.kill(pid, signal.SIGKILL)
        await asking


def test_a_token_that_runs_out_while_it_is_claimed_is_refused_and_its_claim_given_back(
    upstreams: Upstreams, issuers: IssuerServer, azurite: Azurite, own_table: str
) -> None:
    """The place it took may have been that of an earlier claim of the same token, expired at that very moment."""
    with (
        TableFront(azurite, upstreams.ca).start(upstreams.loop) as front,
        Stack(upstreams, settings=table_settings(upstreams, front.of(own_table))) as stack,
    ):
        vend(stack.url, issuers.github.token(), scope=PULL)
        before = len(azurite.rows(own_table))
        front.board.set("table", Fault(delay=3), times=1)
        expires_at = int(time.time()) - SKEW + 2
        token = issuers.github.token(exp=expires_at, iat=expires_at - 300, nbf=expires_at - 300)
        assert reason(exchange(stack.url, token, scope=PULL)) == "token_expired"
        assert len(azurite.rows(own_table)) == before


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(status=500), id="500"),
        pytest.param(Fault(status=401), id="401"),
        pytest.param(Fault(reset=True), id="reset"),
        pytest.param(Fault(status=200, body=b"{}"), id="an empty answer"),
    ],
)
def test_a_token_whose_minting_failed_can_be_used_again_with_any_instance(
    pair: Stack, issuers: IssuerServer, registry: Registry, azurite: Azurite, table: str, fault: Fault
) -> None:
    token = issuers.github.token()
    before = azurite.rows(table)
    registry.board.set("token", fault)
    assert exchange(pair.hosts[0].url, token, scope=PULL).status_code in {502, 503}
    registry.board.clear()
    assert azurite.rows(table) == before
    assert vend(pair.hosts[1].url, token, scope=PULL)["access_token"]


def test_a_token_whose_request_ran_out_of_time_can_be_used_again(
    upstreams: Upstreams, issuers: IssuerServer, registry: Registry, azurite: Azurite, own_table: str
) -> None:
    with two_instances(upstreams, own_table, {"VENDING_DEADLINE_SECONDS": "2"}) as pair:
        token = issuers.github.token()
        registry.board.set("token", Fault(delay=30))
        assert exchange(pair.hosts[0].url, token, scope=PULL).status_code in {503, 504}
        registry.board.clear()
        deadline = time.monotonic() + 30
        while azurite.rows(own_table):  # The giving back may go on behind the answer.
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert exchange(pair.hosts[1].url, token, scope=PULL).status_code == 200


def test_a_refused_second_use_leaves_the_first_ones_claim(pair: Stack, issuers: IssuerServer) -> None:
    token = issuers.github.token()
    vend(pair.url, token, scope=PULL)
    for host in pair.hosts * 3:
        assert reason(exchange(host.url, token, scope=PULL)) == "token_replayed"


def test_a_denied_request_claims_nothing(pair: Stack, issuers: IssuerServer, azurite: Azurite, table: str) -> None:
    token = issuers.github.token()
    before = azurite.rows(table)
    assert reason(exchange(pair.url, token, scope="repository:other/app:pull")) == "scope_not_granted"
    assert azurite.rows(table) == before
    assert vend(pair.url, token, scope=PULL)


def test_readiness_and_the_log_say_which_store_is_in_force(pair: Stack, stack: Stack) -> None:
    assert plain.get(f"{pair.url}/readyz", timeout=30).json()["replay_store"] == "table"
    assert plain.get(f"{stack.url}/readyz", timeout=30).json()["replay_store"] == "memory"
    assert '"replay_store": "table"' in pair.host.log
    assert "replay_store_is_per_process" not in pair.host.log
    assert "replay_store_is_per_process" in stack.host.log


def test_the_apps_own_identity_is_asked_for_a_token_for_storage(pair: Stack, issuers: IssuerServer) -> None:
    vend(pair.url, issuers.github.token(), scope=PULL)
    assert "https://storage.azure.com" in pair.identity.resources


def test_an_outage_of_the_store_refuses_once_issuers_only(
    upstreams: Upstreams, issuers: IssuerServer, tmp_path: Path
) -> None:
    with Azurite(tmp_path, upstreams.ca, upstreams.tenant, persist=True) as own:
        settings = table_settings(upstreams, own.new_table())
        with Stack(upstreams, settings=settings) as stack:
            token = issuers.github.token()
            vend(stack.url, token, scope=PULL)
            own.stop()
            for path in ("/token", "/explain"):
                answer = exchange(stack.url, issuers.github.token(), path=path, scope=PULL)
                assert (answer.status_code, reason(answer)) == (503, "replay_store_unavailable")
            assert vend(stack.url, issuers.gitlab.token(), scope="repository:api/server:pull")
            own.start()
            assert reason(exchange(stack.url, token, scope=PULL)) == "token_replayed"
            assert vend(stack.url, issuers.github.token(), scope=PULL)


def test_a_table_that_was_never_made_is_an_outage(
    upstreams: Upstreams, issuers: IssuerServer, azurite: Azurite
) -> None:
    settings = table_settings(upstreams, f"{azurite.table_endpoint}/missing")
    with Stack(upstreams, settings=settings) as stack:
        answer = exchange(stack.url, issuers.github.token(), scope=PULL)
        assert (answer.status_code, reason(answer)) == (503, "replay_store_unavailable")
        assert "TableNotFound" in stack.host.log


def test_an_issuer_set_to_reuse_needs_no_store(upstreams: Upstreams, issuers: IssuerServer, azurite: Azurite) -> None:
    text = policy_text(upstreams).replace("preset: github,", "preset: github, replay: reuse,")
    settings = table_settings(upstreams, f"{azurite.table_endpoint}/missing")
    with Stack(upstreams, policy=text, settings=settings) as stack:
        token = issuers.github.token()
        assert [exchange(stack.url, token, scope=PULL).status_code for _ in range(3)] == [200] * 3
