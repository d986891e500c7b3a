"""The audit log: exactly one event for each `/token` or `/explain` request whose shape was accepted.

An event is one line of JSON, the text of a log record of the logger `vending.audit`: the Functions host forwards
nothing else. `docs/operations.md` documents the fields; `AUDIT_SCHEMA` is their JSON Schema. Tokens are named by
digest or id, never quoted. What must be looked at goes beside it as a security event (`SECURITY_SCHEMA`).
"""

from __future__ import annotations

import hashlib
import json
import logging
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from vending.oidc.claim_path import parse_key, read
from vending.policy.providers.presets import PRESETS
from vending.telemetry import OFF, Telemetry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from vending.acr.scope import Scope
    from vending.clock import Clock
    from vending.errors import Refusal
    from vending.oidc.types import Claims, RawToken
    from vending.policy import Decision

log = logging.getLogger("vending.audit")
log.setLevel(logging.INFO)  # Whatever the root logger's level: events are not a matter of verbosity.

SCHEMA_VERSION: Final = 1
MAX_LINE: Final = 30_000
"""Characters of an event. Application Insights cuts a message at 32,768, and half a line of JSON is no event."""
MAX_GRANTED: Final = 24_000
"""Characters of `granted` as JSON. More is not vended: an event must be able to name all that a token allows."""
MAX_TEXT: Final = 256
"""Characters kept of any value that a caller controls."""
MAX_ITEMS: Final = 128
"""Entries kept of any list; as many as a request may have scopes."""
_SHORTENED: Final = (
    "failed_rules",
    "audit_rules",
    "claims",
    "scope",
    "missing",
    "rules",
    "denies",
    "granted",
    "caller",
)
"""The lists that give way when an event is too long for one line, the most dispensable first."""

PERSONAL_CLAIMS: Final[frozenset[str]] = frozenset().union(*(preset.personal for preset in PRESETS.values()))
"""Claims that name a person; left out of events unless the policy's `audit.claims` lists them."""
_PERSONAL_PATHS: Final = tuple(map(parse_key, PERSONAL_CLAIMS))

Kind = Literal["token", "explain"]


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
    claims: list[tuple[str, str]] = field(default_factory=list)
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

    def identify(self, claims: Claims, identity: Iterable[str], listed: Iterable[str]) -> None:
        """Record the caller's identity claims, and those that the policy lists.

        Claims that name a person are recorded only if they are listed.
        """
        self.caller = _pairs(claims, [name for name in identity if not is_personal(name)])
        self.claims = _pairs(claims, sorted(listed))
        token_id = claims.get("jti")
        self.subject_token_id = _cut(token_id) if isinstance(token_id, str) else None

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
                refusal.reason.value, registry=self.registry or "", scope=" ".join(self.granted), **refusal.alert
            )

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time one step of the work."""
        start = self.clock.monotonic()
        try:
            with self.telemetry.step(name):
                yield
        finally:
            self.durations[name] = self.durations.get(name, 0.0) + (self.clock.monotonic() - start) * 1000

    def event(self, refusal: Refusal | None) -> dict[str, Any]:
        """Build the event, in the order in which its fields are written."""
        total = (self.clock.monotonic() - self._started) * 1000
        event: dict[str, Any] = {
            "schema": SCHEMA_VERSION,
            "kind": self.kind,
            "time": _now(self.clock),
            "outcome": outcome(refusal),
            "reason": None if refusal is None else refusal.reason.value,
            "request_id": self.request_id,
            "invocation_id": _cut(self.invocation_id),
            "issuer": self.issuer,
            "caller": [{"name": name, "value": value} for name, value in self.caller],
            "claims": [{"name": name, "value": value} for name, value in self.claims],
            "subject_token_sha256": self.subject_token_sha256,
            "subject_token_id": self.subject_token_id,
            "registry": self.registry,
            "scope": self.scope,
            "granted": self.granted,
            "missing": self.missing,
            "rules": self.rules,
            "audit_rules": self.audit_rules,
            "denies": self.denies,
            "failed_rules": [
                {"name": name, "claims": [_cut(claim) for claim in claims[:MAX_ITEMS]]}
                for name, claims in self.failed_rules[:MAX_ITEMS]
            ],
            "policy_sha256": self.policy_sha256,
            "token_id": None if self.token_id is None else _cut(self.token_id),
            "token_expires_at": _timestamp(self.token_expires_at),
            "durations_ms": {name: round(value, 3) for name, value in {**self.durations, "total": total}.items()},
            "client_address": _cut(self.client_address),
            "user_agent": _cut(self.user_agent),
            "shortened": [],
        }
        for name in _SHORTENED:
            if len(event[name]) > MAX_ITEMS and name != "granted":
                _shorten(event, name, event[name][:MAX_ITEMS])
        return event

    def write(self, refusal: Refusal | None) -> dict[str, Any]:
        """Write the event to the audit log and return it; call it once for each request."""
        event = self.event(refusal)
        log.info("%s", render(event))
        return event

    def security(self, what: str, **fields: str) -> None:
        """Write an event that an operator must look at, beside the request's own. Cuts the values."""
        event = {
            "schema": SCHEMA_VERSION,
            "kind": "security",
            "time": _now(self.clock),
            "event": what,
            "request_id": self.request_id,
            "invocation_id": _cut(self.invocation_id),
            "details": [{"name": name, "value": _cut(value)} for name, value in fields.items()],
        }
        log.error("%s", json.dumps(event))


