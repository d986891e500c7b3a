"""Print what Azure's own models call the properties of a resource, as JSON; runs where the azure-mgmt packages are.

Arguments: `Microsoft.Web/sites=azure.mgmt.web:Site` and so on. A type becomes {property: description}, where a
description is {"values": […]} for an enumeration, {"properties": {…}} for an object, and {} for anything else.
Read-only properties are left out, since a template may not set them.
"""

from __future__ import annotations

import enum
import importlib
import json
import re
import sys
from typing import Any

MODEL = re.compile(r"_models\.(\w+)")


def describe(models: Any, names: list[str], seen: tuple[str, ...]) -> dict[str, Any]:
    """Describe a property whose declared type mentions `names`."""
    for name in names:
        found = getattr(models, name, None)
        if isinstance(found, type) and issubclass(found, enum.Enum):
            return {"values": [member.value for member in found]}
        if isinstance(found, type) and name not in seen:
            return {"properties": properties(models, found, (*seen, name))}
    return {}


def properties(models: Any, model: Any, seen: tuple[str, ...]) -> dict[str, Any]:
    """Describe the properties of a model of either generation of the Azure SDK."""
    return legacy(models, model, seen) if hasattr(model, "_attribute_map") else current(models, model, seen)


def current(models: Any, model: Any, seen: tuple[str, ...]) -> dict[str, Any]:
    model()  # the first instance fills the table below
    annotations: dict[str, Any] = {}
    for parent in reversed(model.__mro__):
        annotations |= getattr(parent, "__annotations__", {})
    return {
        field._rest_name: describe(models, MODEL.findall(str(annotations.get(name))), seen)
        for name, field in model._attr_to_rest_field.items()
        if "read" not in (field._visibility or []) or len(field._visibility) > 1
    }


def legacy(models: Any, model: Any, seen: tuple[str, ...]) -> dict[str, Any]:
    read_only = {name for name, rules in model._validation.items() if rules.get("readonly")}
    result: dict[str, Any] = {}
    for name, entry in model._attribute_map.items():
        if name in read_only:
            continue
        *parents, last = re.split(r"(?<!\\)\.", entry["key"])
        target = result
        for parent in parents:  # the older generation flattens `properties`
            target = target.setdefault(parent, {"properties": {}})["properties"]
        target[last.replace("\\.", ".")] = describe(models, re.findall(r"\w+", entry["type"]), seen)
    return result


def main() -> None:
    result = {}
    for argument in sys.argv[1:]:
        kind, where = argument.split("=")
        package, name = where.split(":")
        models = importlib.import_module(f"{package}.models")
        result[kind] = properties(models, getattr(models, name), (name,))
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
