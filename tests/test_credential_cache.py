"""The cache of credentials: early renewal, shared loading, replacement once, and a short memory for refusals."""

from __future__ import annotations

import asyncio
import gc
import json
import logging

import pytest

from tests.oidc.forge import Hands
from vending.credential_cache import (
    EXPIRY_MARGIN_SECONDS,
    REFUSAL_MEMORY_SECONDS,
    REFUSALS_IN_A_ROW,
    Credential,
    RenewingCache,
)
from vending.errors import Reason, Refusal

HOUR = 3600.0


class Source:
    """Hand out numbered credentials that live an hour, or fail as told; `gate` holds an answer back."""

    def __init__(self, hands: Hands) -> None:
        self.hands = hands
        self.calls = 0
        self.lifetime = HOUR
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self) -> Credential:
        self.calls += 1
        number = self.calls
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return Credential(f"secret-{number}", self.hands.wall + self.lifetime)


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
async def source(hands: Hands) -> Source:
    return Source(hands)


@pytest.fixture
def cache(hands: Hands) -> RenewingCache[str]:
    return RenewingCache(hands.clock)


async def settle() -> None:
    """Let background tasks run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_credential_is_loaded_once_and_kept(cache: RenewingCache[str], source: Source) -> None:
    secrets = {(await cache.get("key", source)).secret for _ in range(5)}
    assert (secrets, source.calls) == ({"secret-1"}, 1)


async def test_concurrent_callers_share_one_load(cache: RenewingCache[str], source: Source) -> None:
    got = await asyncio.gather(*(cache.get("key", source) for _ in range(50)))
    assert ({credential.secret for credential in got}, source.calls) == ({"secret-1"}, 1)


async def test_each_key_has_its_own(cache: RenewingCache[str], source: Source) -> None:
    assert (await cache.get("a", source)).secret != (await cache.get("b", source)).secret


async def test_half_way_it_is_renewed_behind_the_callers_back(
    cache: RenewingCache[str], source: Source, hands: Hands
) -> None:
    await cache.get("key", source)
    hands.turn(HOUR / 2 + 1)
    source.gate.clear()
    assert (await cache.get("key", source)).secret == "secret-1"  # nobody waits
    await settle()
    source.gate.set()
    await settle()
    assert (await cache.get("key", source)).secret == "secret-2"
    assert source.calls == 2


async def test_it_is_not_used_in_its_last_five_minutes(cache: RenewingCache[str], source: Source, hands: Hands) -> None:
    await cache.get("key", source)
    hands.turn(HOUR - EXPIRY_MARGIN_SECONDS)
    assert (await cache.get("key", source)).secret == "secret-2"


async def test_failed_renewal_leaves_it_in_use_and_is_tried_again_after_a_pause(
    cache: RenewingCache[str], source: Source, hands: Hands, caplog: pytest.LogCaptureFixture
) -> None:
    await cache.get("key", source)
    hands.turn(HOUR / 2 + 1)
    source.error = Refusal(Reason.IDENTITY_UNAVAILABLE)
    with caplog.at_level(logging.INFO, "vending.operations"):
        for _ in range(5):
            assert (await cache.get("key", source)).secret == "secret-1"
            await settle()
    assert source.calls == 2
    assert [json.loads(record.getMessage())["event"] for record in caplog.records] == ["renewal_failed"]
    hands.turn(31)
    source.error = None
    await cache.get("key", source)
    await settle()
    assert (await cache.get("key", source)).secret == "secret-3"


async def test_renewal_heeds_retry_after(cache: RenewingCache[str], source: Source, hands: Hands) -> None:
    await cache.get("key", source)
    hands.turn(HOUR / 2 + 1)
    source.error = Refusal(Reason.REGISTRY_THROTTLED, retry_after=50)
    await cache.get("key", source)
    await settle()
    hands.turn(40)
    await cache.get("key", source)
    await settle()
    assert source.calls == 2
    hands.turn(11)
    await cache.get("key", source)
    await settle()
    assert source.calls == 3


async def test_credential_that_is_nearly_over_when_it_comes_is_used_once(
    cache: RenewingCache[str], source: Source
) -> None:
    source.lifetime = 60
    assert [(await cache.get("key", source)).secret for _ in range(2)] == ["secret-1", "secret-2"]


async def test_passing_failure_is_not_remembered(cache: RenewingCache[str], source: Source) -> None:
    source.error = Refusal(Reason.IDENTITY_UNAVAILABLE)
    for _ in range(2):
        with pytest.raises(Refusal):
            await cache.get("key", source)
    assert source.calls == 2


async def test_retry_after_a_refusal_finds_out_whether_it_was_mended(cache: RenewingCache[str], source: Source) -> None:
    source.error = Refusal(Reason.REGISTRY_REFUSED, "No role.")
    with pytest.raises(Refusal):
        await cache.get("key", source)
    source.error = None
    assert (await cache.get("key", source)).secret == "secret-2"


async def test_refusals_in_a_row_stand_for_a_moment(cache: RenewingCache[str], source: Source, hands: Hands) -> None:
    source.error = Refusal(Reason.REGISTRY_REFUSED, "No role.")
    for _ in range(10):
        with pytest.raises(Refusal) as caught:
            await cache.get("key", source)
        assert (caught.value.reason, caught.value.description) == (Reason.REGISTRY_REFUSED, "No role.")
    assert source.calls == REFUSALS_IN_A_ROW
    source.error = None
    assert (await cache.get("other", source)).secret == "secret-4"  # others are not meant
    hands.turn(REFUSAL_MEMORY_SECONDS)
    assert (await cache.get("key", source)).secret == "secret-5"


async def test_refusals_with_time_between_them_do_not_add_up(
    cache: RenewingCache[str], source: Source, hands: Hands
) -> None:
    source.error = Refusal(Reason.REGISTRY_REFUSED)
    for _ in range(2 * REFUSALS_IN_A_ROW):
        with pytest.raises(Refusal):
            await cache.get("key", source)
        hands.turn(REFUSAL_MEMORY_SECONDS)
    assert source.calls == 2 * REFUSALS_IN_A_ROW


async def test_warming_loads_once_and_is_joined(cache: RenewingCache[str], source: Source) -> None:
    source.gate.clear()
    cache.warm("key", source)
    cache.warm("key", source)
    waiting = asyncio.create_task(cache.get("key", source))
    await settle()
    source.gate.set()
    assert ((await waiting).secret, source.calls) == ("secret-1", 1)
    cache.warm("key", source)
    assert source.calls == 1


async def test_replacing_asks_anew_and_everyone_gets_the_new_one(cache: RenewingCache[str], source: Source) -> None:
    used = await cache.get("key", source)
    fresh = await cache.replace("key", used, source, may_load=lambda: True)
    assert fresh is not None
    assert fresh.secret == "secret-2"
    assert await cache.replace("key", used, source, may_load=lambda: pytest.fail("was replaced already")) is fresh
    assert await cache.get("key", source) is fresh


async def test_replacing_is_refused_where_it_may_not_load(cache: RenewingCache[str], source: Source) -> None:
    used = await cache.get("key", source)
    assert await cache.replace("key", used, source, may_load=lambda: False) is None
    assert await cache.get("key", source) is used


async def test_failed_replacement_leaves_the_old_one_in_use(cache: RenewingCache[str], source: Source) -> None:
    used = await cache.get("key", source)
    source.error = Refusal(Reason.REGISTRY_REFUSED)
    with pytest.raises(Refusal):
        await cache.replace("key", used, source, may_load=lambda: True)
    assert await cache.get("key", source) is used


async def test_cancelled_caller_does_not_stop_the_load(cache: RenewingCache[str], source: Source) -> None:
    source.gate.clear()
    leaving = asyncio.create_task(cache.get("key", source))
    await settle()
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    source.gate.set()
    await settle()
    assert ((await cache.get("key", source)).secret, source.calls) == ("secret-1", 1)


async def test_expired_credentials_are_forgotten(cache: RenewingCache[str], source: Source, hands: Hands) -> None:
    for number in range(100):
        await cache.get(str(number), source)
    hands.turn(HOUR)
    await cache.get("key", source)
    assert len(cache._entries) == 1


def test_credential_keeps_its_secret_out_of_its_repr() -> None:
    assert "hunter2" not in repr(Credential("hunter2", 1.0))


async def test_wall_time_that_is_set_back_makes_no_credential_live_longer(
    cache: RenewingCache[str], source: Source, hands: Hands
) -> None:
    first = await cache.get("a", source)
    hands.turn(HOUR - EXPIRY_MARGIN_SECONDS + 1)
    hands.wall -= HOUR
    assert await cache.get("a", source) is not first


async def test_wall_time_that_is_set_back_leaves_renewals_their_time(
    cache: RenewingCache[str], source: Source, hands: Hands
) -> None:
    await cache.get("a", source)
    hands.wall -= 10 * HOUR
    hands.turn(HOUR / 2)
    await cache.get("a", source)
    await settle()
    assert source.calls == 2


# --- Prefetching


async def test_prefetched_credential_is_joined_and_kept(cache: RenewingCache[str], source: Source) -> None:
    source.gate.clear()
    prefetch = cache.prefetch("key", source)
    getting = [asyncio.create_task(cache.get("key", source)) for _ in range(3)]
    await settle()
    source.gate.set()
    got = await asyncio.gather(*getting)
    assert {credential.secret for credential in got} == {"secret-1"}
    assert await prefetch == got[0]
    assert (await cache.get("key", source)).secret == "secret-1"
    assert source.calls == 1


@pytest.mark.parametrize("steps", range(4))
async def test_load_that_is_decided_on_while_a_prefetch_ends_does_not_ask_again(
    cache: RenewingCache[str], source: Source, steps: int
) -> None:
    source.gate.clear()
    prefetch = cache.prefetch("key", source)
    await settle()
    loop = asyncio.get_running_loop()
    loop.call_soon(source.gate.set)
    for _ in range(steps):  # The prefetch ends before, with, or after the decision to load.
        await asyncio.sleep(0)
    assert await cache.get("key", source) is await prefetch
    assert source.calls == 1


async def test_nothing_is_prefetched_where_a_credential_is_usable_or_on_its_way(
    cache: RenewingCache[str], source: Source
) -> None:
    source.gate.clear()
    getting = asyncio.create_task(cache.get("key", source))
    await settle()
    assert await cache.prefetch("key", source) is None
    source.gate.set()
    credential = await getting
    assert await cache.prefetch("key", source) is credential
    assert source.calls == 1


async def test_credential_that_is_replaced_does_not_come_back_from_a_prefetch(
    cache: RenewingCache[str], source: Source
) -> None:
    used = await cache.get("key", source)
    prefetch = cache.prefetch("key", source)
    assert (await cache.replace("key", used, source, lambda: True)) is not used
    assert await prefetch is used


async def test_prefetches_share_one_load(cache: RenewingCache[str], source: Source) -> None:
    await asyncio.gather(*(cache.prefetch("key", source) for _ in range(20)))
    assert source.calls == 1


@pytest.mark.parametrize("error", [Refusal(Reason.IDENTITY_REFUSED), Refusal(Reason.IDENTITY_UNAVAILABLE), OSError()])
async def test_failed_prefetch_counts_for_nothing(
    cache: RenewingCache[str], source: Source, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    source.error = error
    with caplog.at_level(logging.DEBUG):
        for _ in range(2 * REFUSALS_IN_A_ROW):
            assert await cache.prefetch("key", source) is None
    assert not [record for record in caplog.records if record.name.startswith("vending")]
    source.error = None
    assert (await cache.get("key", source)).secret == f"secret-{2 * REFUSALS_IN_A_ROW + 1}"


async def test_whoever_waited_for_a_prefetch_that_failed_loads_and_is_told_of_that(
    cache: RenewingCache[str], source: Source
) -> None:
    source.error = Refusal(Reason.IDENTITY_UNAVAILABLE)
    source.gate.clear()
    prefetch = cache.prefetch("key", source)
    await settle()
    told = Source(source.hands)
    told.error = Refusal(Reason.IDENTITY_REFUSED)
    getting = asyncio.create_task(cache.get("key", told))
    await settle()
    assert told.calls == 0, "it waits for the prefetch first"
    source.gate.set()
    with pytest.raises(Refusal) as caught:
        await getting
    assert caught.value.reason is Reason.IDENTITY_REFUSED
    assert (await prefetch, source.calls, told.calls) == (None, 1, 1)


async def test_whoever_waited_for_a_prefetch_that_was_cancelled_loads(
    cache: RenewingCache[str], source: Source
) -> None:
    source.gate.clear()
    prefetch = cache.prefetch("key", source)
    getting = asyncio.create_task(cache.get("key", source))
    await settle()
    prefetch.cancel()
    await settle()
    source.gate.set()
    assert (await getting).secret == "secret-2"


async def test_nothing_is_prefetched_where_the_last_answer_was_a_refusal(
    cache: RenewingCache[str], source: Source, hands: Hands
) -> None:
    source.error = Refusal(Reason.IDENTITY_REFUSED)
    with pytest.raises(Refusal):
        await cache.get("key", source)
    source.error = None
    assert await cache.prefetch("key", source) is None
    assert source.calls == 1
    hands.turn(REFUSAL_MEMORY_SECONDS)
    assert await cache.prefetch("key", source) is not None


async def test_prefetch_that_nobody_waits_for_ends_with_its_loop_and_complains_of_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def run() -> None:
        async def leave() -> None:
            hands = Hands()
            cache: RenewingCache[str] = RenewingCache(hands.clock)
            hanging, failing = Source(hands), Source(hands)
            hanging.gate.clear()
            failing.error = OSError()
            cache.prefetch("hanging", hanging)
            cache.prefetch("failing", failing)
            await settle()

        asyncio.run(leave(), debug=True)

    with caplog.at_level(logging.WARNING, "asyncio"):
        await asyncio.to_thread(run)
        gc.collect()
    assert not caplog.records
