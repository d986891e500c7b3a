"""What a rule grants of what is asked, and what a deny entry takes away of that. Looks at no conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vending.acr.scope import CATALOG_ACTION

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from vending.acr.scope import Scope
    from vending.oidc.types import Claims
    from vending.policy.engine.pattern_index import PatternIndex
    from vending.policy.engine.policy import Deny, Grant, Rule
    from vending.policy.engine.repositories import Reach

LISTED_ACTIONS: Final = frozenset({"pull", "push", "metadata_read"})
"""What a request without `scope` may get: nothing that destroys, and not the catalog."""


class Gift(NamedTuple):
    """Actions on one repository (None: the catalog) that a grant of a rule gives."""

    rule: Rule
    grant: Grant
    name: str | None
    actions: tuple[str, ...]


class Loss(NamedTuple):
    """Actions on one repository (None: the catalog) that a deny entry takes away."""

    deny: Deny
    name: str | None
    actions: tuple[str, ...]


def gifts(rule: Rule, registry: str, asked: Sequence[Scope] | None, claims: Claims) -> list[Gift]:
    """Say what a rule gives of the scopes asked for in a registry; None asks for all that is named one by one.

    Each pattern is matched once for each repository.
    """
    given: list[Gift] = []
    for grant in rule.grants:
        if grant.registry != registry:
            continue
        if asked is None:
            given += _listed(rule, grant, claims)
        else:
            _add_asked(given, rule, grant, asked, claims)
    return given


def _add_asked(given: list[Gift], rule: Rule, grant: Grant, asked: Sequence[Scope], claims: Claims) -> None:
    reaches: list[Reach] | None = None
    for scope in asked:
        if scope.is_catalog:
            if grant.catalog:
                given.append(Gift(rule, grant, None, (CATALOG_ACTION,)))
            continue
        actions = scope.actions
        if actions != grant.actions:
            actions = tuple([action for action in actions if action in grant.actions])
        if not actions:
            continue
        name = scope.name
        if name not in grant.names and not grant.covers(name):
            if reaches is None:
                reaches = [template.reach(claims) for template in grant.templates]
            if not any(name in reach.names or any(glob.matches(name) for glob in reach.globs) for reach in reaches):
                continue
        given.append(Gift(rule, grant, name, actions))


def _listed(rule: Rule, grant: Grant, claims: Claims) -> list[Gift]:
    actions = tuple([action for action in grant.actions if action in LISTED_ACTIONS])
    return [Gift(rule, grant, name, actions) for name in listed_names(grant, claims)] if actions else []


def listed_names(grant: Grant, claims: Claims) -> list[str]:
    """Return the repositories that a grant names one by one: exact, templated and mapped names."""
    return [*grant.names, *(name for template in grant.templates for name in template.reach(claims).names)]


def has_patterns(grant: Grant, claims: Claims) -> bool:
    """Return whether a grant covers repositories that it does not name, with an action that could be listed."""
    if LISTED_ACTIONS.isdisjoint(grant.actions):
        return False
    return bool(grant.globs) or any(template.reach(claims).globs for template in grant.templates)


def losses(denies: Collection[Deny], covering: PatternIndex[Deny], name: str | None, actions: set[str]) -> list[Loss]:
    """Say what deny entries take away of the actions that would be granted on a repository (None: the catalog).

    `covering` finds those that cover it; only the ones among `denies` count.
    """
    if name is None:
        return [Loss(deny, None, (CATALOG_ACTION,)) for deny in denies if deny.covers.catalog]
    found = {id(deny): deny for deny in covering.covering(name)}
    taken = ((deny, tuple(a for a in deny.covers.actions if a in actions)) for deny in denies if id(deny) in found)
    return [Loss(deny, name, lost) for deny, lost in taken if lost]
