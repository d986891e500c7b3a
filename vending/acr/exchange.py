"""Mint registry tokens: Entra token → refresh token (cached) → access token (never cached), after ACR's AAD-OAuth page.

Refresh tokens are as good as the whole registry: they stay in this module, out of every log and every answer.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vending.acr import access
from vending.acr.access import VendedToken
from vending.acr.scope import Scope, render
from vending.acr.target import Key, Target
from vending.credential_cache import Credential, RenewingCache
from vending.errors import Reason, Refusal, quote
from vending.http_client import Answer, NetError, TimedOut, TooLarge, Unanswered
from vending.operations_log import note
from vending.retry import LONGEST_RETRY_AFTER_SECONDS, Transient, retrying

if TYPE_CHECKING:
    import asyncio

    from vending.clock import Clock
    from vending.http_client import Http

MAX_ANSWER_BYTES: Final = 256 * 1024
"""A recorded refresh token is 1 KiB; a token for 128 repositories with names of full length stays below 64 KiB."""
_REEXCHANGE_SECONDS: Final = 60.0
"""A registry that refuses for missing rights must not make every caller exchange anew."""
_EXCHANGE: Final = "/oauth2/exchange"
_HEADERS: Final = {"X-Meta-Source-Client": "azure/functions", "Accept": "application/json"}
_LONGEST_SERVICE: Final = 255
_ERROR_CODE = re.compile(r"[A-Z][A-Z_]{1,40}")
_TOKEN_LIKE = re.compile(r"[A-Za-z0-9_-]{40,}(\.[A-Za-z0-9_-]*)*")
_LONGEST_THROTTLE_SECONDS: Final = 60.0
"""While a registry throttles it is left alone, at most this long; then one call finds out whether it still does."""

EntraToken = Callable[[], Awaitable[str]]
"""Gets an Entra token of the registry's identity; may wait for the network."""


class RegistryFailure(Refusal):
    """The registry answered with an error status; what it said is for the operator, not for the caller.

    `code` and `detail` are the registry's own words, cut, and without anything that looks like a token.
    """

    def __init__(
        self, reason: Reason, description: str | None, answer: Answer, *, retry_after: float | None = None
    ) -> None:
        super().__init__(reason, description, retry_after=retry_after)
        self.status = answer.status
        self.code, self.detail = _servers_words(answer)


@dataclass(frozen=True, slots=True)
class Probe:
    """Say what a registry lets an identity do: the least that `doctor` needs, and no secret.

    `abac` is whether the registry works with ABAC repository permissions, as its refresh token tells (Azure's acr-cli
    goes by the same claim); `refresh_expires_at` is in seconds since the epoch.
    """

    service: str
    abac: bool
    refresh_expires_at: float
    granted: frozenset[access.Pair]


