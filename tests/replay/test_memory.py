"""What the store in memory keeps, and that it keeps nothing for longer than it must."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vending.replay.store import MemoryStore

if TYPE_CHECKING:
    from tests.support.replay import Time


async def test_expired_claims_are_dropped_as_others_come(clock: Time) -> None:
    store = MemoryStore(clock.clock)
    for number in range(1000):
        assert await store.claim(f"{number:064x}", "owner", clock.now() + number % 100)
    clock.ahead += 1000
    assert await store.claim("f" * 64, "owner", clock.now() + 100)
    assert (len(store._claims), len(store._expiries)) == (1, 1)


async def test_claims_given_back_leave_nothing_behind_once_they_would_have_expired(clock: Time) -> None:
    store = MemoryStore(clock.clock)
    for _ in range(1000):
        assert await store.claim("a" * 64, "owner", clock.now() + 60)
        await store.release("a" * 64, "owner")
    clock.ahead += 61
    assert not await store.is_claimed("a" * 64)
    assert (store._claims, store._expiries) == ({}, [])


async def test_an_earlier_claims_expiry_does_not_end_a_later_one(clock: Time) -> None:
    store = MemoryStore(clock.clock)
    assert await store.claim("a" * 64, "first", clock.now() + 10)
    await store.release("a" * 64, "first")
    assert await store.claim("a" * 64, "second", clock.now() + 100)
    clock.ahead += 11
    assert not await store.claim("a" * 64, "third", clock.now() + 100)
