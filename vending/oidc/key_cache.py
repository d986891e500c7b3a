"""Keep each issuer's keys at hand: fresh, briefly stale where the issuer is down, and never shared between issuers.

Decides when to fetch; `discovery` fetches and `keys` parses. Ages and pauses are measured on the monotonic clock.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from vending import operations_log
from vending.errors import Reason, Refusal, quote
from vending.oidc.discovery import Failure, KeysNotFetched, fetch_key_set
from vending.oidc.keys import KeySet, parse_key_set
from vending.single_flight import SingleFlight

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vending.clock import Clock
    from vending.connection import Cause
    from vending.http_client import Http
    from vending.oidc.keys import UnusableKey, VerificationKey
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


NAMED_SECONDS: Final = 600.0
"""An issuer is in trouble for so long after a token has named a key that cannot be used."""
_SAID_AGAIN_SECONDS: Final = 3600.0
"""And the log says so again after this: anybody may write any key id into a token that nobody has verified."""


@dataclass(slots=True)
class _Complaints:
    """Remember which keys that cannot be used are asked for: at most one entry for each key that an issuer has."""

    said: dict[str, float] = field(default_factory=dict)
    last: float | None = None

    def about(self, kid: str, now: float) -> bool:
        """Take note of a token that names `kid`; tell whether that is news."""
        self.last = now
        said = self.said.get(kid)
        if said is not None and now - said < _SAID_AGAIN_SECONDS:
            return False
        self.said[kid] = now
        return True

    def are_fresh(self, now: float) -> bool:
        return self.last is not None and now - self.last < NAMED_SECONDS

    def keep(self, unusable: Iterable[UnusableKey]) -> bool:
        """Forget the keys that are none of these; tell whether that was the end of all complaints."""
        kids = {key.kid for key in unusable}
        had = bool(self.said)
        self.said = {kid: at for kid, at in self.said.items() if kid in kids}
        if not self.said:
            self.last = None
        return had and not self.said


@dataclass(frozen=True, slots=True)
class _Static:
    """Hold the keys that the policy has for an issuer."""

    document: Claims
    keys: KeySet
    complaints: _Complaints = field(default_factory=_Complaints)


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
    cause: Cause | None = None
    complaints: _Complaints = field(default_factory=_Complaints)


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
        self._static: dict[str, _Static] = {}
        self._flights: SingleFlight[_Cache, None] = SingleFlight()

    async def find(
        self, issuer: Issuer, kid: str, algorithm: str, meanwhile: Callable[[], object] | None = None
    ) -> VerificationKey:
        """Return the issuer's key `kid` for `algorithm`, after one refresh if it is not known.

        `meanwhile` is called where this call begins to fetch keys because there are none that may be used: at most once
        for each fetch, however many wait for it, and so as rarely as an issuer is asked whose answers fail.

        Raises `key_unknown` where the issuer has just said that it has no such key, and `issuer_keys_unavailable`
        where that cannot be told now.
        """
        if issuer.static_keys is not None:
            return self._static_key(issuer, kid, algorithm)
        cache = self._caches.setdefault(_source(issuer), _Cache())
        asked_just_now = await self._freshen(issuer, cache, meanwhile)
        if cache.keys is None or kid not in cache.keys.kids:
            if asked_just_now:
                cache.unknown_kid_at = cache.loaded_at
            else:
                await self._ask_about_unknown_kid(issuer, cache)
        if cache.keys is None:
            raise Refusal(Reason.KEY_UNKNOWN)
        return self._usable(issuer, cache.keys, kid, algorithm, cache.complaints)

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
        now = self._clock.monotonic()
        if issuer.static_keys is not None:
            static = self._static_keys(issuer)
            return not static.keys.keys or static.complaints.are_fresh(now)
        cache = self._caches.get(_source(issuer))
        return cache is not None and (cache.trouble is not None or cache.complaints.are_fresh(now))

    def _static_key(self, issuer: Issuer, kid: str, algorithm: str) -> VerificationKey:
        static = self._static_keys(issuer)
        if kid in static.keys.kids:
            return self._usable(issuer, static.keys, kid, algorithm, static.complaints)
        if static.complaints.about("", self._clock.monotonic()):  # One entry for all ids: there is no end of them.
            detail = f"a token names the key {quote(kid)}, and the policy has no key of this id for the issuer"
            _trouble(issuer, Failure.KEY_NOT_IN_POLICY, detail)
        raise Refusal(
            Reason.KEY_UNKNOWN,
            f"The policy has the issuer's keys written down, and the token's key {quote(kid)} is not among them; "
            "tell the service's operator.",
        )

    def _usable(
        self, issuer: Issuer, keys: KeySet, kid: str, algorithm: str, complaints: _Complaints
    ) -> VerificationKey:
        """Return the key, or say why one that is published cannot be used. Raises `key_unknown`."""
        key = keys.find(kid, algorithm)
        if key is not None:
            return key
        left_out = keys.left_out(kid)
        if left_out is not None:
            if complaints.about(kid, self._clock.monotonic()):
                _trouble(issuer, Failure.KEY_UNUSABLE, str(left_out))
            why = left_out.why
        elif kid in keys.kids:
            why = f"it is not for {algorithm}"
        else:
            raise Refusal(Reason.KEY_UNKNOWN)
        raise Refusal(
            Reason.KEY_UNKNOWN,
            f"The issuer publishes the token's key {quote(kid)}, but it cannot be used: {why}; "
            "tell those who run the issuer.",
        )

    async def _freshen(self, issuer: Issuer, cache: _Cache, meanwhile: Callable[[], object] | None) -> bool:
        """See to it that the cache has keys that may be used; tell whether the issuer was asked anew for this call.

        The first load does not count as asking anew: a token signed with a key that was published in that very moment
        deserves a second look.
        """
        age = self._clock.monotonic() - cache.loaded_at
        if cache.keys is None or age > MAX_STALE_SECONDS:
            cache.keys = None
            await self._refresh(issuer, cache, meanwhile)
            return False
        if age > BLOCKING_REFRESH_SECONDS:
            try:
                await self._refresh(issuer, cache, meanwhile)
            except Refusal:
                return False  # The old keys are still good, and an unknown one is answered by the failure's memory.
            return True
        if age > BACKGROUND_REFRESH_SECONDS and self._may_fetch(cache):
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

    async def _refresh(
        self,
        issuer: Issuer,
        cache: _Cache,
        meanwhile: Callable[[], object] | None = None,
        *,
        because_of_unknown_kid: bool = False,
    ) -> None:
        """Wait for one fetch, shared with everyone who needs it. Raises `issuer_keys_unavailable` if it failed.

        Within the pause after a failure that answer comes at once. A caller that gives up leaves the fetch running.
        """
        if self._may_fetch(cache):
            cache.unknown_kid_waits |= because_of_unknown_kid
            begins = cache not in self._flights
            fetched = self._flights.wait(cache, lambda: self._fetch(issuer, cache))
            if begins and meanwhile is not None:
                meanwhile()
            await fetched
        if cache.failures:
            wait = max(cache.retry_at - self._clock.monotonic(), 1.0)
            raise Refusal(
                Reason.ISSUER_KEYS_UNAVAILABLE,
                f"The keys of the token's issuer cannot be read right now; try again in {math.ceil(wait)} s.",
                retry_after=wait,
            )

    def _may_fetch(self, cache: _Cache) -> bool:
        return self._clock.monotonic() >= cache.retry_at

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
            _report(issuer, cache, error.failure, error.detail, error.cause)
            return
        now = self._clock.monotonic()
        cache.keys = keys  # Whole: a key that is absent from the new set is gone with the old one.
        cache.loaded_at = now
        cache.failures = 0
        cache.retry_at = now
        if cache.unknown_kid_waits:
            cache.unknown_kid_at = now
            cache.unknown_kid_waits = False
        recovered = cache.complaints.keep(keys.unusable) and cache.trouble is None
        _report(issuer, cache, None if keys.keys else Failure.NO_USABLE_KEY, "; ".join(keys.problems[:3]), None)
        if recovered and keys.keys:
            operations_log.note(logging.INFO, "issuer_recovered", issuer=issuer.name)

    def _static_keys(self, issuer: Issuer) -> _Static:
        document = issuer.static_keys or {}
        known = self._static.get(issuer.url)
        if known is None or known.document is not document:
            known = self._static[issuer.url] = _Static(document, parse_key_set(document))
        return known


def _source(issuer: Issuer) -> tuple[str, str | None]:
    return issuer.url, issuer.ca_pem


def _report(issuer: Issuer, cache: _Cache, trouble: Failure | None, detail: str, cause: Cause | None) -> None:
    """Log one line when an issuer's state changes, not one for each attempt."""
    if (trouble, cause) == (cache.trouble, cache.cause):
        return
    cache.trouble, cache.cause = trouble, cause
    if trouble is None:
        operations_log.note(logging.INFO, "issuer_recovered", issuer=issuer.name)
    else:
        _trouble(issuer, trouble, detail, cause)


def _trouble(issuer: Issuer, failure: Failure, detail: str, cause: Cause | None = None) -> None:
    operations_log.note(
        logging.WARNING,
        "issuer_trouble",
        issuer=issuer.name,
        failure=failure.value,
        detail=detail,
        **({} if cause is None else {"cause": cause.value}),
    )
