"""Say why no answer came: the causes of failure below HTTP, told from the exceptions of any library. Connects nowhere.

`ConnectError` tells an operator nothing. Whatever wraps it, its cause is the error of the resolver, the
socket or OpenSSL, and that one is looked for.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Final


class Cause(StrEnum):
    """Name one cause of failure below HTTP. The names are stable: they are in the log, for alerts and searches."""

    DNS = "dns"
    REFUSED = "refused"
    NO_ROUTE = "no_route"
    TIMED_OUT = "timed_out"
    RESET = "reset"
    NOT_HTTP = "not_http"
    BAD_CODING = "bad_coding"
    TLS_EXPIRED = "tls_expired"
    TLS_NOT_YET_VALID = "tls_not_yet_valid"
    TLS_UNKNOWN_AUTHORITY = "tls_unknown_authority"
    TLS_WRONG_NAME = "tls_wrong_name"
    TLS_WEAK = "tls_weak"
    TLS_BAD_CHAIN = "tls_bad_chain"
    TLS_BAD_CERTIFICATE = "tls_bad_certificate"
    TLS_CLIENT_CERTIFICATE = "tls_client_certificate"
    TLS_NOT_SPOKEN = "tls_not_spoken"
    TLS_HANDSHAKE = "tls_handshake"
    BAD_TRUST = "bad_trust"
    BAD_ADDRESS = "bad_address"
    UNKNOWN = "unknown"


SENTENCES: Final[Mapping[Cause, str]] = {
    Cause.DNS: "its name does not resolve",
    Cause.REFUSED: "it refuses connections on this port",
    Cause.NO_ROUTE: "there is no route to it",
    Cause.TIMED_OUT: "it does not answer in time",
    Cause.RESET: "it closed the connection before its answer was complete",
    Cause.NOT_HTTP: "its answer is not HTTP",
    Cause.BAD_CODING: "its answer is in a content coding that was not asked for, or that it does not keep to",
    Cause.TLS_EXPIRED: "its certificate, or one of its authority's, has expired",
    Cause.TLS_NOT_YET_VALID: "its certificate, or one of its authority's, is not valid yet",
    Cause.TLS_UNKNOWN_AUTHORITY: "its certificate is of an authority that is not trusted, or comes without its chain",
    Cause.TLS_WRONG_NAME: "its certificate is for another name",
    Cause.TLS_WEAK: "a certificate of its chain has a key or a signature that is too weak",
    Cause.TLS_BAD_CHAIN: "a certificate of its chain may not be used as it is used there",
    Cause.TLS_BAD_CERTIFICATE: "its certificate is refused",
    Cause.TLS_CLIENT_CERTIFICATE: "it asks for a client certificate",
    Cause.TLS_NOT_SPOKEN: "it speaks no TLS on this port",
    Cause.TLS_HANDSHAKE: "it agrees on no TLS version and cipher that is safe",
    Cause.BAD_TRUST: "the certificates that it should be checked against cannot be read",
    Cause.BAD_ADDRESS: "its address is none",
    Cause.UNKNOWN: "the connection failed",
}
"""Cause → what a sentence says of the host that it begins with."""

_VERIFY_CODES: Final[Mapping[int, Cause]] = {
    # OpenSSL's X509_V_ERR_* of x509_vfy.h; the numbers are part of its ABI, and `ssl` has no names for them.
    2: Cause.TLS_UNKNOWN_AUTHORITY,  # unable to get issuer certificate
    9: Cause.TLS_NOT_YET_VALID,
    10: Cause.TLS_EXPIRED,
    18: Cause.TLS_UNKNOWN_AUTHORITY,  # self-signed
    19: Cause.TLS_UNKNOWN_AUTHORITY,  # self-signed in the chain
    20: Cause.TLS_UNKNOWN_AUTHORITY,  # unable to get local issuer certificate
    21: Cause.TLS_UNKNOWN_AUTHORITY,  # unable to verify the first certificate
    22: Cause.TLS_BAD_CHAIN,  # too long
    24: Cause.TLS_BAD_CHAIN,  # an authority that is none
    25: Cause.TLS_BAD_CHAIN,  # path length exceeded
    26: Cause.TLS_BAD_CHAIN,  # unsuitable purpose
    27: Cause.TLS_UNKNOWN_AUTHORITY,  # not trusted
    32: Cause.TLS_BAD_CHAIN,  # key usage without certificate signing
    47: Cause.TLS_BAD_CHAIN,  # a name outside what the authority is permitted
    48: Cause.TLS_BAD_CHAIN,  # a name that the authority is excluded from
    62: Cause.TLS_WRONG_NAME,
    64: Cause.TLS_WRONG_NAME,  # of an IP address
    66: Cause.TLS_WEAK,  # the server's key
    67: Cause.TLS_WEAK,  # an authority's key
    68: Cause.TLS_WEAK,  # a signature's digest
    79: Cause.TLS_BAD_CHAIN,  # an authority that is none
}
_TLS_REASONS: Final[Mapping[str, Cause]] = {
    "WRONG_VERSION_NUMBER": Cause.TLS_NOT_SPOKEN,
    "HTTP_REQUEST": Cause.TLS_NOT_SPOKEN,
    "RECORD_LAYER_FAILURE": Cause.TLS_NOT_SPOKEN,
    "PACKET_LENGTH_TOO_LONG": Cause.TLS_NOT_SPOKEN,
    "TLSV1_UNRECOGNIZED_NAME": Cause.TLS_WRONG_NAME,
    "TLSV1_ALERT_UNRECOGNIZED_NAME": Cause.TLS_WRONG_NAME,
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": Cause.TLS_CLIENT_CERTIFICATE,
    "SSLV3_ALERT_BAD_CERTIFICATE": Cause.TLS_CLIENT_CERTIFICATE,
    "UNEXPECTED_EOF_WHILE_READING": Cause.RESET,
}
"""OpenSSL's reason of an `SSLError` → cause; what is not here failed to agree on how to speak TLS."""
_ERRNOS: Final[Mapping[int, Cause]] = {
    errno.ECONNREFUSED: Cause.REFUSED,
    errno.ECONNRESET: Cause.RESET,
    errno.ECONNABORTED: Cause.RESET,
    errno.EPIPE: Cause.RESET,
    errno.ENETUNREACH: Cause.NO_ROUTE,
    errno.EHOSTUNREACH: Cause.NO_ROUTE,
    errno.ENETDOWN: Cause.NO_ROUTE,
    errno.EADDRNOTAVAIL: Cause.NO_ROUTE,
    errno.ETIMEDOUT: Cause.TIMED_OUT,
}
_MOST_WRAPPERS: Final = 50


