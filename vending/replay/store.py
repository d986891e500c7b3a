"""Replay protection: a token of a `once` issuer is claimed before minting, and given back if nothing was handed out.

A claim is held under a random owner value, and only that owner gives it back. The claim of an instance that dies
stays until the token has expired.
"""

from __future__ import annotations

import heapq
import secrets
from asyncio import get_running_loop
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Awaitable

    from vending.clock import Clock

OWNER_BYTES: Final = 16
"""128 random bits: nobody guesses another request's owner value."""


def new_owner() -> str:
    """Make the random value that a claim is held under."""
    return secrets.token_hex(OWNER_BYTES)


class ReplayStore(Protocol):
    """Keep claims. Keys are hex digests; `expires_at` is in seconds since the epoch. May raise `Refusal`."""

    def claim(self, key: str, owner: str, expires_at: float) -> Awaitable[bool]:
        """Take `key` for `owner`, atomically; False if somebody holds it."""

    async def release(self, key: str, owner: str) -> None:
        """Give `key` back if `owner` holds it; otherwise do nothing."""

    async def is_claimed(self, key: str) -> bool:
        """Return whether somebody holds `key`, without taking it."""


@dataclass(frozen=True, slots=True)
class _Claim:
    """Hold a claim with its end on both clocks: it ends when it is over by wall time and by the monotonic clock.

    So no clock that is set forward for a moment makes a token usable again.
    """

    owner: str
    expires_at: float
    over_at: float


class MemoryStore:
    """Keep claims in this process's memory: other processes and instances do not see them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._claims: dict[str, _Claim] = {}
        self._ends: list[tuple[float, str]] = []
        """Ends of claims by the monotonic clock, soonest first; some are of claims that were given back since."""

    def __len__(self) -> int:
        return len(self._ends)

    def claim(self, key: str, owner: str, expires_at: float) -> Future[bool]:
        """Take `key` before this returns, unless it is held. The future is done: nobody needs a task to wait for it."""
        self._purge()
        free = key not in self._claims
        if free:
            self._put(key, owner, expires_at)
        claimed = get_running_loop().create_future()
        claimed.set_result(free)
        return claimed

    async def release(self, key: str, owner: str) -> None:
        """Give `key` back if `owner` holds it."""
        held = self._claims.get(key)
        if held is not None and secrets.compare_digest(held.owner, owner):
            del self._claims[key]

    async def is_claimed(self, key: str) -> bool:
        """Return whether `key` is held."""
        self._purge()
        return key in self._claims

    def _put(self, key: str, owner: str, expires_at: float) -> None:
        over_at = self._clock.monotonic() + max(0.0, expires_at - self._clock.now())
        self._claims[key] = _Claim(owner, expires_at, over_at)
        heapq.heappush(self._ends, (over_at, key))

    def _purge(self) -> None:
        now, moment = self._clock.now(), self._clock.monotonic()
        while self._ends and self._ends[0][0] <= moment:
            over_at, key = heapq.heappop(self._ends)
            held = self._claims.get(key)
            if held is None or held.over_at != over_at:
                continue  # It was given back; another one may be there by now, with an end of its own.
            if held.expires_at <= now:
                del self._claims[key]
            else:  # Wall time was set back.
                self._put(key, held.owner, held.expires_at)
