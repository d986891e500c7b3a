"""Strict base64url and JSON for tokens: one text for each value, or none. Knows nothing of what a token means.

Lenient decoders let two different texts mean one token, or one text mean two tokens to two readers; both have been
ways around a check. So every freedom is refused here: padding, stray bits, a byte-order mark, duplicate keys,
`NaN`, lone surrogates.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from vending.json_document import NotJson, strict_object

if TYPE_CHECKING:
    from vending.oidc.types import JsonValue

# The standard library's strict decoder knows the other base64 alphabet only; `!` is in neither.
_TO_STANDARD: Final = bytes.maketrans(b"-_+/=", b"+/!!!")

_LAST_CHARACTERS: Final[Mapping[int, str]] = {
    # Of the last character some bits belong to no byte: `QQ` and `QR` would both be "A". They must be zero.
    2: "AQgw",
    3: "AEIMQUYcgkosw048",
}

# GitHub's token has some 35 claims and GitLab's list of groups ends at 200, so real tokens stay far below both limits.
# They are counted before parsing: a token of 1,000 claims or 10,000 brackets costs less than a good one.
_MAX_QUOTES: Final = 800
"""Each name and each string of a JSON text takes two of these."""
_MAX_BRACKETS: Final = 256
"""Each object and each list takes one of these; a bound on depth as well."""
_PIECE: Final = 2048
"""In characters, a multiple of four: most tokens are one or two pieces."""


class EncodingError(ValueError):
    """The text is not what its format allows; the message says why ("is not UTF-8") and never quotes it."""


def decode_base64url(text: str) -> bytes:
    """Decode unpadded base64url (RFC 7515 section 2) in its one canonical form. Raises `EncodingError`."""
    rest = len(text) % 4
    if rest == 1:
        raise EncodingError("is base64url of an impossible length")
    if rest and text[-1] not in _LAST_CHARACTERS[rest]:
        raise EncodingError("is not base64url without padding and stray bits")
    try:
        standard = text.encode("ascii").translate(_TO_STANDARD) + b"=" * (-rest % 4)
        return binascii.a2b_base64(standard, strict_mode=True)
    except ValueError:
        raise EncodingError("is not base64url without padding") from None


def decode_json_object(text: str) -> dict[str, JsonValue]:
    """Decode base64url of UTF-8 JSON (RFC 8259): one object without duplicate keys. Raises `EncodingError`."""
    return _parse_json_object(_decode_and_count(text))


def _decode_and_count(text: str) -> bytes:
    """Decode piece by piece and stop at the first one that is too much: refusing costs less than accepting."""
    data = bytearray()
    quotes = brackets = 0
    for start in range(0, len(text), _PIECE):
        piece = decode_base64url(text[start : start + _PIECE])
        if not start and not piece.lstrip(b" \t\r\n").startswith(b"{"):
            raise EncodingError("is not a JSON object")
        data += piece
        quotes += piece.count(b'"')
        brackets += piece.count(b"{") + piece.count(b"[")
        if quotes > _MAX_QUOTES:
            raise EncodingError("has too many strings")
        if brackets > _MAX_BRACKETS:
            raise EncodingError("has too many objects or lists")
    return bytes(data)


def _parse_json_object(data: bytes) -> dict[str, JsonValue]:
    try:
        return strict_object(data)
    except NotJson as error:
        raise EncodingError(str(error)) from None
