"""Retries: only what may pass, never for longer than there is time, and the server's own wish comes first."""

from __future__ import annotations

import time

import pytest

from vending.errors import Reason, Refusal
from vending.retry import LONGEST_RETRY_AFTER_SECONDS, Transient, retrying


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
