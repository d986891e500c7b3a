"""Replay protection: a token of a `once` issuer is claimed before minting, and given back if nothing was handed out.

A claim is held under a random owner value, and only that owner gives it back. The claim of an instance that dies
stays until the token has expired.
"""

from __future__ import annotations

import heapq
import secrets
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from vending.clock import Clock

OWNER_BYTES: Final = 16
"""128 random bits: nobody guesses another request's owner value."""


def new_owner() -> str:
    """Make the random value that a claim is held under."""
    return secrets.token_hex(OWNER_BYTES)


class ReplayStore(Protocol):
    """Keep claims. Keys are hex digests; `expires_at` is in seconds since the epoch. May raise `Refusal`."""

    async def claim(self, key: str, owner: str, expires_at: float) -> bool:
        """Take `key` for `owner`, atomically; False if somebody holds it."""

    async def release(self, key: str, owner: str) -> None:
        """Give `key` back if `owner` holds it; otherwise do nothing."""

    async def is_claimed(self, key: str) -> bool:
        """Tell whether somebody holds `key`, without taking it."""


class MemoryStore:
    """Keep claims in this process's memory: other processes and instances do not see them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._claims: dict[str, tuple[str, float]] = {}
        self._expiries: list[tuple[float, str]] = []

    async def claim(self, key: str, owner: str, expires_at: float) -> bool:
        """Take `key`, unless it is held. Atomic, for nothing here awaits."""
        self._purge()
        if key in self._claims:
            return False
        self._claims[key] = (owner, expires_at)
        heapq.heappush(self._expiries, (expires_at, key))
        return True

    async def release(self, key: str, owner: str) -> None:
        """Give `key` back if `owner` holds it."""
        held = self._claims.get(key)
        if held is not None and secrets.compare_digest(held[0], owner):
            del self._claims[key]

    async def is_claimed(self, key: str) -> bool:
        """Tell whether `key` is held."""
        self._purge()
        return key in self._claims

    def _purge(self) -> None:
        now = self._clock.now()
        while self._expiries and self._expiries[0][0] <= now:
            _, key = heapq.heappop(self._expiries)
            held = self._claims.get(key)
            if held is not None and held[1] <= now:
                del self._claims[key]
