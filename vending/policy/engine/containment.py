"""Decide whether patterns match everything that another one matches. Pure; knows nothing of rules.

Patterns are read as automata whose letters are the characters that occur in them, and one for all others.
"""

from __future__ import annotations

import re
from collections import deque
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from vending.policy.engine.globs import SEPARATORS, compile_glob

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_ANY: Final = "**"
_WITHIN: Final = "*"
_TOKENS = re.compile(r"\*\*?|[^*]")

MAX_STATES: Final = 20_000
"""Pairs of states that are looked at before giving up; patterns that people write need a few hundred."""


class UndecidedError(Exception):
    """Say that the patterns are too entangled to be compared within `MAX_STATES`."""


@lru_cache(maxsize=4096)
def contains(outer: str, inner: str) -> bool:
    """Return whether every value that `inner` matches is matched by `outer`; both may have `*` and `**`.

    What cannot be decided counts as not contained.
    """
    if outer in {_ANY, inner}:
        return True
    if _WITHIN not in outer:
        return False
    if _WITHIN not in inner:
        return compile_glob(outer).matches(inner)
    try:
        return _search([outer], inner, _AnyText()) is None
    except UndecidedError:
        return False


def uncovered_name(outers: Sequence[str], inner: str) -> str | None:
    """Return a repository name that `inner` matches and none of `outers` does; None where there is none.

    Raises `UndecidedError`.
    """
    if inner in outers or _ANY in outers:
        return None
    return _search(outers, inner, _RepositoryName())


def common_name(patterns: Sequence[str]) -> str | None:
    """Return the shortest repository name that all patterns match, or None. Raises `UndecidedError`."""
    return _search_common(patterns, _RepositoryName())


def common_text(patterns: Sequence[str]) -> str | None:
    """Return the shortest text that all patterns match; None where there is none. Raises `UndecidedError`."""
    return _search_common(patterns, _AnyText())


# --- What the values are ----------------------------------------------------------------------------------------------


class _AnyText:
    """Accept any text."""

    start = 0

    def letters(self, used: set[str]) -> list[str]:
        """Return one letter for each class of characters: those that occur, the separators, and any other."""
        other = next(chr(code) for code in range(ord("a"), 0x10000) if chr(code) not in used)
        return sorted(used | SEPARATORS | {other})

    def after(self, state: int, letter: str) -> int | None:
        return state

    def accepts(self, state: int) -> bool:
        return True


class _RepositoryName:
    """Accept OCI repository names: components of letters and digits, joined inside by `.`, `_`, `__` or any `-`."""

    start = 0
    _INSIDE = 1
    _DOT_OR_UNDERSCORES = 2
    _UNDERSCORE = 3
    _DASH = 4

    def letters(self, used: set[str]) -> list[str]:
        other = next((letter for letter in "xyzabcdefghijklmnopqrstuvw0123456789" if letter not in used), None)
        return sorted({letter for letter in used if letter not in ":*"} | set("/._-") | ({other} if other else set()))

    def after(self, state: int, letter: str) -> int | None:
        if letter in "abcdefghijklmnopqrstuvwxyz0123456789":
            return self._INSIDE
        if state == self._INSIDE:
            return {"/": self.start, ".": self._DOT_OR_UNDERSCORES, "_": self._UNDERSCORE, "-": self._DASH}.get(letter)
        if state == self._UNDERSCORE and letter == "_":
            return self._DOT_OR_UNDERSCORES
        return self._DASH if state == self._DASH and letter == "-" else None

    def accepts(self, state: int) -> bool:
        return state == self._INSIDE


# --- Patterns as automata ---------------------------------------------------------------------------------------------


class _Pattern:
    """One or several patterns, of which any may match; a state is the pattern and how many of its steps are done."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self.steps = [_TOKENS.findall(pattern) for pattern in patterns]
        self.start = self._closure({(number, 0) for number in range(len(self.steps))})

    def _closure(self, states: set[tuple[int, int]]) -> frozenset[tuple[int, int]]:
        """Add the states that are reached by letting wildcards stand for nothing."""
        reached = set(states)
        for number, state in states:
            steps = self.steps[number]
            after = state
            while after < len(steps) and steps[after] in {_ANY, _WITHIN}:
                after += 1
                reached.add((number, after))
        return frozenset(reached)

    def after(self, states: frozenset[tuple[int, int]], letter: str) -> frozenset[tuple[int, int]]:
        reached: set[tuple[int, int]] = set()
        for number, state in states:
            steps = self.steps[number]
            if state == len(steps):
                continue
            step = steps[state]
            if step == _ANY or (step == _WITHIN and letter not in SEPARATORS):
                reached.add((number, state))
            elif step == letter:
                reached.add((number, state + 1))
        return self._closure(reached)

    def accepts(self, states: frozenset[tuple[int, int]]) -> bool:
        return any(state == len(self.steps[number]) for number, state in states)


def _search(outers: Sequence[str], inner: str, values: _AnyText | _RepositoryName) -> str | None:
    """Search the shortest value that `inner` matches and no outer one does."""
    one, all_ = _Pattern([inner]), _Pattern(outers)
    letters = values.letters({letter for pattern in (inner, *outers) for letter in pattern if letter != _WITHIN})
    begin = (one.start, all_.start, values.start)
    seen = {begin}
    queue = deque([(begin, "")])
    while queue:
        (inside, outside, state), text = queue.popleft()
        if one.accepts(inside) and values.accepts(state) and not all_.accepts(outside):
            return text
        for letter in letters:
            further = values.after(state, letter)
            within = one.after(inside, letter)
            if further is None or not within:
                continue
            reached = (within, all_.after(outside, letter), further)
            if reached not in seen:
                if len(seen) == MAX_STATES:
                    raise UndecidedError
                seen.add(reached)
                queue.append((reached, text + letter))
    return None


def _search_common(patterns: Sequence[str], values: _AnyText | _RepositoryName) -> str | None:
    """Search the shortest value that all patterns match."""
    literal = next((pattern for pattern in patterns if _WITHIN not in pattern), None)
    if literal is not None:  # It is the only value that may do, so nothing needs to be searched.
        fits = all(_matches(pattern, literal) for pattern in patterns)
        return literal if fits and _is_accepted(literal, values) else None
    automata = [_Pattern([pattern]) for pattern in patterns]
    letters = values.letters({letter for pattern in patterns for letter in pattern if letter != _WITHIN})
    begin = (tuple(automaton.start for automaton in automata), values.start)
    seen = {begin}
    queue = deque([(begin, "")])
    while queue:
        (states, state), text = queue.popleft()
        if values.accepts(state) and all(a.accepts(s) for a, s in zip(automata, states, strict=True)):
            return text
        for letter in letters:
            further = values.after(state, letter)
            after = tuple(a.after(s, letter) for a, s in zip(automata, states, strict=True))
            if further is None or not all(after) or (after, further) in seen:
                continue
            if len(seen) == MAX_STATES:
                raise UndecidedError
            seen.add((after, further))
            queue.append(((after, further), text + letter))
    return None


def _matches(pattern: str, text: str) -> bool:
    return compile_glob(pattern).matches(text) if _WITHIN in pattern else pattern == text


def _is_accepted(text: str, values: _AnyText | _RepositoryName) -> bool:
    state = values.start
    for letter in text:
        further = values.after(state, letter)
        if further is None:
            return False
        state = further
    return values.accepts(state)
