"""Check resource bodies against Azure's published ARM types: unknown, missing, read-only, mistyped, out of range.

arm-types.json holds the types that infra/ uses, of Azure's bicep-types-az (MIT licence, Copyright (c) Microsoft
Corporation), August 2026. They say nothing about how values depend on each other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Kind = dict[str, Any]
REQUIRED, READ_ONLY = 1, 2


EXPECTED: dict[str, tuple[type, str]] = {
    "ArrayType": (list, "a list"),
    "BooleanType": (bool, "a boolean"),
    "IntegerType": (int, "a whole number"),
    "StringType": (str, "text"),
}


def is_of(name: str, value: Any) -> bool:
    """Whether a value is of a simple type; Python counts true and false among the whole numbers."""
    return isinstance(value, EXPECTED[name][0]) and isinstance(value, bool) == (name == "BooleanType")


def known_types() -> dict[str, Kind]:
    """Give the published types by lower-case `type@version`."""
    found: dict[str, Kind] = json.loads(Path(__file__).with_name("arm-types.json").read_text())
    return {name.lower(): entry for name, entry in found.items()}


def unknown_until_deployed(value: Any) -> bool:
    """Whether a value is left out, or an expression that only a deployment resolves."""
    return value is None or (isinstance(value, str) and value.startswith("[") and not value.startswith("[["))


class Checker:
    """One published type, and what a body breaks of it."""

    def __init__(self, entry: Kind) -> None:
        self.table: list[Kind] = entry["types"]
        self.root: Kind = self.table[entry["body"]]

    def findings(self, body: dict[str, Any]) -> list[str]:
        """Give `path: finding` for whatever does not fit; the resource's name is part of the body."""
        return list(self.of_object(self.root, body, ""))

    def at(self, reference: dict[str, int]) -> Kind:
        return self.table[reference["$ref"]]

    def of(self, kind: Kind, value: Any, path: str) -> Iterator[str]:
        if unknown_until_deployed(value):
            return
        name = kind["$type"]
        if name in {"ObjectType", "DiscriminatedObjectType"}:
            yield from self.of_object(kind, value, path)
        elif name == "UnionType":
            yield from self.of_union(kind, value, path)
        elif name == "StringLiteralType" and value != kind["value"]:
            yield f"{path}: {value!r} is not {kind['value']!r}"
        elif name in EXPECTED and not is_of(name, value):
            yield f"{path}: {EXPECTED[name][1]} is expected, not {value!r}"
        elif name == "ArrayType":
            for index, item in enumerate(value):
                yield from self.of(self.at(kind["itemType"]), item, f"{path}.{index}")
        elif name == "StringType":
            yield from within(path, len(value), kind.get("minLength"), kind.get("maxLength"))
        elif name == "IntegerType":
            yield from within(path, value, kind.get("minValue"), kind.get("maxValue"))

    def of_union(self, kind: Kind, value: Any, path: str) -> Iterator[str]:
        elements = [self.at(element) for element in kind["elements"]]
        literals = [element["value"] for element in elements if element["$type"] == "StringLiteralType"]
        if literals and isinstance(value, str):
            if value not in literals:
                yield f"{path}: {value!r} is none of {literals}"
            return
        tries = [list(self.of(element, value, path)) for element in elements]
        if all(tries):
            yield from tries[0]

    def of_object(self, kind: Kind, value: Any, path: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{path}: an object is expected, not {value!r}"
            return
        properties = dict(kind.get("properties") or kind.get("baseProperties") or {})
        if kind["$type"] == "DiscriminatedObjectType":
            tag = value.get(kind["discriminator"])
            if tag not in kind["elements"]:
                yield f"{path}.{kind['discriminator']}: {tag!r} is none of {sorted(kind['elements'])}"
                return
            properties |= self.at(kind["elements"][tag])["properties"]
        for name, inner in value.items():
            where = f"{path}.{name}" if path else name
            if name in properties:
                yield from self.of_property(properties[name], inner, where)
            elif more := kind.get("additionalProperties"):
                yield from self.of(self.at(more), inner, where)
            else:
                yield f"{where}: not a known property"
        for name, described in properties.items():
            required = described["flags"] & REQUIRED and not described["flags"] & READ_ONLY
            if required and name not in value:
                yield f"{path + '.' if path else ''}{name}: required"

    def of_property(self, described: Kind, value: Any, path: str) -> Iterator[str]:
        if described["flags"] & READ_ONLY and not described["flags"] & REQUIRED:
            yield f"{path}: read-only"
        else:
            yield from self.of(self.at(described["type"]), value, path)


def within(path: str, number: int, low: int | None, high: int | None) -> Iterator[str]:
    if (low is not None and number < low) or (high is not None and number > high):
        yield f"{path}: {number} is not within {low}..{high}"
