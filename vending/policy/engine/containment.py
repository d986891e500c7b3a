"""Decide whether patterns match everything that another one matches, or something together. Pure; knows no rules."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from vending.policy.engine.globs import compile_glob, is_literal
from vending.policy.engine.words import Constraint, RepositoryName, Undecided, alphabet, compatible, shortest, union

if TYPE_CHECKING:
    from collections.abc import Sequence

_ANY: Final = "**"
_NAME: Final = Constraint(RepositoryName(), wanted=True)


@lru_cache(maxsize=4096)
def contains(outer: str, inner: str) -> bool:
    """Return whether every value that `inner` matches is matched by `outer`; both may have `*` and `**`.

    What cannot be decided counts as not contained.
    """
    if outer in {_ANY, inner}:
        return True
    if is_literal(outer):
        return False
    if is_literal(inner):
        return compile_glob(outer).matches(inner)
    try:
        return shortest([_wanted(inner), _unwanted(outer)], alphabet((outer, inner))) is None
    except Undecided:
        return False


def uncovered_name(outers: Sequence[str], inner: str) -> str | None:
    """Return a repository name that `inner` matches and none of `outers` does; None where there is none.

    Raises `Undecided`.
    """
    if inner in outers or _ANY in outers:
        return None
    return shortest([_wanted(inner), _unwanted(*outers), _NAME], alphabet((inner, *outers)))


def common_name(patterns: Sequence[str]) -> str | None:
    """Return the shortest repository name that all patterns match, or None. Raises `Undecided`."""
    return _common_name(tuple(patterns))


@lru_cache(maxsize=4096)
def _common_name(patterns: tuple[str, ...]) -> str | None:
    kept = _narrowed(patterns)
    return None if kept is None else shortest([*map(_wanted, kept), _NAME], alphabet(kept))


def common_text(patterns: Sequence[str]) -> str | None:
    """Return the shortest text that all patterns match; None where there is none. Raises `Undecided`."""
    kept = _narrowed(patterns)
    return None if kept is None else shortest(list(map(_wanted, kept)), alphabet(kept))


def _narrowed(patterns: Sequence[str]) -> Sequence[str] | None:
    """Leave a literal alone where there is one: nothing else can do. None where two exclude each other."""
    if compatible([(pattern,) for pattern in patterns]) is None:
        return None
    literal = next(filter(is_literal, patterns), None)
    if literal is None:
        return patterns
    return [literal] if all(contains(pattern, literal) for pattern in patterns) else None


def _wanted(pattern: str) -> Constraint:
    return Constraint(union((pattern,)), wanted=True)


def _unwanted(*patterns: str) -> Constraint:
    return Constraint(union(patterns), wanted=False)
