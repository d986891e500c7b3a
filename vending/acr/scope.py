"""Scopes of registry tokens: parse, merge, render. Pure; decides nothing and talks to nobody.

Grammar: `repository:<name>:<action>[,<action>…]` or `registry:catalog:*`, after the distribution specification's
token scopes. ACR honours `*` as a repository name and as an action, so this parser refuses it everywhere but in the
catalog's own form.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vending.errors import Reason, Refusal, quote

if TYPE_CHECKING:
    from collections.abc import Iterable

ACTIONS: Final = ("pull", "push", "delete", "metadata_read", "metadata_write")
"""The actions of a repository, in the order in which they are written."""

CATALOG_ACTION: Final = "*"
MAX_NAME_LENGTH: Final = 255
"""Characters in a repository name; the limit of the OCI distribution specification's reference implementation."""

COMPONENT_PATTERN: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_COMPONENT = re.compile(COMPONENT_PATTERN)
_ORDER: Final = {action: position for position, action in enumerate(ACTIONS)}


def is_component(text: str) -> bool:
    """Tell whether `text` is one path component of an OCI repository name."""
    return _COMPONENT.fullmatch(text) is not None


def is_repository_name(text: str) -> bool:
    """Tell whether `text` is an OCI repository name of at most 255 characters."""
    return len(text) <= MAX_NAME_LENGTH and all(is_component(part) for part in text.split("/"))


@dataclass(frozen=True, slots=True)
class Scope:
    """Name what a token may do: actions on one repository, or listing the catalog.

    `actions` are sorted in the order of `ACTIONS` and never empty; the catalog has the single action `*`.
    """

    type: str
    name: str
    actions: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.type}:{self.name}:{','.join(self.actions)}"

    @property
    def is_catalog(self) -> bool:
        return self.type == "registry"


CATALOG: Final = Scope("registry", "catalog", (CATALOG_ACTION,))


def repository(name: str, actions: Iterable[str]) -> Scope:
    """Build a repository scope with its actions in canonical order, each once."""
    return Scope("repository", name, tuple(sorted(set(actions), key=_ORDER.__getitem__)))


def render(scopes: Iterable[Scope]) -> str:
    """Write scopes as one space-delimited value (RFC 6749 section 3.3)."""
    return " ".join(str(scope) for scope in scopes)


def count(text: str) -> int:
    """Count the scopes in a space-delimited value, before any are merged."""
    return len(text.split(" "))


def parse(text: str) -> tuple[Scope, ...]:
    """Parse a space-delimited value; merge scopes of one repository, keep the order of first mention.

    Raises `Refusal` with `wildcard_scope` or `malformed_scope`.
    """
    merged: dict[tuple[str, str], set[str]] = {}
    for item in text.split(" "):
        scope = _parse_one(item)
        merged.setdefault((scope.type, scope.name), set()).update(scope.actions)
    return tuple(
        CATALOG if kind == CATALOG.type else repository(name, actions) for (kind, name), actions in merged.items()
    )


def _parse_one(item: str) -> Scope:
    if item == str(CATALOG):
        return CATALOG
    if "*" in item:
        raise Refusal(
            Reason.WILDCARD_SCOPE, f"The scope '{quote(item)}' has a wildcard; name the repository and actions."
        )
    kind, _, rest = item.partition(":")
    name, _, listed = rest.partition(":")
    actions = listed.split(",")
    if kind != "repository" or not is_repository_name(name):
        raise Refusal(
            Reason.MALFORMED_SCOPE,
            f"The scope '{quote(item)}' is not repository:<name>:<action>[,<action>] with a name in lower case.",
        )
    unknown = [action for action in actions if action not in _ORDER]
    if unknown:
        raise Refusal(
            Reason.MALFORMED_SCOPE,
            f"The action '{quote(unknown[0])}' in a scope is none of {', '.join(ACTIONS)}.",
        )
    return repository(name, actions)
