"""What an audit event and a security event look like: their fields, in the order in which they are written.

`docs/operations.md` documents them. `AUDIT_SCHEMA` and `SECURITY_SCHEMA` are built when somebody asks for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Final, Literal, TypeAlias

from vending.shapes import Keywords, schema_of

SCHEMA_VERSION: Final = 1
MAX_TEXT: Final = 256
"""Characters kept of any value that a caller controls, but for those that decided."""
MAX_ITEMS: Final = 128
"""Entries kept of any list; as many as a request may have scopes."""

SHORTENED: Final = (
    "failed_rules",
    "audit_rules",
    "claims",
    "scope",
    "missing",
    "rules",
    "job",
    "denies",
    "absent",
    "withheld",
    "decided_on",
    "granted",
    "caller",
)
"""What gives up entries when an event is too long for one line, the most dispensable first. `granted` and `missing`
together say what was asked for, should `scope` be short of it."""

Kind: TypeAlias = Literal["token", "explain"]
Outcome: TypeAlias = Literal["allow", "deny", "error"]

_Version: TypeAlias = Annotated[int, Keywords({"const": SCHEMA_VERSION})]
_Text: TypeAlias = Annotated[str, Keywords({"maxLength": MAX_TEXT})]
_MaybeText: TypeAlias = Annotated[str | None, Keywords({"type": ["string", "null"], "maxLength": MAX_TEXT})]
_Time: TypeAlias = Annotated[str, Keywords({"format": "date-time"})]
_RequestId: TypeAlias = Annotated[str, Keywords({"pattern": "^[A-Za-z0-9._-]{1,64}$"})]
_Digest: TypeAlias = Annotated[str | None, Keywords({"type": ["string", "null"], "pattern": "^[0-9a-f]{64}$"})]
_FEW: Final = Keywords({"maxItems": MAX_ITEMS})
_STEPS: Final = ("policy", "verify", "decide", "claim", "mint", "total")
_DURATIONS: Final = Keywords(
    {
        "propertyNames": {"enum": list(_STEPS)},
        "additionalProperties": {"type": "number", "minimum": 0},
        "required": ["total"],
    }
)


@dataclass(frozen=True, slots=True)
class Pair:
    """A claim, or another named value, as text."""

    name: _Text
    value: _Text


@dataclass(frozen=True, slots=True)
class FailedRule:
    """A rule about the caller that did not match, with the claims whose conditions did not hold."""

    name: str
    claims: Annotated[list[_Text], _FEW]


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One `/token` or `/explain` request. `decided_on` is None where no decision was reached."""

    schema: _Version
    kind: Kind
    time: _Time
    outcome: Outcome
    reason: str | None
    request_id: _RequestId
    invocation_id: _Text
    issuer: str | None
    caller: Annotated[list[Pair], _FEW]
    job: dict[str, Any]
    claims: Annotated[list[Pair], _FEW]
    decided_on: dict[str, Any] | None
    absent: list[str]
    withheld: list[str]
    subject_token_sha256: _Digest
    subject_token_id: _MaybeText
    registry: str | None
    scope: Annotated[list[str], _FEW]
    granted: list[str]
    missing: Annotated[list[str], _FEW]
    rules: Annotated[list[str], _FEW]
    audit_rules: Annotated[list[str], _FEW]
    denies: Annotated[list[str], _FEW]
    failed_rules: Annotated[list[FailedRule], _FEW]
    policy_sha256: _Digest
    token_id: _MaybeText
    token_expires_at: str | None
    durations_ms: Annotated[dict[str, float], _DURATIONS]
    client_address: _Text
    user_agent: _Text
    shortened: Annotated[list[str], Keywords({"items": {"enum": list(SHORTENED)}, "uniqueItems": True})]


@dataclass(frozen=True, slots=True)
class SecurityEvent:
    """Something that an operator must look at, beside the request's own event."""

    schema: _Version
    kind: Literal["security"]
    time: _Time
    event: Literal["registry_grant_wider"]
    request_id: _RequestId
    invocation_id: _Text
    details: Annotated[list[Pair], _FEW]


def __getattr__(name: str) -> dict[str, Any]:
    if name not in {"AUDIT_SCHEMA", "SECURITY_SCHEMA"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _schema(name)


@cache
def _schema(name: str) -> dict[str, Any]:
    shape, what = (AuditEvent, "Audit") if name == "AUDIT_SCHEMA" else (SecurityEvent, "Security")
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"{what} event of ACR Token Vending"}
    return {**head, **schema_of(shape, closed=True)}
