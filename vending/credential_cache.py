"""A cache of credentials that expire: renewed in the background before anyone has to wait, and never used at the end.

Knows nothing of what it keeps but two points in time. Failures are shared by those who wait for them and not kept, so a
retry finds out whether what failed has been fixed. Only where definite refusals follow one another does the last one
apply for a moment: a missing right must not make every caller ask upstream anew.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from vending.errors import Reason, Refusal
from vending.operations_log import note
from vending.single_flight import SingleFlight

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable

    from vending.clock import Clock, Mark

K = TypeVar("K", bound="Hashable")

EXPIRY_MARGIN_SECONDS: Final = 300.0
"""A credential is not used in its last five minutes: it must outlive the calls that it is good for, and clock skew."""
_RENEW_AT_FRACTION: Final = 0.5
"""Half of the lifetime is what Azure's own libraries wait before they renew a managed identity's token."""
_RENEWAL_PAUSE_SECONDS: Final = 30.0
"""Between two attempts to renew in the background, so that an outage upstream is not met with a call per request."""
REFUSALS_IN_A_ROW: Final = 3
REFUSAL_MEMORY_SECONDS: Final = 5.0
"""After so many definite refusals (502), each within so long of the one before, the last one applies for so long."""
PREFETCH_SECONDS: Final = 5.0
"""A prefetch that takes longer is given up: whoever waits for it still has most of a request's time for a call of its
own."""
_LONGEST_PAUSE_SECONDS: Final = 60.0
"""A `Retry-After` that delays a renewal is heeded at most this long."""


@dataclass(frozen=True, slots=True)
class Credential:
    """Hold a secret with its expiry, in seconds since the epoch."""

    secret: str = field(repr=False)
    expires_at: float


@dataclass(slots=True)
class _Entry:
    """Hold a credential, when it was loaded and how long it lived from then on, and when to try to renew it."""

    credential: Credential
    loaded: Mark
    life: float
    renew_from: float = 0.0
    """On the monotonic clock."""


@dataclass(frozen=True, slots=True)
class _Refused:
    """Hold what a definite refusal said, when (monotonic), and how many consecutive refusals it makes.

    Not the exception itself: the frames of its traceback hold credentials.
    """

    reason: Reason
    description: str
    at: float
    number: int


class RenewingCache(Generic[K]):
    """Keep one credential for each key, share its loading, and renew it from half of its life on."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: dict[K, _Entry] = {}
        self._refused: dict[K, _Refused] = {}
        self._flights: SingleFlight[K, Credential] = SingleFlight()
        self._prefetches: SingleFlight[K, Credential | None] = SingleFlight()

    async def get(self, key: K, load: Callable[[], Coroutine[Any, Any, Credential]]) -> Credential:
        """Return the credential for `key`, calling `load` if there is none that is good for five more minutes.

        Raises what `load` raised.
        """
        entry = self._entries.get(key)
        if entry is None or not self._usable(key):
            standing = self._standing(key)
            if standing is not None:
                raise Refusal(standing.reason, standing.description)
            return await self._flights.wait(key, lambda: self._load(key, load, entry))
        moment = self._clock.monotonic()
        if self._clock.since(entry.loaded) >= entry.life * _RENEW_AT_FRACTION and moment >= entry.renew_from:
            entry.renew_from = moment + _RENEWAL_PAUSE_SECONDS
            self._flights.start(key, lambda: self._renew(key, load, entry))
        return entry.credential

    def warm(self, key: K, load: Callable[[], Coroutine[Any, Any, Credential]]) -> None:
        """Start loading if nothing usable is there; whoever calls `get` meanwhile joins."""
        if not self._usable(key) and self._standing(key) is None:
            known = self._entries.get(key)
            self._flights.start(key, lambda: self._load(key, load, known))

    def prefetch(self, key: K, load: Callable[[], Coroutine[Any, Any, Credential]]) -> asyncio.Task[Credential | None]:
        """Begin to load what somebody may need soon; whoever needs it meanwhile waits for this first.

        A failure counts for nothing: it is not told, not logged and not remembered, and whoever waited for it loads
        for themselves. Nothing is loaded where a usable credential is there or on its way, or where the last answer was
        a refusal. The task gives the credential, or None.
        """
        return self._prefetches.start(key, lambda: self._prefetch(key, load))

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
        return await self._flights.wait(key, lambda: self._load(key, load, entry))

    def _usable(self, key: K) -> bool:
        entry = self._entries.get(key)
        # By the clock on which more time has passed: wall time that was set back makes no credential live longer.
        return entry is not None and self._clock.since(entry.loaded) < entry.life - EXPIRY_MARGIN_SECONDS

    def _standing(self, key: K) -> _Refused | None:
        last = self._last_refusal(key)
        if last is None or last.number < REFUSALS_IN_A_ROW or key in self._flights:
            return None
        return last

    def _last_refusal(self, key: K) -> _Refused | None:
        last = self._refused.get(key)
        return last if last is not None and self._clock.monotonic() - last.at < REFUSAL_MEMORY_SECONDS else None

    async def _prefetch(self, key: K, load: Callable[[], Coroutine[Any, Any, Credential]]) -> Credential | None:
        if self._usable(key):
            return self._entries[key].credential
        if key in self._flights or self._last_refusal(key) is not None:
            return None
        try:
            async with asyncio.timeout(PREFETCH_SECONDS):
                credential = await load()
        except Exception:  # noqa: BLE001 - whoever needs it meets the same failure, and that one is told.
            return None
        self._keep(key, credential)
        return credential

    async def _load(
        self, key: K, load: Callable[[], Coroutine[Any, Any, Credential]], known: _Entry | None
    ) -> Credential:
        """Load, unless a prefetch brings another entry than `known`, which was there when loading was decided on.

        Whoever replaces a credential must not get it back.
        """
        prefetch = self._prefetches.under_way(key)
        if prefetch is not None:
            await asyncio.wait([prefetch])
        entry = self._entries.get(key)
        if entry is not None and entry is not known:
            return entry.credential
        try:
            credential = await load()
        except Refusal as refusal:
            if refusal.entry.status == 502:
                last = self._last_refusal(key)
                number = 1 if last is None else last.number + 1
                self._refused[key] = _Refused(refusal.reason, refusal.description, self._clock.monotonic(), number)
            raise
        self._keep(key, credential)
        return credential

    def _keep(self, key: K, credential: Credential) -> None:
        self._refused.pop(key, None)
        loaded = self._clock.mark()
        for stale in [k for k, entry in self._entries.items() if self._clock.since(entry.loaded) >= entry.life]:
            del self._entries[stale]
        self._entries[key] = _Entry(credential, loaded, credential.expires_at - loaded.now)

    async def _renew(self, key: K, load: Callable[[], Coroutine[Any, Any, Credential]], known: _Entry) -> Credential:
        try:
            return await self._load(key, load, known)
        except Exception as error:
            entry = self._entries.get(key)
            if entry is not None and isinstance(error, Refusal) and error.retry_after is not None:
                pause = min(max(error.retry_after, _RENEWAL_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
                entry.renew_from = self._clock.monotonic() + pause
            note(
                logging.WARNING,
                "renewal_failed",
                error=str(error) if isinstance(error, Refusal) else type(error).__name__,
            )
            raise
