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
    return [*condition.literals, *map(_key, condition.integers), *map(_key, condition.truths)]


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
                buckets.setdefault(key, []).append(entry)
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


class Index(Generic[T]):
    """File each entry under its most selective literal condition; entries without one are always candidates.

    `conditions_of` gives the conditions that must hold for an entry to matter. With `other_types_hold` a claim of
    another type than a condition names counts as holding, as in the `when` of a deny entry.
    """

    def __init__(
        self,
        entries: Iterable[T],
        conditions_of: Callable[[T], Iterable[Condition]],
        *,
        other_types_hold: bool = False,
    ) -> None:
        # Only text is filed where other types hold: a condition without text would hold for any text.
        usable = [
            (entry, [c for c in conditions_of(entry) if c.is_literal and (c.literals or not other_types_hold)])
            for entry in entries
        ]
        frequency = Counter((c.path, key) for _, conditions in usable for c in conditions for key in _keys(c))
        filed: dict[tuple[ClaimPath, bool], list[tuple[T, Condition]]] = {}
        always: list[T] = []
        for entry, conditions in usable:
            if conditions:
                rarest = min(conditions, key=lambda c: sum(frequency[c.path, key] for key in _keys(c)))
                filed.setdefault((rarest.path, rarest.folds), []).append((entry, rarest))
            else:
                always.append(entry)
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
        return found

    def groups(self, claims: Claims) -> list[Sequence[T]]:
        """Return the candidates as they are filed, each group in the order in which the entries came; copies none."""
        return [self._always, *(shelf.find(claims) for shelf in self._shelves)]
