"""The rate limit: one token bucket for each caller, in this process's memory. Knows nothing of claims or HTTP."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vending.clock import Clock

MAX_CALLERS: Final = 100_000
"""Buckets kept, some 20 MiB. Beyond it the longest unused is forgotten, which can only favour a caller."""
_WINDOW_SECONDS: Final = 60.0
_ROUNDING_SECONDS: Final = 1e-6
"""A sum of intervals may miss the minute by a rounding error, which must not cost the last request of a burst."""


class RateLimiter:
    """Allow each caller `requests_per_minute`, with bursts of as many.

    A bucket is one number, the theoretical arrival time of the generic cell rate algorithm: the moment at which the
    bucket will be full again. A full bucket is like none, so those that have filled up are dropped as others come. A
    caller is kept as a digest of fixed size: claims are as long as their issuer likes.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._salt = secrets.token_bytes(16)  # Nobody can look for two callers that share a bucket.
        self._full_at: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, caller: Iterable[str], requests_per_minute: int) -> float:
        """Take one request from the caller's bucket; return 0, or the seconds to wait if it is empty.

        A refusal costs the caller nothing: one who asks without a pause still gets the rate.
        """
        now = self._clock.monotonic()
        key = self._digest(caller)
        full_at = max(self._full_at.get(key, now), now) + _WINDOW_SECONDS / requests_per_minute
        wait = full_at - now - _WINDOW_SECONDS
        if wait > _ROUNDING_SECONDS:
            return wait
        self._full_at[key] = full_at
        self._full_at.move_to_end(key)
        self._forget(now)
        return 0.0

    def _digest(self, caller: Iterable[str]) -> bytes:
        digest = hashlib.blake2b(key=self._salt, digest_size=16)
        for part in caller:
            text = part.encode("utf-8", "surrogatepass")
            digest.update(len(text).to_bytes(4, "big") + text)
        return digest.digest()

    def _forget(self, now: float) -> None:
        """Drop at most two of the longest unused buckets: more than one comes in, so the table shrinks again."""
        for _ in range(2):
            oldest = next(iter(self._full_at))
            if self._full_at[oldest] > now and len(self._full_at) <= MAX_CALLERS:
                return
            del self._full_at[oldest]
