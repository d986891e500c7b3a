"""Ask a provider's file what its tokens hold: whether it sends a claim, and what the values look like."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from vending.oidc.claim_path import ClaimPath, parse_key

if TYPE_CHECKING:
    from vending.policy.engine.policy import PolicyIssuer
    from vending.policy.providers.preset import Form, Preset

_IN_EVERY_TOKEN: Final = frozenset({"aud", "exp", "iat", "iss", "jti", "nbf"})
"""Claims that verification has judged already; a rule has no use for them."""


def form_of(preset: Preset, claim: ClaimPath) -> Form | None:
    """Return what the values of a claim look like; None where they may be anything."""
    known = preset.claims.get(written(claim))
    return known.form if known is not None else None


def replacement(preset: Preset, claim: ClaimPath) -> str:
    """Return the immutable claim that says the same as one whose value can change hands; empty where there is none."""
    known = preset.claims.get(written(claim))
    return known.instead if known is not None else ""


def is_sent(preset: Preset, claim: ClaimPath) -> bool:
    """Tell whether a provider sends a claim; a pointer may lead into a list or to an object on the way."""
    return preset.sends(claim[0]) or any(
        len(known) > 1 and known[: len(claim)] == claim for known in map(parse_key, preset.claims)
    )


def not_sent(issuer: PolicyIssuer, key: str, effect: str) -> str:
    """Say that an issuer does not send a claim, what follows, and what to write instead."""
    known = issuer.preset.claims
    close = get_close_matches(key, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(known.keys() - _IN_EVERY_TOKEN))}"
    return f"tokens of {issuer.name} have no claim {key!r}, so {effect}; {hint}"


def written(claim: ClaimPath) -> str:
    """Write a claim as the tables of presets do."""
    return claim[0] if len(claim) == 1 else "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in claim)
