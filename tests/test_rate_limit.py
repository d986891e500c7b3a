"""The rate limit: its arithmetic, its fairness, and that nobody can fill the memory with callers."""

import sys

import pytest

from vending.clock import Clock
from vending.rate_limit import MAX_CALLERS, RateLimiter


class Time:
    """A monotonic clock that moves only when told to; it starts at an odd fraction on purpose."""

    def __init__(self) -> None:
        self.seconds = 1234.567

    @property
    def clock(self) -> Clock:
        return Clock(now=lambda: 0.0, monotonic=lambda: self.seconds)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def limiter(time: Time) -> RateLimiter:
    return RateLimiter(time.clock)


@pytest.mark.parametrize("rate", [1, 2, 7, 60, 600, 6000])
def test_a_caller_gets_a_burst_of_a_minutes_worth_and_not_one_more(limiter: RateLimiter, rate: int) -> None:
    assert [limiter.take(("github", "1"), rate) for _ in range(rate)] == [0.0] * rate
    assert limiter.take(("github", "1"), rate) == pytest.approx(60 / rate)


@pytest.mark.parametrize("rate", [1, 7, 600])
def test_the_wait_that_is_told_is_enough_and_nothing_less_is(limiter: RateLimiter, time: Time, rate: int) -> None:
    while not (wait := limiter.take(("github", "1"), rate)):
        pass
    time.seconds += wait * 0.99
    assert limiter.take(("github", "1"), rate) > 0
    time.seconds += wait * 0.01
    assert limiter.take(("github", "1"), rate) == 0


def test_over_an_hour_of_constant_asking_a_caller_gets_the_rate_and_one_burst(limiter: RateLimiter, time: Time) -> None:
    granted = 0
    for _ in range(36_000):
        granted += limiter.take(("github", "1"), 60) == 0
        time.seconds += 0.1
    assert granted == pytest.approx(3600 + 60, abs=1)


def test_one_callers_flood_takes_nothing_from_another(limiter: RateLimiter) -> None:
    for _ in range(10_000):
        limiter.take(("github", "flood"), 60)
    assert [limiter.take(("github", "victim"), 60) for _ in range(60)] == [0.0] * 60


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(("github", "1"), ("gitlab", "1"), id="the same id at two issuers"),
        pytest.param(("ab", "c"), ("a", "bc"), id="the same characters, parted elsewhere"),
        pytest.param(("a",), ("a", ""), id="one part more"),
        pytest.param(("a", "\ud800"), ("a", "?"), id="a lone surrogate"),
    ],
)
def test_different_callers_never_share_a_bucket(
    limiter: RateLimiter, one: tuple[str, ...], other: tuple[str, ...]
) -> None:
    assert limiter.take(one, 1) == 0
    assert limiter.take(other, 1) == 0
    assert limiter.take(one, 1) > 0


def test_a_lowered_rate_holds_for_the_next_request(limiter: RateLimiter, time: Time) -> None:
    for _ in range(60):
        assert limiter.take(("github", "1"), 60) == 0
    time.seconds += 30
    assert limiter.take(("github", "1"), 6) == 0
    time.seconds += 1
    assert limiter.take(("github", "1"), 1) > 0


def test_more_callers_than_are_kept_fill_a_bounded_table_however_long_their_names(limiter: RateLimiter) -> None:
    for number in range(MAX_CALLERS + 50_000):
        limiter.take(("github", f"{number:>1000}"), 600)
    assert len(limiter) == MAX_CALLERS
    table = limiter._full_at
    size = sys.getsizeof(table) + sum(sys.getsizeof(key) + sys.getsizeof(value) for key, value in table.items())
    assert size < 32 * 1024 * 1024


def test_callers_who_left_are_forgotten_as_others_come(limiter: RateLimiter, time: Time) -> None:
    for number in range(10_000):
        limiter.take(("github", str(number)), 600)
    time.seconds += 61
    for _ in range(10_000):
        limiter.take(("github", "steady"), 600_000)
    assert len(limiter) == 1


def test_a_flood_of_new_callers_does_not_free_the_one_who_is_at_its_limit(limiter: RateLimiter, time: Time) -> None:
    """Only the longest unused is forgotten, and a caller at its limit uses its bucket all the time."""
    for number in range(MAX_CALLERS + 50_000):
        if number % 1000 == 0:
            limiter.take(("github", "steady"), 20)
            time.seconds += 0.01
        limiter.take(("github", str(number)), 600)
    assert limiter.take(("github", "steady"), 20) > 0
