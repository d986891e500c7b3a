"""The audit log: exactly one event for each `/token` or `/explain` request whose shape was accepted.

An event is one line of JSON, the text of a log record of the logger `vending.audit`: the Functions host forwards
nothing else. `docs/operations.md` documents the fields; `AUDIT_SCHEMA` is their JSON Schema. Tokens are named by
digest or id, never quoted.
"""

from __future__ import annotations

import hashlib
import json
import logging
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from vending.acr.scope import Scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from vending.clock import Clock
    from vending.errors import Refusal
    from vending.oidc.types import Claims, RawToken

log = logging.getLogger("vending.audit")

SCHEMA_VERSION: Final = 1
MAX_TEXT: Final = 256
"""Characters kept of any value that a caller controls."""
MAX_ITEMS: Final = 128
"""Entries kept of any list that a caller controls; as many as a request may have scopes."""

PERSONAL_CLAIMS: Final = frozenset(
    {
        "actor",
        "email",
        "family_name",
        "given_name",
        "name",
        "nickname",
        "preferred_username",
        "unique_name",
        "upn",
        "user_email",
        "user_identities",
        "user_login",
        "username",
    }
)
"""Claims that name a person; left out of events unless the policy's `audit.claims` lists them."""

Kind = Literal["token", "explain"]


@dataclass(slots=True)
class Trail:
    """Collect what happens to one request, then write it down once.

    Lists are of plain strings; `durations` are milliseconds by step.
    """

    kind: Kind
    clock: Clock
    request_id: str
    invocation_id: str = ""
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

    def subject(self, token: RawToken) -> None:
        """Name the subject token by its SHA-256, in hex."""
        self.subject_token_sha256 = hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()

    def identify(self, claims: Claims, identity_claims: Iterable[str], listed: Iterable[str], read: Any) -> None:
        """Record the caller's identity claims, and those that the policy lists.

        `read` resolves a claim's name or JSON Pointer. Claims that name a person are recorded only if they are listed.
        """
        wanted = list(listed)
        self.caller = _pairs(claims, [name for name in identity_claims if name not in PERSONAL_CLAIMS], read)
        self.claims = _pairs(claims, wanted, read)
        token_id = claims.get("jti")
        self.subject_token_id = _cut(token_id) if isinstance(token_id, str) else None

    def asked(self, scopes: tuple[Scope, ...] | None) -> None:
        """Record what was asked for; nothing where the caller left the choice to the policy."""
        self.scope = [str(scope) for scope in scopes or ()]

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time one step of the work."""
        start = self.clock.monotonic()
        try:
            yield
        finally:
            self.durations[name] = self.durations.get(name, 0.0) + (self.clock.monotonic() - start) * 1000

    def event(self, refusal: Refusal | None) -> dict[str, Any]:
        """Build the event, in the order in which its fields are written."""
        return {
            "schema": SCHEMA_VERSION,
            "kind": self.kind,
            "time": datetime.fromtimestamp(self.clock.now(), UTC).isoformat(timespec="milliseconds"),
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
            "scope": self.scope[:MAX_ITEMS],
            "granted": self.granted[:MAX_ITEMS],
            "missing": self.missing[:MAX_ITEMS],
            "rules": self.rules[:MAX_ITEMS],
            "audit_rules": self.audit_rules[:MAX_ITEMS],
            "denies": self.denies[:MAX_ITEMS],
            "failed_rules": [{"name": name, "claims": claims} for name, claims in self.failed_rules[:MAX_ITEMS]],
            "policy_sha256": self.policy_sha256,
            "token_id": None if self.token_id is None else _cut(self.token_id),
            "token_expires_at": _timestamp(self.token_expires_at),
            "durations_ms": {name: round(value, 3) for name, value in self.durations.items()},
            "client_address": _cut(self.client_address),
            "user_agent": _cut(self.user_agent),
        }

    def write(self, refusal: Refusal | None) -> dict[str, Any]:
        """Write the event to the audit log and return it; call it once for each request."""
        event = self.event(refusal)
        log.info("%s", json.dumps(event))
        return event


def outcome(refusal: Refusal | None) -> str:
    """Name a request's outcome: `allow`, `deny` (the caller must change something), or `error` (we must)."""
    if refusal is None:
        return "allow"
    return "error" if refusal.entry.status >= 500 else "deny"


def security_event(what: str, **fields: str | None) -> None:
    """Write an event that an operator must look at, beside the request's own."""
    event = {"schema": SCHEMA_VERSION, "kind": "security", "event": what, **fields}
    log.error("%s", json.dumps(event))


def client_address(forwarded_for: str) -> str:
    """Take the right-most entry of `X-Forwarded-For`, the only one that the platform itself wrote; drop its port."""
    last = forwarded_for.rpartition(",")[2].strip()
    if last.startswith("["):
        return last[1:].partition("]")[0]
    host, colon, port = last.rpartition(":")
    return host if colon and port.isdigit() and ":" not in host else last


def _pairs(claims: Claims, names: Iterable[str], read: Any) -> list[tuple[str, str]]:
    found = ((name, read(claims, name)) for name in names)
    texts = (
        (name, value if isinstance(value, str) else json.dumps(value)) for name, value in found if value is not None
    )
    return [(name, _cut(text)) for name, text in texts]


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def _timestamp(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _list_of(items: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items, "maxItems": MAX_ITEMS}


_TEXT: Final = {"type": "string", "maxLength": MAX_TEXT}
_MAYBE: Final = {"type": ["string", "null"], "maxLength": MAX_TEXT}
_PAIR: Final = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "value": _TEXT},
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
    "granted": _STRINGS,
    "missing": _STRINGS,
    "rules": _STRINGS,
    "audit_rules": _STRINGS,
    "denies": _STRINGS,
    "failed_rules": _list_of(
        {
            "type": "object",
            "properties": {"name": {"type": "string"}, "claims": {"type": "array", "items": {"type": "string"}}},
            "required": ["name", "claims"],
            "additionalProperties": False,
        }
    ),
    "policy_sha256": {"type": ["string", "null"], "pattern": "^[0-9a-f]{64}$"},
    "token_id": _MAYBE,
    "token_expires_at": {"type": ["string", "null"]},
    "durations_ms": {"type": "object", "additionalProperties": {"type": "number", "minimum": 0}},
    "client_address": _TEXT,
    "user_agent": _TEXT,
}

AUDIT_SCHEMA: Final[Mapping[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Audit event of ACR Token Vending",
    "type": "object",
    "properties": _PROPERTIES,
    "required": list(_PROPERTIES),
    "additionalProperties": False,
}
