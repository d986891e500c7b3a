"""Count by what callers choose, in bounded memory: where there are too many kinds, the rare ones are given up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Generic, TypeVar

MAX_KINDS: Final = 20_000
"""Kinds that are kept; of such as a report shows, some 50 MiB where callers make theirs as long as they can."""

K = TypeVar("K")
T = TypeVar("T")


class Counts(Generic[K, T]):
    """Count kinds of things, and keep something of each kind.

    Whoever comes often is never given up: when there are more than `limit` kinds, the rarer half goes, and what was
    counted of it is told as `left_out`. A kind that comes back is counted anew, so then a count is the least it can be.
    """

    def __init__(self, limit: int = MAX_KINDS) -> None:
        self._limit = limit
        self._numbers: dict[K, int] = {}
        self._kept: dict[K, T] = {}
        self.left_out = 0

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, kind: K, number: int = 1) -> None:
        """Count a kind."""
        known = self._numbers.get(kind)
        if known is None and len(self._numbers) >= self._limit:
            self._give_up()
        self._numbers[kind] = (known or 0) + number

    def get(self, kind: K) -> T | None:
        """Return what is kept of a kind."""
        return self._kept.get(kind)

    def keep(self, kind: K, what: T) -> None:
        """Keep something of a kind that was counted."""
        self._kept[kind] = what

    def items(self) -> Iterable[tuple[K, int]]:
        """Return the kinds, in the order in which they came, each with its count."""
        return self._numbers.items()

    def most_common(self) -> list[tuple[K, int, T]]:
        """Return the kinds, the most frequent first, each with its count and with what is kept of it."""
        ordered = sorted(self._numbers.items(), key=lambda item: -item[1])
        return [(kind, number, self._kept[kind]) for kind, number in ordered]

    def _give_up(self) -> None:
        ordered = sorted(self._numbers, key=self._numbers.__getitem__, reverse=True)
        for kind in ordered[self._limit // 2 :]:
            self.left_out += self._numbers.pop(kind)
            self._kept.pop(kind, None)
