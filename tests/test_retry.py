"""Retries: only what may pass, never for longer than there is time, and the server's own wish comes first."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from vending.errors import Reason, Refusal
from vending.retry import LONGEST_RETRY_AFTER_SECONDS, Transient, retrying, wait_seconds


class Attempts:
    """Fail as often as told, then succeed."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.left = failures
        self.error = error
        self.made = 0

    async def __call__(self) -> str:
        self.made += 1
        if self.left > 0:
            self.left -= 1
            raise self.error
        return "done"


def unavailable(retry_after: float | None = None) -> Transient:
    return Transient(Refusal(Reason.REGISTRY_UNAVAILABLE, retry_after=retry_after))


@pytest.mark.parametrize("failures", [0, 1, 2])
async def test_failure_that_passes_is_not_noticed(failures: int) -> None:
    attempts = Attempts(failures, unavailable())
    assert await retrying(attempts, budget_seconds=20) == "done"
    assert attempts.made == failures + 1


async def test_third_failure_is_the_answer() -> None:
    attempts = Attempts(9, unavailable())
    with pytest.raises(Refusal) as caught:
        await retrying(attempts, budget_seconds=20)
    assert (caught.value.reason, attempts.made) == (Reason.REGISTRY_UNAVAILABLE, 3)


async def test_definite_refusal_is_not_repeated() -> None:
    attempts = Attempts(9, Refusal(Reason.REGISTRY_REFUSED))
    with pytest.raises(Refusal) as caught:
        await retrying(attempts, budget_seconds=20)
    assert (caught.value.reason, attempts.made) == (Reason.REGISTRY_REFUSED, 1)


async def test_no_wait_begins_that_would_outlast_the_budget() -> None:
    attempts = Attempts(9, unavailable(retry_after=3))
    started = time.monotonic()
    with pytest.raises(Refusal) as caught:
        await retrying(attempts, budget_seconds=1)
    assert (caught.value.retry_after, attempts.made) == (3, 1)
    assert time.monotonic() - started < 3


async def test_retry_after_is_waited_for() -> None:
    attempts = Attempts(1, unavailable(retry_after=1))
    started = time.monotonic()
    assert await retrying(attempts, budget_seconds=20) == "done"
    assert time.monotonic() - started >= 1


async def test_longer_retry_after_goes_to_the_caller_at_once() -> None:
    attempts = Attempts(9, unavailable(retry_after=LONGEST_RETRY_AFTER_SECONDS + 1))
    with pytest.raises(Refusal) as caught:
        await retrying(attempts, budget_seconds=60)
    assert (caught.value.retry_after, attempts.made) == (LONGEST_RETRY_AFTER_SECONDS + 1, 1)


@pytest.mark.parametrize(("failures", "asked", "spread"), [(1, 1.0, 1.0), (1, 4.0, 4.0), (2, 1.0, 2.0), (2, 3.0, 6.0)])
def test_those_who_were_told_one_second_return_spread_over_as_long_again(
    failures: int, asked: float, spread: float
) -> None:
    """A registry tells every caller of every instance the same `Retry-After`; a tenth of the span has few of them."""
    waits = [wait_seconds(failures, asked) for _ in range(2000)]
    assert all(asked <= wait <= asked + spread for wait in waits)
    tenths = Counter(int((wait - asked) / spread * 10) for wait in waits)
    assert max(tenths.values()) < 2 * len(waits) / 10


@pytest.mark.parametrize(("failures", "longest"), [(1, 0.2), (2, 0.4)])
def test_without_a_wish_of_the_server_the_pause_is_short_and_random(failures: int, longest: float) -> None:
    waits = [wait_seconds(failures, 0.0) for _ in range(2000)]
    assert all(0 <= wait <= longest for wait in waits)
    assert max(waits) - min(waits) > longest / 2
