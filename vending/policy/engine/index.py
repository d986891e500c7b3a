"""Find the few rules that may concern a token, whatever the number of rules. Never decides: it only leaves out rules
that cannot hold, and what it returns is evaluated in full.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from vending.oidc.claim_path import ClaimPath, fold, lookup
from vending.policy.engine.conditions import Condition, Scalar

if TYPE_CHECKING:
    from vending.oidc.types import Claims, JsonValue

T = TypeVar("T")

_Key: TypeAlias = "str | tuple[type, Scalar]"


def _key(value: Scalar) -> _Key:
    """Keep 1 and True apart, which Python's dictionaries do not."""
    return value if isinstance(value, str) else (type(value), value)


def _keys(condition: Condition) -> Collection[_Key]:
    if not condition.integers and not condition.booleans:
        return condition.literals
    return [*condition.literals, *map(_key, condition.integers), *map(_key, condition.booleans)]


class _Shelf(Generic[T]):
    """Hold the entries filed under the literal values of one claim."""

    __slots__ = ("_buckets", "_every", "_folds", "path")

    def __init__(
        self, path: ClaimPath, entries: Sequence[tuple[T, Condition]], *, folds: bool, other_types_hold: bool
    ) -> None:
        self.path = path
        self._folds = folds
        buckets: dict[_Key, list[T]] = {}
        for entry, condition in entries:
            for key in _keys(condition):
                bucket = buckets.setdefault(key, [])
                if not bucket or bucket[-1] is not entry:
                    bucket.append(entry)
        self._buckets = {key: tuple(bucket) for key, bucket in buckets.items()}
        self._every = tuple(entry for entry, _ in entries) if other_types_hold else None

    def find(self, claims: Claims) -> Sequence[T]:
        path = self.path
        value = claims.get(path[0]) if len(path) == 1 else lookup(claims, path)
        if isinstance(value, str):
            return self._buckets.get(fold(value) if self._folds else value, ())
        if value is None:
            return ()
        return self._find_other(value) if self._every is None else self._every

    def buckets(self) -> Iterable[Sequence[T]]:
        """Return the entries filed under each value."""
        return self._buckets.values()

    def _find_other(self, value: JsonValue) -> Sequence[T]:
        found: dict[int, T] = {}
        for item in value if isinstance(value, list) else (value,):
            if isinstance(item, str):
                key: _Key = fold(item) if self._folds else item
            elif isinstance(item, bool | int):
                key = _key(item)
            else:
                continue
            found.update((id(entry), entry) for entry in self._buckets.get(key, ()))
        return tuple(found.values())


Clause: TypeAlias = "Condition | tuple[Condition, ...]"
"""What must hold: a condition, or one of several alternatives, of which at least one must hold."""


class Index(Generic[T]):
    """File each entry under its most selective clause of literal conditions; entries without one are always candidates.

    `clauses_of` gives what must hold for an entry to matter; an alternative with a wildcard makes its clause useless
    here. With `other_types_hold` a claim of another type than a condition names counts as holding, as in the `when` of
    a deny entry.
    """

    def __init__(
        self, entries: Iterable[T], clauses_of: Callable[[T], Sequence[Clause]], *, other_types_hold: bool = False
    ) -> None:
        considered = [(entry, clauses_of(entry)) for entry in entries]
        weights = _weights((clauses for _, clauses in considered), other_types_hold=other_types_hold)
        filed: dict[tuple[ClaimPath, bool], list[tuple[T, Condition]]] = {}
        always: list[T] = []
        self._repeats = False
        for entry, clauses in considered:
            rarest, least = None, math.inf
            for clause in clauses:
                weight = sum(map(weights, clause)) if isinstance(clause, tuple) else weights(clause)
                if weight < least and clause:
                    rarest, least = clause, weight
            if rarest is None:
                always.append(entry)
            elif isinstance(rarest, tuple):
                self._repeats = self._repeats or len(rarest) > 1
                for condition in rarest:
                    filed.setdefault((condition.path, condition.folds), []).append((entry, condition))
            else:
                filed.setdefault((rarest.path, rarest.folds), []).append((entry, rarest))
        self._always = tuple(always)
        self._shelves = tuple(
            _Shelf(path, listed, folds=folds, other_types_hold=other_types_hold)
            for (path, folds), listed in filed.items()
        )

    def candidates(self, claims: Claims) -> list[T]:
        """Return every entry whose conditions may hold for these claims, each once."""
        found = [*self._always]
        for shelf in self._shelves:
            found += shelf.find(claims)
        return list({id(entry): entry for entry in found}.values()) if self._repeats else found

    def heaviest(self, weigh: Callable[[Sequence[T]], int]) -> int:
        """Return the greatest weight of the candidates for one token without lists; `weigh` weighs some of them."""
        return weigh(self._always) + sum(max(map(weigh, shelf.buckets()), default=0) for shelf in self._shelves)

    def groups(self, claims: Claims) -> list[Sequence[T]]:
        """Return the candidates as they are filed, each group in the order in which the entries came; copies none.

        An entry that is filed under several alternatives may be in several groups.
        """
        return [self._always, *(shelf.find(claims) for shelf in self._shelves)]


def _weights(clauses: Iterable[Sequence[Clause]], *, other_types_hold: bool) -> Callable[[Condition], float]:
    """Return how often the values of a condition are required in all; infinity for one that files nothing.

    Rules share most of their conditions, so each is looked at once.
    """
    required = [c for some in clauses for clause in some for c in (clause if isinstance(clause, tuple) else (clause,))]
    uses = Counter(map(id, required))
    usable: list[tuple[int, Collection[_Key], dict[_Key, int]]] = []
    frequency: dict[ClaimPath, dict[_Key, int]] = {}
    for condition in {id(condition): condition for condition in required}.values():
        # Only text is filed where other types hold: a condition without text would hold for any text.
        if condition.is_literal and (condition.literals or not other_types_hold):
            own, keys, counts = id(condition), _keys(condition), frequency.setdefault(condition.path, {})
            usable.append((own, keys, counts))
            for key in keys:
                counts[key] = counts.get(key, 0) + uses[own]
    weights = {own: sum([counts[key] for key in keys]) for own, keys, counts in usable}
    return lambda condition: weights.get(id(condition), math.inf)
