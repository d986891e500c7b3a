"""What a command has to say, apart from how it looks: one report serves people, programs and CI annotations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from vending.policy import Problem

FINE: Final = 0
FINDINGS: Final = 1
USAGE: Final = 2


class UsageError(Exception):
    """The command cannot run as it was called: a file that is not there, an option that does not fit."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A piece of text with the colour that a terminal gives it (a `rich` style); a pipe leaves the colour out."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text, indented by `indent` columns."""

    cells: tuple[Cell, ...]
    indent: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings; every row has as many cells as there are headings. Rows may be made as they are printed."""

    headings: tuple[str, ...]
    rows: Iterable[tuple[Cell, ...]]


Block: TypeAlias = Line | Table


@dataclass(frozen=True, slots=True)
class Report:
    """Hold the outcome of a command.

    `status` is the exit status, `data` what `--format json` prints, `problems` what becomes annotations, `body` and
    `summary` what people read after the problems. `aside` is said on standard error where the format has no place for
    it. Each is read once, in this order, so it may be made while it is printed; an iterator in `data` is a list.
    """

    status: int
    data: Mapping[str, Any] | list[Any] | Iterator[Any]
    problems: tuple[Problem, ...] = ()
    body: Iterable[Block] = ()
    summary: Iterable[Line] = ()
    aside: Iterable[Line] = ()


def line(*parts: str | Cell, indent: int = 0) -> Line:
    """Put a line together from plain and coloured pieces."""
    return Line(tuple(part if isinstance(part, Cell) else Cell(part) for part in parts), indent)


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Write `1 error`, `2 errors`."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def problem_data(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    """Turn problems into what `--format json` prints of them."""
    return [
        {
            "file": problem.file,
            "line": problem.line,
            "column": problem.column,
            "severity": problem.severity,
            "code": str(problem.code),
            "message": problem.message,
            **({} if problem.example is None else {"example": problem.example}),
        }
        for problem in problems
    ]
