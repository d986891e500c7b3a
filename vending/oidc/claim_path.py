"""Reach into verified claims by name or JSON Pointer. Pure; judges nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from vending.oidc.types import Claims, JsonValue

ClaimPath: TypeAlias = tuple[str, ...]
"""The way to one claim: a top-level name, then keys of objects or indexes of arrays."""

_BAD_ESCAPE = re.compile(r"~(?![01])")
_INDEX = re.compile(r"0|[1-9][0-9]{0,5}")
_UPPER_TO_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def parse_key(key: str) -> ClaimPath:
    """Read a key of `when`: the literal name of a top-level claim, or a JSON Pointer (RFC 6901) if it begins with `/`.

    Raises `ValueError` where a pointer has a `~` that escapes nothing, or the name is empty.
    """
    if not key.startswith("/"):
        if not key:
            raise ValueError("a claim has a name")
        return (key,)
    if _BAD_ESCAPE.search(key):
        raise ValueError("in a JSON Pointer, ~ is written ~0 and / is written ~1")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in key[1:].split("/"))


def write_key(path: ClaimPath) -> str:
    """Write a path as a key of `when`: a name where that says it, else a JSON Pointer."""
    if len(path) == 1 and not path[0].startswith("/"):
        return path[0]
    return "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in path)


def lookup(claims: Claims, path: ClaimPath) -> JsonValue:
    """Return the claim at `path`; None where it is missing or null."""
    value: JsonValue = claims
    for part in path:
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and _INDEX.fullmatch(part) and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def fold(text: str) -> str:
    """Lower A to Z and nothing else: `str.lower` would also turn the Kelvin sign into `k`."""
    return text.lower() if text.isascii() else text.translate(_UPPER_TO_LOWER)


def read(claims: Claims, key: str) -> JsonValue:
    """Return the claim that a key of `when` names; None where it is missing or null."""
    if key and not key.startswith("/"):
        return claims.get(key)
    return lookup(claims, parse_key(key))
