"""An auditor's questions over recorded events: each is a function from events to a table."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from vending.evidence.replay import caller

if TYPE_CHECKING:
    from vending.evidence.events import Event


@dataclass(frozen=True, slots=True)
class Table:
    """Hold an answer: named columns, and rows of text."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    def data(self) -> list[dict[str, str]]:
        """Return one object for each row."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def _vended(events: Iterable[Event]) -> Iterator[Event]:
    return (event for event in events if event["kind"] == "token" and event.get("outcome") == "allow")


def _text(value: Any) -> str:
    return "-" if value in (None, "", []) else value if isinstance(value, str) else json.dumps(value)


def _scopes(event: Event, name: str) -> str:
    return " ".join(event.get(name) or ()) or "-"


def _job(event: Event) -> str:
    return " ".join(f"{name}={value}" for name, value in (event.get("job") or {}).items()) or "-"


def grants(events: Iterable[Event], _: Sequence[str]) -> Table:
    """Who got what, when, in which run?"""
    columns = ("time", "issuer", "caller", "registry", "granted", "rules", "token_id", "job")
    return Table(columns, [_grant(event) for event in _vended(events)])


def _grant(event: Event) -> tuple[str, ...]:
    return (
        event["time"],
        _text(event.get("issuer")),
        caller(event),
        _text(event.get("registry")),
        _scopes(event, "granted"),
        " ".join(event.get("rules") or ()) or "-",
        _text(event.get("token_id")),
        _job(event),
    )


def denials(events: Iterable[Event], _: Sequence[str]) -> Table:
    """What was refused, why, to whom, how often?"""
    counts: Counter[tuple[str, ...]] = Counter()
    last: dict[tuple[str, ...], str] = {}
    for event in events:
        if event["kind"] != "security" and event.get("outcome") != "allow":
            key = (_text(event.get("outcome")), _text(event.get("reason")), _text(event.get("issuer")), caller(event))
            counts[key] += 1
            last[key] = max(last.get(key, ""), event["time"])
    columns = ("count", "outcome", "reason", "issuer", "caller", "last")
    return Table(columns, [(str(number), *key, last[key]) for key, number in counts.most_common()])


def token(events: Iterable[Event], arguments: Sequence[str]) -> Table:
    """Which run got the token with this id?"""
    found = [event for event in _vended(events) if event.get("token_id") == arguments[0]]
    return Table(("field", "value"), [(name, _text(value)) for event in found for name, value in event.items()])


def repository(events: Iterable[Event], arguments: Sequence[str]) -> Table:
    """What was vended to this repository, and to whom?"""
    name = arguments[0]
    found = [e for e in _vended(events) if any(s.split(":")[1:2] == [name] for s in e.get("granted") or ())]
    columns = ("time", "issuer", "caller", "registry", "granted", "rules", "token_id", "job")
    return Table(columns, [_grant(event) for event in found])


def history(events: Iterable[Event], arguments: Sequence[str]) -> Table:
    """What did one caller ask for, and get?"""
    columns = ("time", "kind", "outcome", "reason", "registry", "granted", "missing", "token_id", "request_id", "job")
    rows = [
        (
            event["time"],
            event["kind"],
            _text(event.get("outcome")),
            _text(event.get("reason")),
            _text(event.get("registry")),
            # Only a token that was handed out is granted; the rest of an event is what was decided.
            _scopes(event, "granted") if event["kind"] == "token" and event.get("outcome") == "allow" else "-",
            _scopes(event, "missing"),
            _text(event.get("token_id")),
            _text(event.get("request_id")),
            _job(event),
        )
        for event in events
        if event["kind"] != "security" and set(arguments) <= _facts(event)
    ]
    return Table(columns, rows)


def _facts(event: Event) -> set[str]:
    pairs = [(pair["name"], pair["value"]) for pair in (*(event.get("caller") or ()), *(event.get("claims") or ()))]
    pairs += (event.get("job") or {}).items()
    pairs += (event.get("decided_on") or {}).items()
    pairs += [("jti", event.get("subject_token_id")), ("sha256", event.get("subject_token_sha256"))]
    return {f"{name}={value}" for name, value in pairs}


def security(events: Iterable[Event], _: Sequence[str]) -> Table:
    """What happened that somebody must look at?"""
    rows = [
        (
            event["time"],
            _text(event.get("event")),
            _text(event.get("request_id")),
            " ".join(f"{pair['name']}={pair['value']}" for pair in event.get("details") or ()) or "-",
        )
        for event in events
        if event["kind"] == "security"
    ]
    return Table(("time", "event", "request_id", "details"), rows)


def could(events: Iterable[Event], arguments: Sequence[str]) -> Table:
    """What was one caller seen to be granted and refused? The policy alone knows the rest."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for event in events:
        if event["kind"] == "token" and set(arguments) <= _facts(event):
            registry = _text(event.get("registry"))
            if event.get("outcome") == "allow":
                counts.update(("granted", registry, scope) for scope in event.get("granted") or ())
            counts.update(("refused", registry, scope) for scope in event.get("missing") or ())
    rows = [(*key, str(number)) for key, number in sorted(counts.items())]
    return Table(("outcome", "registry", "scope", "requests"), rows)


def policies(events: Iterable[Event], _: Sequence[str]) -> Table:
    """Which policy was in force when?"""
    seen: dict[str, list[Any]] = {}
    for event in events:
        if event["kind"] != "security":
            times = seen.setdefault(event.get("policy_sha256") or "none", [event["time"], event["time"], 0])
            times[0], times[1] = min(times[0], event["time"]), max(times[1], event["time"])
            times[2] += 1
    rows = [(sha256, first, last, str(number)) for sha256, (first, last, number) in seen.items()]
    return Table(("policy_sha256", "first", "last", "requests"), rows)


def trials(events: Iterable[Event], _: Sequence[str]) -> Table:
    """Which rules in audit mode would have matched, for whom?"""
    counts = Counter(
        (rule, _text(event.get("issuer")), caller(event))
        for event in events
        if event["kind"] != "security"
        for rule in event.get("audit_rules") or ()
    )
    return Table(("rule", "issuer", "caller", "requests"), [(*k, str(n)) for k, n in counts.most_common()])


def durations(events: Iterable[Event], _: Sequence[str]) -> Table:
    """How long did each step take, in milliseconds?"""
    steps: dict[str, array[float]] = {}
    for event in events:
        for step, milliseconds in (event.get("durations_ms") or {}).items():
            steps.setdefault(step, array("d")).append(milliseconds)
    rows = [(step, str(len(values)), *_percentiles(sorted(values))) for step, values in steps.items()]
    return Table(("step", "requests", "p50", "p95", "p99", "longest"), rows)


def _percentiles(values: Sequence[float]) -> tuple[str, ...]:
    picks = (values[min(int(len(values) * share), len(values) - 1)] for share in (0.5, 0.95, 0.99))
    return (*(f"{value:.1f}" for value in picks), f"{values[-1]:.1f}")


@dataclass(frozen=True, slots=True)
class Question:
    """One question: its answer, and what it is asked with."""

    answer: Callable[[Iterable[Event], Sequence[str]], Table]
    argument: str = ""
    many: bool = False


QUESTIONS: Final[Mapping[str, Question]] = {
    "grants": Question(grants),
    "denials": Question(denials),
    "token": Question(token, "ID"),
    "repository": Question(repository, "NAME"),
    "caller": Question(history, "NAME=VALUE", many=True),
    "security": Question(security),
    "could": Question(could, "NAME=VALUE", many=True),
    "policies": Question(policies),
    "trials": Question(trials),
    "durations": Question(durations),
}
