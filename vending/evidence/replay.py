"""Decide recorded requests again by a draft: whose job would break, what would be granted, what cannot be said."""

from __future__ import annotations

import json
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final, cast

from vending.assurance.comment import code
from vending.evidence.counts import Counts
from vending.evidence.decisions import Again, Ruling, Undecidable, recorded
from vending.evidence.events import count
from vending.evidence.shown import caller

if TYPE_CHECKING:
    from vending.evidence.events import Event
    from vending.policy import Policy

_SHOWN: Final = 25
_MAX_GROUPS: Final = 5_000
_IN_MEMORY: Final = 1 << 20
"""Bytes of entries that are kept in memory; more of them go to a file."""
_MAX_SCOPE: Final = 1_000
"""Characters of a scope that a person is shown."""


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


@dataclass(frozen=True, slots=True)
class Group:
    """What requests of one issuer, caller and reason have in common, and the newest of them."""

    issuer: str
    caller: str
    now: str
    time: str
    scope: str
    was: str
    why: str


class Entries:
    """Hold requests of one kind in bounded memory: each of them in a file, and their groups."""

    def __init__(self) -> None:
        self._number = 0
        self._file = cast("IO[bytes]", tempfile.SpooledTemporaryFile(_IN_MEMORY))  # noqa: SIM115 - closed with this.
        weakref.finalize(self, self._file.close)
        self._groups: Counts[tuple[str, str, str], Group] = Counts(_MAX_GROUPS)

    def __len__(self) -> int:
        return self._number

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the data of each request, in the order in which they came."""
        self._file.seek(0)
        for line in self._file:
            yield json.loads(line)

    def add(self, entry: Entry) -> None:
        """Add a request."""
        data = entry.data()
        self._number += 1
        self._file.write(json.dumps(data).encode() + b"\n")
        key = (str(data["issuer"]), data["caller"], entry.now)
        self._groups.add(key)
        known = self._groups.get(key)
        if known is None or known.time <= data["time"]:
            self._groups.keep(key, Group(*key, data["time"], _asked(data["scope"]), entry.was, entry.why))

    def groups(self) -> list[tuple[Group, int]]:
        """Return the requests by issuer, caller and reason, the most frequent first, each with their number."""
        return [(group, number) for _, number, group in self._groups.most_common()]

    @property
    def left_out(self) -> int:
        """Return how many requests are of callers too many to tell apart."""
        return self._groups.left_out

    @property
    def callers(self) -> str:
        """Say of how many callers they are."""
        number = len({(group.issuer, group.caller) for group, _ in self.groups()})
        return f"more than {number} callers" if self.left_out else count(number, "caller")


def _asked(scope: list[str]) -> str:
    whole = " ".join(scope) or "everything"
    return whole if len(whole) <= _MAX_SCOPE else f"{whole[:_MAX_SCOPE]}…"


@dataclass
class Replay:
    """What became of recorded requests: counts, and those that changed."""

    decided: int = 0
    unchanged: int = 0
    lost: Entries = field(default_factory=Entries)
    gained: Entries = field(default_factory=Entries)
    changed: Entries = field(default_factory=Entries)
    undecidable: Entries = field(default_factory=Entries)

    def data(self) -> dict[str, Any]:
        """Return it as JSON has it; each list is an iterator."""
        lists = {name: iter(getattr(self, name)) for name in ("lost", "gained", "changed", "undecidable")}
        return {"decided": self.decided, "unchanged": self.unchanged, **lists}


def replay(policy: Policy, events: Iterable[Event], *, explain: bool = False) -> Replay:
    """Decide every recorded request again by `policy`; those of `/explain` only with `explain`."""
    found, again = Replay(), Again(policy)
    for event in events:
        if event["kind"] != "token" and not (explain and event["kind"] == "explain"):
            continue
        before = recorded(event)
        if before is None:
            continue
        was = "allow" if before.allowed else str(before.reason)
        try:
            after = again.decide(event)
        except Undecidable as why:
            found.undecidable.add(Entry(event, was, "unknown", (), (), str(why)))
            continue
        found.decided += 1
        _file(found, event, before, after, was)
    return found


def _file(found: Replay, event: Event, before: Ruling, after: Ruling, was: str) -> None:
    now = "allow" if after.allowed else str(after.reason)
    if before.allowed and not after.allowed:
        entries = found.lost
    elif after.allowed and not before.allowed:
        entries = found.gained
    elif not after.allowed and before.reason != after.reason:
        entries = found.changed
    else:
        found.unchanged += 1
        return
    entries.add(Entry(event, was, now, after.missing, after.rules, after.description))


def comment(found: Replay, read: Iterable[str]) -> str:
    """Write what a draft would have done as Markdown, for a pull request."""
    number = len(found.lost)
    requests = "1 recorded request" if number == 1 else f"{number} recorded requests"
    parts = [
        f"### {requests} of {found.lost.callers} would be refused"
        if number
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


def _table(entries: Entries) -> str:
    lines = ["| requests | caller | last | scope | why |", "| --- | --- | --- | --- | --- |"]
    listed = entries.groups()
    for group, number in listed[:_SHOWN]:
        why = code(f"{group.now}: {group.why}" if group.why else group.now)
        who = f"{code(group.issuer)} {code(group.caller)}"
        lines.append(f"| {number} | {who} | {code(group.time)} | {code(group.scope)} | {why} |")
    if len(listed) > _SHOWN or entries.left_out:
        more = sum(number for _, number in listed[_SHOWN:]) + entries.left_out
        lines.append(f"| {more} | … of more callers | | | |")
    return "\n".join(lines)
