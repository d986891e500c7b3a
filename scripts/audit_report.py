#!/usr/bin/env python3
"""Answer an auditor's questions from a day of audit events. Reads logs only; needs nothing but Python 3.11.

Events are JSON lines, bare or behind a log prefix, or rows of an export of Application Insights (`message` or `Message`
holds the event). Lines that are no events are counted and left out. docs/operations.md has the same questions as
queries.
"""

# ruff: noqa: T201 - a report is printed

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

Event = Mapping[str, Any]
Row = tuple[str, ...]

KINDS: Final = frozenset({"token", "explain", "security"})


@dataclass(frozen=True)
class Table:
    """Hold the answer to one question: named columns, and rows of text."""

    columns: Row
    rows: Sequence[Row]

    def as_text(self) -> str:
        """Lay the table out in columns."""
        lines = [self.columns, *self.rows]
        widths = [max(len(line[index]) for line in lines) for index in range(len(self.columns))]
        texts = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
        return "\n".join(text.rstrip() for text in texts)

    def as_json(self) -> str:
        """Write one JSON object for each row."""
        return "\n".join(json.dumps(dict(zip(self.columns, row, strict=True))) for row in self.rows)


@dataclass
class Log:
    """Hold the events of the period in order of time, and how many lines were no events."""

    events: list[Event] = field(default_factory=list)
    skipped: int = 0


def read(lines: Iterable[str], since: str = "", until: str = "9") -> Log:
    """Read events whose time lies in [since, until), both ISO 8601 in UTC."""
    log = Log()
    for line in lines:
        event = _event(line)
        if event is None:
            log.skipped += bool(line.strip())
        elif since <= str(event["time"]) < until:
            log.events.append(event)
    log.events.sort(key=lambda event: str(event["time"]))
    return log


def _event(line: str) -> Event | None:
    brace = line.find("{")
    if brace < 0:
        return None
    try:
        value = json.loads(line[brace:])
        for name in ("message", "Message"):
            if isinstance(value, dict) and isinstance(value.get(name), str):
                value = json.loads(value[name])
    except ValueError:
        return None
    usable = isinstance(value, dict) and value.get("kind") in KINDS and isinstance(value.get("time"), str)
    return value if usable else None


def caller(event: Event) -> str:
    """Name the caller of an event by its identity claims."""
    return " ".join(f"{pair['name']}={pair['value']}" for pair in event["caller"]) or "-"


def vended(events: Iterable[Event]) -> Iterator[Event]:
    """Select the requests that handed out a token."""
    return (event for event in events if event["kind"] == "token" and event["outcome"] == "allow")


def requests(events: Iterable[Event]) -> Iterator[Event]:
    """Select the requests, without security events."""
    return (event for event in events if event["kind"] != "security")


def grants(log: Log, _: argparse.Namespace) -> Table:
    """Who got what, when?"""
    columns = ("time", "issuer", "caller", "registry", "granted", "rules", "token_id")
    return Table(columns, [_grant(event) for event in vended(log.events)])


def _grant(event: Event) -> Row:
    rules = ",".join(event["rules"])
    granted = " ".join(event["granted"])
    return event["time"], event["issuer"] or "-", caller(event), event["registry"], granted, rules, event["token_id"]


def token(log: Log, arguments: argparse.Namespace) -> Table:
    """Which job got the vended token with this id?"""
    found = [event for event in vended(log.events) if event["token_id"] == arguments.id]
    return Table(("field", "value"), [row for event in found for row in _whole(event)])


def _whole(event: Event) -> list[Row]:
    return [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in event.items()]


def job(log: Log, arguments: argparse.Namespace) -> Table:
    """Which tokens did this job get, or fail to get?"""
    return Table(
        ("time", "kind", "outcome", "reason", "registry", "granted", "missing", "token_id", "expires", "request_id"),
        [
            (
                event["time"],
                event["kind"],
                event["outcome"],
                event["reason"] or "-",
                event["registry"] or "-",
                " ".join(event["granted"]) or "-",
                " ".join(event["missing"]) or "-",
                event["token_id"] or "-",
                event["token_expires_at"] or "-",
                event["request_id"],
            )
            for event in requests(log.events)
            if _is_of(event, arguments.claims)
        ],
    )


def _is_of(event: Event, wanted: Sequence[str]) -> bool:
    """Return whether each `name=value` is a claim of the event, or its subject token's `jti` or `sha256`."""
    known = {f"{pair['name']}={pair['value']}" for pair in (*event["caller"], *event["claims"])}
    known |= {f"jti={event['subject_token_id']}", f"sha256={event['subject_token_sha256']}"}
    return set(wanted) <= known


def denials(log: Log, _: argparse.Namespace) -> Table:
    """What was refused, for which reason, to whom?"""
    refused = [event for event in requests(log.events) if event["outcome"] != "allow"]
    counted = Counter((e["outcome"], e["reason"], e["issuer"] or "-", caller(e)) for e in refused)
    lasts = {(e["outcome"], e["reason"], e["issuer"] or "-", caller(e)): e["time"] for e in refused}
    return Table(
        ("count", "outcome", "reason", "issuer", "caller", "last"),
        [(str(count), *key, lasts[key]) for key, count in counted.most_common()],
    )


