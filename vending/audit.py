"""The audit log: exactly one event for each `/token` or `/explain` request whose shape was accepted.

An event is one line of JSON, the text of a log record of the logger `vending.audit`: the Functions host forwards
nothing else. `vending.audit_event` has its fields. Tokens are named by digest or id, never quoted. An event and its
policy together give the decision again, to the letter. What must be looked at goes beside it as a security event.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal

from vending.audit_event import (
    MAX_ITEMS,
    MAX_TEXT,
    SCHEMA_VERSION,
    SHORTENED,
    AuditEvent,
    FailedRule,
    Kind,
    Outcome,
    Pair,
    SecurityEvent,
)
from vending.clock import timestamp
from vending.oidc.claim_path import parse_key, read
from vending.policy.providers.presets import PRESETS
from vending.shapes import written
from vending.telemetry import OFF, Telemetry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vending.acr.scope import Scope
    from vending.clock import Clock
    from vending.errors import Refusal
    from vending.oidc.types import Claims, JsonValue, RawToken
    from vending.policy import Decision, Preset

log = logging.getLogger("vending.audit")
log.setLevel(logging.INFO)  # Whatever the root logger's level: events are not a matter of verbosity.

MAX_LINE: Final = 30_000
"""Characters of an event. Application Insights cuts a message at 32,768, and half a line of JSON is no event."""
MAX_GRANTED: Final = 24_000
"""Characters of `granted` as JSON. More is not vended: an event must be able to name all that a token allows."""

PERSONAL_CLAIMS: Final[frozenset[str]] = frozenset().union(*(preset.personal for preset in PRESETS.values()))
"""Claims that name a person; left out of events unless the policy's `audit.claims` lists them."""
_PERSONAL_PATHS: Final = tuple(map(parse_key, PERSONAL_CLAIMS))
_MOST_KEYS: Final = 4096
"""Keys whose nature is remembered: policies and presets name them, and no caller does."""
_COUNTED: Final = tuple(
    name for name in SHORTENED if name not in {"granted", "decided_on", "absent", "withheld", "job"}
)
"""What keeps `MAX_ITEMS` entries however short they are; the others are needed to give the decision again."""
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_UNESCAPED: Final = json.JSONEncoder(ensure_ascii=False)


