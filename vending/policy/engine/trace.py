"""Explain a decision to the policy's owner: every rule and deny entry, condition by condition. Uses the evaluator that
decides; never shown to callers, since it reveals rules that are not about them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from vending.acr.scope import CATALOG, Scope, repository
from vending.oidc.claim_path import lookup
from vending.policy.engine.conditions import Condition, Scalar, State
from vending.policy.engine.decide import (
    ENUMERABLE_ACTIONS,
    Decision,
    active_triggers,
    conditions_hold,
    decide,
    denied_by,
    deny_holds,
    granted_actions,
    listed_names,
)

if TYPE_CHECKING:
    import datetime

    from vending.oidc.types import Claims, JsonValue, VerifiedClaims
    from vending.policy.engine.policy import Deny, Grant, Policy, Rule

Status: TypeAlias = Literal["matched", "not_matched", "trigger_refused", "expired", "disabled"]

_CLEARS_UNLESS: Final = State.FAILS


@dataclass(frozen=True, slots=True)
class ConditionTrace:
    """Say how one condition stands: what the file accepts, what the token has (None: nothing), and whether that serves
    the entry that has the condition."""

    claim: str
    accepted: tuple[Scalar, ...]
    actual: JsonValue
    state: State
    satisfied: bool


@dataclass(frozen=True, slots=True)
class GrantTrace:
    """Say what one grant gives of what was asked (of what can be listed, where nothing was).

    `filled` pairs each template with the name that it makes for the caller, None where it makes none.
    """

    registry: str
    applies: bool
    """The request is for this registry."""
    actions: tuple[str, ...]
    catalog: bool
    entries: tuple[str, ...]
    filled: tuple[tuple[str, str | None], ...]
    gives: tuple[Scope, ...]


@dataclass(frozen=True, slots=True)
class RuleTrace:
    """Say how one rule stands. `counts` tells whether its grants count: it matched and is enforced."""

    name: str
    origin: str | None
    status: Status
    enforced: bool
    expires: datetime.date | None
    when: tuple[ConditionTrace, ...]
    unless: tuple[ConditionTrace, ...]
    grants: tuple[GrantTrace, ...]

    @property
    def counts(self) -> bool:
        return self.status == "matched" and self.enforced


@dataclass(frozen=True, slots=True)
class DenyTrace:
    """Say how one deny entry stands, and what it takes away of what was asked."""

    name: str
    origin: str | None
    enabled: bool
    holds: bool
    """Enabled, and its conditions hold for the caller."""
    registry: str | None
    when: tuple[ConditionTrace, ...]
    unless: tuple[ConditionTrace, ...]
    takes: tuple[Scope, ...]


@dataclass(frozen=True, slots=True)
class Trace:
    """A decision with everything that led to it, in the order of the file. `asked` is None where scope was left out."""

    decision: Decision
    issuer: str
    registry: str
    asked: tuple[Scope, ...] | None
    triggers: tuple[tuple[str, Scalar], ...]
    """The refused triggers that the token has: claim and refused value."""
    rules: tuple[RuleTrace, ...]
    denies: tuple[DenyTrace, ...]


def trace(policy: Policy, claims: VerifiedClaims, registry: str, scopes: tuple[Scope, ...] | None, now: float) -> Trace:
    """Decide, and explain every rule and deny entry of the caller's issuer. Takes what `decide` takes."""
    rules = policy.rules[claims.issuer]
    decision = decide(policy, claims, registry, scopes, now)
    triggers = active_triggers(rules, claims.claims)
    traced = tuple(_rule(rule, claims.claims, registry, scopes, now, triggers) for rule in rules.rules)
    asked = scopes
    if asked is None:
        listed = (scope for rule in traced if rule.counts for grant in rule.grants for scope in grant.gives)
        asked = tuple(dict.fromkeys(listed))
    return Trace(
        decision=decision,
        issuer=claims.issuer,
        registry=registry,
        asked=scopes,
        triggers=tuple((rules.refused[n].key, rules.refused[n].values[0]) for n in sorted(triggers)),
        rules=traced,
        denies=tuple(_deny(deny, claims.claims, registry, asked) for deny in rules.denies),
    )


def _rule(
    rule: Rule,
    claims: Claims,
    registry: str,
    scopes: tuple[Scope, ...] | None,
    now: float,
    triggers: frozenset[int],
) -> RuleTrace:
    return RuleTrace(
        name=rule.name,
        origin=rule.origin,
        status=_status(rule, claims, now, triggers),
        enforced=rule.enforced,
        expires=rule.expires,
        when=tuple(_condition(condition, claims, (State.HOLDS,)) for condition in rule.when),
        unless=tuple(_condition(condition, claims, (_CLEARS_UNLESS,)) for condition in rule.unless),
        grants=tuple(_grant(grant, claims, registry, scopes) for grant in rule.grants),
    )


def _status(rule: Rule, claims: Claims, now: float, triggers: frozenset[int]) -> Status:
    if not rule.enabled:
        return "disabled"
    if now >= rule.expires_at:
        return "expired"
    if not conditions_hold(rule, claims):
        return "not_matched"
    return "matched" if triggers <= rule.exempt else "trigger_refused"


def _condition(condition: Condition, claims: Claims, satisfying: tuple[State, ...]) -> ConditionTrace:
    state = condition.test(claims)
    return ConditionTrace(
        claim=condition.key,
        accepted=condition.values,
        actual=lookup(claims, condition.path),
        state=state,
        satisfied=state in satisfying,
    )


def _grant(grant: Grant, claims: Claims, registry: str, scopes: tuple[Scope, ...] | None) -> GrantTrace:
    applies = grant.registry == registry
    return GrantTrace(
        registry=str(grant.registry),
        applies=applies,
        actions=grant.actions,
        catalog=grant.catalog,
        entries=(*sorted(grant.names), *(g.text for g in grant.globs), *(t.text for t in grant.templates)),
        filled=tuple((template.text, template.fill(claims)) for template in grant.templates),
        gives=_gives(grant, claims, scopes) if applies else (),
    )


def _gives(grant: Grant, claims: Claims, scopes: tuple[Scope, ...] | None) -> tuple[Scope, ...]:
    if scopes is None:
        actions = ENUMERABLE_ACTIONS.intersection(grant.actions)
        return tuple(repository(name, actions) for name in sorted(listed_names(grant, claims)) if actions)
    given = ((scope, granted_actions(grant, scope, claims)) for scope in scopes)
    return tuple(
        CATALOG if scope.is_catalog else repository(scope.name, actions) for scope, actions in given if actions
    )


def _deny(deny: Deny, claims: Claims, registry: str, asked: tuple[Scope, ...]) -> DenyTrace:
    holds = deny.enabled and deny_holds(deny, claims)
    applies = holds and deny.covers.registry in {None, registry}
    taken = ((scope, [a for a in scope.actions if denied_by([deny], scope, a)]) for scope in asked if applies)
    return DenyTrace(
        name=deny.name,
        origin=deny.origin,
        enabled=deny.enabled,
        holds=holds,
        registry=deny.covers.registry,
        when=tuple(_condition(condition, claims, (State.HOLDS, State.OTHER_TYPE)) for condition in deny.when),
        unless=tuple(_condition(condition, claims, (State.HOLDS,)) for condition in deny.unless),
        takes=tuple(
            CATALOG if scope.is_catalog else repository(scope.name, actions) for scope, actions in taken if actions
        ),
    )
