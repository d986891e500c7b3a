"""Fetch an issuer's key set by OpenID Connect Discovery, trusting nothing it answers more than needed. Caches nothing.

A token steers none of this: the address comes from the policy, and what the issuer answers may point to https only.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from vending.errors import Reason, Refusal
from vending.http_client import Answer, NetError, RedirectRefused, TimedOut, TooLarge, Unreachable
from vending.oidc.keys import KeySet, parse_key_set
from vending.retry import Transient, retrying
from vending.settings import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vending.connection import Cause
    from vending.http_client import Http
    from vending.oidc.types import Issuer

MAX_ANSWER_BYTES: Final = 256 * 1024
"""Published documents are a few KiB long; the longest carry a certificate chain with each key."""

TIMEOUT_SECONDS: Final = 5.0
"""For each of the two answers."""


class Failure(StrEnum):
    """Name what went wrong with an issuer's keys, for the logs and the doctor."""

    UNREACHABLE = "unreachable"
    TIMED_OUT = "timed_out"
    TOO_LARGE = "too_large"
    REDIRECT_REFUSED = "redirect_refused"
    BAD_STATUS = "bad_status"
    BAD_ADDRESS = "bad_address"
    BAD_DISCOVERY = "bad_discovery"
    ISSUER_MISMATCH = "issuer_mismatch"
    BAD_KEY_SET = "bad_key_set"
    NO_KEYS = "no_keys"
    NO_USABLE_KEY = "no_usable_key"


_NET_FAILURES: Final[Mapping[type[NetError], Failure]] = {
    TimedOut: Failure.TIMED_OUT,
    TooLarge: Failure.TOO_LARGE,
    RedirectRefused: Failure.REDIRECT_REFUSED,
}


class KeysNotFetched(Refusal):
    """The issuer gave no key set that can be used: `failure` and `detail` are for the operator, not for the caller."""

    def __init__(
        self, failure: Failure, detail: str, retry_after: float | None = None, cause: Cause | None = None
    ) -> None:
        super().__init__(Reason.ISSUER_KEYS_UNAVAILABLE, retry_after=retry_after)
        self.failure = failure
        self.cause = cause
        self.detail = detail


async def fetch_key_set(http: Http, issuer: Issuer, *, now: float, allow_loopback: bool) -> KeySet:
    """Read the discovery document and the key set it names: two requests, 256 KiB and 5 s each.

    The document's `issuer` must equal the configured one character by character (OpenID Connect Discovery 1.0 section
    4.3, RFC 8414 section 3.3), or one issuer could pass off another's keys as its own. Connection
    errors, 429 and 5xx are tried again, within 5 s. Raises `KeysNotFetched`.
    """
    discovery = await _get_object(http, discovery_url(issuer.url), issuer, Failure.BAD_DISCOVERY, now, allow_loopback)
    if discovery.get("issuer") != issuer.url:
        raise KeysNotFetched(Failure.ISSUER_MISMATCH, "the discovery document names another issuer than the policy")
    jwks_uri = discovery.get("jwks_uri")
    if not isinstance(jwks_uri, str):
        raise KeysNotFetched(Failure.BAD_DISCOVERY, "the discovery document has no jwks_uri")
    document = await _get_object(http, jwks_uri, issuer, Failure.BAD_KEY_SET, now, allow_loopback)
    try:
        key_set = parse_key_set(document)
    except ValueError as problem:
        raise KeysNotFetched(Failure.BAD_KEY_SET, f"the key set cannot be read: {problem}") from None
    if not key_set.keys and not key_set.problems:
        raise KeysNotFetched(Failure.NO_KEYS, "the key set is empty")
    return key_set


def discovery_url(issuer_url: str) -> str:
    """Return where an issuer's configuration lies: one terminating slash is taken off (Discovery 1.0 section 4.1)."""
    return issuer_url.removesuffix("/") + "/.well-known/openid-configuration"


async def _get_object(
    http: Http, url: str, issuer: Issuer, malformed: Failure, now: float, allow_loopback: bool
) -> dict[str, Any]:
    if not _may_be_fetched(url, allow_loopback=allow_loopback):
        raise KeysNotFetched(Failure.BAD_ADDRESS, "an address is no https URL, or has a user name or a fragment")

    async def attempt() -> dict[str, Any]:
        return _object(await _get(http, url, issuer.ca_pem), urlsplit(url).netloc, malformed, now)

    return await retrying(attempt, budget_seconds=TIMEOUT_SECONDS)


async def _get(http: Http, url: str, ca_pem: str | None) -> Answer:
    try:
        return await http.request(
            "GET",
            url,
            max_bytes=MAX_ANSWER_BYTES,
            timeout_seconds=TIMEOUT_SECONDS,
            headers={"Accept": "application/json, application/jwk-set+json"},
            ca_pem=ca_pem,
            follow_same_host=True,
        )
    except Unreachable as error:
        raise Transient(KeysNotFetched(Failure.UNREACHABLE, str(error), cause=error.cause)) from None
    except NetError as error:
        raise KeysNotFetched(_NET_FAILURES[type(error)], str(error), cause=error.cause) from None


def _object(answer: Answer, host: str, malformed: Failure, now: float) -> dict[str, Any]:
    if answer.status != 200:
        refusal = KeysNotFetched(Failure.BAD_STATUS, f"{host}: HTTP {answer.status}", answer.retry_after(now))
        raise Transient(refusal) if answer.status == 429 or answer.status >= 500 else refusal
    try:
        return answer.json_object()
    except ValueError as problem:
        raise KeysNotFetched(malformed, f"{host}: {problem}") from None


def _may_be_fetched(url: str, *, allow_loopback: bool) -> bool:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:  # A port beyond 65,535, or an address that is none.
        return False
    if not host or "@" in parts.netloc or "#" in url:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and allow_loopback and is_loopback(host))