@dataclass(slots=True)
class Trail:
    """Collect what happens to one request, then write it down once.

    Lists are of plain strings; `durations` are milliseconds by step.
    """

    kind: Kind
    clock: Clock
    request_id: str
    telemetry: Telemetry = OFF
    invocation_id: str = ""
    trace_parent: str = ""
    """The platform's span for this request (W3C Trace Context), which ours continue; not part of the event."""
    client_address: str = ""
    user_agent: str = ""
    issuer: str | None = None
    caller: list[tuple[str, str]] = field(default_factory=list)
    job: dict[str, JsonValue] = field(default_factory=dict)
    claims: list[tuple[str, str]] = field(default_factory=list)
    decided_at: float | None = None
    decided_on: dict[str, JsonValue] | None = None
    absent: list[str] = field(default_factory=list)
    withheld: list[str] = field(default_factory=list)
    subject_token_sha256: str | None = None
    subject_token_id: str | None = None
    registry: str | None = None
    scope: list[str] = field(default_factory=list)
    granted: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    rules: list[str] = field(default_factory=list)
    audit_rules: list[str] = field(default_factory=list)
    denies: list[str] = field(default_factory=list)
    failed_rules: list[tuple[str, list[str]]] = field(default_factory=list)
    policy_sha256: str | None = None
    token_id: str | None = None
    token_expires_at: float | None = None
    durations: dict[str, float] = field(default_factory=dict)
    denial: Refusal | None = None
    """What `/explain` says of a decision against the caller: its answer is a 200, its outcome a denial."""
    _started: float = field(init=False)

    def __post_init__(self) -> None:
        self._started = self.clock.monotonic()

    def subject(self, token: RawToken) -> None:
        """Name the subject token by its SHA-256, in hex."""
        self.subject_token_sha256 = hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()

    def identify(self, preset: Preset, claims: Claims, listed: Iterable[str]) -> None:
        """Record the caller's identity claims, those that lead to its run, and those that the policy lists.

        Claims that name a person are recorded only if they are listed.
        """
        told = {name: read(claims, name) for name in preset.job if not is_personal(name) or _is_listed(name, listed)}
        self.job = {name: _told(value) for name, value in told.items() if value is not None}
        self.caller = _pairs(claims, [name for name in preset.identity if not is_personal(name)])
        self.claims = _pairs(claims, sorted(listed))
        token_id = claims.get("jti")
        self.subject_token_id = _cut(token_id) if isinstance(token_id, str) else None

    def weigh(self, claims: Claims, reads: Iterable[str], listed: Iterable[str], decided_at: float) -> None:
        """Record all that the decision looks at: each claim in full, or the name of one that the token lacks.

        `reads` are the claims that the issuer's rules look at, `decided_at` is in seconds since the epoch. Of a
        personal claim that is not listed the name alone is recorded.
        """
        self.decided_at, self.decided_on, self.absent, self.withheld = decided_at, {}, [], []
        for name in reads:
            value = read(claims, name)
            if value is None:
                self.absent.append(name)
            elif is_personal(name) and not _is_listed(name, listed):
                self.withheld.append(name)
            else:
                self.decided_on[name] = value

    def asked(self, scopes: tuple[Scope, ...] | None) -> None:
        """Record what was asked for; nothing where the caller left the choice to the policy."""
        self.scope = [str(scope) for scope in scopes or ()]

    def decided(self, decision: Decision) -> None:
        """Record what was decided, and why not more."""
        self.granted = [str(scope) for scope in decision.granted]
        self.missing = [str(scope) for scope in decision.missing]
        self.rules = list(decision.rules)
        self.audit_rules = list(decision.audit_rules)
        self.denies = list(decision.denies)
        self.failed_rules = [(hint.name, list(hint.failed_claims)) for hint in decision.hints if not hint.matched]

    def vended(self, token_id: str, expires_at: float) -> None:
        """Record the token that is about to be handed out; `expires_at` is in seconds since the epoch."""
        self.token_id, self.token_expires_at = token_id, expires_at

    def refused(self, refusal: Refusal) -> None:
        """Record what a refusal lacks, and write its security event where it has one."""
        self.missing = list(refusal.missing or self.missing)
        if refusal.alert is not None:
            self.security(
                "registry_grant_wider", registry=self.registry or "", scope=" ".join(self.granted), **refusal.alert
            )

    def step(self, name: str) -> AbstractContextManager[None]:
        """Time one step of the work."""
        return _Step(self, name)

    def event(self, refusal: Refusal | None) -> dict[str, Any]:
        """Build the event, in the order in which its fields are written."""
        total = (self.clock.monotonic() - self._started) * 1000
        event = written(
            AuditEvent(
                schema=SCHEMA_VERSION,
                kind=self.kind,
                time=_written(self.clock.now() if self.decided_at is None else self.decided_at),
                outcome=outcome(refusal),
                reason=None if refusal is None else refusal.reason.value,
                request_id=self.request_id,
                invocation_id=_cut(self.invocation_id),
                issuer=self.issuer,
                caller=[Pair(name, value) for name, value in self.caller],
                job=self.job,
                claims=[Pair(name, value) for name, value in self.claims],
                decided_on=self.decided_on,
                absent=self.absent,
                withheld=self.withheld,
                subject_token_sha256=self.subject_token_sha256,
                subject_token_id=self.subject_token_id,
                registry=self.registry,
                scope=self.scope,
                granted=self.granted,
                missing=self.missing,
                rules=self.rules,
                audit_rules=self.audit_rules,
                denies=self.denies,
                failed_rules=[
                    FailedRule(name, [_cut(claim) for claim in claims[:MAX_ITEMS]])
                    for name, claims in self.failed_rules[:MAX_ITEMS]
                ],
                policy_sha256=self.policy_sha256,
                token_id=None if self.token_id is None else _cut(self.token_id),
                token_expires_at=None if self.token_expires_at is None else timestamp(self.token_expires_at),
                durations_ms={name: round(value, 3) for name, value in {**self.durations, "total": total}.items()},
                client_address=_cut(self.client_address),
                user_agent=_cut(self.user_agent),
                shortened=[],
            )
        )
        for name in _COUNTED:
            if len(event[name]) > MAX_ITEMS:
                _shorten(event, name, event[name][:MAX_ITEMS])
        if self.decided_on is not None and (told := _readable(self.decided_on)) is not self.decided_on:
            _shorten(event, "decided_on", told)
        return event

    def write(self, refusal: Refusal | None) -> dict[str, Any]:
        """Write the event to the audit log and return it; call it once for each request."""
        event = self.event(refusal)
        log.info("%s", render(event))
        return event

    def security(self, what: Literal["registry_grant_wider"], **fields: str) -> None:
        """Write an event that an operator must look at, beside the request's own. Cuts the values."""
        event = SecurityEvent(
            schema=SCHEMA_VERSION,
            kind="security",
            time=_written(self.clock.now()),
            event=what,
            request_id=self.request_id,
            invocation_id=_cut(self.invocation_id),
            details=[Pair(name, _cut(value)) for name, value in fields.items()],
        )
        log.error("%s", json.dumps(written(event)))


