"""Find which of many names and patterns cover a repository, without trying each. What it returns is certain.

Each pattern is filed under one short piece of its literal text, the one that fewest patterns have; only those whose
piece the name holds are matched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, Generic, TypeVar

from vending.policy.engine.globs import Glob

T = TypeVar("T")

_LENGTHS: Final = (3, 2, 1)
"""Lengths of pieces, the most telling first."""


class PatternIndex(Generic[T]):
    """Hold entries by the names and patterns that they cover; a pattern that several entries have is matched once."""

    __slots__ = ("_always", "_filed", "_lengths", "_names")

    def __init__(self, entries: Iterable[tuple[T, Iterable[str], Iterable[Glob]]]) -> None:
        self._names: dict[str, list[T]] = {}
        having: dict[str, tuple[Glob, list[T]]] = {}
        for entry, names, globs in entries:
            for name in names:
                self._names.setdefault(name, []).append(entry)
            for glob in globs:
                having.setdefault(glob.text, (glob, []))[1].append(entry)
        pieces = {text: _pieces(glob) for text, (glob, _) in having.items()}
        frequency = Counter(piece for listed in pieces.values() for piece in listed)
        self._always: list[tuple[Glob, list[T]]] = []
        self._filed: dict[str, list[tuple[Glob, list[T]]]] = {}
        for text, filed in having.items():
            rarest = min(pieces[text], key=lambda piece: (frequency[piece], piece), default=None)
            (self._always if rarest is None else self._filed.setdefault(rarest, [])).append(filed)
        self._lengths = tuple(length for length in _LENGTHS if any(len(piece) == length for piece in self._filed))

    def covering(self, name: str) -> list[T]:
        """Return the entries that cover a repository; one that covers it several times may be there as often."""
        found = list(self._names.get(name, ()))
        for glob, entries in self._candidates(name):
            if glob.matches(name):
                found += entries
        return found

    def _candidates(self, name: str) -> Sequence[tuple[Glob, list[T]]]:
        if not self._filed:
            return self._always
        candidates = list(self._always)
        for length in self._lengths:
            held = {name[at : at + length] for at in range(len(name) - length + 1)}
            for piece in held.intersection(self._filed):
                candidates += self._filed[piece]
        return candidates


def _pieces(glob: Glob) -> set[str]:
    """Return pieces of a pattern's literal text, as long as there are some; every name that it matches holds each."""
    runs = [glob.prefix, glob.suffix, *glob.head, *glob.tail, *(literal for run in glob.middle for literal in run)]
    for length in _LENGTHS:
        found = {run[at : at + length] for run in runs for at in range(len(run) - length + 1)}
        if found:
            return found
    return set()
