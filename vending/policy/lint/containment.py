"""Tell whether one pattern matches everything that another one matches. Errs on the side of no, for advice only."""

from __future__ import annotations

import re
from typing import Final

from vending.policy.engine.globs import SEPARATORS

_ANY: Final = "**"
_WITHIN: Final = "*"
_TOKENS = re.compile(r"\*\*?|[^*]")


def contains(outer: str, inner: str) -> bool:
    """Tell whether every value that `inner` matches is matched by `outer`; both may have `*` and `**`.

    Reads `inner` as input to the automaton of `outer`, where its wildcards are letters that only a wildcard at least as
    wide can take.
    """
    if outer in {_ANY, inner}:
        return True
    if _WITHIN not in outer:
        return False
    steps = _TOKENS.findall(outer)
    states = _closure({0}, steps)
    for letter in _TOKENS.findall(inner):
        states = _closure({after for state in states for after in _after(state, letter, steps)}, steps)
        if not states:
            return False
    return len(steps) in states


def _closure(states: set[int], steps: list[str]) -> set[int]:
    """Add the states that are reached by letting wildcards stand for nothing."""
    reached = set(states)
    for state in states:
        after = state
        while after < len(steps) and steps[after] in {_ANY, _WITHIN}:
            after += 1
            reached.add(after)
    return reached


def _after(state: int, letter: str, steps: list[str]) -> tuple[int, ...]:
    if state == len(steps):
        return ()
    step = steps[state]
    if step == _ANY:
        return (state,)
    if step == _WITHIN:
        return () if letter in SEPARATORS or letter == _ANY else (state,)
    return (state + 1,) if step == letter else ()
