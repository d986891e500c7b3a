"""The rate limit: one token bucket for each caller, in this instance's memory. Knows nothing of claims or HTTP."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable

    from vending.clock import Clock

MAX_CALLERS: Final = 100_000
"""Buckets kept, some 20 MiB. Beyond it the longest unused is forgotten, which can only favour a caller."""


class RateLimiter:
    """Allow each caller `requests_per_minute`, with bursts of as many.

    A bucket is one number, the theoretical arrival time of the generic cell rate algorithm: the moment at which the
    bucket will be full again.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._full_at: OrderedDict[Hashable, float] = OrderedDict()

    def take(self, caller: Hashable, requests_per_minute: int) -> float:
        """Take one request from the caller's bucket; return 0, or the seconds to wait if it is empty."""
        now = self._clock.monotonic()
        interval = 60.0 / requests_per_minute
        full_at = max(self._full_at.get(caller, now), now) + interval
        wait = full_at - now - 60.0
        if wait > 1e-9:  # A sum of intervals may miss the minute by a rounding error.
            return wait
        self._full_at[caller] = full_at
        self._full_at.move_to_end(caller)
        if len(self._full_at) > MAX_CALLERS:
            self._full_at.popitem(last=False)
        return 0.0
