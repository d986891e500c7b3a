"""Ask a provider's file what its tokens hold: whether it sends a claim, and what the values look like."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vending.oidc.claim_path import ClaimPath, parse_key, write_key
from vending.policy.language.messages import misplaced_key
from vending.policy.lint.codes import Lint, finding

if TYPE_CHECKING:
    from vending.policy.engine.policy import PolicyIssuer
    from vending.policy.language.problems import Finding, Location
    from vending.policy.lint.view import RuleEntry
    from vending.policy.providers.preset import Form, Preset


def form_of(preset: Preset, claim: ClaimPath) -> Form | None:
    """Return what the values of a claim look like; None where they may be anything."""
    known = preset.claims.get(write_key(claim))
    return known.form if known is not None else None


def replacement(preset: Preset, claim: ClaimPath) -> str:
    """Return the immutable claim that says the same as one whose value can change hands; empty where there is none."""
    known = preset.claims.get(write_key(claim))
    return known.instead if known is not None else ""


def is_sent(preset: Preset, claim: ClaimPath) -> bool:
    """Return whether a provider sends a claim; a pointer may lead into a list or to an object on the way."""
    return preset.sends(claim[0]) or any(
        len(known) > 1 and known[: len(claim)] == claim for known in map(parse_key, preset.claims)
    )


def says_all_by_subject(rule: RuleEntry, issuer: PolicyIssuer) -> bool:
    """Return whether the rule is about a form of token that has nothing but `sub` to know a caller by.

    Azure DevOps' service connections have one: `sc://…`, and none of the ids.
    """
    identity = {parse_key(name)[0] for name in issuer.preset.identity}
    bare = [str(s.claims["sub"]) for s in issuer.preset.samples.values() if not identity & set(s.claims)]
    schemes = {subject.partition(":")[0] for subject in bare}
    return bool(schemes) and any(
        clause.pins and clause.claim == ("sub",) and {str(v).partition(":")[0] for v in clause.values} <= schemes
        for clause in rule.clauses
    )


def nearest(preset: Preset, key: str) -> str | None:
    """Return the claim that a name is meant for: one typo away, or written without its prefix."""
    folded = _bare(key)
    for known in preset.claims:
        if folded == _bare(known) or _one_edit_apart(key, known) or key == known.rpartition("/")[2]:
            return known
    return None


def unknown(issuer: PolicyIssuer, claim: ClaimPath, key: str, location: Location, effect: str) -> Finding | None:
    """Report a claim that a provider is not known to send; None where it is known.

    A warning where a known name is one typo away. Else information, which is no mistake: providers add claims.
    """
    preset = issuer.preset
    if is_sent(preset, claim):
        return None
    misplaced = misplaced_key(key, location[-2])
    if misplaced:
        return finding(Lint.UNKNOWN_CLAIM, location, f"{misplaced}; as it is, {effect}", at_key=True)
    meant = nearest(preset, key)
    if meant is not None:
        message = f"tokens of {issuer.name} have no claim {key!r}, so {effect}; did you mean {meant}?"
        return finding(Lint.UNKNOWN_CLAIM, location, message, at_key=True)
    message = (
        f"the claim {key!r} of {issuer.name} is not known to this version (as of {preset.as_of.isoformat()}); where "
        f"tokens lack it, {effect}"
    )
    return finding(Lint.UNKNOWN_CLAIM, location, message, at_key=True, severity="info")


def _bare(name: str) -> str:
    return name.casefold().replace("_", "").replace("-", "")


def _one_edit_apart(one: str, other: str) -> bool:
    """Return whether one letter more, less or other, or two letters swapped, turn one name into the other."""
    short, long = sorted((one, other), key=len)
    start = next((at for at, (a, b) in enumerate(zip(short, long, strict=False)) if a != b), len(short))
    if len(long) > len(short):
        return len(long) == len(short) + 1 and short[start:] == long[start + 1 :]
    swapped = long[start : start + 2][::-1] + long[start + 2 :]
    return short != long and (short[start + 1 :] == long[start + 1 :] or short[start:] == swapped)