def render(event: dict[str, Any]) -> str:
    """Write an event as one line of ASCII, at most `MAX_LINE` long; lists that gave way are named in `shortened`."""
    line = json.dumps(event)
    for name in _SHORTENED:
        excess = len(line) - MAX_LINE
        if excess <= 0:
            break
        kept = list(event[name])
        while kept and excess > -len(name) - 4:  # What `shortened` itself will take.
            excess -= len(json.dumps(kept.pop())) + 2
        if len(kept) < len(event[name]):
            _shorten(event, name, kept)
            line = json.dumps(event)
    return line


def _shorten(event: dict[str, Any], name: str, kept: list[Any]) -> None:
    event[name] = kept
    if name not in event["shortened"]:
        event["shortened"].append(name)


def outcome(refusal: Refusal | None) -> str:
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


def is_personal(key: str) -> bool:
    """Return whether a claim, or what a pointer leads to, may describe a person."""
    path = parse_key(key)
    return any(path[: len(known)] == known or known[: len(path)] == path for known in _PERSONAL_PATHS)


def _pairs(claims: Claims, names: Iterable[str]) -> list[tuple[str, str]]:
    found = ((name, read(claims, name)) for name in names)
    return [
        (_cut(name), _cut(value if isinstance(value, str) else json.dumps(value)))
        for name, value in found
        if value is not None
    ]


def _cut(text: str) -> str:
    """Cut a text that somebody else chose; lone surrogates, which other readers of JSON refuse, become U+FFFD."""
    kept = text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
    return kept.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _now(clock: Clock) -> str:
    return datetime.fromtimestamp(clock.now(), UTC).isoformat(timespec="milliseconds")


def _timestamp(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _list_of(items: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items, "maxItems": MAX_ITEMS}


_TEXT: Final = {"type": "string", "maxLength": MAX_TEXT}
_MAYBE: Final = {"type": ["string", "null"], "maxLength": MAX_TEXT}
_PAIR: Final = {
    "type": "object",
    "properties": {"name": _TEXT, "value": _TEXT},
    "required": ["name", "value"],
    "additionalProperties": False,
}
_STRINGS: Final = _list_of({"type": "string"})

_PROPERTIES: Final[Mapping[str, Any]] = {
    "schema": {"const": SCHEMA_VERSION},
    "kind": {"enum": ["token", "explain"]},
    "time": {"type": "string", "format": "date-time"},
    "outcome": {"enum": ["allow", "deny", "error"]},
    "reason": {"type": ["string", "null"]},
    "request_id": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
    "invocation_id": _TEXT,
    "issuer": {"type": ["string", "null"]},
    "caller": _list_of(_PAIR),
    "claims": _list_of(_PAIR),
    "subject_token_sha256": {"type": ["string", "null"], "pattern": "^[0-9a-f]{64}$"},
    "subject_token_id": _MAYBE,
    "registry": {"type": ["string", "null"]},
    "scope": _STRINGS,
    "granted": {"type": "array", "items": {"type": "string"}},
    "missing": _STRINGS,
    "rules": _STRINGS,
    "audit_rules": _STRINGS,
    "denies": _STRINGS,
    "failed_rules": _list_of(
        {
            "type": "object",
            "properties": {"name": {"type": "string"}, "claims": _list_of(_TEXT)},
            "required": ["name", "claims"],
            "additionalProperties": False,
        }
    ),
    "policy_sha256": {"type": ["string", "null"], "pattern": "^[0-9a-f]{64}$"},
    "token_id": _MAYBE,
    "token_expires_at": {"type": ["string", "null"]},
    "durations_ms": {
        "type": "object",
        "propertyNames": {"enum": ["policy", "verify", "decide", "claim", "mint", "total"]},
        "additionalProperties": {"type": "number", "minimum": 0},
        "required": ["total"],
    },
    "client_address": _TEXT,
    "user_agent": _TEXT,
    "shortened": {"type": "array", "items": {"enum": list(_SHORTENED)}, "uniqueItems": True},
}

AUDIT_SCHEMA: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Audit event of ACR Token Vending",
    "type": "object",
    "properties": _PROPERTIES,
    "required": list(_PROPERTIES),
    "additionalProperties": False,
}

_SECURITY_PROPERTIES: Final[Mapping[str, Any]] = {
    "schema": _PROPERTIES["schema"],
    "kind": {"const": "security"},
    "time": _PROPERTIES["time"],
    "event": {"enum": ["registry_grant_wider"]},
    "request_id": _PROPERTIES["request_id"],
    "invocation_id": _TEXT,
    "details": _list_of(_PAIR),
}

SECURITY_SCHEMA: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Security event of ACR Token Vending",
    "type": "object",
    "properties": _SECURITY_PROPERTIES,
    "required": list(_SECURITY_PROPERTIES),
    "additionalProperties": False,
}
