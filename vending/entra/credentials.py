"""Entra tokens for the service's own identities, cached and renewed. Knows identities; knows nothing of registries.

azure-identity does the talking (`library`). It is imported on first use, for it costs more than the rest of the app
together, and runs in threads of its own, for it blocks: an identity endpoint that hangs must not use up the threads
that resolve names and parse policies. Its caches are not used; expiry is handled in one place, `RenewingCache`.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from vending.connection import Cause
from vending.credential_cache import PREFETCH_SECONDS, Credential, RenewingCache
from vending.entra.no_token import NoToken
from vending.errors import Reason, Refusal
from vending.operations_log import note
from vending.retry import Transient, retrying

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vending.clock import Clock
    from vending.entra.identity import Identity
    from vending.http_client import Http

_GRACE_SECONDS: Final = 1.0
"""What an attempt may take on top, for what happens in the thread before and after the call."""
_DEVELOPER_SECONDS: Final = 15.0
"""The Azure CLI is a program that starts anew for each token; azure-identity gives it ten seconds."""
_THREADS: Final = 16
"""One for each identity that is asked at the same time, and as many again that may hang in a name's resolution."""


class IdentityFailure(Refusal):
    """The service's own identity got no token. `status` and `entra_error` are for the operator, not for the caller."""

    def __init__(self, reason: Reason, description: str | None, cause: NoToken) -> None:
        super().__init__(reason, description, retry_after=cause.retry_after)
        self.status = cause.status
        self.entra_error = cause.entra_error
        self.error = cause.error
        self.cause = cause.cause


class EntraTokens:
    """Get access tokens for the service's identities; one upstream call at a time for each identity and audience."""

    def __init__(self, http: Http, clock: Clock, environment: Mapping[str, str], *, budget_seconds: float) -> None:
        self._http = http
        self._clock = clock
        self._environment = environment
        self._budget_seconds = budget_seconds
        self._tokens: RenewingCache[tuple[Identity, str]] = RenewingCache(clock)
        self._threads = ThreadPoolExecutor(_THREADS, "identity")

    async def token(self, identity: Identity, audience: str) -> str:
        """Return an access token of `identity` for `audience` (a resource URI, without `/.default`).

        Raises `Refusal` with `identity_refused` or `identity_unavailable`.
        """
        credential = await self._tokens.get((identity, audience), lambda: self._load(identity, audience))
        return credential.secret

    def prefetch(self, identity: Identity, audience: str) -> asyncio.Task[Credential | None]:
        """Begin to get a token that somebody may need soon, with one attempt that counts for nothing if it fails.

        The task gives the credential, or None (see `RenewingCache.prefetch`).
        """
        return self._tokens.prefetch((identity, audience), lambda: self._attempt_once(identity, audience))

    async def _attempt_once(self, identity: Identity, audience: str) -> Credential:
        if identity.kind == "developer":  # The Azure CLI is slow, and a second one would not be faster.
            raise Refusal(Reason.IDENTITY_UNAVAILABLE)
        return await self._in_thread(identity, audience, PREFETCH_SECONDS)

    async def _load(self, identity: Identity, audience: str) -> Credential:
        return await retrying(lambda: self._attempt(identity, audience), budget_seconds=self._budget_seconds)

    async def _attempt(self, identity: Identity, audience: str) -> Credential:
        seconds = _DEVELOPER_SECONDS if identity.kind == "developer" else self._budget_seconds + _GRACE_SECONDS
        try:
            async with asyncio.timeout(seconds):
                return await self._in_thread(identity, audience, self._budget_seconds)
        except TimeoutError:
            note(
                logging.WARNING,
                "identity_failed",
                identity_type=identity.kind,
                error="TimedOut",
                cause=Cause.TIMED_OUT,
            )
            raise Refusal(Reason.IDENTITY_UNAVAILABLE) from None
        except NoToken as cause:
            raise _failure(identity, cause) from None

    def _in_thread(self, identity: Identity, audience: str, seconds: float) -> asyncio.Future[Credential]:
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._threads, self._ask, loop, identity, audience, seconds)

    def _ask(self, loop: asyncio.AbstractEventLoop, identity: Identity, audience: str, seconds: float) -> Credential:
        """Ask once, in a thread; the answers must come within `seconds`. Raises `NoToken`."""
        from vending.entra import library
        from vending.entra.transport import AppTransport

        transport = AppTransport(self._http, loop, seconds)
        return library.ask(identity, audience, self._environment, transport, now=self._clock.now())


def _failure(identity: Identity, cause: NoToken) -> Exception:
    """Sort a failure by what was heard: a definite no, a setting that is missing, or a trouble that may pass."""
    note(
        logging.WARNING,
        "identity_failed",
        identity_type=identity.kind,
        status=cause.status,
        error=cause.error,
        entra_error=cause.entra_error,
        cause=cause.cause,
    )
    if cause.status is None and not cause.network:
        description = (
            f"The service's identity ({identity.kind}) is not set up; the operator must check the app's settings."
        )
        return IdentityFailure(Reason.IDENTITY_REFUSED, description, cause)
    if cause.status is not None and 400 <= cause.status < 500 and not _may_pass(cause, cause.status):
        return IdentityFailure(Reason.IDENTITY_REFUSED, None, cause)
    return Transient(IdentityFailure(Reason.IDENTITY_UNAVAILABLE, None, cause))


def _may_pass(cause: NoToken, status: int) -> bool:
    """Return whether a 4xx may be gone the next moment."""
    if status in {408, 410, 429}:
        return True
    return cause.by_platform and cause.entra_error is None and status in _NOT_YET


_NOT_YET: Final = frozenset({400, 403, 404})
"""What the identity endpoint answers in the first minutes after a deployment, before it knows the app's identities
(azure-sdk-for-net, issue 30467; azure-functions-host, issues 10238 and 11058)."""
