"""An auditor's questions over recorded events: each is a function from events to a table.

Memory is bounded: a row about one event is made when it is asked for, and what is counted has so many kinds at most.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from vending.evidence.counts import Counts
from vending.evidence.shown import caller, job, named, scopes, text

if TYPE_CHECKING:
    from vending.evidence.events import Event

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Hold an answer: named columns, and rows of text, which may be read once. `notes` are sentences about it."""

    columns: tuple[str, ...]
    rows: Iterable[Row]
    notes: tuple[str, ...] = ()


def _vended(events: Iterable[Event]) -> Iterator[Event]:
    return (event for event in events if event["kind"] == "token" and event.get("outcome") == "allow")


_GRANT: Final = ("time", "issuer", "caller", "registry", "granted", "rules", "token_id", "job")


def grants(events: Iterable[Event], _: Sequence[str]) -> Table:
    """Who got what, when, in which run?"""
    return Table(_GRANT, map(_grant, _vended(events)))


def _grant(event: Event) -> Row:
    return (
        event["time"],
        text(event.get("issuer")),
        caller(event),
        text(event.get("registry")),
        scopes(event, "granted"),
        scopes(event, "rules"),
        text(event.get("token_id")),
        job(event),
    )


def denials(events: Iterable[Event], _: Sequence[str]) -> Table:
    """What was refused, why, to whom, how often?"""
    counts: Counts[Row, str] = Counts()
    for event in events:
        if event["kind"] != "security" and event.get("outcome") != "allow":
            key = (text(event.get("outcome")), text(event.get("reason")), text(event.get("issuer")), caller(event))
            counts.add(key)
            counts.keep(key, max(counts.get(key) or "", event["time"]))
    rows = [(str(number), *key, last) for key, number, last in counts.most_common()]
    return Table(("count", "outcome", "reason", "issuer", "caller", "last"), rows, _left_out(counts))


def _left_out(counts: Counts[Any, Any]) -> tuple[str, ...]:
    if not counts.left_out:
        return ()
    return (f"{counts.left_out} more are of rows too many to tell apart: each count is the least it can be",)


def token(events: Iterable[Event], arguments: Sequence[str]) -> Table:
    """Which run got the token with this id?"""
    found = (event for event in _vended(events) if event.get("token_id") == arguments[0])
    return Table(("field", "value"), ((name, text(value)) for event in found for name, value in event.items()))


def repository(events: Iterable[Event], arguments: Sequence[str]) -> Table:
    """What was vended to this repository, and to whom?"""
    name = arguments[0]
    found = (e for e in _vended(events) if any(s.split(":")[1:2] == [name] for s in e.get("granted") or ()))
    return Table(_GRANT, map(_grant, found))


def history(events: Iterable[Event], arguments: Sequence[str]) -> Table:
    """What did one caller ask for, and get?"""
    columns = ("time", "kind", "outcome", "reason", "registry", "granted", "missing", "token_id", "request_id", "job")
    rows = (
        (
            event["time"],
            event["kind"],
            text(event.get("outcome")),
            text(event.get("reason")),
            text(event.get("registry")),
            # Only a token that was handed out is granted; the rest of an event is what was decided.
            scopes(event, "granted") if event["kind"] == "token" and event.get("outcome") == "allow" else "-",
            scopes(event, "missing"),
            text(event.get("token_id")),
            text(event.get("request_id")),
            job(event),
        )
        for event in events
        if event["kind"] != "security" and set(arguments) <= _facts(event)
    )
    return Table(columns, rows)


def _facts(event: Event) -> set[str]:
    pairs = [(pair["name"], pair["value"]) for pair in (*(event.get("caller") or ()), *(event.get("claims") or ()))]
    pairs += (event.get("job") or {}).items()
    pairs += (event.get("decided_on") or {}).items()
    pairs += [("jti", event.get("subject_token_id")), ("sha256", event.get("subject_token_sha256"))]
    return {f"{name}={value}" for name, value in pairs}


