"""Refuse a JSON object that has one key twice: parsers disagree about which value counts (RFC 8259 section 4). Parses
nothing itself.
"""

from __future__ import annotations

from typing import Any


class DuplicateKeyError(ValueError):
    """One object has one key twice."""


def unique_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object from its members, as `object_pairs_hook` of `json`. Raises `DuplicateKeyError`."""
    value = dict(pairs)
    if len(value) != len(pairs):
        raise DuplicateKeyError("duplicate key")
    return value
