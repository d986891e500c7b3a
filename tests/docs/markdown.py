"""Take Markdown pages apart: fenced blocks with their place and language, tables by their heading."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime.datetime(2026, 11, 22, tzinfo=datetime.UTC).timestamp()
"""When the examples are judged: those that expire must not spoil the tests one day."""

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[a-z]*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block. `section` is the heading above it, `line` that of its first line, counted from 1."""

    page: str
    line: int
    language: str
    section: str
    text: str

    @property
    def name(self) -> str:
        """Name the block for a test's id."""
        return f"{self.page}:{self.line}"

    @property
    def mark(self) -> tuple[str, str] | None:
        """Return kind and code of a first line such as `# warning: <code>`."""
        match = re.match(r"# (error|warning|info): ([a-z_]+)\n", self.text)
        return (match[1], match[2]) if match else None


def pages() -> list[Path]:
    """List every page of the documentation."""
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("clients/**/*.md")])


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    section, end = "", 0
    for match in _FENCE.finditer(text):
        # A comment in a block looks like a heading; only what is outside of blocks counts.
        section = [section, *_HEADING.findall(text, end, match.start())][-1]
        end = match.end()
        lines = match["text"].splitlines(keepends=True)
        yield Block(
            page=str(page.relative_to(ROOT)),
            line=text.count("\n", 0, match.start()) + 2,
            language=match["language"],
            section=section,
            text="".join(line.removeprefix(match["indent"]) for line in lines),
        )


def table(page: Path, first_heading: str) -> list[list[str]]:
    """Return the rows of every table of a page whose first column has this heading, as lists of cells."""
    rows: list[list[str]] = []
    reading = False
    for line in page.read_text(encoding="utf-8").splitlines():
        if not line.startswith("|"):
            reading = False
            continue
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if cells[0] == first_heading:
            reading = True
        elif reading and not set(cells[0]) <= set("-: "):
            rows.append(cells)
    return rows
