"""Find a text that some patterns match and others do not, or prove that there is none. Knows no claims and no policy.

Patterns are regular languages, so the question is decidable: every pattern becomes a nondeterministic automaton whose
states are the bits of an integer, the automata run side by side, and a breadth-first search over their joint states
finds the shortest text or visits them all. Characters that no pattern mentions are interchangeable; one of each kind
that a repository name tells apart speaks for the rest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol

from vending.oidc.claim_path import fold
from vending.policy.engine.globs import SEPARATORS, is_literal

MAX_STATES: Final = 20_000
"""Joint states that one search may visit; a search of two wildcard patterns takes some dozens."""

_KINDS: Final = (
    "abcdefghijklmnopqrstuvwxyz0123456789",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    ".",
    "_",
    "-",
    "/",
    ":",
    "~!%&=,;",
)
"""Characters that the grammar of repository names or a pattern's `*` tells apart: of each kind one is tried that no
pattern mentions."""


class Undecided(Exception):
    """Say that a question was given up: `args[0]` tells why, for a person."""


class Automaton(Protocol):
    """Read a text character by character. States are hashable; a dead state never accepts again."""

    start: int

    def step(self, state: int, character: str) -> int:
        """Return the next state."""

    def accepts(self, state: int) -> bool:
        """Return whether the text read so far is in the language."""

    def is_dead(self, state: int) -> bool:
        """Return whether no continuation is in the language."""


class Union:
    """Accept what any of some patterns matches; each pattern owns a run of bits, one for each of its positions."""

    __slots__ = ("_accept", "_any", "_component", "_literal", "_skip", "folds", "start")

    def __init__(self, patterns: Iterable[str], *, folds: bool) -> None:
        self.folds = folds
        self._literal: dict[str, int] = {}
        self._any = self._component = self._skip = self._accept = self.start = 0
        bit = 1
        for pattern in patterns:
            self.start |= bit
            for token in _tokens(fold(pattern) if folds else pattern):
                if token == "**":
                    self._any |= bit
                    self._skip |= bit
                elif token == "*":
                    self._component |= bit
                    self._skip |= bit
                else:
                    self._literal[token] = self._literal.get(token, 0) | bit
                bit <<= 1
            self._accept |= bit
            bit <<= 1
        self.start = self._close(self.start)

    def step(self, state: int, character: str) -> int:
        """Read one character."""
        if self.folds:
            character = fold(character)
        moved = (state & self._literal.get(character, 0)) << 1
        stayed = state & (self._any if character in SEPARATORS else self._any | self._component)
        return self._close(moved | stayed)

    def accepts(self, state: int) -> bool:
        """Return whether a pattern has been matched to its end."""
        return bool(state & self._accept)

    def is_dead(self, state: int) -> bool:
        """Return whether every pattern has failed."""
        return not state

    def _close(self, state: int) -> int:
        """Add the states that are reached by reading nothing: a wildcard may match the empty run."""
        frontier = state
        while frontier := (frontier & self._skip) << 1 & ~state:
            state |= frontier
        return state


class RepositoryName:
    """Accept OCI repository names (the grammar of `vending.acr.scope`), of any length.

    States: 0 refused, 1 at the start of a component, 2 behind a letter or digit, 3 behind `.`, 4 behind `_`,
    5 behind `__`, 6 behind a run of `-`.
    """

    _NEXT: Final = {
        "alnum": (0, 2, 2, 2, 2, 2, 2),
        ".": (0, 0, 3, 0, 0, 0, 0),
        "_": (0, 0, 4, 0, 5, 0, 0),
        "-": (0, 0, 6, 0, 0, 0, 6),
        "/": (0, 0, 1, 0, 0, 0, 0),
    }
    start = 1

    def __init__(self, *, components: bool = True, folds: bool = False) -> None:
        """With `components` false, accept a single component."""
        self._components = components
        self._folds = folds

    def step(self, state: int, character: str) -> int:
        """Read one character."""
        if self._folds:
            character = fold(character)
        if character.isascii() and (character.islower() or character.isdigit()):
            return self._NEXT["alnum"][state]
        if character == "/" and not self._components:
            return 0
        return self._NEXT[character][state] if character in self._NEXT else 0

    def accepts(self, state: int) -> bool:
        """Return whether a whole name has been read."""
        return state == 2

    def is_dead(self, state: int) -> bool:
        """Return whether the text can be no beginning of a name."""
        return state == 0


def _tokens(pattern: str) -> Iterator[str]:
    position = 0
    while position < len(pattern):
        length = 2 if pattern.startswith("**", position) else 1
        yield pattern[position : position + length]
        position += length


@dataclass(frozen=True, slots=True)
class Constraint:
    """Ask for texts inside (`wanted`) or outside of a language."""

    automaton: Automaton
    wanted: bool


def alphabet(patterns: Iterable[str], *, folds: bool = False) -> tuple[str, ...]:
    """Return the characters to try: all that patterns mention, and one of each kind that they do not.

    With `folds`, letters are tried in both cases.
    """
    mentioned = {character for pattern in patterns for character in pattern} - {"*"}
    if folds:
        mentioned |= {changed for c in mentioned if c.isascii() for changed in (c.lower(), c.upper())}
    fresh = (next((c for c in kind if c not in mentioned), None) for kind in _KINDS)
    return tuple(sorted({*mentioned, *(c for c in fresh if c is not None)}, key=_plainness))


def _plainness(character: str) -> tuple[bool, bool, str]:
    """Sort what reads well in an example to the front: lower case and digits, then separators, then the rest."""
    plain = character.isascii() and (character.islower() or character.isdigit())
    return not plain, character not in "-/._:", character


def shortest(constraints: Sequence[Constraint], characters: Sequence[str]) -> str | None:
    """Return a shortest text that satisfies all constraints; None is a proof that there is none.

    Raises `Undecided` beyond `MAX_STATES` joint states.
    """
    return next(enumerate_classes(constraints, characters), None)


def enumerate_classes(
    constraints: Sequence[Constraint], characters: Sequence[str], watched: Sequence[Automaton] = (), each: int = 1
) -> Iterator[str]:
    """Yield texts that satisfy all constraints: shortest first, `each` for every joint state, watched ones included.

    Two texts in one joint state are alike to every automaton given. Raises `Undecided` beyond `MAX_STATES`.
    """
    automata = [*(constraint.automaton for constraint in constraints), *watched]
    wanted = [automaton.is_dead for automaton in (c.automaton for c in constraints if c.wanted)]
    positions = [position for position, constraint in enumerate(constraints) if constraint.wanted]
    start = tuple(automaton.start for automaton in automata)
    seen: dict[tuple[int, ...], int] = {start: 1}
    queue: deque[tuple[tuple[int, ...], str]] = deque([(start, "")])
    while queue:
        states, text = queue.popleft()
        if all(c.automaton.accepts(state) is c.wanted for c, state in zip(constraints, states, strict=False)):
            yield text
        for character in characters:
            after = tuple(a.step(state, character) for a, state in zip(automata, states, strict=True))
            if seen.get(after, 0) >= each or any(
                dead(after[position]) for dead, position in zip(wanted, positions, strict=True)
            ):
                continue
            if len(seen) >= MAX_STATES:
                raise Undecided("the patterns are too many to compare")
            seen[after] = seen.get(after, 0) + 1
            queue.append((after, text + character))


def compatible(sets: Sequence[Sequence[str]]) -> list[tuple[str, ...]] | None:
    """Leave out of each set the patterns that no text can match together with the other sets; None if one gets empty.

    Looks at what precedes the first wildcard and follows the last, which settles most questions without a search.
    """
    ends = [[(pattern, _prefix(pattern), _suffix(pattern)) for pattern in patterns] for patterns in sets]
    kept: list[tuple[str, ...]] = []
    for number, mine in enumerate(ends):
        others = [other for position, other in enumerate(ends) if position != number]
        left = tuple(
            pattern
            for pattern, prefix, suffix in mine
            if all(any(_agree(prefix, suffix, *found) for _, *found in other) for other in others)
        )
        if not left:
            return None
        kept.append(left)
    return kept


def _prefix(pattern: str) -> str:
    return pattern.partition("*")[0]


def _suffix(pattern: str) -> str:
    return pattern.rpartition("*")[2]


def _agree(prefix: str, suffix: str, other_prefix: str, other_suffix: str) -> bool:
    begin = prefix.startswith(other_prefix) or other_prefix.startswith(prefix)
    return begin and (suffix.endswith(other_suffix) or other_suffix.endswith(suffix))


@lru_cache(maxsize=65_536)
def union(patterns: tuple[str, ...], *, folds: bool = False) -> Union:
    """Return the automaton of some patterns; built once."""
    return Union(patterns, folds=folds)


@lru_cache(maxsize=65_536)
def matches(patterns: tuple[str, ...], text: str) -> bool:
    """Return whether any of some patterns matches a whole text."""
    automaton = union(patterns)
    state = automaton.start
    for character in text:
        state = automaton.step(state, character)
        if not state:
            return False
    return automaton.accepts(state)


def literals_only(patterns: Iterable[str]) -> bool:
    """Return whether no pattern has a wildcard."""
    return all(map(is_literal, patterns))
