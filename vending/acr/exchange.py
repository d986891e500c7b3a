"""Mint registry tokens: Entra token → refresh token (cached) → access token (never cached), after ACR's AAD-OAuth page.

Refresh tokens are as good as the whole registry: they stay in this module, out of every log and every answer.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from vending.acr import access
from vending.acr.access import VendedToken
from vending.acr.scope import Scope, render
from vending.errors import Reason, Refusal
from vending.net import Answer, NetError, TooLarge
from vending.oplog import note
from vending.renewing import Credential, RenewingCache
from vending.retry import Transient, retrying

if TYPE_CHECKING:
    from vending.clock import Clock
    from vending.net import Http

MAX_ANSWER_BYTES: Final = 256 * 1024
"""A recorded refresh token is 1 KiB; a token for 128 repositories with names of full length stays below 64 KiB."""
_ATTEMPT_SECONDS: Final = 6.0
_REEXCHANGE_SECONDS: Final = 60.0
"""A registry that refuses for missing rights must not make every caller exchange anew."""
_HEADERS: Final = {"X-Meta-Source-Client": "azure/functions", "Accept": "application/json"}
_SERVICE = re.compile(r'[Ss]ervice="([^"]{1,255})"')

EntraToken = Callable[[], Awaitable[str]]
"""Gets an Entra token of the registry's identity; may wait for the network."""


@dataclass(frozen=True, slots=True)
class Target:
    """Say where to mint: the registry's origin, the names it goes by, and whose rights are used.

    `service` is None where the policy leaves it open: then it is the login server, or what the registry's own challenge
    says if that is refused. `identity` is the resolved identity, as a part of cache keys.
    """

    origin: str
    login_server: str
    service: str | None
    identity: Hashable = field(repr=False)

    @property
    def key(self) -> tuple[Hashable, str, str | None]:
        return (self.identity, self.login_server, self.service)


Key = tuple[Hashable, str, str | None]


