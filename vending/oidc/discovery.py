"""Fetch an issuer's key set by OpenID Connect Discovery, trusting nothing it answers more than needed. Caches nothing.

A token steers none of this: the address comes from the policy, and what the issuer answers may point to https only.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from vending.errors import Reason, Refusal, quote
from vending.http_client import Answer, NetError, RedirectRefused, TimedOut, TooLarge, Unreachable
from vending.json_document import present
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
    KEY_UNUSABLE = "key_unusable"
    KEY_NOT_IN_POLICY = "key_not_in_policy"


_HOST: Final = re.compile(r"[0-9A-Za-z._:-]+")
_JWKS_URI: Final = "jwks_uri of the discovery document"
_DOCUMENTS: Final[Mapping[Failure, str]] = {
    Failure.BAD_DISCOVERY: "the discovery document",
    Failure.BAD_KEY_SET: "the key set",
}
"""What was asked for, by what it is when it cannot be understood."""
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
    url = discovery_url(issuer.url)
    _check_address("the discovery address", url, allow_loopback=allow_loopback)
    discovery = present(await _get_object(http, url, issuer, Failure.BAD_DISCOVERY, now))
    named = discovery.get("issuer")
    if named != issuer.url:
        raise KeysNotFetched(Failure.ISSUER_MISMATCH, _difference(issuer.url, named))
    jwks_uri = discovery.get("jwks_uri")
    if not isinstance(jwks_uri, str):
        raise KeysNotFetched(Failure.BAD_DISCOVERY, f"{_host(url)}: the discovery document has no jwks_uri")
    _check_address(_JWKS_URI, jwks_uri, allow_loopback=allow_loopback)
    _check_host(jwks_uri, issuer.url)
    document = await _get_object(http, jwks_uri, issuer, Failure.BAD_KEY_SET, now)
    try:
        key_set = parse_key_set(document)
    except ValueError as problem:
        where = f"{_host(jwks_uri)}: the document that jwks_uri names is no key set: {problem}"
        raise KeysNotFetched(Failure.BAD_KEY_SET, where) from None
    if not key_set.keys and not key_set.unusable:
        raise KeysNotFetched(Failure.NO_KEYS, f"{_host(jwks_uri)}: the key set is empty")
    return key_set


def discovery_url(issuer_url: str) -> str:
    """Return where an issuer's configuration lies: one terminating slash is taken off (Discovery 1.0 section 4.1)."""
    return issuer_url.removesuffix("/") + "/.well-known/openid-configuration"


async def _get_object(http: Http, url: str, issuer: Issuer, malformed: Failure, now: float) -> dict[str, Any]:
    async def attempt() -> dict[str, Any]:
        return _object(await _get(http, url, issuer.ca_pem), _host(url), malformed, now)

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
    document = _DOCUMENTS[malformed]
    if answer.status != 200:
        said = f"{host}: HTTP {answer.status} for {document}"
        refusal = KeysNotFetched(Failure.BAD_STATUS, said, answer.retry_after(now))
        raise Transient(refusal) if answer.status == 429 or answer.status >= 500 else refusal
    try:
        return answer.json_object()
    except ValueError as problem:
        kind = answer.headers.get("content-type", "")
        sent_as = f" (Content-Type {quote(kind)})" if kind and "json" not in kind.lower() else ""
        raise KeysNotFetched(malformed, f"{host}: in place of {document}, {problem}{sent_as}") from None


def _check_address(what: str, url: str, *, allow_loopback: bool) -> None:
    """Refuse an address that no keys are fetched from. Raises `KeysNotFetched`, which says what is wrong with which."""
    problem = _problem_of(url, allow_loopback=allow_loopback)
    if problem is not None:
        raise KeysNotFetched(Failure.BAD_ADDRESS, f"{what} is {quote(_shown(url))}: {problem}")


def _problem_of(url: str, *, allow_loopback: bool) -> str | None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:  # A port beyond 65,535, or an address that is none.
        return "its host or port cannot be read"
    if not host or not parts.scheme:
        return "it is no whole URL"
    if not _HOST.fullmatch(host):  # Other spellings of a host mean one thing to a check and another to a connection.
        return "its host is not written in plain ASCII"
    if "@" in parts.netloc:
        return "it has a user name"
    if "#" in url:
        return "it has a fragment"
    if parts.scheme == "https" or (parts.scheme == "http" and allow_loopback and is_loopback(host)):
        return None
    return f"it is {quote(parts.scheme)}, not https"


def _check_host(jwks_uri: str, issuer_url: str) -> None:
    """Refuse an IP address as the place of the keys, unless the issuer itself goes by it.

    A document must not turn the service against its own network: the metadata address of a cloud
    (169.254.169.254), a neighbour, itself. A name that resolves to such an address fails for its certificate.
    """
    host = urlsplit(jwks_uri).hostname or ""
    address = _ip(host)
    if address is None:
        return
    if address.is_link_local:
        problem = "it is a link-local address, where platforms answer about machines"
    elif host != urlsplit(issuer_url).hostname:
        problem = "it is an IP address other than the issuer's own host"
    else:
        return
    raise KeysNotFetched(Failure.BAD_ADDRESS, f"{_JWKS_URI} is {quote(_shown(jwks_uri))}: {problem}")


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Read an IP address in each way that a resolver does: `2852039166`, `0xa9.254.43518` and `[::ffff:a9fe:a9fe]`."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        try:
            return ipaddress.IPv4Address(socket.inet_aton(host.rstrip(".")))
        except OSError:
            return None
    return getattr(address, "ipv4_mapped", None) or address


def _difference(configured: str, named: object) -> str:
    """Show both names of an issuer where they differ; the eye misses a slash."""
    if not isinstance(named, str):
        return f"the discovery document names no issuer; the policy has {quote(configured)}"
    both = f"the discovery document names the issuer {quote(named)}, the policy {quote(configured)}"
    if named.rstrip("/") == configured.rstrip("/"):
        return f"{both}: they differ by the slash at the end"
    if named.lower() == configured.lower():
        return f"{both}: they differ by upper and lower case"
    if named.strip() == configured.strip():
        return f"{both}: they differ by white space"
    return both


def _shown(url: str) -> str:
    """Leave out of an address what may be secret: user name, query and fragment."""
    shown = url.partition("?")[0].partition("#")[0]
    scheme, separator, rest = shown.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


def _host(url: str) -> str:
    return urlsplit(url).netloc
