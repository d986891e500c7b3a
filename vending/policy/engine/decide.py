"""Decide what a caller may do: pure, deterministic, and the only evaluator there is.

Union, default deny, deny wins: a request is granted when every repository and action is granted by some enforced,
unexpired, enabled rule whose conditions hold, and no deny entry whose conditions hold covers it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from vending.acr.scope import CATALOG, Scope, repository
from vending.errors import Reason
from vending.policy.engine.conditions import MANY, with_long_lists
from vending.policy.engine.granting import MAX_LISTED, Asked, Gift, Losses, gifts, has_patterns
from vending.policy.engine.hints import describe, hints
from vending.policy.engine.matching import active_triggers, deny_holds, is_exempt, is_in_force, rule_holds

if TYPE_CHECKING:
    from collections.abc import Sequence, Set

    from vending.oidc.types import Claims, VerifiedClaims
    from vending.policy.engine.hints import RuleHint
    from vending.policy.engine.pattern_index import PatternIndex
    from vending.policy.engine.policy import Deny, IssuerRules, Policy, Rule


_NOTHING: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Decision:
    """Say what is granted, and why not more.

    `granted` and `missing` split what was asked for; `granted` is what was found where nothing was asked for.
    `description` is safe to show to the caller. `rules` are the enforced rules that contributed, `audit_rules` those
    in audit mode that would have, `denies` the entries that took something away; all sorted, for the audit log only.
    """

    allowed: bool
    registry: str
    granted: tuple[Scope, ...]
    missing: tuple[Scope, ...] = ()
    reason: Reason | None = None
    description: str = ""
    rules: tuple[str, ...] = ()
    audit_rules: tuple[str, ...] = ()
    denies: tuple[str, ...] = ()
    hints: tuple[RuleHint, ...] = ()


class Matched(NamedTuple):
    """The rules that match, and whether one that is enforced only failed to because of a refused trigger."""

    enforced: list[Rule]
    audit: list[Rule]
    triggers: frozenset[int]
    refused: bool


class Evaluation(NamedTuple):
    """What the three steps found: the rules that match, what they grant, and what denies take away of that.

    `denies` are the names of the entries that took something away. `given` is what rules grant, `left` what remains;
    both by repository (None: the catalog). `overflows` says that more is left than one request may ask for; then not
    all was looked at.
    """

    registry: str
    asked: Asked | None
    matched: Matched
    gifts: list[Gift]
    denies: Set[str]
    given: dict[str | None, set[str]]
    left: dict[str | None, set[str]]
    overflows: bool


def decide(
    policy: Policy, claims: VerifiedClaims, registry: str, scopes: tuple[Scope, ...] | None, now: float
) -> Decision:
    """Decide a request for scopes in a registry (by its name in the policy); None asks for all that can be listed.

    `now` is in seconds since the epoch. Hints are filled in for denials only.
    """
    return conclude(policy, claims, evaluate(policy, claims, registry, scopes, now), now)


def evaluate(
    policy: Policy, claims: VerifiedClaims, registry: str, scopes: tuple[Scope, ...] | None, now: float
) -> Evaluation:
    """Find which rules match, what they grant, and what denies take away. Takes what `decide` takes."""
    rules = policy.rules[claims.issuer]
    matched = _match(rules, claims.claims, now)
    asked = None if scopes is None else Asked(scopes)
    given: dict[str | None, set[str]] = {}
    given_by: list[Gift] = []
    counted: set[int] = set()
    for rule in matched.enforced:
        for gift in gifts(rule, registry, asked, claims.claims):
            given_by.append(gift)
            if id(gift.gives) in counted:
                continue
            counted.add(id(gift.gives))
            for name, actions in gift.gives.items():
                known = given.get(name)
                if known is None:
                    given[name] = set(actions)
                else:
                    known.update(actions)
        if asked is None and len(given) > MAX_LISTED:
            return Evaluation(registry, asked, matched, given_by, _NOTHING, given, given, overflows=True)
    denies = denies_in_force(rules, claims.claims, registry, now) if given and rules.denies else ()
    limit = policy.limits.max_scopes if asked is None else len(given)
    taken, left = _take_away(given, denies, rules.denied_names, limit) if denies else (_NOTHING, given)
    return Evaluation(registry, asked, matched, given_by, taken, given, left, overflows=len(left) > limit)


# --- Which rules match ------------------------------------------------------------------------------------------------


def _match(rules: IssuerRules, claims: Claims, now: float) -> Matched:
    triggers = active_triggers(rules, claims)
    enforced: list[Rule] = []
    audit: list[Rule] = []
    refused = False
    candidates = rules.by_condition.candidates(claims)
    if len(candidates) > MANY:
        claims = with_long_lists(claims)
    for rule in candidates:
        span = rule.span
        if not span.start <= now < span.end or not rule_holds(rule, claims):
            continue
        if triggers and not is_exempt(rule, triggers, claims):
            refused = refused or rule.enforced
        else:
            (enforced if rule.enforced else audit).append(rule)
    return Matched(enforced, audit, triggers, refused)


# --- What denies take away --------------------------------------------------------------------------------------------


def denies_in_force(rules: IssuerRules, claims: Claims, registry: str, now: float) -> list[Deny]:
    """Return the deny and never entries that hold for the caller in a registry."""
    return [
        deny
        for deny in rules.denies_by_condition.candidates(claims)
        if deny.covers.registry in {None, registry} and is_in_force(deny.span, now) and deny_holds(deny, claims)
    ]


def _take_away(
    given: dict[str | None, set[str]], denies: Sequence[Deny], covering: PatternIndex[Deny], limit: int
) -> tuple[Set[str], dict[str | None, set[str]]]:
    """Return which entries take something away, and what is left of each repository; ends where more than `limit` are
    left."""
    losses = Losses(denies, covering)
    left: dict[str | None, set[str]] = {}
    for name, actions in given.items():
        kept = losses.left(name, actions)
        if kept:
            left[name] = kept
            if len(left) > limit:
                break
    return losses.entries, left


# --- What follows -----------------------------------------------------------------------------------------------------


def conclude(policy: Policy, claims: VerifiedClaims, found: Evaluation, now: float) -> Decision:
    """Turn what was found into a decision. Takes the policy, claims and time that `evaluate` took."""
    registry = found.registry
    asked = found.asked
    granted, missing = (_listed(found), ()) if asked is None else _split(found, asked.scopes)
    reason = _reason(found, granted, missing, claims.claims)
    wanted = missing or (None if asked is None else asked.scopes)
    about = () if reason is None else hints(policy, claims, registry, wanted, now, found.matched.enforced)
    audit = found.matched.audit
    would = [gift for rule in audit for gift in gifts(rule, registry, asked, claims.claims)] if audit else []
    return Decision(
        allowed=reason is None,
        registry=registry,
        granted=granted,
        missing=missing,
        reason=reason,
        description="" if reason is None else describe(reason, missing, about, policy, claims),
        rules=_names([gift.rule for gift in found.gifts]),
        audit_rules=_names([gift.rule for gift in would]),
        denies=tuple(sorted(found.denies)) if found.denies else (),
        hints=about,
    )


def _names(entries: Sequence[Rule]) -> tuple[str, ...]:
    return tuple(sorted({entry.name for entry in entries})) if entries else ()


def _listed(found: Evaluation) -> tuple[Scope, ...]:
    if found.overflows:
        return ()
    return tuple(repository(name, found.left[name]) for name in sorted(name for name in found.left if name))


def _split(found: Evaluation, asked: Sequence[Scope]) -> tuple[tuple[Scope, ...], tuple[Scope, ...]]:
    """Split what was asked for into what is granted and what is missing."""
    granted: list[Scope] = []
    missing: list[Scope] = []
    for scope in asked:
        left = found.left.get(None if scope.type == CATALOG.type else scope.name)
        if left is None:
            missing.append(scope)
        elif len(left) == len(scope.actions):
            granted.append(scope)
        else:
            granted.append(repository(scope.name, left))
            missing.append(repository(scope.name, set(scope.actions) - left))
    return tuple(granted), tuple(missing)


def _reason(found: Evaluation, granted: Sequence[Scope], missing: Sequence[Scope], claims: Claims) -> Reason | None:
    if not found.matched.enforced:
        return Reason.TRIGGER_REFUSED if found.matched.refused else Reason.NO_MATCHING_RULE
    if found.overflows:
        return Reason.TOO_MANY_SCOPES
    if found.asked is None:
        return None if granted else _nothing_listed(found, claims)
    if not missing:
        return None
    denied = all(found.given.get(_key(scope), set()).issuperset(scope.actions) for scope in missing)
    return Reason.DENIED_BY_RULE if denied else Reason.SCOPE_NOT_GRANTED


def _nothing_listed(found: Evaluation, claims: Claims) -> Reason:
    """Say why nothing can be listed: what is granted are nothing but patterns, or there is another cause."""
    grants = (grant for rule in found.matched.enforced for grant in rule.grants if grant.registry == found.registry)
    patterns = not found.given and any(has_patterns(grant, claims) for grant in grants)
    return Reason.SCOPE_NOT_ENUMERABLE if patterns else Reason.SCOPE_NOT_GRANTED


def _key(scope: Scope) -> str | None:
    return None if scope.is_catalog else scope.name
