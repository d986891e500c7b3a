"""Find which of many names and patterns cover a repository, without trying each. What it returns is certain.

Each pattern is filed under the text before its first wildcard, or under one short piece of its literal text, whichever
fewer patterns have; only those whose text the name begins with, or whose piece it holds, are matched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Generic, TypeVar

from vending.acr.names import MAX_NAME_LENGTH
from vending.policy.engine.globs import Glob

T = TypeVar("T")

_LENGTHS: Final = (3, 2, 1)
"""Lengths of pieces, the most telling first."""


class PatternIndex(Generic[T]):
    """Hold entries by the names and patterns that they cover; a pattern that several entries have is matched once."""

    __slots__ = ("_always", "_by_piece", "_by_prefix", "_lengths", "_names", "_prefixes")

    def __init__(self, entries: Iterable[tuple[T, Iterable[str], Iterable[Glob]]]) -> None:
        self._names: dict[str, list[T]] = {}
        having: dict[str, tuple[Glob, list[T]]] = {}
        for entry, names, globs in entries:
            for name in names:
                self._names.setdefault(name, []).append(entry)
            for glob in globs:
                having.setdefault(glob.text, (glob, []))[1].append(entry)
        self._always: list[tuple[Glob, list[T]]] = []
        self._by_prefix: dict[str, list[tuple[Glob, list[T]]]] = {}
        self._by_piece: dict[str, list[tuple[Glob, list[T]]]] = {}
        alike = Counter(glob.prefix for glob, _ in having.values())
        pieces = {
            text: _pieces(glob) for text, (glob, _) in having.items() if not glob.prefix or alike[glob.prefix] > 1
        }
        frequency = Counter(piece for listed in pieces.values() for piece in listed)
        for text, filed in having.items():
            prefix = filed[0].prefix
            rarest = min(pieces.get(text, ()), key=lambda piece: (frequency[piece], piece), default=None)
            if prefix and (rarest is None or alike[prefix] <= frequency[rarest]):
                self._by_prefix.setdefault(prefix, []).append(filed)
            elif rarest is not None:
                self._by_piece.setdefault(rarest, []).append(filed)
            else:
                self._always.append(filed)
        self._prefixes = tuple(sorted({len(prefix) for prefix in self._by_prefix}))
        self._lengths = tuple(length for length in _LENGTHS if any(len(piece) == length for piece in self._by_piece))

    def covering(self, name: str) -> list[T]:
        """Return the entries that cover a repository; one that covers it several times may be there as often."""
        return [entry for bucket in self.buckets(name) for entry in bucket]

    def buckets(self, name: str) -> list[list[T]]:
        """Return what covers a repository: for its name and for each pattern the list of the entries that have it."""
        found = [bucket] if (bucket := self._names.get(name)) else []
        found += [entries for glob, entries in self._candidates(name) if glob.matches(name)]
        return found

    def most_compared(self) -> int:
        """Return how many patterns a repository may have to be compared with, at most."""
        sizes = sorted(map(len, self._by_piece.values()), reverse=True)
        beginnings = heaviest_chain({prefix: len(filed) for prefix, filed in self._by_prefix.items()})
        return len(self._always) + beginnings + sum(sizes[:MAX_NAME_LENGTH])

    def _candidates(self, name: str) -> Iterator[tuple[Glob, list[T]]]:
        yield from self._always
        for length in self._prefixes:
            yield from self._by_prefix.get(name[:length], ())
        for length in self._lengths:
            held = {name[at : at + length] for at in range(len(name) - length + 1)}
            for piece in held.intersection(self._by_piece):
                yield from self._by_piece[piece]


def heaviest_chain(weights: Mapping[str, int]) -> int:
    """Return the greatest sum of the weights of texts that one name can begin with."""
    chain: list[tuple[str, int]] = []
    heaviest = 0
    for text in sorted(weights):
        while chain and not text.startswith(chain[-1][0]):
            chain.pop()
        chain.append((text, weights[text] + (chain[-1][1] if chain else 0)))
        heaviest = max(heaviest, chain[-1][1])
    return heaviest


def _pieces(glob: Glob) -> set[str]:
    """Return pieces of a pattern's literal text, as long as there are some; every name that it matches holds each."""
    runs = [glob.prefix, glob.suffix, *glob.head, *glob.tail, *(literal for run in glob.middle for literal in run)]
    for length in _LENGTHS:
        found = {run[at : at + length] for run in runs for at in range(len(run) - length + 1)}
        if found:
            return found
    return set()
