"""Write docs/inputs.md, the table of both templates' inputs, from what the compiler says of the parameters.

Run as a module after `python -m tests.infra.compiler`: `python -m tests.infra.inputs`.
"""

from __future__ import annotations

import json
import re
from typing import Any

from tests.infra.compiler import TEMPLATE
from tests.infra.scenarios import SPELLING, snake
from tests.infra.toolbox import ROOT, TERRAFORM

PAGE = ROOT / "docs" / "inputs.md"
HEAD = """# Inputs of the templates

Generated from the templates (`python -m tests.infra.inputs`). Bicep's parameters and, in snake case, Terraform's
variables mean the same; [deploy.md](deploy.md) says when to use them. A wrong one is refused before anything is
deployed, with a sentence that says what to write.

| Bicep | Terraform | type | default | what it does |
| --- | --- | --- | --- | --- |
"""
ONLY_TERRAFORM = ["subscription_id", "resource_group_name", "create_resource_group"]


def shown(value: Any) -> str:
    text = json.dumps(value).replace("|", "\\|")
    return f"`{text}`" if len(text) < 60 else "see the file"


def type_of(parameter: dict[str, Any]) -> str:
    if "$ref" in parameter:
        return str(parameter["$ref"].rsplit(".", 1)[-1].rsplit("/", 1)[-1])
    if allowed := parameter.get("allowedValues"):
        return " \\| ".join(f"`{value}`" for value in allowed)
    if "minValue" in parameter:
        return f"{parameter['minValue']} to {parameter['maxValue']}"
    if parameter["type"] == "array":
        return f"list of {type_of(parameter.get('items', {'type': 'any'}))}"
    return str(parameter["type"])


def default_of(parameter: dict[str, Any]) -> str:
    if parameter.get("nullable"):
        return "null"
    value = parameter.get("defaultValue")
    if isinstance(value, str) and value.startswith("["):
        return "of the deployment"
    return "" if value is None else shown(value)


def page() -> str:
    """Give the page's text."""
    rows = []
    for name, parameter in json.loads(TEMPLATE.read_text())["parameters"].items():
        terraform = SPELLING.get(name) or snake(name)
        said = parameter["metadata"]["description"].replace("|", "\\|")
        rows.append(f"| `{name}` | `{terraform}` | {type_of(parameter)} | {default_of(parameter)} | {said} |")
    text = (TERRAFORM / "variables.tf").read_text()
    for name in ONLY_TERRAFORM:
        variable = text[text.index(f'variable "{name}"') :]
        kind = re.search(r"type\s+= (\w+)", variable)
        default = re.search(r"\A[^}]*?default\s+= (\S+)\n", variable)
        said = re.search(r'description = "(.*)"', variable)
        assert kind
        assert said
        rows.append(f"| | `{name}` | {kind[1]} | {f'`{default[1]}`' if default else ''} | {said[1]} |")
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
