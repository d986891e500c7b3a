"""The catalogue of refusals: every reason with its HTTP status, OAuth error code and standing advice.

Knows nothing of HTTP frameworks or of where a refusal comes from. `docs/errors.md` explains the same reasons to
people, and a test holds the two together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class Reason(StrEnum):
    """Name one situation in which a request is refused; stable, and part of the public interface."""

    MALFORMED_REQUEST = "malformed_request"
    DUPLICATE_PARAMETER = "duplicate_parameter"
    MISSING_PARAMETER = "missing_parameter"
    CONFLICTING_TOKENS = "conflicting_tokens"
    UNSUPPORTED_TOKEN_TYPE = "unsupported_token_type"
    BODY_TOO_LARGE = "body_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    NOT_FOUND = "not_found"
    UNSUPPORTED_GRANT_TYPE = "unsupported_grant_type"

    TOKEN_MALFORMED = "token_malformed"
    TOKEN_TOO_LARGE = "token_too_large"
    ISSUER_UNKNOWN = "issuer_unknown"
    ISSUER_DISABLED = "issuer_disabled"
    ALGORITHM_NOT_ALLOWED = "algorithm_not_allowed"
    KEY_UNKNOWN = "key_unknown"
    SIGNATURE_INVALID = "signature_invalid"
    AUDIENCE_MISMATCH = "audience_mismatch"
    TOKEN_EXPIRED = "token_expired"
    TOKEN_NOT_YET_VALID = "token_not_yet_valid"
    TOKEN_LIFETIME_TOO_LONG = "token_lifetime_too_long"
    CLAIM_MISSING = "claim_missing"
    CLAIM_INVALID = "claim_invalid"
    TOKEN_REPLAYED = "token_replayed"

    NO_MATCHING_RULE = "no_matching_rule"
    TRIGGER_REFUSED = "trigger_refused"

    MALFORMED_SCOPE = "malformed_scope"
    WILDCARD_SCOPE = "wildcard_scope"
    TOO_MANY_SCOPES = "too_many_scopes"
    SCOPE_NOT_ENUMERABLE = "scope_not_enumerable"
    SCOPE_NOT_GRANTED = "scope_not_granted"
    DENIED_BY_RULE = "denied_by_rule"

    REGISTRY_REQUIRED = "registry_required"
    UNKNOWN_REGISTRY = "unknown_registry"
    MULTIPLE_REGISTRIES = "multiple_registries"

    RATE_LIMITED = "rate_limited"

    REGISTRY_REFUSED = "registry_refused"
    REGISTRY_GRANT_NARROWER = "registry_grant_narrower"
    REGISTRY_GRANT_WIDER = "registry_grant_wider"
    REGISTRY_RESPONSE_INVALID = "registry_response_invalid"
    IDENTITY_REFUSED = "identity_refused"

    MISCONFIGURED = "misconfigured"
    POLICY_UNAVAILABLE = "policy_unavailable"
    ISSUER_KEYS_UNAVAILABLE = "issuer_keys_unavailable"
    IDENTITY_UNAVAILABLE = "identity_unavailable"
    REGISTRY_UNAVAILABLE = "registry_unavailable"
    REGISTRY_THROTTLED = "registry_throttled"
    REPLAY_STORE_UNAVAILABLE = "replay_store_unavailable"

    DEADLINE_EXCEEDED = "deadline_exceeded"
    INTERNAL_ERROR = "internal_error"


@dataclass(frozen=True, slots=True)
class Entry:
    """Hold what a reason means on the wire: HTTP status, OAuth `error` code, and the sentence said by default."""

    status: int
    error: str
    advice: str
    about_token: bool = False
    """The subject token itself is unacceptable: 401 where it came in the Authorization header (RFC 6750 section 3)."""


def _token(advice: str) -> Entry:
    # RFC 8693 section 2.2.2: an unacceptable subject token is `invalid_request`.
    return Entry(400, "invalid_request", advice, about_token=True)


CATALOGUE: Final[Mapping[Reason, Entry]] = {
    Reason.MALFORMED_REQUEST: Entry(400, "invalid_request", "Send the parameters as one well-formed form body."),
    Reason.DUPLICATE_PARAMETER: Entry(400, "invalid_request", "Send each parameter once."),
    Reason.MISSING_PARAMETER: Entry(400, "invalid_request", "Add the missing parameter."),
    Reason.CONFLICTING_TOKENS: Entry(
        400, "invalid_request", "Send one subject token, either in the body or in the Authorization header."
    ),
    Reason.UNSUPPORTED_TOKEN_TYPE: Entry(400, "invalid_request", "Use a token type that this service supports."),
    Reason.BODY_TOO_LARGE: Entry(413, "invalid_request", "Send a body of at most 64 KiB."),
    Reason.UNSUPPORTED_MEDIA_TYPE: Entry(
        415, "invalid_request", "Send Content-Type: application/x-www-form-urlencoded."
    ),
    Reason.METHOD_NOT_ALLOWED: Entry(405, "invalid_request", "Use a method that the Allow header names."),
    Reason.NOT_FOUND: Entry(
        404, "invalid_request", "There is nothing at this path; /openapi.json lists what there is."
    ),
    Reason.UNSUPPORTED_GRANT_TYPE: Entry(
        400, "unsupported_grant_type", "Use grant_type urn:ietf:params:oauth:grant-type:token-exchange."
    ),
    Reason.TOKEN_MALFORMED: _token("Send the platform's OIDC token unchanged, as a signed compact JWT."),
    Reason.TOKEN_TOO_LARGE: _token(
        "Send a subject token of at most 16 KiB: ask for fewer claims, or run the job as a user in fewer groups."
    ),
    Reason.ISSUER_UNKNOWN: _token("Use a token of an issuer that the policy lists."),
    Reason.ISSUER_DISABLED: _token("The operator has switched this issuer off; ask them."),
    Reason.ALGORITHM_NOT_ALLOWED: _token("Use a token signed with an algorithm that the policy allows for its issuer."),
    Reason.KEY_UNKNOWN: _token("The issuer publishes no usable key for this token; get a fresh token and try again."),
    Reason.SIGNATURE_INVALID: _token("The signature does not verify; send the platform's token unchanged."),
    Reason.AUDIENCE_MISMATCH: _token("Ask your platform for a token with this service's audience, and no other."),
    Reason.TOKEN_EXPIRED: _token("Ask your platform for a fresh token."),
    Reason.TOKEN_NOT_YET_VALID: _token("The token is not valid yet; check the clocks, and try again."),
    Reason.TOKEN_LIFETIME_TOO_LONG: _token("Ask your platform for a shorter-lived token."),
    Reason.CLAIM_MISSING: _token("Use a token that has the missing claim."),
    Reason.CLAIM_INVALID: _token("Use a token whose claims have the types that RFC 7519 gives them."),
    Reason.TOKEN_REPLAYED: _token(
        "This token has already been used; ask your platform for a fresh one for each request."
    ),
    Reason.NO_MATCHING_RULE: Entry(400, "invalid_request", "No rule of the policy matches this token."),
    Reason.TRIGGER_REFUSED: Entry(
        400, "invalid_request", "Tokens of this trigger are refused unless a rule names the trigger itself."
    ),
    Reason.MALFORMED_SCOPE: Entry(
        400, "invalid_scope", "Write each scope as repository:<name>:<action>[,<action>] or registry:catalog:*."
    ),
    Reason.WILDCARD_SCOPE: Entry(400, "invalid_scope", "Name each repository and action; wildcards are refused."),
    Reason.TOO_MANY_SCOPES: Entry(400, "invalid_scope", "Ask for fewer scopes in one request."),
    Reason.SCOPE_NOT_ENUMERABLE: Entry(
        400, "invalid_scope", "Your rules grant patterns only, so name the repositories you want in scope."
    ),
    Reason.SCOPE_NOT_GRANTED: Entry(400, "invalid_scope", "The policy does not grant all of this to the caller."),
    Reason.DENIED_BY_RULE: Entry(400, "invalid_scope", "A deny entry of the policy covers what was asked for."),
    Reason.REGISTRY_REQUIRED: Entry(
        400, "invalid_target", "The policy has several registries; name one with audience or resource."
    ),
    Reason.UNKNOWN_REGISTRY: Entry(400, "invalid_target", "Name a registry that the policy lists."),
    Reason.MULTIPLE_REGISTRIES: Entry(400, "invalid_target", "Name one registry in each request."),
    Reason.RATE_LIMITED: Entry(
        429, "temporarily_unavailable", "Too many requests by this caller; wait as long as Retry-After says."
    ),
    Reason.REGISTRY_REFUSED: Entry(
        502, "server_error", "The registry refused the service's identity; the operator must check its role assignment."
    ),
    Reason.REGISTRY_GRANT_NARROWER: Entry(
        502, "server_error", "The registry granted less than the policy; the operator must give the identity the role."
    ),
    Reason.REGISTRY_GRANT_WIDER: Entry(
        502, "server_error", "The registry granted more than was asked for; nothing was handed out."
    ),
    Reason.REGISTRY_RESPONSE_INVALID: Entry(502, "server_error", "The registry's answer could not be understood."),
    Reason.IDENTITY_REFUSED: Entry(
        502, "server_error", "The service's identity was refused; the operator must check the identity's settings."
    ),
    Reason.MISCONFIGURED: Entry(
        503,
        "temporarily_unavailable",
        "The service is not set up correctly; tell its operator, whose log says what is wrong.",
    ),
    Reason.POLICY_UNAVAILABLE: Entry(
        503, "temporarily_unavailable", "The service has no policy in force; try again, and tell its operator."
    ),
    Reason.ISSUER_KEYS_UNAVAILABLE: Entry(
        503, "temporarily_unavailable", "The issuer's keys cannot be read right now; try again later."
    ),
    Reason.IDENTITY_UNAVAILABLE: Entry(
        503, "temporarily_unavailable", "The service's identity provider does not answer; try again later."
    ),
    Reason.REGISTRY_UNAVAILABLE: Entry(
        503, "temporarily_unavailable", "The registry does not answer; try again later."
    ),
    Reason.REGISTRY_THROTTLED: Entry(503, "temporarily_unavailable", "The registry is throttling; try again later."),
    Reason.REPLAY_STORE_UNAVAILABLE: Entry(
        503, "temporarily_unavailable", "The replay store does not answer; try again later."
    ),
    Reason.DEADLINE_EXCEEDED: Entry(504, "temporarily_unavailable", "The request took too long; try again."),
    Reason.INTERNAL_ERROR: Entry(
        500, "server_error", "An unexpected error occurred; tell the operator the request_id."
    ),
}

_UNPRINTABLE = re.compile(r"[^\x20\x21\x23-\x5B\x5D-\x7E]")
_CLAIM_VALUE_LIMIT: Final = 128


def printable(text: str) -> str:
    """Replace every character that RFC 6749 section 5.2 keeps out of `error_description` by `?`."""
    return _UNPRINTABLE.sub("?", text)


def quote(value: object) -> str:
    """Show a claim's value to its own caller: cut to 128 characters, printable."""
    text = value if isinstance(value, str) else str(value)
    return printable(text[:_CLAIM_VALUE_LIMIT])


class Refusal(Exception):
    """Refuse a request with a reason of the catalogue.

    `description` is one sentence for the caller (default: the catalogue's advice); `missing` lists the scopes that were
    not granted; `retry_after` is in seconds. The text never holds a token or another caller's data.
    """

    alert: Mapping[str, str] | None = None
    """What an operator must look at, for a security event; its fields are for the operator alone."""

    def __init__(
        self,
        reason: Reason,
        description: str | None = None,
        *,
        missing: tuple[str, ...] | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.reason = reason
        self.entry = CATALOGUE[reason]
        self.description = printable(description or self.entry.advice)
        self.missing = missing
        self.retry_after = retry_after
        super().__init__(f"{reason.value}: {self.description}")