class Minter:
    """Mint access tokens for registries, sharing refresh tokens between callers and nothing else."""

    def __init__(self, http: Http, clock: Clock, *, budget_seconds: float) -> None:
        self._http = http
        self._clock = clock
        self._budget_seconds = budget_seconds
        self._refresh: RenewingCache[Key] = RenewingCache(clock)
        self._services: dict[str, str] = {}
        self._reexchanged: dict[tuple[Key, Reason], float] = {}
        self._throttled_until: dict[str, float] = {}

    def warm(self, target: Target, entra_token: EntraToken) -> None:
        """Begin to obtain a refresh token if there is none, without waiting for it; `mint` joins what this began."""
        self._refresh.warm(target.key, lambda: self._exchange(target, entra_token))

    def prefetch(self, target: Target, entra_token: EntraToken) -> asyncio.Task[Credential | None]:
        """Begin to obtain a refresh token that somebody may need soon, with one attempt.

        A failure counts for nothing: nothing is logged, no throttling heeded, no pause begun (see
        `RenewingCache.prefetch`). `entra_token` must be as quiet.
        """
        return self._refresh.prefetch(target.key, lambda: self._exchange_once(target, entra_token))

    async def mint(self, target: Target, entra_token: EntraToken, scopes: tuple[Scope, ...]) -> VendedToken:
        """Obtain an access token that allows exactly `scopes`.

        An answer of 401, or a grant narrower than asked, may come of a refresh token from before a change of rights: it
        is replaced and the call repeated, at most once in 60 s for each identity, registry and cause. Raises `Refusal`
        with the `registry_…` and `identity_…` reasons, or `too_many_scopes`.
        """
        used = await self._refresh.get(target.key, lambda: self._exchange(target, entra_token))
        try:
            return await self._access(target, used, scopes)
        except _StaleRights as stale:
            fresh = await self._reexchange(target, used, entra_token, stale.refusal.reason)
            if fresh is None:
                raise stale.refusal from None
        try:
            return await self._access(target, fresh, scopes)
        except _StaleRights as stale:
            raise stale.refusal from None

    async def probe(self, target: Target, entra_token: EntraToken, scopes: tuple[Scope, ...]) -> Probe:
        """Ask for `scopes` and tell what is granted of them; the token itself is thrown away.

        Raises `Refusal` as `mint` does, but for grants that are wider or narrower.
        """
        refresh = await self._refresh.get(target.key, lambda: self._exchange(target, entra_token))
        token = access.decode(await self._request_access(target, refresh, scopes))
        return Probe(
            service=self._service(target),
            abac=access.decode(refresh.secret).get("aad_identity") is not None,
            refresh_expires_at=refresh.expires_at,
            granted=access.allowed(token.get("access")),
        )

    async def _reexchange(
        self, target: Target, used: Credential, entra_token: EntraToken, cause: Reason
    ) -> Credential | None:
        try:
            return await self._refresh.replace(
                target.key,
                used,
                lambda: self._exchange(target, entra_token),
                may_load=lambda: self._may_reexchange(target.key, cause),
            )
        except Refusal as refusal:
            if refusal.entry.status == 503:  # It told nothing about the rights, so the next caller may ask.
                self._reexchanged.pop((target.key, cause), None)
            raise

    def _may_reexchange(self, key: Key, cause: Reason) -> bool:
        """Return whether this cause may replace the refresh token now, and count it.

        A right that one job lacks must not use up what a refresh token that is dead for everybody needs.
        """
        now = self._clock.monotonic()
        self._reexchanged = {k: at for k, at in self._reexchanged.items() if now - at < _REEXCHANGE_SECONDS}
        if (key, cause) in self._reexchanged:
            return False
        self._reexchanged[key, cause] = now
        return True

    async def _exchange(self, target: Target, entra_token: EntraToken) -> Credential:
        """Trade an Entra token for a refresh token (`POST /oauth2/exchange`)."""
        token = await entra_token()
        service = self._service(target)
        try:
            return await self._exchange_at(target, service, token)
        except RegistryFailure as refusal:
            if refusal.status not in _MAYBE_OTHER_SERVICE or target.service is not None:
                raise
            challenged = await self._challenged_service(target)
            if challenged is None or challenged == service:
                raise
        credential = await self._exchange_at(target, challenged, token)
        self._services[target.login_server] = challenged
        return credential

    async def _exchange_once(self, target: Target, entra_token: EntraToken) -> Credential:
        """Trade an Entra token for a refresh token by one call that leaves no trace unless it succeeds."""
        self._refuse_while_throttled(target)
        answer = await self._send(target, _EXCHANGE, _exchange_form(self._service(target), await entra_token()))
        if answer.status != 200:
            raise Refusal(Reason.REGISTRY_UNAVAILABLE)
        return self._refresh_token(_secret(answer, "refresh_token"))

    async def _exchange_at(self, target: Target, service: str, token: str) -> Credential:
        form = _exchange_form(service, token)
        return self._refresh_token(await self._post(target, _EXCHANGE, form, field_name="refresh_token"))

    def _refresh_token(self, secret: str) -> Credential:
        return Credential(secret, access.expiry(access.decode(secret), self._clock.now()))

    async def _access(self, target: Target, refresh: Credential, scopes: tuple[Scope, ...]) -> VendedToken:
        """Trade the refresh token for an access token and check what it allows."""
        try:
            secret = await self._request_access(target, refresh, scopes)
            names = (self._service(target), target.login_server)
            return access.check(secret, scopes=scopes, audiences=names, now=self._clock.now())
        except Refusal as refusal:
            unauthorized = isinstance(refusal, RegistryFailure) and refusal.status == 401
            if unauthorized or refusal.reason is Reason.REGISTRY_GRANT_NARROWER:
                raise _StaleRights(refusal) from None
            raise

    async def _request_access(self, target: Target, refresh: Credential, scopes: tuple[Scope, ...]) -> str:
        """Trade the refresh token for an access token (`POST /oauth2/token`), whatever that allows."""
        form = {
            "grant_type": "refresh_token",
            "service": self._service(target),
            "scope": render(scopes),
            "refresh_token": refresh.secret,
        }
        return await self._post(target, "/oauth2/token", form, field_name="access_token")

    def _service(self, target: Target) -> str:
        return target.service or self._services.get(target.login_server) or target.login_server

    async def _challenged_service(self, target: Target) -> str | None:
        """Ask the registry what it calls itself: `service` in the challenge of `GET /v2/`. Its realm is ignored."""
        try:
            answer = await self._http.request(
                "GET", f"{target.origin}/v2/", max_bytes=MAX_ANSWER_BYTES, timeout_seconds=self._budget_seconds
            )
        except NetError:
            return None
        return _service_of(answer.headers.get("www-authenticate", "")) if answer.status == 401 else None

    async def _post(self, target: Target, path: str, form: dict[str, str], *, field_name: str) -> str:
        return await retrying(
            lambda: self._attempt(target, path, form, field_name), budget_seconds=self._budget_seconds
        )

    async def _attempt(self, target: Target, path: str, form: dict[str, str], field_name: str) -> str:
        self._refuse_while_throttled(target)
        try:
            answer = await self._send(target, path, form)
        except TooLarge:
            raise Refusal(Reason.REGISTRY_RESPONSE_INVALID) from None
        except NetError as error:
            note(
                logging.WARNING,
                "registry_unreachable",
                registry=target.login_server,
                path=path,
                error=str(error),
                cause=error.cause,
            )
            refusal = Unanswered(Reason.REGISTRY_UNAVAILABLE, error)
            # An answer that did not come within a whole deadline is not waited for again.
            raise refusal if isinstance(error, TimedOut) else Transient(refusal) from None
        if answer.status != 200:
            raise self._failure(target, path, answer)
        return _secret(answer, field_name)

    def _refuse_while_throttled(self, target: Target) -> None:
        left = self._throttled_until.get(target.login_server, 0.0) - self._clock.monotonic()
        if left > 0:
            raise Refusal(Reason.REGISTRY_THROTTLED, retry_after=left)

    async def _send(self, target: Target, path: str, form: dict[str, str]) -> Answer:
        return await self._http.request(
            "POST",
            target.origin + path,
            form=form,
            headers=_HEADERS,
            max_bytes=MAX_ANSWER_BYTES,
            timeout_seconds=self._budget_seconds,
        )

    def _failure(self, target: Target, path: str, answer: Answer) -> Exception:
        """Sort an error answer by its status; its body is the registry's own and goes nowhere."""
        note(
            logging.WARNING,
            "registry_refused" if answer.status < 500 else "registry_failed",
            registry=target.login_server,
            path=path,
            status=answer.status,
            code=_servers_words(answer)[0],
            correlation_id=answer.headers.get("x-ms-correlation-request-id", "")[:64],
        )
        wait = answer.retry_after(self._clock.now())
        if answer.status == 429:
            self._heed(target, wait)
            return Transient(RegistryFailure(Reason.REGISTRY_THROTTLED, None, answer, retry_after=wait))
        if answer.status >= 500 or answer.status == 408:
            return Transient(RegistryFailure(Reason.REGISTRY_UNAVAILABLE, None, answer, retry_after=wait))
        if answer.status < 400:
            return Refusal(Reason.REGISTRY_RESPONSE_INVALID)
        return RegistryFailure(Reason.REGISTRY_REFUSED, _REFUSED_BY_STATUS.get(answer.status), answer)

    def _heed(self, target: Target, wait: float | None) -> None:
        """Leave a registry alone that asks for more than this request can wait: its limit is one for all calls."""
        if wait is not None and wait > LONGEST_RETRY_AFTER_SECONDS:
            now = self._clock.monotonic()
            self._throttled_until = {host: until for host, until in self._throttled_until.items() if until > now}
            self._throttled_until[target.login_server] = now + min(wait, _LONGEST_THROTTLE_SECONDS)


