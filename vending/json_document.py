"""Say what a JSON document is, for answers that were fetched and for files alike: one reading, or a reason why not.

RFC 8259: UTF-8, one object, no name twice. A byte-order mark before it is ignored, as its section 8.1 allows, since
editors write one unasked; a token has no such freedom (`oidc/encoding.py`). Lenient readers let one text mean two
things to two readers, so `NaN`, half surrogate pairs and numbers beyond any use are refused.
"""

from __future__ import annotations

import codecs
import json
import math
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from vending.strict_json import DuplicateKeyError, unique_object

_MAX_DIGITS: Final = 32
"""Longer numbers are no date, identifier or count; Python's own limit (4,300) would still cost time."""
_OTHER_ENCODINGS: Final = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


class NotJson(ValueError):
    """These bytes are no JSON document; the message says why ("is not UTF-8") and never quotes them."""


def json_object(data: bytes) -> dict[str, Any]:
    """Parse a document that is one JSON object. Raises `NotJson`."""
    return strict_object(data.removeprefix(codecs.BOM_UTF8))


def strict_object(data: bytes) -> dict[str, Any]:
    """Parse an object as `json_object` does, but refuse a byte-order mark. Raises `NotJson`."""
    try:
        text = data.decode("utf-8", errors="strict")
    except UnicodeDecodeError:
        raise NotJson(_not_utf8(data)) from None
    try:
        value = _DECODER.decode(text)
        if "\\u" in text:
            # Only an escape can smuggle in half a surrogate pair, which no UTF-8 writer could log or compare.
            json.dumps(value, ensure_ascii=False).encode("utf-8", errors="strict")
    except NotJson:
        raise
    except DuplicateKeyError:
        raise NotJson("has a name twice in one object") from None
    except UnicodeEncodeError:
        raise NotJson("holds half a surrogate pair") from None
    except (ValueError, RecursionError):
        raise NotJson(_not_json(text)) from None
    if not isinstance(value, dict):
        raise NotJson("is not a JSON object")
    return value


def present(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members that have a value: null says that there is none, as some serialisers write it."""
    return {name: value for name, value in document.items() if value is not None}


def _not_utf8(data: bytes) -> str:
    for mark, name in _OTHER_ENCODINGS:
        if data.startswith(mark):
            return f"is {name}, not UTF-8"
    return "is UTF-16, not UTF-8" if b"\0" in data[:2] else "is not UTF-8"


def _not_json(text: str) -> str:
    begin = text[:64].lstrip()
    if not text.strip():
        return "is empty"
    if begin.startswith("<"):
        return "is not JSON: it begins like a web page or XML"
    if begin.startswith("\ufeff"):
        return "is not JSON: it begins with a byte-order mark"
    return "is UTF-16, not UTF-8" if "\0" in begin else "is not JSON"


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise NotJson("has a number that is too long")
    return int(digits)


def _real(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise NotJson("has a number that is too large")
    return number


def _constant(name: str) -> NoReturn:
    raise NotJson(f"has {name}, which is not JSON")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=unique_object, parse_int=_integer, parse_float=_real, parse_constant=_constant, strict=True
)
