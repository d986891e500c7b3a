"""Match `*` and `**` patterns in time linear in the value. Patterns are no regular expressions; nothing backtracks.

`*` stands for any run (empty too) of characters other than `/` and `:`; `**` for any run of any characters; everything
else is literal. A pattern matches the whole value or nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

SEPARATORS: Final = frozenset("/:")
"""The characters that `*` never crosses."""

_SEPARATOR = re.compile("[/:]")
_THREE_STARS = re.compile(r"\*{3,}")


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
        for run in self.middle:
            start = _find_run(run, value, start, end)
            if start < 0:
                return False
        return True


def _next_separator(value: str, start: int, end: int) -> int:
    """Return where the first separator is; `end` where there is none."""
    found = _SEPARATOR.search(value, start, end)
    return end if found is None else found.start()


def _find_run(run: tuple[str, ...], value: str, start: int, end: int) -> int:
    """Find the first place that literals joined by `*` fit, and return where they end; -1 where there is none."""
    first, *others = run
    if any(value.find(literal, start, end) < 0 for literal in others):
        return -1
    while True:
        at = value.find(first, start, end)
        if at < 0:
            return -1
        after = at + len(first)
        for literal in others:
            # It begins in the component that the one before it ends in.
            within = _next_separator(value, after, end) + len(literal)
            found = value.find(literal, after, min(within, end))
            if found < 0:
                break
            after = found + len(literal)
        else:
            return after
        # All places in one component lead to the same separator, and so to the same failure.
        start = at + 1 if not SEPARATORS.isdisjoint(first) else _next_separator(value, at, end) + 1


def compile_glob(pattern: str) -> Glob:
    """Compile a pattern with a wildcard. Raises `ValueError` for `***`."""
    if _THREE_STARS.search(pattern):
        raise ValueError("*** is not a wildcard; write * within one component, or ** across components")
    runs = [run.split("*") for run in pattern.split("**")]
    prefix, suffix = runs[0].pop(0), runs[-1].pop()
    crosses = len(runs) > 1
    head = tuple(runs[0])
    tail = tuple(reversed(runs[-1])) if crosses else ()
    middle = tuple(tuple(run) for run in runs[1:-1])
    return Glob(
        text=pattern,
        prefix=prefix,
        suffix=suffix,
        fixed=len(prefix) + len(suffix),
        crosses=crosses,
        head=head,
        middle=middle,
        tail=tail,
        single=not (head or middle or tail),
    )
