"""Take a raw token apart without trusting it: shape, header, and the `iss` it claims. Verifies nothing.

Length and dots are counted before anything is split or decoded: splitting a megabyte of dots allocates a million
strings (CVE-2025-66506 in fulcio, CVE-2025-30204 in golang-jwt).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from vending.base64url import EncodingError, decode_base64url
from vending.errors import Reason, Refusal, quote
from vending.oidc.encoding import decode_json_object
from vending.oidc.types import Claims, PeekedToken, RawToken

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_TOKEN_LENGTH: Final = 16 * 1024
"""In characters. CI platforms' tokens are a few KiB long; the longest carry lists of groups."""

_HEADERS_KEPT: Final = 64
"""At most `MAX_TOKEN_LENGTH` each, so a MiB if somebody sends such."""

MAX_SIGNATURE_LENGTH: Final = 1366
"""In characters: the 1,024 bytes that the largest RSA key makes (8,192 bits, see `keys.py`)."""

TOKEN_TYPES: Final = frozenset({"jwt", "jose", "at+jwt"})
"""The `typ` values of tokens that are made to be presented to the service their `aud` names, in lower case.

RFC 8725 section 3.11: an explicit type keeps one kind of JWT from being taken for another, so a logout token, a DPoP
proof or a security event is refused. `JWT` is what CI platforms send and `JOSE` its equal for a SPIFFE JWT-SVID;
`at+jwt` (RFC 9068) is an access token whose audience is the service it is sent to. Kubernetes sends no type at all.
"""

_REFUSED_HEADERS: Final[Mapping[str, str]] = {
    # RFC 7515 section 4.1.11: what is listed must be understood, and no extension is understood here.
    "crit": "asks for an extension that this service does not know",
    # RFC 7797: the signature would cover other bytes than the ones that were decoded.
    "b64": "has an unencoded payload",
    "zip": "is compressed",
    "enc": "is encrypted",
    # RFC 7519 section 5.2: the payload would be another token rather than claims.
    "cty": "holds another token or document",
}


def peek(raw: RawToken) -> PeekedToken:
    """Parse a compact JWS (RFC 7515 section 7.1) and gingerly read its unverified header and claims.

    Raises `token_too_large`, `token_malformed`, and `claim_missing` or `claim_invalid` for an `iss` that is absent or
    no string.
    """
    if len(raw) > MAX_TOKEN_LENGTH:
        raise Refusal(Reason.TOKEN_TOO_LARGE)
    dots = raw.count(".")
    if dots != 2:
        raise _malformed(_not_three_parts(raw, dots))
    header_text, payload_text, signature_text = raw.split(".")
    header = _header(header_text)
    claims = _object(payload_text, "payload")
    if len(signature_text) > MAX_SIGNATURE_LENGTH:
        raise _malformed("its signature is longer than any that this service accepts")
    try:
        decode_base64url(signature_text)
    except EncodingError as error:
        raise _malformed(f"its signature {error}") from None
    return PeekedToken(raw=raw, header=header, unverified_claims=claims, issuer=_issuer(claims))


@lru_cache(_HEADERS_KEPT)
def _header(text: str) -> Claims:
    """Read a header; all tokens that were signed with one key have the same."""
    header = _object(text, "header")
    if not isinstance(header.get("alg"), str):
        raise _malformed("its header has no alg that is a string")
    for name, what in _REFUSED_HEADERS.items():
        if name in header:
            raise _malformed(f"its header has {name}, so the token {what}")
    kind = header.get("typ", "JWT")
    # RFC 7515 section 4.1.9: compared without case, and `application/` may be left out.
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in TOKEN_TYPES:
        raise _malformed(f"its typ is {quote(kind)}, which is not a kind of token this service takes")
    return header


def _object(text: str, part: str) -> Claims:
    try:
        return decode_json_object(text)
    except EncodingError as error:
        raise _malformed(f"its {part} {error}") from None


def _issuer(claims: Claims) -> str:
    if "iss" not in claims:
        raise Refusal(Reason.CLAIM_MISSING, "The token has no iss claim; use the platform's OIDC token.")
    issuer = claims["iss"]
    if not isinstance(issuer, str):
        raise Refusal(Reason.CLAIM_INVALID, "The token's iss claim is not a string; use the platform's OIDC token.")
    return issuer


def _not_three_parts(raw: RawToken, dots: int) -> str:
    if raw.startswith("{"):
        return "it is in JSON serialisation, and only the compact one is accepted"
    if dots == 4:
        return "it has five parts, so it is encrypted"
    return f"it has {dots} dots instead of two"


def _malformed(what: str) -> Refusal:
    return Refusal(
        Reason.TOKEN_MALFORMED, f"The subject token cannot be read ({what}); send the platform's OIDC token unchanged."
    )
