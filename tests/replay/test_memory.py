"""What the store in memory keeps, and that it keeps nothing for longer than it must."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vending.clock import Clock
from vending.replay.store import MemoryStore

if TYPE_CHECKING:
    from tests.support.replay import Time


async def test_expired_claims_are_dropped_as_others_come(clock: Time) -> None:
    store = MemoryStore(clock.clock)
    for number in range(1000):
        assert await store.claim(f"{number:064x}", "owner", clock.now() + number % 100)
    clock.ahead += 1000
    assert await store.claim("f" * 64, "owner", clock.now() + 100)
    assert len(store) == 1


async def test_claims_given_back_leave_nothing_behind_once_they_would_have_expired(clock: Time) -> None:
    store = MemoryStore(clock.clock)
    for _ in range(1000):
        assert await store.claim("a" * 64, "owner", clock.now() + 60)
        await store.release("a" * 64, "owner")
    clock.ahead += 61
    assert not await store.is_claimed("a" * 64)
    assert len(store) == 0


async def test_an_earlier_claims_expiry_does_not_end_a_later_one(clock: Time) -> None:
    store = MemoryStore(clock.clock)
    assert await store.claim("a" * 64, "first", clock.now() + 10)
    await store.release("a" * 64, "first")
    assert await store.claim("a" * 64, "second", clock.now() + 100)
    clock.ahead += 11
    assert not await store.claim("a" * 64, "third", clock.now() + 100)


class Hands:
    """Two clocks that can be set apart, as no real ones should be."""

    def __init__(self) -> None:
        self.wall = 1_800_000_000.0
        self.monotonic = 0.0
        self.clock = Clock(now=lambda: self.wall, monotonic=lambda: self.monotonic)

    def turn(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds


async def test_wall_time_that_is_set_forward_for_a_moment_frees_no_claim() -> None:
    hands = Hands()
    store = MemoryStore(hands.clock)
    assert await store.claim("a" * 64, "first", hands.wall + 100)
    hands.wall += 3600
    assert await store.is_claimed("a" * 64)
    assert not await store.claim("a" * 64, "second", hands.wall + 100)
    hands.wall -= 3600
    assert await store.is_claimed("a" * 64)


async def test_wall_time_that_is_set_back_keeps_a_claim_for_longer_and_not_for_ever() -> None:
    hands = Hands()
    store = MemoryStore(hands.clock)
    assert await store.claim("a" * 64, "first", hands.wall + 100)
    hands.wall -= 1000
    hands.turn(1099)
    assert await store.is_claimed("a" * 64)
    hands.turn(2)
    assert not await store.is_claimed("a" * 64)
    assert len(store) == 0