def _exchange_form(service: str, entra_token: str) -> dict[str, str]:
    return {"grant_type": "access_token", "service": service, "access_token": entra_token}


def _secret(answer: Answer, field_name: str) -> str:
    try:
        secret = answer.json_object().get(field_name)
    except ValueError:
        secret = None
    if not isinstance(secret, str) or not secret:
        raise Refusal(Reason.REGISTRY_RESPONSE_INVALID)
    return secret


_MAYBE_OTHER_SERVICE: Final = frozenset({400, 401, 404})
"""Answers that a registry may give where `service` is not its own name for itself."""
_REFUSED_BY_STATUS: Final = {
    403: "The registry's firewall or network rules refused the service; the operator must let it in.",
    404: "There is no registry at this login server; the operator must check the policy.",
}


def _service_of(challenge: str) -> str | None:
    """Read the parameter `service` of a challenge (RFC 9110 section 11.6.1), not a text inside another one's value."""
    from urllib.request import parse_http_list

    for item in parse_http_list(challenge):
        name, _, value = item.partition("=")
        if name.split()[-1:] and name.split()[-1].lower() == "service":
            service = value.strip().strip('"')
            return service if 0 < len(service) <= _LONGEST_SERVICE else None
    return None


def _servers_words(answer: Answer) -> tuple[str, str]:
    """Read the error code and message of an answer (`{"errors": [{"code", "message"}]}`), which may be anything."""
    try:
        first = answer.json_object()["errors"][0]
        code, message = str(first["code"]), str(first["message"])
    except (ValueError, LookupError, TypeError):
        return "", ""
    return (code if _ERROR_CODE.fullmatch(code) else ""), quote(_TOKEN_LIKE.sub("[...]", message))


class _StaleRights(Exception):
    """The refresh token may be from before a change of rights; `refusal` is the answer if a new one is no better."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(refusal.reason.value)
