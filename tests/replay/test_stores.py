"""What a replay store promises, of the one in memory and of the table alike."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.support.replay import new_key, soon
from vending.replay.store import new_owner

if TYPE_CHECKING:
    from tests.support.replay import Time
    from vending.replay.store import ReplayStore


async def test_a_key_is_claimed_once(store: ReplayStore) -> None:
    key = new_key()
    assert await store.claim(key, new_owner(), soon())
    assert not await store.claim(key, new_owner(), soon())
    assert await store.is_claimed(key)


async def test_other_keys_of_the_same_partition_stay_free(store: ReplayStore) -> None:
    key = new_key()
    neighbour = key[:-1] + ("0" if key[-1] != "0" else "1")
    assert await store.claim(key, new_owner(), soon())
    assert not await store.is_claimed(neighbour)
    assert await store.claim(neighbour, new_owner(), soon())


async def test_of_fifty_claims_at_once_one_succeeds(store: ReplayStore) -> None:
    key = new_key()
    outcomes = await asyncio.gather(*(store.claim(key, new_owner(), soon()) for _ in range(50)))
    assert sorted(outcomes) == [False] * 49 + [True]


async def test_what_its_owner_gives_back_can_be_claimed_again(store: ReplayStore) -> None:
    key, owner = new_key(), new_owner()
    assert await store.claim(key, owner, soon())
    await store.release(key, owner)
    assert not await store.is_claimed(key)
    assert await store.claim(key, new_owner(), soon())


async def test_nobody_else_can_give_a_claim_back(store: ReplayStore) -> None:
    key = new_key()
    assert await store.claim(key, new_owner(), soon())
    await store.release(key, new_owner())
    assert await store.is_claimed(key)


async def test_giving_back_what_nobody_holds_does_nothing(store: ReplayStore) -> None:
    await store.release(new_key(), new_owner())


async def test_an_owner_that_gives_back_late_leaves_the_next_owners_claim(store: ReplayStore, clock: Time) -> None:
    key, first, second = new_key(), new_owner(), new_owner()
    assert await store.claim(key, first, clock.now() + 10)
    clock.ahead += 11
    assert await store.claim(key, second, clock.now() + 300)
    await store.release(key, first)
    assert not await store.claim(key, new_owner(), clock.now() + 300)


async def test_a_claim_stays_until_the_moment_it_was_made_for_and_is_free_afterwards(
    store: ReplayStore, clock: Time
) -> None:
    key = new_key()
    expires_at = clock.now() + 100.5
    assert await store.claim(key, new_owner(), expires_at)
    clock.ahead += 99
    assert await store.is_claimed(key)
    assert not await store.claim(key, new_owner(), expires_at)
    clock.ahead += 3
    assert not await store.is_claimed(key)
    assert await store.claim(key, new_owner(), clock.now() + 100)


def test_two_owners_are_never_the_same() -> None:
    assert len({new_owner() for _ in range(1000)}) == 1000