class Minter:
    """Mint access tokens for registries, sharing refresh tokens between callers and nothing else."""

    def __init__(self, http: Http, clock: Clock, *, budget_seconds: float) -> None:
        self._http = http
        self._clock = clock
        self._budget_seconds = budget_seconds
        self._refresh: RenewingCache[Key] = RenewingCache(clock)
        self._services: dict[str, str] = {}
        self._reexchanged: dict[Key, float] = {}

    def warm(self, target: Target, entra_token: EntraToken) -> None:
        """Begin to obtain a refresh token if there is none, without waiting for it; `mint` joins what this began."""
        self._refresh.warm(target.key, lambda: self._exchange(target, entra_token))

    async def mint(self, target: Target, entra_token: EntraToken, scopes: tuple[Scope, ...]) -> VendedToken:
        """Obtain an access token that allows exactly `scopes`.

        An answer of 401, or a grant narrower than asked, may come of a refresh token from before a change of rights: it
        is replaced and the call repeated, at most once in 60 s for each identity and registry. Raises `Refusal` with
        the `registry_…` and `identity_…` reasons.
        """

        used = await self._refresh.get(target.key, lambda: self._exchange(target, entra_token))
        try:
            return await self._access(target, used, scopes)
        except _StaleRights as stale:
            fresh = await self._refresh.replace(
                target.key,
                used,
                lambda: self._exchange(target, entra_token),
                may_load=lambda: self._may_reexchange(target.key),
            )
            if fresh is None:
                raise stale.refusal from None
        try:
            return await self._access(target, fresh, scopes)
        except _StaleRights as stale:
            raise stale.refusal from None

    def _may_reexchange(self, key: Key) -> bool:
        now = self._clock.monotonic()
        self._reexchanged = {k: at for k, at in self._reexchanged.items() if now - at < _REEXCHANGE_SECONDS}
        if key in self._reexchanged:
            return False
        self._reexchanged[key] = now
        return True

    async def _exchange(self, target: Target, entra_token: EntraToken) -> Credential:
        """Trade an Entra token for a refresh token (`POST /oauth2/exchange`)."""
        token = await entra_token()
        service = self._service(target)
        try:
            return await self._exchange_at(target, service, token)
        except Refusal as refusal:
            if refusal.reason is not Reason.REGISTRY_REFUSED or target.service is not None:
                raise
            challenged = await self._challenged_service(target)
            if challenged is None or challenged == service:
                raise
            self._services[target.login_server] = challenged
            return await self._exchange_at(target, challenged, token)

    async def _exchange_at(self, target: Target, service: str, token: str) -> Credential:
        form = {"grant_type": "access_token", "service": service, "access_token": token}
        secret = await self._post(target, "/oauth2/exchange", form, field_name="refresh_token")
        now = self._clock.now()
        return Credential(secret, access.expiry(access.decode(secret), now))

    async def _access(self, target: Target, refresh: Credential, scopes: tuple[Scope, ...]) -> VendedToken:
        """Trade the refresh token for an access token (`POST /oauth2/token`) and check what it allows."""
        service = self._service(target)
        form = {
            "grant_type": "refresh_token",
            "service": service,
            "scope": render(scopes),
            "refresh_token": refresh.secret,
        }
        try:
            secret = await self._post(target, "/oauth2/token", form, field_name="access_token")
            return access.check(secret, scopes=scopes, audiences=(service, target.login_server), now=self._clock.now())
        except _Unauthorized as unauthorized:
            raise _StaleRights(unauthorized) from None
        except Refusal as refusal:
            if refusal.reason is Reason.REGISTRY_GRANT_NARROWER:
                raise _StaleRights(refusal) from None
            raise

    def _service(self, target: Target) -> str:
        return target.service or self._services.get(target.login_server) or target.login_server

    async def _challenged_service(self, target: Target) -> str | None:
        """Ask the registry what it calls itself: `service` in the challenge of `GET /v2/`. Its realm is ignored."""
        try:
            answer = await self._http.request(
                "GET", f"{target.origin}/v2/", max_bytes=MAX_ANSWER_BYTES, timeout_seconds=_ATTEMPT_SECONDS
            )
        except NetError:
            return None
        found = _SERVICE.search(answer.headers.get("www-authenticate", ""))
        return found.group(1) if answer.status == 401 and found else None

    async def _post(self, target: Target, path: str, form: dict[str, str], *, field_name: str) -> str:
        return await retrying(
            lambda: self._attempt(target, path, form, field_name), budget_seconds=self._budget_seconds
        )

    async def _attempt(self, target: Target, path: str, form: dict[str, str], field_name: str) -> str:
        try:
            answer = await self._http.request(
                "POST",
                target.origin + path,
                form=form,
                headers=_HEADERS,
                max_bytes=MAX_ANSWER_BYTES,
                timeout_seconds=_ATTEMPT_SECONDS,
            )
        except TooLarge:
            raise Refusal(Reason.REGISTRY_RESPONSE_INVALID) from None
        except NetError as error:
            note(logging.WARNING, "registry_unreachable", registry=target.login_server, path=path, error=str(error))
            raise Transient(Refusal(Reason.REGISTRY_UNAVAILABLE)) from None
        if answer.status != 200:
            raise self._failure(target, path, answer)
        try:
            secret = answer.json_object().get(field_name)
        except ValueError:
            secret = None
        if not isinstance(secret, str) or not secret:
            raise Refusal(Reason.REGISTRY_RESPONSE_INVALID)
        return secret

    def _failure(self, target: Target, path: str, answer: Answer) -> Exception:
        """Sort an error answer by its status; its body is the registry's own and goes nowhere."""
        note(
            logging.WARNING,
            "registry_refused" if answer.status < 500 else "registry_failed",
            registry=target.login_server,
            path=path,
            status=answer.status,
            correlation_id=answer.headers.get("x-ms-correlation-request-id", "")[:64],
        )
        wait = answer.retry_after(self._clock.now())
        if answer.status == 429:
            return Transient(Refusal(Reason.REGISTRY_THROTTLED, retry_after=wait))
        if answer.status >= 500 or answer.status == 408:
            return Transient(Refusal(Reason.REGISTRY_UNAVAILABLE, retry_after=wait))
        if answer.status < 400:
            return Refusal(Reason.REGISTRY_RESPONSE_INVALID)
        if answer.status == 401:
            return _Unauthorized(Reason.REGISTRY_REFUSED)
        return Refusal(Reason.REGISTRY_REFUSED, _REFUSED_BY_STATUS.get(answer.status))


_REFUSED_BY_STATUS: Final = {
    403: "The registry's firewall or network rules refused the service; the operator must let it in.",
    404: "There is no registry at this login server; the operator must check the policy.",
}


class _Unauthorized(Refusal):
    """The registry answered 401: no rights, or a refresh token from before a change of the registry's mode."""


class _StaleRights(Exception):
    """The refresh token may be from before a change of rights; `refusal` is the answer if a new one is no better."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(refusal.reason.value)
