"""What each language would send to the Resource Manager, in one form that can be compared: id to (type, body).

Bicep's is its compiler's snapshot, with the few expressions in it that only a deployment resolves worked out as the
tests' Resource Manager would; Terraform's is its state after an apply there.
"""

from __future__ import annotations

import re
from typing import Any

from tests.infra import resource_manager

Bodies = dict[str, tuple[str, dict[str, Any]]]
ENVELOPE = {"id", "name", "type", "apiVersion", "scope", "dependsOn", "condition"}
TOKENS = re.compile(r"'(?:[^']|'')*'|[A-Za-z_][\w.]*|[(),.]|\S")


class Expression:
    """An expression of the template language: text, format(…) and reference(id, version).property."""

    def __init__(self, text: str) -> None:
        self.tokens: list[str] = TOKENS.findall(text)

    def value(self) -> str:
        token = self.tokens.pop(0)
        if token.startswith("'"):
            return str(token[1:-1]).replace("''", "'")
        arguments = self.arguments()
        if token == "format":
            template, *given = arguments
            return re.sub(r"\{(\d+)\}", lambda match: str(given[int(match[1])]), template)
        if token == "reference":
            assert self.tokens.pop(0) == "."
            return referenced(arguments[0], self.tokens.pop(0))
        raise AssertionError(f"an expression that only Azure knows: {token}")

    def arguments(self) -> list[str]:
        assert self.tokens.pop(0) == "("
        found = []
        while self.tokens[0] != ")":
            found.append(self.value())
            if self.tokens[0] == ",":
                self.tokens.pop(0)
        self.tokens.pop(0)
        return found


def referenced(identifier: str, name: str) -> str:
    """Give a property that a resource has once it exists."""
    known = {
        "clientId": resource_manager.client_id,
        "principalId": resource_manager.principal_id,
        "ConnectionString": resource_manager.connection_string,
        "defaultHostName": resource_manager.host_name,
    }
    return known[name](identifier)


def resolved(value: Any) -> Any:
    """Replace expressions by what they will be, and leave out what is null."""
    if isinstance(value, str) and value.startswith("[") and value.endswith("]") and not value.startswith("[["):
        return Expression(value[1:-1]).value()
    if isinstance(value, list):
        return [resolved(item) for item in value]
    if isinstance(value, dict):
        return {name: resolved(item) for name, item in value.items() if item is not None}
    return value


def normal(body: dict[str, Any]) -> dict[str, Any]:
    """Sort app settings, which are a set, and leave out what is empty and means nothing."""
    found: dict[str, Any] = resolved(body)
    settings = found.get("properties", {}).get("siteConfig", {}).get("appSettings")
    if settings:
        settings.sort(key=lambda each: str(each["name"]))
    return {name: value for name, value in found.items() if value not in ({}, None)}


def of_bicep(snapshot: dict[str, Any]) -> Bodies:
    return {
        each["id"].lower(): (
            f"{each['type']}@{each['apiVersion']}",
            normal({name: value for name, value in each.items() if name not in ENVELOPE}),
        )
        for each in snapshot["predictedResources"]
    }


def of_terraform(state: dict[str, Any]) -> Bodies:
    """Read a state file. Registering a provider has no counterpart, and a group is not made by a group's template."""
    found: Bodies = {}
    for resource in state["resources"]:
        for instance in resource["instances"]:
            has = instance["attributes"]
            if resource["type"] not in {"azapi_resource", "azapi_update_resource"}:
                continue
            if has["type"].startswith("Microsoft.Resources/resourceGroups@"):
                continue
            body = dict((has.get("body") or {}).get("value") or {})
            body |= {name: has[name] for name in ("location", "tags") if has.get(name)}
            for identity in has.get("identity") or []:
                ids = identity["identity_ids"]
                body["identity"] = {"type": identity["type"], "userAssignedIdentities": {each: {} for each in ids}}
            found[has["id"].lower()] = (has["type"], normal(body))
    return found
