"""The one retry helper: repeat an upstream call after a transient failure. What is transient, its callers decide."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Final, TypeVar

from vending.errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

_PAUSES_SECONDS: Final = (0.2, 0.4)
"""The longest pause before the second and third attempt. Its length is random: who failed together returns apart."""
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
    give_up_at = time.monotonic() + budget_seconds
    for failures in range(1, len(_PAUSES_SECONDS) + 1):
        try:
            return await attempt()
        except Transient as transient:
            refusal = transient.refusal
        asked = refusal.retry_after or 0.0
        wait = wait_seconds(failures, asked)
        if asked > LONGEST_RETRY_AFTER_SECONDS or time.monotonic() + wait >= give_up_at:
            raise refusal
        await asyncio.sleep(wait)
    try:
        return await attempt()
    except Transient as transient:
        raise transient.refusal from None


def wait_seconds(failures: int, asked: float) -> float:
    """Choose how long to wait after so many failures where the server asked for `asked` seconds, 0 for none.

    A server that throttles tells every caller of every instance the same second. So they return spread over as long
    again as it asked for, and after a second failure over twice as long: it had too many of them in one moment.
    """
    spread = max(_PAUSES_SECONDS[failures - 1], failures * asked)
    return asked + random.uniform(0, spread)  # noqa: S311 - no secret
