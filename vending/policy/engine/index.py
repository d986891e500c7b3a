"""Find the few rules that may concern a token, whatever the number of rules. Never decides: it only leaves out rules
that cannot hold, and what it returns is evaluated in full.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
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


def _keys(condition: Condition) -> list[_Key]:
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


Clauses: TypeAlias = "Iterable[Sequence[Condition]]"
"""Conditions that must hold, each alone or as one of several alternatives, of which one must hold."""


class Index(Generic[T]):
    """File each entry under its most selective clause of literal conditions; entries without one are always candidates.

    `clauses_of` gives what must hold for an entry to matter; an alternative with a wildcard makes its clause useless
    here. With `other_types_hold` a claim of another type than a condition names counts as holding, as in the `when` of
    a deny entry.
    """

    def __init__(
        self, entries: Iterable[T], clauses_of: Callable[[T], Clauses], *, other_types_hold: bool = False
    ) -> None:
        # Only text is filed where other types hold: a condition without text would hold for any text.
        def is_usable(clause: Sequence[Condition]) -> bool:
            if other_types_hold and not all(c.literals for c in clause):
                return False
            return clause[0].is_literal if len(clause) == 1 else bool(clause) and all(c.is_literal for c in clause)

        usable = [(entry, [clause for clause in clauses_of(entry) if is_usable(clause)]) for entry in entries]
        frequency = Counter(
            (c.path, key) for _, clauses in usable for clause in clauses for c in clause for key in _keys(c)
        )
        filed: dict[tuple[ClaimPath, bool], list[tuple[T, Condition]]] = {}
        always: list[T] = []
        self._repeats = False
        for entry, clauses in usable:
            if not clauses:
                always.append(entry)
                continue
            rarest = clauses[0]
            if len(clauses) > 1:
                rarest = min(clauses, key=lambda some: sum(frequency[c.path, key] for c in some for key in _keys(c)))
            self._repeats = self._repeats or len(rarest) > 1
            for condition in rarest:
                filed.setdefault((condition.path, condition.folds), []).append((entry, condition))
        self._always = tuple(always)
        self._shelves = tuple(
            _Shelf(path, listed, folds=folds, other_types_hold=other_types_hold)
            for (path, folds), listed in filed.items()
        )

    def candidates(self, claims: Claims) -> list[T]:
        """Return every entry whose conditions may hold for these claims, each once."""
        found = list(self._always)
        for shelf in self._shelves:
            found.extend(shelf.find(claims))
        return list({id(entry): entry for entry in found}.values()) if self._repeats else found

    def groups(self, claims: Claims) -> list[Sequence[T]]:
        """Return the candidates as they are filed, each group in the order in which the entries came; copies none.

        An entry that is filed under several alternatives may be in several groups.
        """
        return [self._always, *(shelf.find(claims) for shelf in self._shelves)]
