"""Print a report: coloured on a terminal, plain in a pipe, as JSON, or as annotations of a GitHub workflow.

File names, claims and messages may hold anything. Whatever could drive a terminal or a workflow is made visible first.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TextIO, TypeAlias

from vending.cli.report import Cell, Line, Table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from vending.cli.report import Block, Report
    from vending.policy import Problem

Format: TypeAlias = Literal["text", "json", "github"]

_STYLES: Final[Mapping[str, str]] = {"error": "bold red", "warning": "yellow", "info": "cyan"}
_COMMANDS: Final[Mapping[str, str]] = {"error": "error", "warning": "warning", "info": "notice"}
_GAP: Final = "  "
_MEASURED: Final = 200
"""Rows that decide how wide the columns of a table are; a later cell may be wider, and moves what is behind it."""
_WIDEST: Final = 60
"""What one cell may claim of every row; whoever chose a longer one has it alone."""


class Printer(Protocol):
    """Print one report."""

    def print(self, report: Report) -> None:
        """Print it, in this printer's format."""


def printer(format_: Format, stream: TextIO) -> Printer:
    """Choose the printer for a format; text is coloured where the stream is a terminal and `rich` is installed."""
    if format_ == "json":
        return JsonPrinter(stream)
    if format_ == "github":
        return GithubPrinter(stream, os.environ.get("GITHUB_WORKSPACE"))
    console = _console(stream) if stream.isatty() else None
    return PlainPrinter(stream) if console is None else RichPrinter(console)


def _console(stream: TextIO) -> Console | None:
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console(file=stream, highlight=False, emoji=False, markup=False, soft_wrap=True)


def visible(text: str) -> str:
    """Write every character that does not print, such as an escape or a line end, as its escape sequence."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class JsonPrinter:
    """Print the data of a report as one JSON document."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def print(self, report: Report) -> None:
        """Print it; everything outside ASCII is escaped, so that no encoding can spoil it."""
        for piece in _json(report.data):
            self._stream.write(piece)
        self._stream.write("\n")


def _json(value: object, indent: str = "\n") -> Iterator[str]:
    """Yield the text of a value as `json.dumps` writes it with an indent of 2; an iterator is a list, item by item."""
    inner = f"{indent}  "
    if isinstance(value, Mapping):
        items = ((f"{json.dumps(key)}: ", item) for key, item in value.items())
        yield from _json_items("{", "}", items, indent, inner)
    elif isinstance(value, Iterator):
        yield from _json_items("[", "]", (("", item) for item in value), indent, inner)
    else:
        yield json.dumps(value, indent=2).replace("\n", indent)


def _json_items(
    opening: str, closing: str, items: Iterable[tuple[str, object]], indent: str, inner: str
) -> Iterator[str]:
    before = opening
    for name, item in items:
        yield f"{before}{inner}{name}"
        yield from _json(item, inner)
        before = ","
    yield opening + closing if before == opening else f"{indent}{closing}"


class PlainPrinter:
    """Print lines that other programs can cut and search: problems as compilers write them, tables in columns."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def print(self, report: Report) -> None:
        """Print problems, body and summary."""
        for problem in report.problems:
            self._write(str(problem))
        self.blocks(report.body)
        self.blocks(report.summary)

    def blocks(self, blocks: Iterable[Block]) -> None:
        """Print lines and tables."""
        for block in blocks:
            for text in _plain(block):
                self._write(text)

    def _write(self, text: str) -> None:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        safe = visible(text).encode(encoding, errors="backslashreplace").decode(encoding)
        self._stream.write(f"{safe}\n")


def _plain(block: Block) -> Iterator[str]:
    if isinstance(block, Line):
        yield " " * block.indent + "".join(cell.text for cell in block.cells)
        return
    rows = iter(block.rows)
    measured = [block.headings, *(_texts(row) for row in islice(rows, _MEASURED))]
    widths = [min(max(map(len, column)), _WIDEST) for column in zip(*measured, strict=True)]
    for row in chain(measured, map(_texts, rows)):
        yield _GAP.join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def _texts(row: tuple[Cell, ...]) -> tuple[str, ...]:
    return tuple(visible(cell.text) for cell in row)


class RichPrinter:
    """Print colours and tables on a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def print(self, report: Report) -> None:
        """Print problems as a table for each file, then body and summary."""
        by_file: dict[str, list[Problem]] = {}
        for problem in report.problems:
            by_file.setdefault(problem.file, []).append(problem)
        for file, problems in by_file.items():
            self._line(Line((Cell(file, "bold underline"),)))
            self._table(_problem_table(problems))
            self._line(Line(()))
        for block in chain(report.body, report.summary):
            if isinstance(block, Table):
                self._table(block)
            else:
                self._line(block)

    def _line(self, line: Line) -> None:
        from rich.text import Text

        text = Text(" " * line.indent)
        for cell in line.cells:
            text.append(visible(cell.text), cell.style or None)
        self._console.print(text)

    def _table(self, table: Table) -> None:
        from rich import box
        from rich.table import Table as RichTable
        from rich.text import Text

        drawn = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
        for number, heading in enumerate(table.headings):
            drawn.add_column(heading, no_wrap=number == 0, overflow="fold")
        rows = iter(table.rows)
        first = tuple(islice(rows, _MEASURED))
        following = next(rows, None)
        if following is not None:
            # A table is drawn when it is complete; so many rows are for searching, and come line by line.
            for text in _plain(Table(table.headings, chain(first, [following], rows))):
                self._line(Line((Cell(text),)))
            return
        for row in first:
            drawn.add_row(*(Text(visible(cell.text), cell.style) for cell in row))
        self._console.print(drawn, soft_wrap=False)


def _problem_table(problems: Iterable[Problem]) -> Table:
    return Table(
        ("line", "level", "code", "what to do"),
        tuple(
            (
                Cell(f"{problem.line}:{problem.column}", "dim"),
                Cell(problem.severity, _STYLES[problem.severity]),
                Cell(str(problem.code)),
                Cell(problem.message),
            )
            for problem in problems
        ),
    )


class GithubPrinter:
    """Print problems as workflow commands, which GitHub shows beside the lines of a pull request.

    https://docs.github.com/actions/reference/workflow-commands-for-github-actions
    """

    def __init__(self, stream: TextIO, workspace: str | None) -> None:
        self._stream = stream
        self._workspace = None if workspace is None else Path(workspace).resolve()

    def print(self, report: Report) -> None:
        """Print annotations, then what people read in the log, as text that cannot be a command itself."""
        for problem in report.problems:
            self._stream.write(self._annotation(problem) + "\n")
        if report.body or report.summary:
            resume = secrets.token_hex(16)
            self._stream.write(f"::stop-commands::{resume}\n")
            plain = PlainPrinter(self._stream)
            plain.blocks(report.body)
            plain.blocks(report.summary)
            self._stream.write(f"::{resume}::\n")

    def _annotation(self, problem: Problem) -> str:
        properties: dict[str, Any] = {
            "file": self._relative(problem.file),
            "line": problem.line,
            "col": problem.column,
            "title": problem.code,
        }
        listed = ",".join(f"{name}={_property(str(value))}" for name, value in properties.items())
        return f"::{_COMMANDS[problem.severity]} {listed}::{_data(problem.message)}"

    def _relative(self, file: str) -> str:
        """Name a file as seen from the top of the checkout, where annotations look for it."""
        path = Path(file).resolve()
        if self._workspace is None or not path.is_relative_to(self._workspace):
            return file
        return path.relative_to(self._workspace).as_posix()


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
