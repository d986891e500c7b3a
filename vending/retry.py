"""The one retry helper: repeat an upstream call that failed in passing. Says nothing about what "in passing" means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from vending.errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tenacity import RetryCallState

T = TypeVar("T")

_ATTEMPTS: Final = 3
_FIRST_WAIT_SECONDS: Final = 0.2
_LONGEST_WAIT_SECONDS: Final = 2.0
LONGEST_RETRY_AFTER_SECONDS: Final = 5.0
"""A server that asks for more is passed on to the caller, who can wait outside the request and its deadline."""


class Transient(Exception):
    """Report an attempt that is worth repeating; `refusal` is the answer once the attempts are used up."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(refusal.reason.value)


async def retrying(attempt: Callable[[], Awaitable[T]], *, budget_seconds: float) -> T:
    """Call `attempt` up to three times, with exponential back-off and jitter, or as long as `Retry-After` asks.

    No wait begins that would end after `budget_seconds`. Raises the last attempt's `Refusal`.
    """
    from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, stop_before_delay

    out_of_attempts, out_of_time = stop_after_attempt(_ATTEMPTS), stop_before_delay(budget_seconds)
    attempts = AsyncRetrying(
        stop=lambda state: _asks_for_too_much(state) or out_of_attempts(state) or out_of_time(state),
        wait=_wait,
        retry=retry_if_exception_type(Transient),
        reraise=True,
    )

    async def once() -> T:  # tenacity awaits only what is declared as a coroutine function.
        return await attempt()

    try:
        return await attempts(once)
    except Transient as transient:
        raise transient.refusal from None


def _retry_after(state: RetryCallState) -> float | None:
    error = state.outcome.exception() if state.outcome is not None else None
    return error.refusal.retry_after if isinstance(error, Transient) else None


def _asks_for_too_much(state: RetryCallState) -> bool:
    return (_retry_after(state) or 0.0) > LONGEST_RETRY_AFTER_SECONDS


def _wait(state: RetryCallState) -> float:
    from tenacity import wait_random_exponential

    jitter = wait_random_exponential(multiplier=_FIRST_WAIT_SECONDS, max=_LONGEST_WAIT_SECONDS)(state)
    return (_retry_after(state) or 0.0) + jitter
