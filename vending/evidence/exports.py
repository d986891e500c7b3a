"""Read the rows of what people export: log lines, rows of Azure Monitor as JSON or CSV, each also gzipped.

Streams: a row is handed on as soon as it is read, and no more than one is kept. Knows nothing of what rows mean.
"""

from __future__ import annotations

import csv
import errno
import gzip
import io
import json
import re
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final, TypeAlias

Row: TypeAlias = "str | dict[str, Any]"
"""A line, or what JSON or CSV say of a row."""
Tell: TypeAlias = Callable[[str], None]
"""Takes a sentence that the reader of a report must know."""

COLUMNS: Final = ("message", "Message", "Message_s", "message_s")
"""Where Application Insights (`traces.message`) and Log Analytics (`AppTraces.Message`) keep a log record's text."""
ROW_LIMITS: Final = frozenset({10_000, 30_000, 500_000})
"""Rows at which the portal, the query API and an export stop: https://learn.microsoft.com/azure/azure-monitor/service-limits."""
_CHUNK: Final = 1 << 16
_LONGEST: Final = 1 << 20
"""Characters of one row; the platform cuts a message at 32,768."""
_GZIP: Final = b"\x1f\x8b"
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
"""What a redirection in Windows PowerShell 5 writes in front of a file."""
_ARRAY = re.compile(r"\s*\[\s*(?:[{\]]|$)")
"""How an array of rows begins; a log prefix may begin with a bracket too."""
_SECTION = re.compile(r'"(columns|rows)"\s*:\s*\[')
_PARTIAL: Final = '"PartialError"'
"""The code with which the query API says that it did not send everything."""


def rows(name: str, tell: Tell) -> Iterator[Row]:
    """Yield the rows of a file, or of standard input for `-`, whatever its format. Raises `OSError` with its name."""
    number = 0
    try:
        for number, row in enumerate(_rows(name, tell), 1):  # noqa: B007 - the number of rows is used below.
            yield row
    except (EOFError, zlib.error):
        raise OSError(errno.EIO, "the compressed data is cut or broken; export it again", name) from None
    except gzip.BadGzipFile:
        raise OSError(errno.EIO, "this is no gzip file", name) from None
    except csv.Error as error:
        raise OSError(errno.EIO, f"this is no CSV ({error})", name) from None
    if number in ROW_LIMITS:
        tell(f"{name} has exactly {number} rows, where exports stop: later rows may be missing")


def _rows(name: str, tell: Tell) -> Iterator[Row]:
    with _open(name) as raw:
        buffered = io.BufferedReader(raw)  # type: ignore[type-var]
        head = buffered.peek(2)[:2]
        plain: Any = gzip.GzipFile(fileobj=buffered) if head == _GZIP else buffered
        encoding = "utf-16" if head in _UTF_16 else "utf-8-sig"
        with io.TextIOWrapper(plain, encoding=encoding, errors="replace", newline="") as text:
            source = _Source(text)
            if _ARRAY.match(source.text):
                source.at = source.text.index("[") + 1
                yield from _array(source, lambda: tell(f"{name} ends in the middle: later rows are missing"))
            elif _is_tables(source.text):
                yield from _tables(source, name, tell)
            elif _is_csv(source.text):
                yield from _csv(_lines(source))
            else:
                yield from _lines(source)


def _open(name: str) -> IO[bytes]:
    return sys.stdin.buffer if name == "-" else Path(name).open("rb")


class _Source:
    """Hold the part of a text that is being read: `text` from `at` on."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self.text = stream.read(_CHUNK)
        self.at = 0

    def more(self) -> bool:
        """Read on, and drop what is done; return whether there was more."""
        read = self._stream.read(_CHUNK)
        self.text = self.text[self.at :] + read
        self.at = 0
        return bool(read)

    def skip(self, characters: str) -> str:
        """Go on to the first character that is none of these and return it; nothing at the end."""
        while True:
            while self.at < len(self.text):
                if self.text[self.at] not in characters:
                    return self.text[self.at]
                self.at += 1
            if not self.more():
                return ""


def _lines(source: _Source) -> Iterator[str]:
    while True:
        *whole, left = source.text.split("\n")
        yield from whole
        # A line that never ends is no event; the end of it may be.
        source.text = left[-_LONGEST:]
        if not source.more():
            break
    if source.text:
        yield source.text


# --- JSON -------------------------------------------------------------------------------------------------------------

_DECODER = json.JSONDecoder()


def _elements(source: _Source, cut: Callable[[], None]) -> Iterator[Any]:
    """Yield the elements of the array that is open, up to its end; call `cut` where it has none."""
    while True:
        following = source.skip(" \t\r\n,")
        if following == "]":
            source.at += 1
            return
        try:
            value, source.at = _DECODER.raw_decode(source.text, source.at)
        except (ValueError, RecursionError):
            if len(source.text) - source.at > _LONGEST or not source.more():
                cut()
                return
            continue
        yield value


def _array(source: _Source, cut: Callable[[], None]) -> Iterator[Row]:
    """Yield the elements of one JSON array, as `az monitor log-analytics query` prints it."""
    for value in _elements(source, cut):
        yield value if isinstance(value, dict) else json.dumps(value)


def _is_tables(start: str) -> bool:
    return start.lstrip()[:1] == "{" and '"tables"' in start[:64]


def _tables(source: _Source, name: str, tell: Tell) -> Iterator[Row]:
    """Yield the rows of the query API's answer: `{"tables": [{"columns": […], "rows": [[…]]}]}`."""

    def cut() -> None:
        tell(f"{name} ends in the middle: later rows are missing")

    names: list[str] = []
    partial = False
    while True:
        section = _SECTION.search(source.text, source.at)
        partial = partial or _PARTIAL in source.text[source.at : None if section is None else section.start()]
        if section is None:
            source.at = max(source.at, len(source.text) - len(_PARTIAL))
            if not source.more():
                break
            continue
        source.at = section.end()
        if section[1] == "columns":
            names = [str(c.get("name")) if isinstance(c, dict) else "" for c in _elements(source, cut)]
            continue
        for row in _elements(source, cut):
            yield dict(zip(names, row, strict=False)) if isinstance(row, list) else json.dumps(row)
    if partial:
        tell(f"{name} holds a part of the answer only, as the platform says in it: rows are missing")


# --- CSV --------------------------------------------------------------------------------------------------------------


def _is_csv(start: str) -> bool:
    heading = start.partition("\n")[0]
    if heading.lstrip()[:1] in {"{", ""}:
        return False
    return any(cell.strip().strip('"') in COLUMNS for cell in heading.split(","))


def _csv(lines: Iterator[str]) -> Iterator[Row]:
    csv.field_size_limit(_LONGEST)
    for row in csv.DictReader(line + "\n" for line in lines):
        yield next((value for name in COLUMNS if isinstance(value := row.get(name), str)), "")
