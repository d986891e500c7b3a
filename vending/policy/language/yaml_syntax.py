"""Explain what YAML's parser objects to: say what an author most likely did, and what to write. Parses nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vending.policy.language.document import START, Place

if TYPE_CHECKING:
    from collections.abc import Callable

    from ruamel.yaml.error import MarkedYAMLError

_BRACED: Final = re.compile(r"[^\s,\[\]\"']*\{[^{}\s]*\}[^\s,\[\]\"']*|[^\s,\[\]\"']*\{\{.*?\}\}[^\s,\[\]\"']*")
_SECOND_COLON: Final = re.compile(r"[^\s#][^#]*:\s.*\S")


@dataclass(frozen=True, slots=True)
class _Objection:
    """What the parser says, the line that it has reached, and the line on which what it was reading began."""

    problem: str
    line: str
    number: int
    column: int
    opened: int


def explain(error: MarkedYAMLError, text: str) -> tuple[Place, str]:
    """Return the place of a syntax error and one sentence about it."""
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return START, _plain(str(error.problem or error.context))
    opened = error.context_mark.line + 1 if error.context_mark else mark.line + 1
    lines = re.split(r"\r\n|\r|\n", text)
    line = lines[mark.line] if mark.line < len(lines) else ""
    problem = _plain(str(error.problem or error.context or "this is not YAML"))
    objection = _Objection(problem, line, mark.line + 1, mark.column, opened)
    explained = (make(objection) for pattern, make in _EXPLANATIONS if pattern.search(problem))
    return Place(mark.line + 1, mark.column + 1), next((said for said in explained if said), problem)


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("\x00", "the end of the file")


def _braces(objection: _Objection) -> str | None:
    braced = _BRACED.search(objection.line)
    if braced is None:
        return None
    return f"braces begin a mapping in YAML; put quotes around a template: '{braced[0]}'"


def _indentation(objection: _Objection) -> str | None:
    if objection.line[: objection.column].strip():
        return None
    return "the indentation of this line fits no line above it; indent it like the other keys of its entry"


def _not_started(objection: _Objection) -> str:
    character = objection.line[objection.column : objection.column + 1]
    return f"a value cannot begin with {character} unless it is in quotes; put quotes around it"


def _colon(objection: _Objection) -> str:
    if _SECOND_COLON.match(objection.line[: objection.column].strip()):
        return "this line has a second colon; put quotes around a value with a colon and a blank in it"
    return (
        "a key is indented below something that is complete already; indent it like the key that it belongs beside, "
        "or end the line above with a colon"
    )


def _unclosed(objection: _Objection) -> str:
    return f"the bracket, brace or quote that opens on line {objection.opened} is not closed"


def _unclosed_above(objection: _Objection) -> str | None:
    return _unclosed(objection) if objection.opened < objection.number else None


def _always(said: str) -> Callable[[_Objection], str]:
    return lambda _: said


_EXPLANATIONS: Final[tuple[tuple[re.Pattern[str], Callable[[_Objection], str | None]], ...]] = tuple(
    (re.compile(pattern), make)
    for pattern, make in (
        (r"'\\t'", _always("this line is indented with a tab; write spaces")),
        (r"cannot start any token", _not_started),
        (r"while scanning an alias|expected alphabetic or numeric", _always(
            "a value that begins with * or & must be in quotes"
        )),
        (r"stream end|unexpected end of stream", _unclosed),
        (r"expected ',' or|found '<scalar>'", _braces),
        (r"expected ',' or", _unclosed_above),
        (r"but found '<scalar>'", _always(
            "text follows a value in quotes; put the whole value in quotes, and write a single quote inside as ''"
        )),
        (r"mapping values are not allowed", _colon),
        (r"expected <block end>", _indentation),
        (r"but found '[]}]'", _always("this bracket or brace closes nothing; remove it")),
        (r"unknown escape", _always("this is not an escape of double quotes; write a backslash as \\\\")),
        (r"could not find expected ':'", _always("this line has no colon; write key: value")),
    )
)  # fmt: skip
