"""Check the registered claims of a token whose signature holds. Pure: the time comes in, nothing is fetched.

The rules are the table `CHECKS`, run in its order; each check looks at one claim (RFC 7519 section 4.1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from vending.errors import Reason, Refusal, quote

if TYPE_CHECKING:
    from vending.oidc.types import Claims, Issuer

SKEW_SECONDS: Final = 60
"""How far the issuer's clock and ours may differ; more would let an expired token live on for longer than a job step.

A token is good from `nbf - 60 s` (that second included) until `exp + 60 s` (that second excluded), and `iat` may lie
up to 60 s ahead: RFC 7519 sections 4.1.4 to 4.1.6, whose "on or after" and "before" the boundaries keep.
"""

_YEAR_10000: Final = 253_402_300_800
"""The first second that RFC 3339 cannot write; a date beyond it is a mistake, in milliseconds most of the time."""

Check: TypeAlias = Callable[["Claims", "Issuer", float], None]


def check_claims(claims: Claims, issuer: Issuer, now: float) -> None:
    """Refuse the token unless every registered claim holds at `now` (seconds since the epoch).

    Raises `claim_missing`, `claim_invalid`, `issuer_unknown`, `audience_mismatch`, `token_expired`,
    `token_not_yet_valid` or `token_lifetime_too_long`.
    """
    for check in CHECKS.values():
        check(claims, issuer, now)


def _check_issuer(claims: Claims, issuer: Issuer, now: float) -> None:
    if _string(claims, "iss") != issuer.url:
        raise Refusal(Reason.ISSUER_UNKNOWN)


def _check_audience(claims: Claims, issuer: Issuer, now: float) -> None:
    audience = _present(claims, "aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if not all(isinstance(value, str) for value in audiences):
        raise _invalid("aud", "is not a string or a list of strings")
    if not _is_ours(audiences, claims, issuer):
        # A token with further audiences may have been taken from a service that they name, and replayed here.
        raise Refusal(
            Reason.AUDIENCE_MISMATCH,
            f"Ask your platform for a token with the audience {quote(issuer.audience)} and no other; "
            f"this one is for {quote(', '.join(map(str, audiences)) or 'nobody')}.",
        )


def _is_ours(audiences: Sequence[object], claims: Claims, issuer: Issuer) -> bool:
    if issuer.allow_extra_audiences:
        return issuer.audience in audiences
    appended = issuer.extra_audience
    ours = [value for value in audiences if appended is None or not appended.is_of(str(value), claims)]
    return ours == [issuer.audience]


def _check_expiry(claims: Claims, issuer: Issuer, now: float) -> None:
    if now >= _date(claims, "exp") + SKEW_SECONDS:
        raise Refusal(Reason.TOKEN_EXPIRED)


def _check_not_before(claims: Claims, issuer: Issuer, now: float) -> None:
    if "nbf" in claims and now < _date(claims, "nbf") - SKEW_SECONDS:
        raise Refusal(Reason.TOKEN_NOT_YET_VALID)


def _check_issued_at(claims: Claims, issuer: Issuer, now: float) -> None:
    if now < _date(claims, "iat") - SKEW_SECONDS:
        raise Refusal(Reason.TOKEN_NOT_YET_VALID, "The token's iat is in the future; check the clocks, and try again.")


def _check_lifetime(claims: Claims, issuer: Issuer, now: float) -> None:
    lifetime = _date(claims, "exp") - _date(claims, "iat")
    if lifetime <= 0:
        raise _invalid("exp", "is not later than iat")
    if lifetime > issuer.max_token_lifetime:
        raise Refusal(
            Reason.TOKEN_LIFETIME_TOO_LONG,
            f"The token lives for {_duration(lifetime)}; the policy allows {_duration(issuer.max_token_lifetime)} for "
            "its issuer.",
        )


def _duration(seconds: float) -> str:
    """Write a duration as a policy does, in the largest unit that fits."""
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{int(seconds // size)}{unit}"
    return f"{math.ceil(seconds)}s"


def _check_subject(claims: Claims, issuer: Issuer, now: float) -> None:
    if "sub" in claims:
        _string(claims, "sub")


def _check_token_id(claims: Claims, issuer: Issuer, now: float) -> None:
    if issuer.replay == "reuse" and "jti" not in claims:
        return
    if not _string(claims, "jti") and issuer.replay == "once":
        raise _missing("jti")


CHECKS: Final[Mapping[str, Check]] = {
    "iss": _check_issuer,
    "aud": _check_audience,
    "exp": _check_expiry,
    "nbf": _check_not_before,
    "iat": _check_issued_at,
    "exp - iat": _check_lifetime,
    "sub": _check_subject,
    "jti": _check_token_id,
}
"""Claim → check, in the order in which they run."""


def _present(claims: Claims, name: str) -> object:
    if name not in claims:
        raise _missing(name)
    return claims[name]


def _string(claims: Claims, name: str) -> str:
    value = _present(claims, name)
    if not isinstance(value, str):
        raise _invalid(name, "is not a string")
    return value


def _date(claims: Claims, name: str) -> float:
    """Read a NumericDate (RFC 7519 section 2): seconds, whole or not; a boolean is no number."""
    value = _present(claims, name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _invalid(name, "is not a number of seconds")
    if not math.isfinite(value) or not 0 <= value < _YEAR_10000:
        raise _invalid(name, "is not a date in seconds since 1970")
    return value


def _missing(name: str) -> Refusal:
    return Refusal(Reason.CLAIM_MISSING, f"The token has no {name} claim; use a token that carries it.")


def _invalid(name: str, what: str) -> Refusal:
    return Refusal(Reason.CLAIM_INVALID, f"The token's {name} claim {what}; use the platform's OIDC token unchanged.")
