"""Keep each issuer's keys at hand: fresh, briefly stale where the issuer is down, and never shared between issuers.

Decides when to fetch; `discovery` fetches and `keys` parses. Ages and pauses are measured on the monotonic clock.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vending import operations_log
from vending.errors import Reason, Refusal
from vending.oidc.discovery import Failure, KeysNotFetched, fetch_key_set
from vending.oidc.keys import KeySet, parse_key_set
from vending.single_flight import SingleFlight

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vending.clock import Clock
    from vending.http_client import Http
    from vending.oidc.keys import VerificationKey
    from vending.oidc.types import Claims, Issuer

BACKGROUND_REFRESH_SECONDS: Final = 600.0
"""Older keys are still used, and refreshed meanwhile: nobody waits, and a withdrawn key lives ten minutes longer."""
BLOCKING_REFRESH_SECONDS: Final = 3600.0
"""Older keys are refreshed before they are used."""
MAX_STALE_SECONDS: Final = 86_400.0
"""While refreshes fail, keys are used up to this age and then forgotten."""
UNKNOWN_KID_SECONDS: Final = 60.0
"""An unknown `kid` costs the issuer one refresh in this time, however many callers bring one."""
FIRST_PAUSE_SECONDS: Final = 5.0
LONGEST_PAUSE_SECONDS: Final = 60.0
"""A failure is remembered for 5 s, and twice as long after each further one; nobody waits on an issuer that is down."""


@dataclass(slots=True, eq=False)
class _Cache:
    """Hold what is known of one issuer's keys."""

    keys: KeySet | None = None
    loaded_at: float = 0.0
    failures: int = 0
    retry_at: float = 0.0
    unknown_kid_waits: bool = False
    """Someone waits for the refresh under way because of an unknown `kid`."""
    unknown_kid_at: float | None = None
    """When the last refresh ended that answered an unknown `kid`."""
    trouble: Failure | None = None


