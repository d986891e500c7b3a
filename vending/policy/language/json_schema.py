"""The JSON Schema of the policy file, made from its models: for editors, and for those who generate policies.

The schema knows the form of a policy, not its meaning: what needs two values to judge (references, pinning, hosts of a
cloud) only the loader finds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic.json_schema import GenerateJsonSchema

from vending.policy.language.fields import MOMENT
from vending.policy.language.merge import ANYWHERE
from vending.policy.language.models import PolicyModel
from vending.policy.providers.preset import ClaimType
from vending.policy.providers.presets import PRESETS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import core_schema

    from vending.policy.providers.preset import Claim, Preset

SCHEMA_FILE: Final = Path(__file__).parents[1] / "policy.schema.json"
PART_SCHEMA_FILE: Final = SCHEMA_FILE.with_name("policy.part.schema.json")
TESTS_SCHEMA_FILE: Final = SCHEMA_FILE.with_name("policy.tests.schema.json")
"""The schemas as they are shipped, for `# yaml-language-server: $schema=…`."""


class _Generator(GenerateJsonSchema):
    """Leave out what a file cannot say: a key without a value is an error, so nothing is ever null."""

    schema_dialect = "https://json-schema.org/draft/2020-12/schema"

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        made = super().default_schema(schema)
        if made.get("default", ...) in (None, [], {}):
            made.pop("default")
        return made

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        made = super().dict_schema(schema)
        patterns = made.pop("patternProperties", {})
        for pattern, values in patterns.items():
            # A pattern alone would let every other name pass.
            made["propertyNames"] = {**made.get("propertyNames", {}), "pattern": pattern}
            made["additionalProperties"] = values
        return made

    def date_schema(self, schema: core_schema.DateSchema) -> JsonSchemaValue:
        # A day or a time in YAML is text to every reader of the schema.
        return {"pattern": MOMENT, "type": "string"}

    def datetime_schema(self, schema: core_schema.DatetimeSchema) -> JsonSchemaValue:
        return {"pattern": MOMENT, "type": "string"}


def policy_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a policy in one file, and of a directory's file with `version`.

    The claims of a rule about an issuer have the types of its preset, where the issuer's name is the preset's.
    """
    schema = _schema("policy", "Policy of ACR Token Vending")
    schema["allOf"] = [
        {
            "if": {
                "properties": {"issuers": {"properties": {name: _has("preset", name)}, "required": [name]}},
                "required": ["issuers"],
            },
            "then": {"properties": {section: {"items": _about(name)} for section in _ABOUT_CALLERS}},
        }
        for name in _TYPED
    ]
    return schema


def part_schema() -> dict[str, Any]:
    """Return the JSON Schema of a team's file in a directory: it has rules, deny entries and maps, and nothing else.

    Where an issuer has the name of a preset, it is taken to have that preset.
    """
    schema = _schema("part", "A team's part of a policy of ACR Token Vending")
    del schema["required"]
    schema["description"] = "A part of a policy: what one team's file in a directory may have."
    schema["properties"] = {key: schema["properties"][key] for key in sorted(ANYWHERE)}
    schema["allOf"] = [
        {"properties": {"rules": {"items": _about(name)}, "deny": {"items": _about(name)}}} for name in _TYPED
    ]
    schema["$defs"] = _reachable(schema)
    return schema


def render_schema(schema: dict[str, Any]) -> str:
    """Return a schema as text, as it is shipped."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def schema_of(model: type[BaseModel], kind: str, title: str) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a model of files that people write; `kind` is part of its `$id`."""
    made = model.model_json_schema(schema_generator=_Generator)
    _drop_titles(made)
    definitions = made.pop("$defs")
    head = {"$schema": _Generator.schema_dialect, "$id": f"urn:acr-token-vending:schema:{kind}:1", "title": title}
    return {**head, **made, "$defs": definitions}


def _schema(kind: str, title: str) -> dict[str, Any]:
    made = schema_of(PolicyModel, kind, title)
    made["$defs"] |= {f"Claims.{name}": _claims(preset) for name, preset in _TYPED.items()}
    return made


# --- Claims by preset -------------------------------------------------------------------------------------------------

_ABOUT_CALLERS: Final = ("rules", "deny", "never")
_TYPED: Final = {name: preset for name, preset in PRESETS.items() if preset.claims}
_JSON_TYPES: Final = {ClaimType.TEXT: "string", ClaimType.BOOLEAN: "boolean", ClaimType.INTEGER: "integer"}


def _has(key: str, value: str) -> dict[str, Any]:
    return {"properties": {key: {"const": value}}, "required": [key]}


def _about(preset: str) -> dict[str, Any]:
    """Give the conditions of an entry about one issuer the claims of its preset."""
    claims = {"$ref": f"#/$defs/Claims.{preset}"}
    return {
        "if": _has("issuer", preset),
        "then": {"properties": {"when": claims, "unless": claims, "when_any": {"items": claims}}},
    }


def _claims(preset: Preset) -> dict[str, Any]:
    """Describe the claims of a provider: a value, a list of values, or a mapping with `in` or `absent`."""
    return {"properties": {name: _claim(claim) for name, claim in preset.claims.items()}}


def _claim(claim: Claim) -> dict[str, Any]:
    kind = _JSON_TYPES[claim.type]
    description = f"{claim.type.value}, as in {claim.form.example}" if claim.form else claim.type.value
    return {"description": description, "type": [kind, "array", "object"], "items": {"type": kind}}


def _reachable(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the definitions that the rest of a schema needs."""
    definitions = schema["$defs"]
    wanted = set(_references({key: value for key, value in schema.items() if key != "$defs"}))
    reached: set[str] = set()
    while wanted:
        name = wanted.pop()
        reached.add(name)
        wanted |= set(_references(definitions[name])) - reached
    return {name: definition for name, definition in definitions.items() if name in reached}


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"].removeprefix("#/$defs/")
        for child in node.values():
            yield from _references(child)
    elif isinstance(node, list):
        for child in node:
            yield from _references(child)


def _drop_titles(node: Any) -> None:
    """Drop the titles that pydantic makes of field names: editors would show them in place of descriptions."""
    if isinstance(node, dict):
        if isinstance(node.get("title"), str):
            del node["title"]
        for child in node.values():
            _drop_titles(child)
    elif isinstance(node, list):
        for child in node:
            _drop_titles(child)
