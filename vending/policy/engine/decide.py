"""Decide what a caller may do: pure, deterministic, and the only evaluator there is.

Union, default deny, deny wins: a request is granted when every repository and action is granted by some enforced,
unexpired, enabled rule whose conditions hold, and no deny entry whose conditions hold covers it.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from vending.acr.scope import CATALOG, CATALOG_ACTION, Scope, repository
from vending.errors import Reason
from vending.policy.engine.conditions import State
from vending.policy.engine.hints import describe_denial, describe_no_match

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from vending.oidc.types import Claims, VerifiedClaims
    from vending.policy.engine.policy import Deny, Grant, IssuerRules, Policy, Rule

ENUMERABLE_ACTIONS: Final = frozenset({"pull", "push", "metadata_read"})
"""What a request without `scope` may get: nothing that destroys, and not the catalog."""

MAX_HINTS: Final = 100
"""Hints are for reading; a caller with more rules than this has its owner's trace."""

MAX_LOOKED_AT: Final = 1000
"""Where an organisation writes one rule for each of its repositories, by the owner's id alone, all may be about the
caller; a denial must not cost more than a decision."""

_HOLDS: Final = State.HOLDS
_FAILS: Final = State.FAILS
_name: Final = attrgetter("name")
_NOTHING: Final[frozenset[int]] = frozenset()


@dataclass(frozen=True, slots=True)
class RuleHint:
    """Say how a rule about the caller stands: whether it matches, and the claims whose conditions did not hold."""

    name: str
    matched: bool
    failed_claims: tuple[str, ...]


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


def decide(
    policy: Policy, claims: VerifiedClaims, registry: str, scopes: tuple[Scope, ...] | None, now: float
) -> Decision:
    """Decide a request for scopes in a registry (by its name in the policy); None asks for all that can be listed.

    `now` is in seconds since the epoch. Hints are filled in for denials only.
    """
    rules = policy.rules[claims.issuer]
    found = _find(rules, claims.claims, now)
    if not found.enforced:
        return _no_match(policy, claims, registry, scopes, now, found)
    if scopes is None:
        return _enumerate(policy, claims, registry, now, found)
    return _check(policy, claims, registry, scopes, now, found)


# --- Which rules match ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Found:
    """The rules that match, and whether one only failed to because of a refused trigger."""

    enforced: list[Rule]
    audit: list[Rule]
    refused: bool


def active_triggers(rules: IssuerRules, claims: Claims) -> frozenset[int]:
    """Return which of the issuer's refused triggers a token has; a claim of an unexpected type counts as one."""
    if not rules.refused:
        return _NOTHING
    return frozenset(
        number for number, condition in enumerate(rules.refused) if condition.test(claims) in {_HOLDS, State.OTHER_TYPE}
    )


def conditions_hold(rule: Rule, claims: Claims) -> bool:
    """Tell whether all of `when` holds and nothing of `unless` excludes the caller."""
    for condition in rule.when:
        if condition.test(claims) is not _HOLDS:
            return False
    # An exclusion that cannot be judged excludes too: its claim is missing, or of another type.
    return not rule.unless or all(condition.test(claims) is _FAILS for condition in rule.unless)


def deny_holds(deny: Deny, claims: Claims) -> bool:
    """Tell whether a deny entry applies to the caller. What cannot be judged is denied; only a missing claim is not."""
    for condition in deny.when:
        if condition.test(claims) not in {_HOLDS, State.OTHER_TYPE}:
            return False
    return not deny.unless or any(condition.test(claims) is not _HOLDS for condition in deny.unless)


def _find(rules: IssuerRules, claims: Claims, now: float) -> _Found:
    triggers = active_triggers(rules, claims)
    found = _Found([], [], refused=False)
    for rule in rules.by_condition.candidates(claims):
        if now >= rule.expires_at or not conditions_hold(rule, claims):
            continue
        if not triggers <= rule.exempt:
            found.refused = found.refused or rule.enforced
        elif rule.enforced:
            found.enforced.append(rule)
        else:
            found.audit.append(rule)
    return found