def security(events: Iterable[Event], _: Sequence[str]) -> Table:
    """What happened that somebody must look at?"""
    rows = (
        (event["time"], text(event.get("event")), text(event.get("request_id")), named(event.get("details")))
        for event in events
        if event["kind"] == "security"
    )
    return Table(("time", "event", "request_id", "details"), rows)


def could(events: Iterable[Event], arguments: Sequence[str]) -> Table:
    """What was one caller seen to be granted and refused? The policy alone knows the rest."""
    counts: Counts[Row, None] = Counts()
    for event in events:
        if event["kind"] == "token" and set(arguments) <= _facts(event):
            registry = text(event.get("registry"))
            granted = event.get("granted") if event.get("outcome") == "allow" else ()
            for outcome, listed in (("granted", granted), ("refused", event.get("missing"))):
                for scope in listed or ():
                    counts.add((outcome, registry, scope))
    rows = [(*key, str(number)) for key, number in sorted(counts.items())]
    return Table(("outcome", "registry", "scope", "requests"), rows, _left_out(counts))


def policies(events: Iterable[Event], _: Sequence[str]) -> Table:
    """Which policy was in force when?"""
    counts: Counts[str, tuple[str, str]] = Counts()
    for event in events:
        if event["kind"] != "security":
            sha256 = event.get("policy_sha256") or "none"
            counts.add(sha256)
            first, last = counts.get(sha256) or (event["time"], event["time"])
            counts.keep(sha256, (min(first, event["time"]), max(last, event["time"])))
    found = sorted(counts.most_common(), key=lambda one: one[2])
    rows = [(sha256, first, last, str(number)) for sha256, number, (first, last) in found]
    return Table(("policy_sha256", "first", "last", "requests"), rows, _left_out(counts))


def trials(events: Iterable[Event], _: Sequence[str]) -> Table:
    """Which rules in audit mode would have matched, for whom?"""
    counts: Counts[Row, None] = Counts()
    for event in events:
        if event["kind"] != "security":
            for rule in event.get("audit_rules") or ():
                counts.add((rule, text(event.get("issuer")), caller(event)))
    rows = [(*key, str(number)) for key, number in sorted(counts.items(), key=lambda item: -item[1])]
    return Table(("rule", "issuer", "caller", "requests"), rows, _left_out(counts))


def durations(events: Iterable[Event], _: Sequence[str]) -> Table:
    """How long did each step take, in milliseconds?"""
    steps: dict[str, Counter[float]] = {}
    for event in events:
        for step, milliseconds in (event.get("durations_ms") or {}).items():
            if step in steps or len(steps) < _MAX_STEPS:
                steps.setdefault(step, Counter())[_rounded(milliseconds)] += 1
    rows = [(step, str(taken.total()), *_percentiles(taken)) for step, taken in steps.items()]
    return Table(("step", "requests", "p50", "p95", "p99", "longest"), rows)


_MAX_STEPS: Final = 20
"""Steps that an event may name; the service has six."""
_MILLISECONDS_OF_A_DAY: Final = 86_400_000.0


def _rounded(milliseconds: float) -> float:
    """Round to what a reader is told, so that there are few values however many requests there were."""
    kept = min(max(milliseconds, 0.0), _MILLISECONDS_OF_A_DAY)
    return round(kept, 1 if kept < 100 else 0 if kept < 10_000 else -2)


def _percentiles(taken: Counter[float]) -> Row:
    """Return percentiles by nearest rank, and the longest."""
    total = taken.total()
    wanted = [min(int(total * share), total - 1) for share in (0.5, 0.95, 0.99, 1.0)]
    found: list[str] = []
    seen = 0
    for value, number in sorted(taken.items()):
        seen += number
        while len(found) < len(wanted) and wanted[len(found)] < seen:
            found.append(f"{value:.1f}")
    return tuple(found)


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
