"""Put a denial into words that are safe for the caller: about the caller's own token and request, and nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from vending.acr.scope import render
from vending.errors import CATALOGUE, Reason, quote
from vending.oidc.claim_path import lookup, parse_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vending.acr.scope import Scope
    from vending.oidc.types import Claims
    from vending.policy.engine.decide import RuleHint
    from vending.policy.engine.policy import IssuerRules
    from vending.policy.providers.preset import Preset

MAX_CLAIMS_NAMED: Final = 4
"""A sentence that names more is a list; the trace has them all."""

MAX_SCOPES_NAMED: Final = 4


def describe_no_match(
    reason: Reason, hints: Sequence[RuleHint], rules: IssuerRules, claims: Claims, preset: Preset
) -> str:
    """Say why no rule matched, with the nearest rule that is about the caller, and what the token lacks."""
    if reason is Reason.TRIGGER_REFUSED:
        shown = ", ".join(dict.fromkeys(_value(trigger.key, claims) for trigger in rules.refused))
        return f"Tokens of this trigger are refused unless a rule names it: {shown}."
    return f"No rule of the policy matches this token{_hint(hints, claims)}{_lacking(preset, claims)}."


def describe_denial(reason: Reason, missing: Sequence[Scope], hints: Sequence[RuleHint], claims: Claims) -> str:
    """Say what was not granted, with the nearest rule about the caller that did not match."""
    advice = CATALOGUE[reason].advice
    if not missing:
        return advice
    shown = quote(render(missing[:MAX_SCOPES_NAMED]))
    more = f" and {len(missing) - MAX_SCOPES_NAMED} more" if len(missing) > MAX_SCOPES_NAMED else ""
    if reason is Reason.DENIED_BY_RULE:
        return f"A deny entry of the policy covers {shown}{more}."
    return f"The policy does not grant {shown}{more} to this caller{_hint(hints, claims)}."


def _hint(hints: Sequence[RuleHint], claims: Claims) -> str:
    """Name the rule about the caller that came nearest: with the fewest failed claims, then the first by name."""
    failed = [hint for hint in hints if not hint.matched]
    if not failed:
        return ""
    nearest = min(failed, key=lambda hint: (len(hint.failed_claims), hint.name))
    shown = ", ".join(_value(key, claims) for key in nearest.failed_claims[:MAX_CLAIMS_NAMED])
    more = len(nearest.failed_claims) - MAX_CLAIMS_NAMED
    return f"; the rule {nearest.name} does not match because of {shown}" + (f" and {more} more" if more > 0 else "")


def _lacking(preset: Preset, claims: Claims) -> str:
    """Name the identity claims that a token lacks and could have, and say how its platform adds them."""
    missing = [
        name for name in preset.identity if lookup(claims, parse_key(name)) is None and _is_expected(preset, name)
    ]
    if not missing:
        return ""
    ways = dict.fromkeys(known.obtain for name in missing if (known := preset.claims.get(name)) and known.obtain)
    return f"; the token has no {quote(', '.join(missing))}" + "".join(f": {way}" for way in ways)


def _is_expected(preset: Preset, name: str) -> bool:
    """Return whether every token has the claim, or a job can ask for it; a generic issuer's are what the file says."""
    known = preset.claims.get(name)
    return not preset.claims if known is None else known.always or bool(known.obtain)


def _value(key: str, claims: Claims) -> str:
    """Show a claim with the caller's own value."""
    value = lookup(claims, parse_key(key))
    if value is None:
        return f"{quote(key)} (not in the token)"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=True)
    return f"{quote(key)} ({quote(text)})"
