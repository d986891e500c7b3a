"""Match `*` and `**` patterns in time linear in the value. Patterns are no regular expressions; nothing backtracks.

`*` stands for any run (empty too) of characters other than `/` and `:`; `**` for any run of any characters; everything
else is literal. A pattern matches the whole value or nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

SEPARATORS: Final = frozenset("/:")
"""The characters that `*` never crosses."""

_WILDCARD = re.compile(r"\*{1,2}")
_THREE_STARS = re.compile(r"\*{3,}")

MAX_WILDCARDS: Final = 16
"""Wildcards in one pattern; people write three. Each may be looked for in every component of a long value."""


MAX_MIXED_TEXT: Final = 256
"""Characters between two `**` where a `*` is among them: each may be compared anew in every component."""


def is_literal(pattern: str) -> bool:
    """Return whether a pattern has no wildcard, and so matches itself only."""
    return "*" not in pattern


def has_substance(pattern: str) -> bool:
    """Return whether a pattern has a character other than `*`, `/` and `:`, and so excludes something that matters."""
    return bool(pattern.strip("*/:"))


def _is_one_component(value: str, start: int, end: int) -> bool:
    return value.find("/", start, end) < 0 and value.find(":", start, end) < 0


@dataclass(frozen=True, slots=True)
class Glob:
    """Match one pattern that has at least one wildcard.

    The pattern is `prefix`, then literals joined by wildcards, then `suffix`. Where no `**` joins them, `head` has all
    of those literals; else `head` are those before the first `**`, `tail` those behind the last (from the end), and
    `middle` the runs between two `**`, each of literals joined by `*`. The nearest place that fits is always right: it
    leaves the most for what follows, and if a separator lies before it, one lies before every later place.
    """

    text: str
    prefix: str
    suffix: str
    fixed: int
    crosses: bool
    head: tuple[str, ...]
    middle: tuple[tuple[str, ...], ...]
    runs: tuple[re.Pattern[str] | str, ...] = field(repr=False, compare=False)
    """How to find each of `middle`: a literal, or an expression for several."""
    tail: tuple[str, ...]
    single: bool

    def matches(self, value: str) -> bool:
        """Return whether the whole value matches."""
        if len(value) < self.fixed or not (value.startswith(self.prefix) and value.endswith(self.suffix)):
            return False
        start, end = len(self.prefix), len(value) - len(self.suffix)
        if self.single:
            return self.crosses or _is_one_component(value, start, end)
        return self._matches_between(value, start, end)

    def _matches_between(self, value: str, start: int, end: int) -> bool:
        for literal in self.head:
            at = value.find(literal, start, end)
            if at < 0 or not _is_one_component(value, start, at):
                return False
            start = at + len(literal)
        if not self.crosses:
            return _is_one_component(value, start, end)
        for literal in self.tail:
            at = value.rfind(literal, start, end)
            if at < 0 or not _is_one_component(value, at + len(literal), end):
                return False
            end = at
        for run in self.runs:
            start = _find_run(run, value, start, end)
            if start < 0:
                return False
        return True


def _find_run(run: re.Pattern[str] | str, value: str, start: int, end: int) -> int:
    """Find the first place that a run fits, and return where it ends; -1 where there is none."""
    if isinstance(run, str):
        at = value.find(run, start, end)
        return at if at < 0 else at + len(run)
    found = run.match(value, start, end)
    return -1 if found is None else found.end()


@lru_cache(maxsize=1024)
def _compile_run(run: tuple[str, ...]) -> re.Pattern[str]:
    """Compile literals joined by `*` into an expression that passes over components until one fits.

    In a component each literal is looked for once, behind the one before it, and never elsewhere: its nearest place
    leaves the most for what follows. So nothing is tried twice, and the time is linear in the value.
    """
    return re.compile("(?:[^/:]*+[/:])*?" + "".join(f"(?>[^/:]*?{re.escape(literal)})" for literal in run), re.DOTALL)


def compile_glob(pattern: str) -> Glob:
    """Compile a pattern with a wildcard. Raises `ValueError` for `***`, and for what takes too long to match."""
    if _THREE_STARS.search(pattern):
        raise ValueError("*** is not a wildcard; write * within one component, or ** across components")
    if pattern.count("*") > MAX_WILDCARDS and len(_WILDCARD.findall(pattern)) > MAX_WILDCARDS:
        raise ValueError(f"there are more than {MAX_WILDCARDS} wildcards; write ** for several components")
    runs = [run.split("*") for run in pattern.split("**")]
    prefix, suffix = runs[0].pop(0), runs[-1].pop()
    crosses = len(runs) > 1
    head = tuple(runs[0])
    tail = tuple(reversed(runs[-1])) if crosses else ()
    middle = tuple(tuple(run) for run in runs[1:-1])
    if any(len(run) > 1 and sum(map(len, run)) > MAX_MIXED_TEXT for run in middle):
        raise ValueError(f"there are more than {MAX_MIXED_TEXT} characters around a * that lies between two **")
    return Glob(
        text=pattern,
        prefix=prefix,
        suffix=suffix,
        fixed=len(pattern) - pattern.count("*"),
        crosses=crosses,
        head=head,
        middle=middle,
        runs=tuple(run[0] if len(run) == 1 else _compile_run(run) for run in middle),
        tail=tail,
        single=not (head or middle or tail),
    )
