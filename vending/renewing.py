"""A cache of credentials that expire: renewed in the background before anyone has to wait, and never used at the end.

Knows nothing of what it keeps but two points in time. A refusal that a repetition would not change, or that says when
to come back, is remembered for a moment: a missing right must not make every caller ask upstream anew.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from vending.errors import Reason, Refusal
from vending.flight import SingleFlight
from vending.oplog import note

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable

    from vending.clock import Clock

K = TypeVar("K", bound="Hashable")

EXPIRY_MARGIN_SECONDS: Final = 300.0
"""A credential is not used in its last five minutes: it must outlive the calls that it is good for, and clock skew."""
_RENEW_AT_FRACTION: Final = 0.5
"""Half of the lifetime is what Azure's own libraries wait before they renew a managed identity's token."""
_RENEWAL_PAUSE_SECONDS: Final = 30.0
"""Between two attempts to renew in the background, so that an outage upstream is not met with a call per request."""
REFUSAL_MEMORY_SECONDS: Final = 5.0
"""How long a definite refusal (502 to the caller: rights or settings are missing) stands before it is asked anew."""
_LONGEST_MEMORY_SECONDS: Final = 60.0
"""A `Retry-After` is heeded at most this long; callers are told the whole of it."""


@dataclass(frozen=True, slots=True)
class Credential:
    """Hold a secret with its expiry, in seconds since the epoch."""

    secret: str = field(repr=False)
    expires_at: float


@dataclass(slots=True)
class _Entry:
    credential: Credential
    renew_at: float
    not_before: float = 0.0


@dataclass(frozen=True, slots=True)
class _Failure:
    """Hold what a refusal said, until when it stands, and what its `Retry-After` means, both on the monotonic clock.

    The exception itself is not kept: its traceback holds the secrets that were sent.
    """

    reason: Reason
    description: str
    until: float
    retry_at: float | None


class RenewingCache(Generic[K]):
    """Keep one credential for each key, share its loading, and renew it from half of its life on."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: dict[K, _Entry] = {}
        self._failures: dict[K, _Failure] = {}
        self._flights: SingleFlight[K, Credential] = SingleFlight()

    async def get(self, key: K, load: Callable[[], Coroutine[Any, Any, Credential]]) -> Credential:
        """Return the credential for `key`, calling `load` if there is none that is good for five more minutes.

        Raises what `load` raised, or lately raised.
        """
        entry = self._entries.get(key)
        if entry is None or not self._usable(key):
            remembered = self._remembered(key)
            if remembered is not None:
                raise remembered
            return await self._flights.wait(key, lambda: self._load(key, load))
        now = self._clock.now()
        if now >= max(entry.renew_at, entry.not_before) and self._remembered(key) is None:
            entry.not_before = now + _RENEWAL_PAUSE_SECONDS
            self._flights.start(key, lambda: self._renew(key, load))
        return entry.credential

    def warm(self, key: K, load: Callable[[], Coroutine[Any, Any, Credential]]) -> None:
        """Start loading if nothing usable is there; whoever calls `get` meanwhile joins."""
        if not self._usable(key) and self._remembered(key) is None:
            self._flights.start(key, lambda: self._load(key, load))

    async def replace(
        self,
        key: K,
        used: Credential,
        load: Callable[[], Coroutine[Any, Any, Credential]],
        may_load: Callable[[], bool],
    ) -> Credential | None:
        """Return a credential newer than `used`, joining a load that is under way or, if `may_load`, starting one.

        None where nothing newer is to be had. `used` stays in force if loading fails.
        """
        entry = self._entries.get(key)
        if entry is not None and entry.credential is not used:
            return entry.credential
        if key not in self._flights and not may_load():
            return None
        return await self._flights.wait(key, lambda: self._load(key, load))

    def _usable(self, key: K) -> bool:
        entry = self._entries.get(key)
        return entry is not None and self._clock.now() < entry.credential.expires_at - EXPIRY_MARGIN_SECONDS

    def _remembered(self, key: K) -> Refusal | None:
        """Return the refusal that still stands for `key`, as a new exception that says how long."""
        failure = self._failures.get(key)
        now = self._clock.monotonic()
        if failure is None or failure.until <= now or key in self._flights:
            return None
        wait = None if failure.retry_at is None else failure.retry_at - now
        return Refusal(failure.reason, failure.description, retry_after=wait)

    async def _load(self, key: K, load: Callable[[], Coroutine[Any, Any, Credential]]) -> Credential:
        try:
            credential = await load()
        except Refusal as refusal:
            self._remember(key, refusal)
            raise
        now = self._clock.now()
        for stale in [k for k, entry in self._entries.items() if entry.credential.expires_at <= now]:
            del self._entries[stale]
        self._failures.pop(key, None)
        self._entries[key] = _Entry(credential, now + (credential.expires_at - now) * _RENEW_AT_FRACTION)
        return credential

    def _remember(self, key: K, refusal: Refusal) -> None:
        definite = REFUSAL_MEMORY_SECONDS if refusal.entry.status == 502 else 0.0
        pause = min(max(refusal.retry_after or 0.0, definite), _LONGEST_MEMORY_SECONDS)
        now = self._clock.monotonic()
        self._failures = {k: failure for k, failure in self._failures.items() if failure.until > now}
        if pause > 0:
            retry_at = None if refusal.retry_after is None else now + refusal.retry_after
            self._failures[key] = _Failure(refusal.reason, refusal.description, now + pause, retry_at)

    async def _renew(self, key: K, load: Callable[[], Coroutine[Any, Any, Credential]]) -> Credential:
        try:
            return await self._load(key, load)
        except Exception as error:
            note(
                logging.WARNING,
                "renewal_failed",
                error=str(error) if isinstance(error, Refusal) else type(error).__name__,
            )
            raise