def _grants_in(rules: Iterable[Rule], registry: str) -> list[tuple[Rule, Grant]]:
    return [(rule, grant) for rule in rules for grant in rule.grants if grant.registry == registry]


def grants_repository(grant: Grant, name: str, claims: Claims) -> bool:
    """Tell whether a grant names a repository, by name, pattern or template."""
    return grant.covers(name) or any(template.fill(claims) == name for template in grant.templates)


def _denies(rules: IssuerRules, claims: Claims, registry: str) -> list[Deny]:
    return [
        deny
        for deny in rules.denies_by_condition.candidates(claims)
        if deny.covers.registry in {None, registry} and deny_holds(deny, claims)
    ]


def denied_by(denies: Sequence[Deny], scope: Scope, action: str) -> list[str]:
    """Return the names of the deny entries that cover one action of a scope."""
    if scope.is_catalog:
        return [deny.name for deny in denies if deny.covers.catalog]
    return [deny.name for deny in denies if action in deny.covers.actions and deny.covers.covers(scope.name)]


# --- What they grant --------------------------------------------------------------------------------------------------


def granted_actions(grant: Grant, scope: Scope, claims: Claims) -> tuple[str, ...]:
    """Return which of a scope's actions a grant gives."""
    if scope.is_catalog:
        return (CATALOG_ACTION,) if grant.catalog else ()
    if not grants_repository(grant, scope.name, claims):
        return ()
    return tuple(action for action in scope.actions if action in grant.actions)


def _check(
    policy: Policy, claims: VerifiedClaims, registry: str, scopes: tuple[Scope, ...], now: float, found: _Found
) -> Decision:
    rules = policy.rules[claims.issuer]
    denies = _denies(rules, claims.claims, registry)
    grants = _grants_in(found.enforced, registry)
    granted: list[Scope] = []
    missing: list[Scope] = []
    contributed: set[str] = set()
    took_away: set[str] = set()
    only_denied = True
    for scope in scopes:
        given: set[str] = set()
        for rule, grant in grants:
            actions = granted_actions(grant, scope, claims.claims)
            if actions:
                given.update(actions)
                contributed.add(rule.name)
        only_denied = only_denied and given.issuperset(scope.actions)
        if denies:
            for action in scope.actions:
                names = denied_by(denies, scope, action)
                took_away.update(names)
                if names:
                    given.discard(action)
        if len(given) == len(scope.actions):
            granted.append(scope)
            continue
        missing.append(_part(scope, [action for action in scope.actions if action not in given]))
        if given:
            granted.append(_part(scope, given))
    audit = {
        rule.name
        for rule, grant in _grants_in(found.audit, registry)
        if any(granted_actions(grant, scope, claims.claims) for scope in scopes)
    }
    reason = None
    if missing:
        reason = Reason.DENIED_BY_RULE if only_denied else Reason.SCOPE_NOT_GRANTED
    about = hints(policy, claims, now) if reason else ()
    return Decision(
        allowed=reason is None,
        registry=registry,
        granted=tuple(granted),
        missing=tuple(missing),
        reason=reason,
        description=describe_denial(reason, missing, about, claims.claims) if reason else "",
        rules=tuple(sorted(contributed)),
        audit_rules=tuple(sorted(audit)),
        denies=tuple(sorted(took_away)),
        hints=about,
    )


def _part(scope: Scope, actions: Iterable[str]) -> Scope:
    return CATALOG if scope.is_catalog else repository(scope.name, actions)


def listed_names(grant: Grant, claims: Claims) -> list[str]:
    """Return the repositories that a grant names one by one: exact names and filled templates."""
    filled = (template.fill(claims) for template in grant.templates)
    return [*grant.names, *(name for name in filled if name is not None)]


