"""Dataclasses that the service writes: as what is written, and as JSON Schemas. Imports pydantic only when asked."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Keywords:
    """Add keywords of JSON Schema to an annotated type: `Annotated[str, Keywords({"maxLength": 256})]`."""

    keywords: Mapping[str, Any]

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> dict[str, Any]:
        """Answer pydantic's question about this type."""
        return {**handler(core_schema), **self.keywords}


def written(value: Any) -> dict[str, Any]:
    """Return a dataclass as it is written in JSON, with those in its lists. Unlike `asdict`, it copies no value."""
    members = {name: getattr(value, name) for name in _names(value.__class__)}
    for name, item in members.items():
        if item.__class__ is list and item and is_dataclass(item[0]):
            members[name] = [written(entry) for entry in item]
    return members


@cache
def _names(shape: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(shape))


def schema_of(shape: type, *, closed: bool, optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a dataclass as it is written.

    `closed` allows no further properties; `optional` fields are left out where they are None, all others are there.
    """
    from pydantic import TypeAdapter

    schema = TypeAdapter(shape).json_schema(mode="serialization")
    definitions = schema.pop("$defs", {})
    tidied: dict[str, Any] = _tidied(schema, definitions, closed=closed)
    for name in optional:
        tidied["required"].remove(name)
        field = tidied["properties"][name]
        if isinstance(field["type"], list):
            field["type"] = field["type"][0]
    return tidied


def _tidied(node: Any, definitions: Mapping[str, Any], *, closed: bool) -> Any:
    """Write definitions in place, drop titles and defaults, which are Python's, and close objects."""
    if isinstance(node, list):
        return [_tidied(item, definitions, closed=closed) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _tidied(definitions[node["$ref"].rpartition("/")[2]], definitions, closed=closed)
    if isinstance(either := node.get("anyOf"), list) and len(either) == 2 and either[1] == {"type": "null"}:
        rest = {name: value for name, value in node.items() if name != "anyOf"}
        maybe = {**either[0], "type": [either[0].get("type", "object"), "null"]}
        if "enum" in maybe:
            maybe["enum"] = [*maybe["enum"], None]
        node = {**maybe, **rest}
    kept = {name: value for name, value in node.items() if name not in {"title", "default", "description"}}
    if isinstance(node.get("description"), str) and "properties" not in node:
        kept["description"] = node["description"]
    if isinstance(properties := kept.get("properties"), dict):
        kept["properties"] = {name: _tidied(value, definitions, closed=closed) for name, value in properties.items()}
        kept["required"] = list(properties)
        if closed:
            kept["additionalProperties"] = False
    return {
        name: value if name == "properties" else _tidied(value, definitions, closed=closed)
        for name, value in kept.items()
    }
