"""Find the audit events in what people export, and hold each to the form in which the service writes them.

What is no event is counted, and so is what a platform has cut.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeAlias

from vending.evidence.exports import COLUMNS, Row, rows

Event: TypeAlias = Mapping[str, Any]

KINDS: Final = ("token", "explain", "security")
Progress = Callable[[int], None]

_EVERY: Final = 2_000
_TEXT: Final = ("outcome", "reason", "request_id", "issuer", "registry", "policy_sha256", "token_id", "event")
_LISTS: Final = ("scope", "granted", "missing", "rules", "audit_rules", "absent", "withheld", "shortened")
_PAIRS: Final = ("caller", "claims", "details")
_OBJECTS: Final = ("job", "decided_on", "durations_ms")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})")


@dataclass
class Tally:
    """Count what was read. `notes` are sentences that the reader of a report must know."""

    events: int = 0
    others: int = 0
    cut: int = 0
    first: str = ""
    last: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Return whether nothing is known to be missing."""
        return not self.cut and not self.notes

    def lines(self) -> list[str]:
        """Say what was read, for people."""
        said = [count(self.events, "event") + (f" from {self.first} to {self.last}" if self.events else "")]
        if self.others:
            said.append(f"{count(self.others, 'other line')} left out")
        if self.cut:
            said.append(f"{count(self.cut, 'event')} cut by the platform, and missing here")
        return [*said, *self.notes]


def count(number: int, noun: str) -> str:
    """Write `1 event`, `2 events`."""
    return f"{number} {noun if number == 1 else noun + 's'}"


def read(files: list[str], tally: Tally, progress: Progress | None = None) -> Iterator[Event]:
    """Yield the events of files, in their order; standard input where there are none, or for `-`. Raises `OSError`."""
    done = 0
    for name in files or ["-"]:
        for row in rows(name, tally.notes.append):
            done += 1
            if progress is not None and done % _EVERY == 0:
                progress(done)
            event = _event(row, tally)
            if event is None:
                continue
            tally.events += 1
            tally.first = min(tally.first or event["time"], event["time"])
            tally.last = max(tally.last, event["time"])
            yield event


def seconds(event: Event) -> float:
    """Return the time of an event, in seconds since the epoch."""
    return datetime.fromisoformat(event["time"]).timestamp()


def _event(row: Row, tally: Tally) -> Event | None:
    """Find the event in a line or row, behind whatever precedes it."""
    text = row
    try:
        value = _parsed(row) if isinstance(row, str) else row
        for name in COLUMNS:
            if isinstance(value, dict) and isinstance(value.get(name), str):
                text = value[name]
                value = _parsed(text)
    except (ValueError, RecursionError):
        if '"kind"' in text and '"request_id"' in text:
            tally.cut += 1
        else:
            tally.others += bool(str(text).strip())
        return None
    if isinstance(value, dict) and is_event(value):
        return value
    tally.others += 1
    return None


def _parsed(text: str) -> Any:
    """Parse what begins with the first brace. Raises `ValueError`."""
    brace = text.find("{")
    if brace < 0:
        raise ValueError(text)
    return json.loads(text[brace:])


def is_event(value: Mapping[str, Any]) -> bool:
    """Return whether a JSON object is an audit event or a security event, as far as any command looks at it."""
    return (
        value.get("kind") in KINDS
        and _is_time(value.get("time"))
        and all(value.get(name) is None or isinstance(value[name], str) for name in _TEXT)
        and all(_all(value.get(name), _is_text) for name in _LISTS)
        and all(_all(value.get(name), _is_pair) for name in _PAIRS)
        and all(value.get(name) is None or isinstance(value[name], dict) for name in _OBJECTS)
        and all(map(_is_duration, (value.get("durations_ms") or {}).values()))
    )


def _all(value: object, fits: Callable[[object], bool]) -> bool:
    return value is None or (isinstance(value, list) and all(map(fits, value)))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_duration(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value < math.inf


def _is_pair(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("name"), str) and isinstance(value.get("value"), str)


def _is_time(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(_TIME.fullmatch(value)) and datetime.fromisoformat(value) is not None
    except ValueError:
        return False
