"""Strict base64url: one text for each value, or none. Knows nothing of what the bytes mean."""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from typing import Final

# The standard library's strict decoder knows the other base64 alphabet only; `!` is in neither.
_TO_STANDARD: Final = bytes.maketrans(b"-_+/=", b"+/!!!")

_LAST_CHARACTERS: Final[Mapping[int, str]] = {
    # Of the last character some bits belong to no byte: `QQ` and `QR` would both be "A". They must be zero.
    2: "AQgw",
    3: "AEIMQUYcgkosw048",
}


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
