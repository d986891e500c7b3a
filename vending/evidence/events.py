"""Read audit events from what people export: log lines, rows of Azure Monitor as JSON or CSV, each also gzipped.

Streams: an event is handed on as soon as it is read. What is no event is counted, and so is what a platform has cut.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final, TypeAlias

Event: TypeAlias = Mapping[str, Any]

KINDS: Final = frozenset({"token", "explain", "security"})
_COLUMNS: Final = ("message", "Message", "Message_s", "message_s")
"""Where Application Insights (`traces.message`) and Log Analytics (`AppTraces.Message`) keep a log record's text."""
_CHUNK: Final = 1 << 16
_LONGEST: Final = 1 << 20
"""Characters of one row; the platform cuts a message at 32,768."""
ROW_LIMITS: Final = frozenset({10_000, 30_000, 500_000})
"""Rows at which the portal, the query API and an export stop: https://learn.microsoft.com/azure/azure-monitor/service-limits."""
_GZIP: Final = b"\x1f\x8b"
_EVERY: Final = 2_000
_ARRAY = re.compile(r"\s*\[\s*[{\]]")
"""How an array of rows begins; a log prefix may begin with a bracket too."""

Progress = Callable[[int], None]


@dataclass
class Tally:
    """Count what was read. `notes` are sentences that the reader of a report must know."""

    events: int = 0
    others: int = 0
    cut: int = 0
    first: str = ""
    last: str = ""
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Say what was read, for people."""
        said = [f"{self.events} events" + (f" from {self.first} to {self.last}" if self.events else "")]
        if self.others:
            said.append(f"{self.others} other lines were left out")
        if self.cut:
            said.append(f"{self.cut} events were cut by the platform and are missing here")
        return [*said, *self.notes]


def read(files: list[str], tally: Tally, progress: Progress | None = None) -> Iterator[Event]:
    """Yield the events of files, in their order; standard input where there are none, or for `-`. Raises `OSError`."""
    for name in files or ["-"]:
        rows = 0
        for text in _texts(name):
            rows += 1
            event = _event(text, tally)
            if event is None:
                continue
            tally.events += 1
            tally.first = min(tally.first or event["time"], event["time"])
            tally.last = max(tally.last, event["time"])
            if progress is not None and tally.events % _EVERY == 0:
                progress(tally.events)
            yield event
        if rows in ROW_LIMITS:
            tally.notes.append(f"{name} has exactly {rows} rows, where exports stop: later rows may be missing")


def seconds(event: Event) -> float:
    """Return the time of an event, in seconds since the epoch."""
    return datetime.fromisoformat(event["time"]).timestamp()


def _event(text: str, tally: Tally) -> Event | None:
    """Find the event in a line or row, behind whatever precedes it."""
    brace = text.find("{")
    if brace < 0:
        tally.others += bool(text.strip())
        return None
    try:
        value = json.loads(text[brace:])
        for name in _COLUMNS:
            if isinstance(value, dict) and isinstance(value.get(name), str):
                inner = value[name]
                value = json.loads(inner[max(inner.find("{"), 0) :])
    except (ValueError, RecursionError):
        if '"kind"' in text and '"request_id"' in text:
            tally.cut += 1
        else:
            tally.others += 1
        return None
    if not isinstance(value, dict) or value.get("kind") not in KINDS or not _is_time(value.get("time")):
        tally.others += 1
        return None
    return value


def _is_time(value: object) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


# --- Formats ----------------------------------------------------------------------------------------------------------


def _texts(name: str) -> Iterator[str]:
    """Yield the text of each row of a file, whatever its format."""
    with _open(name) as raw:
        buffered = io.BufferedReader(raw)  # type: ignore[type-var]
        head = buffered.peek(2)[:2]
        plain: Any = gzip.GzipFile(fileobj=buffered) if head == _GZIP else buffered
        with io.TextIOWrapper(plain, encoding="utf-8-sig", errors="replace", newline="") as text:
            start = text.read(_CHUNK)
            if _ARRAY.match(start):
                yield from _array(start, text)
            elif start.lstrip().startswith('{"tables"') or _is_pretty_tables(start):
                yield from _tables(start + text.read())
            elif _is_csv(start):
                yield from _csv(_lines(start, text))
            else:
                yield from _lines(start, text)


def _open(name: str) -> IO[bytes]:
    return sys.stdin.buffer if name == "-" else Path(name).open("rb")


def _lines(start: str, text: IO[str]) -> Iterator[str]:
    left = start
    while True:
        *whole, left = left.split("\n")
        yield from whole
        more = text.read(_CHUNK)
        if not more:
            break
        left += more
        if len(left) > _LONGEST and "\n" not in left:
            left = left[-_LONGEST:]
    if left:
        yield left


def _array(start: str, text: IO[str]) -> Iterator[str]:
    """Yield the elements of one JSON array, as `az monitor log-analytics query` prints it."""
    decoder = json.JSONDecoder()
    left = start.lstrip()[1:]
    while True:
        left = left.lstrip(" \t\r\n,")
        if left.startswith("]"):
            return
        try:
            value, end = decoder.raw_decode(left)
        except ValueError:
            more = text.read(_CHUNK)
            if not more:
                if left:
                    yield left
                return
            left += more
            continue
        yield json.dumps(value)
        left = left[end:]
        if not left:
            left = text.read(_CHUNK)
            if not left:
                return


def _is_pretty_tables(start: str) -> bool:
    return start.lstrip()[:1] == "{" and '"tables"' in start[:64]


def _tables(text: str) -> Iterator[str]:
    """Yield the rows of the query API's answer: `{"tables": [{"columns": […], "rows": [[…]]}]}`."""
    try:
        tables = json.loads(text)["tables"]
        for table in tables:
            names = [column["name"] for column in table["columns"]]
            for row in table["rows"]:
                yield json.dumps(dict(zip(names, row, strict=False)))
    except (ValueError, KeyError, TypeError):
        yield text


def _is_csv(start: str) -> bool:
    heading = start.partition("\n")[0]
    if heading.lstrip()[:1] in {"{", ""}:
        return False
    return any(cell.strip().strip('"') in _COLUMNS for cell in heading.split(","))


def _csv(lines: Iterator[str]) -> Iterator[str]:
    csv.field_size_limit(_LONGEST)
    for row in csv.DictReader(line + "\n" for line in lines):
        yield next((value for name in _COLUMNS if isinstance(value := row.get(name), str)), "")
