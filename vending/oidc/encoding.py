"""Strict JSON of tokens, in base64url: one text for each value, or none. Knows nothing of what a token means.

Lenient decoders let two different texts mean one token, or one text mean two tokens to two readers; both have been
ways around a check. So every freedom is refused here: padding, stray bits, a byte-order mark, duplicate keys,
`NaN`, lone surrogates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vending.base64url import EncodingError, decode_base64url
from vending.json_document import NotJson, strict_object

if TYPE_CHECKING:
    from vending.oidc.types import JsonValue

# GitHub's token has some 35 claims and GitLab's list of groups ends at 200, so real tokens stay far below both limits.
# They are counted before parsing: a token of 1,000 claims or 10,000 brackets costs less than a good one.
_MAX_QUOTES: Final = 800
"""Each name and each string of a JSON text takes two of these."""
_MAX_BRACKETS: Final = 256
"""Each object and each list takes one of these; a bound on depth as well."""
_PIECE: Final = 2048
"""In characters, a multiple of four: most tokens are one or two pieces."""


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
