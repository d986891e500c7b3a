"""What a rule grants of what is asked, and what a deny entry takes away of that. Looks at no conditions."""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from vending.acr.scope import CATALOG, CATALOG_ACTION

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from vending.acr.scope import Scope
    from vending.oidc.types import Claims
    from vending.policy.engine.globs import Glob
    from vending.policy.engine.pattern_index import PatternIndex
    from vending.policy.engine.policy import Deny, Grant, Rule
    from vending.policy.engine.repositories import Below

LISTED_ACTIONS: Final = frozenset({"pull", "push", "metadata_read"})
"""What a request without `scope` may get: nothing that destroys, and not the catalog."""


Given: TypeAlias = "dict[str | None, tuple[str, ...]]"
"""Actions by repository (None: the catalog)."""


class Gift(NamedTuple):
    """What one grant of a rule gives; grants that give the same may share it."""

    rule: Rule
    grant: Grant
    gives: Given


class Asked:
    """The scopes of one request, and which of their repositories the patterns and templates looked at so far cover.

    Many rules may have one pattern; it is matched once for each repository, whatever their number.
    """

    __slots__ = ("_by_pattern", "_by_template", "_given", "catalog", "repositories", "scopes")

    def __init__(self, scopes: tuple[Scope, ...]) -> None:
        self.scopes = scopes
        self.repositories = {scope.name: scope.actions for scope in scopes if scope.type != CATALOG.type}
        self.catalog = len(self.repositories) != len(scopes)
        self._by_pattern: dict[str, tuple[str, ...]] = {}
        self._by_template: dict[int, Sequence[str]] = {}
        self._given: dict[tuple[object, ...], Given] = {}

    def given_by(self, grant: Grant, claims: Claims) -> Given:
        """Return what a grant gives of the scopes; the same object where that is sure to be the same."""
        names = self._among(grant.names)
        if not (grant.globs or grant.templates):
            return self._actions(grant, names)
        if names:
            return self._actions(grant, [*names, *self._found(grant, claims)])
        patterns = [id(grant.many)] if grant.many else [glob.text for glob in grant.globs]
        shared = (*patterns, *map(id, grant.templates), grant.actions, grant.catalog)
        given = self._given.get(shared)
        if given is None:
            given = self._given[shared] = self._actions(grant, self._found(grant, claims))
        return given

    def _actions(self, grant: Grant, names: Iterable[str]) -> Given:
        """Return the actions that a grant gives on repositories that it covers."""
        given: Given = {None: (CATALOG_ACTION,)} if grant.catalog and self.catalog else {}
        for name in names:
            actions = self.repositories[name]
            if actions != grant.actions:
                actions = tuple([action for action in actions if action in grant.actions])
            if actions:
                given[name] = actions
        return given

    def _found(self, grant: Grant, claims: Claims) -> Iterator[str]:
        """Yield the repositories that patterns and templates of a grant cover."""
        yield from self._matched(grant.globs, grant.many)
        for template in grant.templates:
            filled = self._by_template.get(id(template))
            if filled is None:
                reach = template.reach(claims)
                filled = [*self._among(reach.names), *self._matched(reach.globs, reach.many)]
                self._by_template[id(template)] = filled
            yield from filled

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
                likely = [name for name in self.repositories if name.startswith(glob.prefix)]
                names = self._by_pattern[glob.text] = tuple(filter(glob.matches, likely))
            yield from names


def gifts(rule: Rule, registry: str, asked: Asked | None, claims: Claims) -> list[Gift]:
    """Say what a rule gives of what is asked for in a registry; None asks for all that is named one by one."""
    found: list[Gift] = []
    for grant in rule.grants:
        if grant.registry == registry:
            gives = _listed(grant, claims) if asked is None else asked.given_by(grant, claims)
            if gives:
                found.append(Gift(rule, grant, gives))
    return found


MAX_LISTED: Final = 500
"""Names that one grant may list for a request without `scope`. No request may ask for as many, and denies that take all
but a few of them away would each have to be compared with each."""


def _listed(grant: Grant, claims: Claims) -> Given:
    actions = tuple([action for action in grant.actions if action in LISTED_ACTIONS])
    return dict.fromkeys(_listed_names(grant, claims), actions) if actions else {}


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