class KeySets:
    """Find the key of an issuer that a token names, fetching where it must.

    Each issuer has a cache of its own, known by its URL and its certificate authority, so that a changed policy never
    keeps keys that were fetched under another trust.
    """

    def __init__(self, http: Http, clock: Clock, *, allow_loopback: bool) -> None:
        self._http = http
        self._clock = clock
        self._allow_loopback = allow_loopback
        self._caches: dict[tuple[str, str | None], _Cache] = {}
        self._static: dict[str, tuple[Claims, KeySet]] = {}
        self._flights: SingleFlight[_Cache, None] = SingleFlight()

    async def find(self, issuer: Issuer, kid: str, algorithm: str) -> VerificationKey:
        """Return the issuer's key `kid` for `algorithm`, after one refresh if it is not known.

        Raises `key_unknown` where the issuer has just said that it has no such key, and `issuer_keys_unavailable`
        where that cannot be told now.
        """
        if issuer.static_keys is not None:
            return _known(self._static_keys(issuer).find(kid, algorithm))
        cache = self._caches.setdefault(_source(issuer), _Cache())
        asked_just_now = await self._freshen(issuer, cache)
        if cache.keys is None or kid not in cache.keys.kids:
            if asked_just_now:
                cache.unknown_kid_at = cache.loaded_at
            else:
                await self._ask_about_unknown_kid(issuer, cache)
        return _known(cache.keys.find(kid, algorithm) if cache.keys else None)

    def keep(self, issuers: Iterable[Issuer]) -> None:
        """Forget the keys of every issuer that is not among these: those of the policy in force."""
        issuers = [issuer for issuer in issuers if issuer.enabled]
        fetched = {_source(issuer) for issuer in issuers if issuer.static_keys is None}
        static = {issuer.url for issuer in issuers if issuer.static_keys is not None}
        self._caches = {source: cache for source, cache in self._caches.items() if source in fetched}
        self._static = {url: entry for url, entry in self._static.items() if url in static}

    def in_trouble(self, issuers: Iterable[Issuer]) -> list[str]:
        """Name the issuers whose last refresh failed, or who publish no usable key. Fetches nothing."""
        return [issuer.name for issuer in issuers if issuer.enabled and self._is_in_trouble(issuer)]

    def ages(self, issuers: Iterable[Issuer]) -> dict[str, float]:
        """Tell the age of each issuer's fetched keys, in seconds, by its name; those without any are left out."""
        now = self._clock.monotonic()
        caches = ((issuer.name, self._caches.get(_source(issuer))) for issuer in issuers if issuer.static_keys is None)
        return {name: now - cache.loaded_at for name, cache in caches if cache is not None and cache.keys is not None}

    def _is_in_trouble(self, issuer: Issuer) -> bool:
        if issuer.static_keys is not None:
            return not self._static_keys(issuer).keys
        cache = self._caches.get(_source(issuer))
        return cache is not None and cache.trouble is not None

    async def _freshen(self, issuer: Issuer, cache: _Cache) -> bool:
        """See to it that the cache has keys that may be used; tell whether the issuer was asked anew for this call.

        The first load does not count as asking anew: a token signed with a key that was published in that very moment
        deserves a second look.
        """
        age = self._clock.monotonic() - cache.loaded_at
        if cache.keys is None or age > MAX_STALE_SECONDS:
            cache.keys = None
            await self._refresh(issuer, cache)
            return False
        if age > BLOCKING_REFRESH_SECONDS:
            try:
                await self._refresh(issuer, cache)
            except Refusal:
                return False  # The old keys are still good, and an unknown one is answered by the failure's memory.
            return True
        if age > BACKGROUND_REFRESH_SECONDS and self._clock.monotonic() >= cache.retry_at:
            self._flights.start(cache, lambda: self._fetch(issuer, cache))
        return False

    async def _ask_about_unknown_kid(self, issuer: Issuer, cache: _Cache) -> None:
        if cache.unknown_kid_at is not None:
            wait = cache.unknown_kid_at + UNKNOWN_KID_SECONDS - self._clock.monotonic()
            if wait > 0:
                # Not `key_unknown`: bogus ids may have used up the refresh that a genuine new key would have needed.
                raise Refusal(
                    Reason.ISSUER_KEYS_UNAVAILABLE,
                    "The token's key is not known, and its issuer was asked for new keys less than a minute ago; "
                    f"try again in {math.ceil(wait)} s.",
                    retry_after=wait,
                )
        await self._refresh(issuer, cache, because_of_unknown_kid=True)

    async def _refresh(self, issuer: Issuer, cache: _Cache, *, because_of_unknown_kid: bool = False) -> None:
        """Wait for one fetch, shared with everyone who needs it. Raises `issuer_keys_unavailable` if it failed.

        Within the pause after a failure that answer comes at once. A caller that gives up leaves the fetch running.
        """
        if self._clock.monotonic() >= cache.retry_at:
            cache.unknown_kid_waits |= because_of_unknown_kid
            await self._flights.wait(cache, lambda: self._fetch(issuer, cache))
        if cache.failures:
            wait = max(cache.retry_at - self._clock.monotonic(), 1.0)
            raise Refusal(
                Reason.ISSUER_KEYS_UNAVAILABLE,
                f"The keys of the token's issuer cannot be read right now; try again in {math.ceil(wait)} s.",
                retry_after=wait,
            )

    async def _fetched(self, issuer: Issuer) -> KeySet:
        try:
            return await fetch_key_set(self._http, issuer, now=self._clock.now(), allow_loopback=self._allow_loopback)
        except KeysNotFetched:
            raise
        except Exception as bug:  # noqa: BLE001 - a mistake of ours is the issuer's trouble too: old keys stay in use.
            operations_log.note_bug(bug)
            raise KeysNotFetched(Failure.BAD_KEY_SET, type(bug).__name__) from None

    async def _fetch(self, issuer: Issuer, cache: _Cache) -> None:
        try:
            keys = await self._fetched(issuer)
        except KeysNotFetched as error:
            pause = min(FIRST_PAUSE_SECONDS * 2 ** min(cache.failures, 10), LONGEST_PAUSE_SECONDS)
            cache.failures += 1
            asked = min(error.retry_after or 0.0, LONGEST_PAUSE_SECONDS)
            cache.retry_at = self._clock.monotonic() + max(pause, asked)
            cache.unknown_kid_waits = False
            _report(issuer, cache, error.failure, error.detail)
            return
        now = self._clock.monotonic()
        cache.keys = keys  # Whole: a key that is absent from the new set is gone with the old one.
        cache.loaded_at = now
        cache.failures = 0
        cache.retry_at = now
        if cache.unknown_kid_waits:
            cache.unknown_kid_at = now
            cache.unknown_kid_waits = False
        _report(issuer, cache, None if keys.keys else Failure.NO_USABLE_KEY, "; ".join(keys.problems[:3]))

    def _static_keys(self, issuer: Issuer) -> KeySet:
        document = issuer.static_keys or {}
        known = self._static.get(issuer.url)
        if known is None or known[0] is not document:
            known = self._static[issuer.url] = (document, parse_key_set(document))
        return known[1]


def _source(issuer: Issuer) -> tuple[str, str | None]:
    return issuer.url, issuer.ca_pem


def _known(key: VerificationKey | None) -> VerificationKey:
    if key is None:
        raise Refusal(Reason.KEY_UNKNOWN)
    return key


def _report(issuer: Issuer, cache: _Cache, trouble: Failure | None, detail: str) -> None:
    """Log one line when an issuer's state changes, not one for each attempt."""
    if trouble is cache.trouble:
        return
    cache.trouble = trouble
    if trouble is None:
        operations_log.note(logging.INFO, "issuer_recovered", issuer=issuer.name)
    else:
        operations_log.note(logging.WARNING, "issuer_trouble", issuer=issuer.name, failure=trouble.value, detail=detail)