class Broken(Exception):
    """Stand for a failure whose cause is known where it is raised."""

    def __init__(self, cause: Cause) -> None:
        self.cause = cause
        super().__init__(SENTENCES[cause])


def cause_of(error: BaseException) -> Cause:
    """Return why an exchange failed: the first telling error among those that `error` wraps, at any depth."""
    for inner in _unwrapped(error):
        cause = _told_by(inner)
        if cause is not None:
            return cause
    return Cause.UNKNOWN


def _unwrapped(error: BaseException) -> Iterator[BaseException]:
    """Walk through causes, contexts, groups, and the exceptions that libraries carry as arguments or attributes."""
    seen: set[int] = set()
    waiting = [error]
    while waiting and len(seen) < _MOST_WRAPPERS:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        members = current.exceptions if isinstance(current, BaseExceptionGroup) else ()
        carried = (*current.args, getattr(current, "reason", None), getattr(current, "certificate_error", None))
        nested = (current.__cause__, current.__context__, *members, *carried)
        waiting += [inner for inner in nested if isinstance(inner, BaseException)]


def _told_by(error: BaseException) -> Cause | None:
    told: object = getattr(error, "cause", None)
    if isinstance(told, Cause):
        return told
    if isinstance(error, ssl.SSLCertVerificationError):
        code = getattr(error, "verify_code", None)  # aiohttp's error of this kind carries OpenSSL's, and has no code.
        return None if code is None else _VERIFY_CODES.get(code, Cause.TLS_BAD_CERTIFICATE)
    if isinstance(error, ssl.SSLError):
        reason = getattr(error, "reason", None)
        return None if reason is None else _TLS_REASONS.get(reason, Cause.TLS_HANDSHAKE)
    if isinstance(error, socket.gaierror):
        return Cause.DNS
    if isinstance(error, OSError) and error.errno is not None:
        return _ERRNOS.get(error.errno)
    return _BY_NAME.get(type(error).__name__)


_BY_NAME: Final[Mapping[str, Cause]] = {
    # Of aiohttp, httpx and the standard library: by name, so that none of them has to be imported to be recognised.
    "ConnectTimeout": Cause.TIMED_OUT,
    "ConnectionTimeoutError": Cause.TIMED_OUT,
    "TimeoutError": Cause.TIMED_OUT,
    "ClientConnectorDNSError": Cause.DNS,
    "ServerDisconnectedError": Cause.RESET,
    "ContentLengthError": Cause.RESET,
    "ClientResponseError": Cause.NOT_HTTP,
    "TransferEncodingError": Cause.NOT_HTTP,
    "BadStatusLine": Cause.NOT_HTTP,
    "BadHttpMessage": Cause.NOT_HTTP,
    "LineTooLong": Cause.NOT_HTTP,
    "UnsupportedProtocol": Cause.BAD_ADDRESS,
    "InvalidURL": Cause.BAD_ADDRESS,
    "InvalidUrlClientError": Cause.BAD_ADDRESS,
    "NonHttpUrlClientError": Cause.BAD_ADDRESS,
    "UnicodeError": Cause.BAD_ADDRESS,
    "UnicodeEncodeError": Cause.BAD_ADDRESS,
}
