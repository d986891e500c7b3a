"""The bodies of all answers, as they are written: http.py fills them in, and /openapi.json is made of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, TypeAlias

from vending import shapes
from vending.errors import CATALOGUE
from vending.request import ACCESS_TOKEN_TYPE, GRANT_TYPE
from vending.shapes import Keywords


def _says(description: str, **keywords: Any) -> Keywords:
    return Keywords({"description": description, **keywords})


_ERRORS: Final = Keywords({"enum": sorted({entry.error for entry in CATALOGUE.values()})})
_REASONS: Final = Keywords({"enum": [reason.value for reason in CATALOGUE]})
_NotNegative: TypeAlias = Annotated[int, Keywords({"minimum": 0})]


@dataclass(frozen=True, slots=True)
class Token:
    """What `/token` answers (RFC 8693 section 2.2.1)."""

    access_token: Annotated[str, _says("The registry token.")] = field(repr=False)
    issued_token_type: Annotated[str, Keywords({"const": ACCESS_TOKEN_TYPE})]
    token_type: Literal["Bearer"]
    expires_in: Annotated[int, _says("Seconds from now.", minimum=0)]
    expires_at: Annotated[str, Keywords({"format": "date-time"})]
    scope: str
    registry: Annotated[str, _says("The login server.")]
    hosts: Annotated[list[str], Keywords({"minItems": 1})]
    username: Annotated[str, _says("Goes with the token where a client wants a password.")]
    rules: list[str]
    token_id: Annotated[str, _says("The jti of the vended token.")]
    request_id: str


@dataclass(frozen=True, slots=True)
class ExplainedRule:
    """A rule about the caller, and the claims whose conditions do not hold."""

    name: str
    matched: bool
    failed_claims: list[str]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What `/explain` answers: a decision on the caller's own token."""

    allowed: bool
    registry: str
    scope: str
    granted: list[str]
    missing: list[str]
    reason: str | None
    error_description: str | None
    rules: list[ExplainedRule]
    claims: dict[str, Any]
    request_id: str


@dataclass(frozen=True, slots=True)
class Error:
    """What every refusal answers (RFC 6749 section 5.2). Fields without a value are left out."""

    error: Annotated[str, _ERRORS]
    error_description: str
    reason: Annotated[str, _REASONS]
    request_id: str
    error_uri: Annotated[str | None, _says("Where the reason is explained.", type="string", format="uri")] = None
    missing: Annotated[list[str] | None, _says("For a decision: the scopes that were not granted.")] = None


@dataclass(frozen=True, slots=True)
class Metadata:
    """Authorization server metadata (RFC 8414), and the audience that callers ask their CI for."""

    issuer: str
    token_endpoint: str
    audience: Annotated[str, _says("The aud to ask the CI platform for.")]
    grant_types_supported: Annotated[tuple[str, ...], Keywords({"const": [GRANT_TYPE]})] = (GRANT_TYPE,)
    token_endpoint_auth_methods_supported: Annotated[tuple[str, ...], Keywords({"const": ["none"]})] = ("none",)
    response_types_supported: Annotated[tuple[str, ...], Keywords({"const": ["none"]})] = ("none",)


@dataclass(frozen=True, slots=True)
class Health:
    """What `/healthz` answers."""

    status: Literal["ok"] = "ok"


@dataclass(frozen=True, slots=True)
class Readiness:
    """What `/readyz` answers; where no policy is in force, with `reason` and `error`."""

    sha256: Annotated[str | None, _says("SHA-256 of the policy in force, in hex.")]
    version: Annotated[str, _says("Version of the app.")]
    age_seconds: Annotated[float | None, _says("Time since the source last confirmed the policy.")]
    source: Literal["file", "blob"]
    replay_store: Literal["memory", "table"]
    issuers_in_trouble: _NotNegative
    reload_failure: Annotated[
        Literal["unreachable", "refused", "invalid"] | None,
        _says("Why the last reload of the policy failed; null if it succeeded."),
    ]


@dataclass(frozen=True, slots=True)
class Unreadiness(Readiness):
    """What `/readyz` answers where no policy is in force."""

    reason: str
    error: str


def written(body: Any) -> dict[str, Any]:
    """Return a body as what is written as JSON."""
    fields = shapes.written(body)
    if isinstance(body, Error):
        return {name: value for name, value in fields.items() if value is not None}
    return fields
