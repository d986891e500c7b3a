"""The values that verification passes along, one type for each degree of trust. No behaviour.

`RawToken` → `PeekedToken` → `VerifiedClaims`: a later stage accepts only what the stage before it produced, so a value
that nobody verified cannot reach a decision (mypy proves it).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NewType, TypeAlias

JsonValue: TypeAlias = "bool | int | float | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
Claims: TypeAlias = Mapping[str, JsonValue]

RawToken = NewType("RawToken", str)
"""A subject token exactly as it came in; nothing about it is known. Never log it."""


@dataclass(frozen=True, slots=True)
class PeekedToken:
    """Hold a well-formed token whose signature nobody has checked: good for finding the issuer, for nothing else."""

    raw: RawToken = field(repr=False)
    header: Claims = field(repr=False)
    unverified_claims: Claims = field(repr=False)
    issuer: str
    """The `iss` claim as the token states it."""


@dataclass(frozen=True, slots=True)
class VerifiedClaims:
    """Hold the claims of a token that passed every check of its issuer; the only claims that a decision accepts."""

    issuer: str
    """The issuer's name in the policy."""
    claims: Claims = field(repr=False)

    @property
    def expires_at(self) -> float:
        """The `exp` claim, in seconds since the epoch."""
        value = self.claims["exp"]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError("a verified token has a numeric exp")
        return float(value)

    @property
    def token_id(self) -> str | None:
        """The `jti` claim; None where a token that may be used again has none."""
        value = self.claims.get("jti")
        return value if isinstance(value, str) else None


@dataclass(frozen=True, slots=True)
class AppendedAudience:
    """Describe what a platform appends to the audience that a job asks for: the tenant, as a claim has it too.

    `pattern` matches the whole of it; its group `tenant` must equal the claim `claim`, but for braces and case.
    """

    pattern: re.Pattern[str]
    claim: str

    def is_of(self, audience: str, claims: Claims) -> bool:
        """Return whether this audience was appended for the tenant of these claims; never where that is not known."""
        found = self.pattern.fullmatch(audience)
        tenant = claims.get(self.claim)
        return found is not None and isinstance(tenant, str) and tenant.strip("{}").lower() == found["tenant"].lower()


Replay: TypeAlias = Literal["once", "reuse"]


@dataclass(frozen=True, slots=True)
class Issuer:
    """Say what verification must know about one trusted issuer; built from the policy.

    `url` is compared with `iss` character by character; `max_token_lifetime` is in seconds. With `static_keys` (a JWK
    set, RFC 7517 section 5, already parsed as JSON) nothing is ever fetched. `ca_pem` replaces the public certificate
    authorities for this issuer alone. `extra_audience` is what the platform appends to the audience that a job
    asks for, which is accepted beside ours and never instead of it.
    """

    name: str
    url: str
    audience: str
    algorithms: frozenset[str]
    max_token_lifetime: int
    replay: Replay
    enabled: bool = True
    allow_extra_audiences: bool = False
    extra_audience: AppendedAudience | None = None
    static_keys: Claims | None = field(default=None, repr=False)
    ca_pem: str | None = field(default=None, repr=False)
