"""What a rule grants of what is asked, and what a deny entry takes away of that. Looks at no conditions."""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING, Final, NamedTuple

from vending.acr.scope import CATALOG, CATALOG_ACTION

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from vending.acr.scope import Scope
    from vending.oidc.types import Claims
    from vending.policy.engine.globs import Glob
    from vending.policy.engine.pattern_index import PatternIndex
    from vending.policy.engine.policy import Deny, Grant, Rule
    from vending.policy.engine.repositories import Below

LISTED_ACTIONS: Final = frozenset({"pull", "push", "metadata_read"})
"""What a request without `scope` may get: nothing that destroys, and not the catalog."""


class Gift(NamedTuple):
    """Actions on one repository (None: the catalog) that a grant of a rule gives."""

    rule: Rule
    grant: Grant
    name: str | None
    actions: tuple[str, ...]


class Asked:
    """The scopes of one request, and which of their repositories the patterns and templates looked at so far cover.

    Many rules may have one pattern; it is matched once for each repository, whatever their number.
    """

    __slots__ = ("_by_pattern", "_by_template", "catalog", "repositories", "scopes")

    def __init__(self, scopes: tuple[Scope, ...]) -> None:
        self.scopes = scopes
        self.repositories = {scope.name: scope.actions for scope in scopes if scope.type != CATALOG.type}
        self.catalog = len(self.repositories) < len(scopes)
        self._by_pattern: dict[str, tuple[str, ...]] = {}
        self._by_template: dict[int, Sequence[str]] = {}

    def covered_by(self, grant: Grant, claims: Claims) -> Collection[str]:
        """Return the repositories that a grant covers, each once."""
        found = self._among(grant.names)
        if not (grant.globs or grant.templates):
            return found
        covered = dict.fromkeys([*found, *self._matched(grant.globs, grant.many)])
        for template in grant.templates:
            names = self._by_template.get(id(template))
            if names is None:
                reach = template.reach(claims)
                names = [*self._among(reach.names), *self._matched(reach.globs, reach.many)]
                self._by_template[id(template)] = names
            covered.update(dict.fromkeys(names))
        return covered

    def _among(self, names: Collection[str]) -> list[str]:
        asked = self.repositories
        if len(names) <= len(asked):
            return [name for name in names if name in asked]
        return [name for name in asked if name in names]

    def _matched(self, globs: Sequence[Glob | Below], many: PatternIndex[bool] | None) -> Iterator[str]:
        if many is not None:
            yield from (name for name in self.repositories if many.covering(name))
            return
        for glob in globs:
            names = self._by_pattern.get(glob.text)
            if names is None:
                names = self._by_pattern[glob.text] = tuple(filter(glob.matches, self.repositories))
            yield from names


def gifts(rule: Rule, registry: str, asked: Asked | None, claims: Claims) -> list[Gift]:
    """Say what a rule gives of what is asked for in a registry; None asks for all that is named one by one."""
    given: list[Gift] = []
    for grant in rule.grants:
        if grant.registry != registry:
            continue
        if asked is None:
            given += _listed(rule, grant, claims)
            continue
        if asked.catalog and grant.catalog:
            given.append(Gift(rule, grant, None, (CATALOG_ACTION,)))
        for name in asked.covered_by(grant, claims):
            actions = asked.repositories[name]
            if actions != grant.actions:
                actions = tuple([action for action in actions if action in grant.actions])
            if actions:
                given.append(Gift(rule, grant, name, actions))
    return given


MAX_LISTED: Final = 500
"""Names that one grant may list for a request without `scope`. No request may ask for as many, and denies that take all
but a few of them away would each have to be compared with each."""


def _listed(rule: Rule, grant: Grant, claims: Claims) -> list[Gift]:
    actions = tuple([action for action in grant.actions if action in LISTED_ACTIONS])
    return [Gift(rule, grant, name, actions) for name in _listed_names(grant, claims)] if actions else []


def _listed_names(grant: Grant, claims: Claims) -> Iterator[str]:
    """Yield the repositories that a grant names one by one, exact, templated and mapped; just beyond `MAX_LISTED`."""
    reaches = (template.reach(claims).names for template in grant.templates)
    return islice(chain(grant.names, *reaches), MAX_LISTED + 1)


def has_patterns(grant: Grant, claims: Claims) -> bool:
    """Return whether a grant covers repositories that it does not name, with an action that could be listed."""
    if LISTED_ACTIONS.isdisjoint(grant.actions):
        return False
    return bool(grant.globs) or any(template.reach(claims).globs for template in grant.templates)


class Losses:
    """What the deny entries in force take away; `covering` finds those that cover a repository.

    A pattern that many entries have is looked at once, and of those that take the same actions only one.
    """

    def __init__(self, denies: Collection[Deny], covering: PatternIndex[Deny]) -> None:
        self._denies = denies
        self._in_force = {id(deny) for deny in denies}
        self._covering = covering
        self._grouped: dict[int, dict[tuple[str, ...], list[Deny]]] = {}
        self._took: dict[int, Sequence[Deny]] = {}

    @property
    def entries(self) -> set[str]:
        """The names of the entries that took something away so far."""
        return {deny.name for some in self._took.values() for deny in some}

    def left(self, name: str | None, actions: set[str]) -> set[str]:
        """Return what is left of the actions that would be granted on a repository (None: the catalog)."""
        left = actions
        for lost, entries in self._all(name):
            if not actions.isdisjoint(lost):
                self._took[id(entries)] = entries
                left = left.difference(lost)
        return left

    def _all(self, name: str | None) -> Iterator[tuple[tuple[str, ...], Sequence[Deny]]]:
        if name is None:
            yield from (((CATALOG_ACTION,), (deny,)) for deny in self._denies if deny.covers.catalog)
            return
        for bucket in self._covering.buckets(name):
            groups = self._grouped.get(id(bucket))
            if groups is None:
                groups = self._grouped[id(bucket)] = {}
                for deny in bucket:
                    if id(deny) in self._in_force:
                        groups.setdefault(deny.covers.actions, []).append(deny)
            yield from groups.items()
