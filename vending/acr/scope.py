"""Scopes of registry tokens: parse, merge, render. Pure; decides nothing and talks to nobody.

Grammar: `repository:<name>:<action>[,<action>…]` or `registry:catalog:*`, after the distribution specification's
token scopes. ACR honours `*` as a repository name and as an action, so this parser refuses it everywhere but in the
catalog's own form.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vending.acr.names import ACTIONS, bare_name, explain_action, explain_name, is_repository_name
from vending.errors import Reason, Refusal, quote

if TYPE_CHECKING:
    from collections.abc import Iterable

CATALOG_ACTION: Final = "*"
_ORDER: Final = {action: position for position, action in enumerate(ACTIONS)}


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
    if kind != "repository" or not is_repository_name(name) or not _ORDER.keys() >= set(actions):
        raise Refusal(Reason.MALFORMED_SCOPE, _explain(item))
    return repository(name, actions)


def _explain(item: str) -> str:
    """Say what is wrong with a scope: its form, its name or its actions."""
    kind, _, rest = item.partition(":")
    # The actions come after the last colon: an author may have left a port, a tag or a digest in the name.
    name, _, listed = rest.rpartition(":")
    shown = quote(item)
    if not item:
        return "The value of scope has an empty scope; write one blank between two scopes, and none around them."
    if kind != "repository":
        meant = _meant(item)
        if meant:
            return f"The scope '{shown}' lacks its type; write repository:<name>:<action>[,<action>], as in '{meant}'."
        return f"The scope '{shown}' is neither repository:<name>:<action>[,<action>] nor registry:catalog:*."
    if not name:
        return f"The scope '{shown}' has no name or no actions; write repository:<name>:<action>[,<action>]."
    if re.search(r"[,;]repository:", rest):
        return f"The scope '{shown}' is several scopes; write one blank between two scopes."
    if not is_repository_name(name):
        return f"The name in the scope '{shown}' {quote(explain_name(name))}."
    if "" in listed.split(","):
        return f"In the scope '{shown}', an action is missing beside a comma; write it, or remove the comma."
    unknown = next((action for action in listed.split(",") if action not in _ORDER), "")
    return f"In the scope '{shown}', {quote(explain_action(unknown))}."


def _meant(item: str) -> str:
    """Write as a scope what is an image's name, or a scope without its type; empty where it is neither."""
    name, _, listed = item.rpartition(":")
    actions = listed if name and _ORDER.keys() >= set(listed.split(",")) else "pull"
    bare = bare_name(name if name and actions == listed else item)
    return quote(f"repository:{bare}:{actions}") if "/" in bare and is_repository_name(bare) else ""