def _enumerate(policy: Policy, claims: VerifiedClaims, registry: str, now: float, found: _Found) -> Decision:
    rules = policy.rules[claims.issuer]
    given: dict[str, set[str]] = {}
    contributed: set[str] = set()
    patterns_only = False
    for rule, grant in _grants_in(found.enforced, registry):
        actions = ENUMERABLE_ACTIONS.intersection(grant.actions)
        if not actions:
            continue
        patterns_only = patterns_only or bool(grant.globs)
        for name in listed_names(grant, claims.claims):
            given.setdefault(name, set()).update(actions)
            contributed.add(rule.name)
    listed_any = bool(given)
    took_away: set[str] = set()
    denies = _denies(rules, claims.claims, registry)
    for name, actions_of in given.items() if denies else ():
        for action in sorted(actions_of):
            names = denied_by(denies, repository(name, (action,)), action)
            took_away.update(names)
            if names:
                actions_of.discard(action)
    granted = tuple(repository(name, actions) for name, actions in sorted(given.items()) if actions)
    reason = None
    if not granted:
        reason = Reason.SCOPE_NOT_ENUMERABLE if patterns_only and not listed_any else Reason.SCOPE_NOT_GRANTED
    audit = {
        rule.name
        for rule, grant in _grants_in(found.audit, registry)
        if ENUMERABLE_ACTIONS.intersection(grant.actions) and listed_names(grant, claims.claims)
    }
    about = hints(policy, claims, now) if reason else ()
    return Decision(
        allowed=reason is None,
        registry=registry,
        granted=() if reason else granted,
        reason=reason,
        description=describe_denial(reason, (), about, claims.claims) if reason else "",
        rules=tuple(sorted(contributed)),
        audit_rules=tuple(sorted(audit)),
        denies=tuple(sorted(took_away)),
        hints=about,
    )


def _no_match(
    policy: Policy,
    claims: VerifiedClaims,
    registry: str,
    scopes: tuple[Scope, ...] | None,
    now: float,
    found: _Found,
) -> Decision:
    about = hints(policy, claims, now)
    preset = next(issuer.preset for issuer in policy.issuers.values() if issuer.name == claims.issuer)
    reason = Reason.TRIGGER_REFUSED if found.refused else Reason.NO_MATCHING_RULE
    audit = {
        rule.name
        for rule, grant in _grants_in(found.audit, registry)
        if scopes is None or any(granted_actions(grant, scope, claims.claims) for scope in scopes)
    }
    return Decision(
        allowed=False,
        registry=registry,
        granted=(),
        missing=scopes or (),
        reason=reason,
        description=describe_no_match(reason, about, policy.rules[claims.issuer], claims.claims, preset),
        audit_rules=tuple(sorted(audit)),
        hints=about,
    )


# --- Hints ------------------------------------------------------------------------------------------------------------


def hints(policy: Policy, claims: VerifiedClaims, now: float) -> tuple[RuleHint, ...]:
    """Return how the rules about the caller stand, sorted by name.

    A rule is about the caller when it has a condition without wildcards on an identity claim of the issuer and all its
    conditions on identity claims hold: nobody else learns that it exists. Rules that are disabled, expired or in audit
    mode have no effect, and give no hint. At most `MAX_HINTS` are returned, the first by name.
    """
    rules = policy.rules[claims.issuer]
    triggers = active_triggers(rules, claims.claims)
    candidates = islice(merge(*rules.by_identity.groups(claims.claims), key=_name), MAX_LOOKED_AT)
    about = (
        rule
        for rule in candidates
        if now < rule.expires_at and all(condition.test(claims.claims) is _HOLDS for condition in rule.identity)
    )
    told = (_hint(rule, rules, claims.claims, triggers) for rule in islice(about, MAX_HINTS))
    return tuple(sorted(told, key=_name))


def _hint(rule: Rule, rules: IssuerRules, claims: Claims, triggers: frozenset[int]) -> RuleHint:
    failed = [condition.key for condition in rule.when if condition.test(claims) is not _HOLDS]
    failed += [condition.key for condition in rule.unless if condition.test(claims) is not _FAILS]
    failed += [rules.refused[number].key for number in sorted(triggers - rule.exempt)]
    return RuleHint(rule.name, not failed, tuple(dict.fromkeys(failed)))
