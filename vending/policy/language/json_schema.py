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
from vending.policy.language.models import PolicyModel

if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import core_schema

SCHEMA_FILE: Final = Path(__file__).parents[1] / "policy.schema.json"
"""The schema as it is shipped, for `# yaml-language-server: $schema=…`."""


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
    """Return the JSON Schema (draft 2020-12) of the policy file."""
    schema = PolicyModel.model_json_schema(schema_generator=_Generator)
    _drop_titles(schema)
    return {"$schema": _Generator.schema_dialect, **schema, "title": "Policy of ACR Token Vending"}


def render_schema() -> str:
    """Return the schema as text, as it is shipped."""
    return json.dumps(policy_schema(), indent=2, ensure_ascii=False) + "\n"


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