def could(log: Log, arguments: argparse.Namespace) -> Table:
    """What could this caller get? What it was seen to be granted and refused; the policy alone knows the rest."""
    granted: Counter[tuple[str, str, str]] = Counter()
    for event in requests(log.events):
        if _is_of(event, arguments.claims):
            registry = event["registry"] or "-"
            granted.update(("granted", registry, scope) for scope in event["granted"])
            granted.update(("refused", registry, scope) for scope in event["missing"])
    columns = ("outcome", "registry", "scope", "requests")
    return Table(columns, [(*key, str(count)) for key, count in sorted(granted.items())])


def policies(log: Log, _: argparse.Namespace) -> Table:
    """Which policy was in force when?"""
    seen: dict[str, list[str]] = {}
    for event in requests(log.events):
        seen.setdefault(event["policy_sha256"] or "none", []).append(event["time"])
    return Table(
        ("policy_sha256", "first", "last", "requests"),
        [(sha256, times[0], times[-1], str(len(times))) for sha256, times in seen.items()],
    )


def trials(log: Log, _: argparse.Namespace) -> Table:
    """Which audit-mode rules would have matched, for whom?"""
    matched = Counter(
        (rule, event["issuer"] or "-", caller(event)) for event in requests(log.events) for rule in event["audit_rules"]
    )
    columns = ("rule", "issuer", "caller", "requests")
    return Table(columns, [(*key, str(count)) for key, count in matched.most_common()])


def durations(log: Log, _: argparse.Namespace) -> Table:
    """How long did each step take, in milliseconds?"""
    steps: dict[str, list[float]] = {}
    for event in requests(log.events):
        for step, milliseconds in event["durations_ms"].items():
            steps.setdefault(step, []).append(milliseconds)
    return Table(
        ("step", "requests", "p50", "p95", "p99", "longest"),
        [(step, str(len(values)), *_percentiles(sorted(values))) for step, values in steps.items()],
    )


def _percentiles(values: Sequence[float]) -> Row:
    picks = (values[min(int(len(values) * share), len(values) - 1)] for share in (0.5, 0.95, 0.99))
    return (*(f"{value:.1f}" for value in picks), f"{values[-1]:.1f}")


def security(log: Log, _: argparse.Namespace) -> Table:
    """What happened that somebody must look at?"""
    return Table(
        ("time", "event", "request_id", "details"),
        [
            (
                event["time"],
                event["event"],
                event["request_id"],
                " ".join(f"{pair['name']}={pair['value']!r}" for pair in event["details"]),
            )
            for event in log.events
            if event["kind"] == "security"
        ],
    )


QUESTIONS: Final[Mapping[str, Callable[[Log, argparse.Namespace], Table]]] = {
    question.__name__: question
    for question in (grants, token, job, denials, could, policies, trials, durations, security)
}


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    top = argparse.ArgumentParser(prog="audit_report.py", description="Answer questions from audit events.")
    top.add_argument("--day", metavar="YYYY-MM-DD", help="only this day, UTC")
    top.add_argument("--format", choices=["text", "json"], default="text", help="a table, or one JSON object a row")
    questions = top.add_subparsers(dest="question", required=True, metavar="question")
    for name, question in QUESTIONS.items():
        one = questions.add_parser(name, help=question.__doc__, description=question.__doc__)
        if name == "token":
            one.add_argument("id", help="the vended token's id (its jti, and token_id in the answer)")
        if name in {"job", "could"}:
            what = "a claim of the caller; or jti, or sha256 of its token; repeat for more"
            one.add_argument("--claim", dest="claims", action="append", required=True, metavar="name=value", help=what)
        one.add_argument("files", nargs="*", metavar="file", help="logs; standard input where none is named")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Answer one question; return 0, or 1 where no event answers it."""
    arguments = parser().parse_args(argv)
    since, until = _day(arguments.day) if arguments.day else ("", "9")
    log = read(_lines(arguments.files), since, until)
    table = QUESTIONS[arguments.question](log, arguments)
    if table.rows:
        print(table.as_text() if arguments.format == "text" else table.as_json())
    print(f"{len(log.events)} events, {log.skipped} other lines", file=sys.stderr)
    return 0 if table.rows else 1


def _lines(files: Sequence[str]) -> Iterator[str]:
    if not files:
        yield from sys.stdin
    for name in files:
        with Path(name).open(encoding="utf-8", errors="replace") as file:
            yield from file


def _day(text: str) -> tuple[str, str]:
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        parser().error(f"{text} is no day; write YYYY-MM-DD")
    return day.strftime("%Y-%m-%d"), (day + timedelta(days=1)).strftime("%Y-%m-%d")


if __name__ == "__main__":
    sys.exit(main())
