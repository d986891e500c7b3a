"""Match `*` and `**` patterns in time linear in the value. No regular expressions, no backtracking.

`*` stands for any run (empty too) of characters other than `/` and `:`; `**` for any run of any characters; everything
else is literal. A pattern matches the whole value or nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

SEPARATORS: Final = frozenset("/:")
"""The characters that `*` never crosses."""

_THREE_STARS = re.compile(r"\*{3,}")
_WILDCARD = re.compile(r"(\*\*?)")


def is_literal(pattern: str) -> bool:
    """Tell whether a pattern has no wildcard, and so matches itself only."""
    return "*" not in pattern


def has_substance(pattern: str) -> bool:
    """Tell whether a pattern has a character other than `*`, `/` and `:`, and so excludes something that matters."""
    return bool(pattern.strip("*/:"))


@dataclass(frozen=True, slots=True)
class _Automaton:
    """Run the middle of a pattern as a bit-parallel automaton: bit `i` set means that `i` literals were matched.

    One integer step for each character (Baeza-Yates and Gonnet, "A new approach to text searching", 1992), so a value
    of n characters costs n steps, whatever it holds.
    """

    advance: dict[str, int]
    stay_on_any: int
    stay_within_component: int
    accept: int

    def matches(self, text: str) -> bool:
        states = 1
        for character in text:
            stay = self.stay_on_any if character in SEPARATORS else self.stay_within_component
            states = (states & self.advance.get(character, 0)) << 1 | states & stay
            if not states:
                return False
        return bool(states & self.accept)


@dataclass(frozen=True, slots=True)
class Glob:
    """Match one pattern that has at least one wildcard."""

    text: str
    prefix: str
    suffix: str
    fixed: int
    crosses: bool
    automaton: _Automaton | None

    def matches(self, value: str) -> bool:
        """Tell whether the whole value matches."""
        if len(value) < self.fixed or not (value.startswith(self.prefix) and value.endswith(self.suffix)):
            return False
        if self.automaton is not None:
            return self.automaton.matches(value[len(self.prefix) : len(value) - len(self.suffix)])
        return self.crosses or not (
            "/" in value[len(self.prefix) : len(value) - len(self.suffix)]
            or ":" in value[len(self.prefix) : len(value) - len(self.suffix)]
        )


def compile_glob(pattern: str) -> Glob:
    """Compile a pattern with a wildcard. Raises `ValueError` for `***`."""
    if _THREE_STARS.search(pattern):
        raise ValueError("*** is not a wildcard; write * within one component, or ** across components")
    prefix, *middle, suffix = _WILDCARD.split(pattern)
    single = len(middle) == 1
    return Glob(
        text=pattern,
        prefix=prefix,
        suffix=suffix,
        fixed=len(prefix) + len(suffix),
        crosses=single and middle[0] == "**",
        automaton=None if single else _automaton(middle),
    )


def _automaton(parts: list[str]) -> _Automaton:
    """Build the automaton of `[wildcard, literal, wildcard, …, wildcard]`."""
    advance: dict[str, int] = {}
    stay_on_any = stay_within_component = position = 0
    for part in parts:
        if part.startswith("*"):
            stay_within_component |= 1 << position
            stay_on_any |= (1 << position) if part == "**" else 0
            continue
        for character in part:
            advance[character] = advance.get(character, 0) | 1 << position
            position += 1
    return _Automaton(advance, stay_on_any, stay_within_component, 1 << position)