@dataclass(slots=True)
class _Step(AbstractContextManager[None]):
    """Add the time of its body to a trail, in a span of its own. A class: a generator would cost as much as a check."""

    trail: Trail
    name: str
    span: AbstractContextManager[None] = field(init=False)
    start: float = field(init=False)

    def __enter__(self) -> None:
        self.start = self.trail.clock.monotonic()
        self.span = self.trail.telemetry.step(self.name)
        self.span.__enter__()

    def __exit__(self, *raised: Any) -> None:
        try:
            self.span.__exit__(*raised)
        finally:
            durations = self.trail.durations
            milliseconds = (self.trail.clock.monotonic() - self.start) * 1000
            durations[self.name] = durations.get(self.name, 0.0) + milliseconds


def render(event: dict[str, Any]) -> str:
    """Write an event as one line of ASCII, at most `MAX_LINE` long; what lost entries is named in `shortened`."""
    line = json.dumps(event)
    for name in SHORTENED:
        excess = len(line) - MAX_LINE
        if excess <= 0:
            break
        if not event[name]:
            continue
        excess += len(name) + 4  # What `shortened` itself will take.
        kept = _without(event[name], excess) if isinstance(event[name], dict) else _shorter(event[name], excess)
        _shorten(event, name, kept)
        line = json.dumps(event)
    return line


def _shorter(entries: list[Any], excess: int) -> list[Any]:
    """Leave out the last entries until so many characters are saved."""
    kept = list(entries)
    while kept and excess > 0:
        excess -= len(json.dumps(kept.pop())) + 2
    return kept


def _without(values: dict[str, Any], excess: int) -> dict[str, Any]:
    """Leave out the longest values until so many characters are saved."""
    kept = dict(values)
    for name, value in sorted(values.items(), key=lambda item: -len(json.dumps(item[1]))):
        if excess <= 0:
            break
        excess -= len(json.dumps({name: value}))
        del kept[name]
    return kept


def _shorten(event: dict[str, Any], name: str, kept: list[Any] | dict[str, Any]) -> None:
    event[name] = kept
    if name not in event["shortened"]:
        event["shortened"].append(name)


def _readable(values: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Leave out what other readers of JSON refuse: half a surrogate pair, which no replacement would decide like."""
    if not _SURROGATE.search(_UNESCAPED.encode(values)):
        return values
    return {name: value for name, value in values.items() if not _SURROGATE.search(_UNESCAPED.encode([name, value]))}


def length_of(granted: Iterable[str]) -> int:
    """Count the characters of `granted` in an event: quoted, with a comma; names and actions have nothing to escape."""
    return sum(len(scope) + len('"", ') for scope in granted)


def outcome(refusal: Refusal | None) -> Outcome:
    """Name a request's outcome: `allow`, `deny` (the caller must change something), or `error` (we must)."""
    if refusal is None:
        return "allow"
    return "error" if refusal.entry.status >= 500 else "deny"


def client_address(forwarded_for: str) -> str:
    """Take the right-most entry of `X-Forwarded-For`, the only one that the platform itself wrote; drop its port."""
    last = forwarded_for.rpartition(",")[2].strip()
    if last.startswith("["):
        return last[1:].partition("]")[0]
    host, colon, port = last.rpartition(":")
    return host if colon and port.isdigit() and ":" not in host else last


@lru_cache(_MOST_KEYS)
def is_personal(key: str) -> bool:
    """Return whether a claim, or what a pointer leads to, may describe a person."""
    path = parse_key(key)
    return any(path[: len(known)] == known or known[: len(path)] == path for known in _PERSONAL_PATHS)


def _is_listed(key: str, listed: Iterable[str]) -> bool:
    """Return whether `audit.claims` lists a claim, or one that it is a part of."""
    path = parse_key(key)
    return any(path[: len(known)] == known for known in map(parse_key, listed))


def _pairs(claims: Claims, names: Iterable[str]) -> list[tuple[str, str]]:
    found = ((name, read(claims, name)) for name in names)
    return [
        (_cut(name), _cut(value if isinstance(value, str) else json.dumps(value)))
        for name, value in found
        if value is not None
    ]


def _cut(text: str) -> str:
    """Cut a text that somebody else chose; lone surrogates, which other readers of JSON refuse, become U+FFFD."""
    if text.isascii() and len(text) <= MAX_TEXT:
        return text
    kept = text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
    return kept.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def to_the_millisecond(now: float) -> float:
    """Cut a time to what an event can say of it, so that a decision by it can be repeated by the event."""
    return math.floor(now * 1000) / 1000


def _told(value: JsonValue) -> JsonValue:
    """Keep a short value as it is; a longer one, or one of several parts, becomes a text that is cut."""
    if value is None or isinstance(value, bool | int | float):
        return value
    return _cut(value if isinstance(value, str) else json.dumps(value))


def _written(seconds: float) -> str:
    return datetime.fromtimestamp(to_the_millisecond(seconds), UTC).isoformat(timespec="milliseconds")
