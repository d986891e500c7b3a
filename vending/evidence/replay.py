"""Decide recorded requests again by a draft: whose job would break, what would be granted, what cannot be said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vending.assurance.comment import code
from vending.evidence.decisions import Ruling, Undecidable, decide_again, recorded

if TYPE_CHECKING:
    from vending.evidence.events import Event
    from vending.policy import Policy

_SHOWN = 25


@dataclass(frozen=True, slots=True)
class Entry:
    """One recorded request that a draft decides otherwise, or that cannot be decided."""

    event: Event
    was: str
    now: str
    missing: tuple[str, ...]
    rules: tuple[str, ...]
    why: str

    def data(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "time": self.event["time"],
            "request_id": self.event.get("request_id"),
            "issuer": self.event.get("issuer"),
            "caller": caller(self.event),
            "registry": self.event.get("registry"),
            "scope": list(self.event.get("scope") or ()),
            "was": self.was,
            "now": self.now,
            "missing": list(self.missing),
            "rules": list(self.rules),
            "why": self.why,
        }


@dataclass
class Replay:
    """What became of recorded requests: counts, and an entry for each that changed."""

    decided: int = 0
    unchanged: int = 0
    lost: list[Entry] = field(default_factory=list)
    gained: list[Entry] = field(default_factory=list)
    changed: list[Entry] = field(default_factory=list)
    undecidable: list[Entry] = field(default_factory=list)

    def data(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "decided": self.decided,
            "unchanged": self.unchanged,
            **{
                name: [entry.data() for entry in getattr(self, name)]
                for name in ("lost", "gained", "changed", "undecidable")
            },
        }


def caller(event: Event) -> str:
    """Name the caller of an event by its identity claims."""
    return " ".join(f"{pair['name']}={pair['value']}" for pair in event.get("caller") or ()) or "-"


def replay(policy: Policy, events: Iterable[Event], *, explain: bool = False) -> Replay:
    """Decide every recorded request again by `policy`; those of `/explain` only with `explain`."""
    found = Replay()
    for event in events:
        if event["kind"] != "token" and not (explain and event["kind"] == "explain"):
            continue
        before = recorded(event)
        if before is None:
            continue
        was = "allow" if before.allowed else str(before.reason)
        try:
            after = decide_again(policy, event)
        except Undecidable as why:
            found.undecidable.append(Entry(event, was, "unknown", (), (), str(why)))
            continue
        found.decided += 1
        _file(found, event, before, after, was)
    return found


def _file(found: Replay, event: Event, before: Ruling, after: Ruling, was: str) -> None:
    now = "allow" if after.allowed else str(after.reason)
    entry = Entry(event, was, now, after.missing, after.rules, after.description)
    if before.allowed and not after.allowed:
        found.lost.append(entry)
    elif after.allowed and not before.allowed:
        found.gained.append(entry)
    elif not after.allowed and before.reason != after.reason:
        found.changed.append(entry)
    else:
        found.unchanged += 1


def grouped(entries: Iterable[Entry]) -> list[tuple[tuple[str, str, str], int, Entry]]:
    """Count entries by issuer, caller and reason, the most frequent first, each with the newest of them."""
    counts: Counter[tuple[str, str, str]] = Counter()
    newest: dict[tuple[str, str, str], Entry] = {}
    for entry in entries:
        key = (str(entry.event.get("issuer")), caller(entry.event), entry.now)
        counts[key] += 1
        if key not in newest or newest[key].event["time"] <= entry.event["time"]:
            newest[key] = entry
    return [(key, number, newest[key]) for key, number in counts.most_common()]


def comment(found: Replay, read: Iterable[str]) -> str:
    """Write what a draft would have done as Markdown, for a pull request."""
    callers = len({key[:2] for key, _, _ in grouped(found.lost)})
    parts = [
        f"### {len(found.lost)} recorded requests of {callers} callers would be refused"
        if found.lost
        else "### No recorded request would be refused",
        f"{found.decided} requests were decided again; {found.unchanged} have the same outcome. {'. '.join(read)}.",
    ]
    titles = {"lost": "Refused now", "gained": "Granted now", "changed": "Refused for another reason"}
    for name, title in titles.items():
        entries = getattr(found, name)
        if entries:
            parts += [f"**{title}**", _table(entries)]
    if found.undecidable:
        parts += [f"**Not decidable**: {len(found.undecidable)} requests", _table(found.undecidable)]
    return "\n\n".join(parts) + "\n"


def _table(entries: list[Entry]) -> str:
    lines = ["| requests | caller | last | scope | why |", "| --- | --- | --- | --- | --- |"]
    listed = grouped(entries)
    for (issuer, who, now), number, entry in listed[:_SHOWN]:
        scope = code(" ".join(entry.event.get("scope") or ()) or "everything")
        why = code(f"{now}: {entry.why}" if entry.why else now)
        lines.append(f"| {number} | {code(issuer)} {code(who)} | {code(entry.event['time'])} | {scope} | {why} |")
    if len(listed) > _SHOWN:
        lines.append(f"| … | and {len(listed) - _SHOWN} more callers | | | |")
    return "\n".join(lines)
