"""Explain a decision to the policy's owner: every rule and deny entry, condition by condition. Tells the story of one
evaluation; never shown to callers, since it reveals rules that are not about them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from vending.acr.scope import CATALOG, Scope, repository
from vending.oidc.claim_path import lookup
from vending.policy.engine.conditions import Condition, Scalar, State
from vending.policy.engine.decide import Decision, Evaluation, conclude, evaluate
from vending.policy.engine.granting import Losses, gifts
from vending.policy.engine.matching import alternative_holds, deny_holds, is_exempt, is_in_force, rule_holds
from vending.policy.engine.pattern_index import PatternIndex

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vending.oidc.types import Claims, JsonValue, VerifiedClaims
    from vending.policy.engine.granting import Given
    from vending.policy.engine.policy import Alternative, Deny, Grant, Policy, Rule, Section, Span

Status: TypeAlias = Literal["matched", "not_matched", "trigger_refused", "not_yet", "expired", "disabled"]

_MEETS_WHEN: Final = (State.HOLDS,)
_CLEARS_UNLESS: Final = (State.FAILS,)
_DENIES: Final = (State.HOLDS, State.OTHER_TYPE)


@dataclass(frozen=True, slots=True)
class ConditionTrace:
    """Say what one condition makes of the token: what the file accepts (nothing, with `absent`), what the token has
    (None: nothing), and whether that serves the entry that has the condition."""

    claim: str
    accepted: tuple[Scalar, ...]
    absent: bool
    actual: JsonValue
    state: State
    satisfied: bool


@dataclass(frozen=True, slots=True)
class AlternativeTrace:
    """Return whether one alternative of `when_any` holds, and why."""

    holds: bool
    conditions: tuple[ConditionTrace, ...]


@dataclass(frozen=True, slots=True)
class GrantTrace:
    """Say what one grant gives of what was asked (of what can be listed, where nothing was).

    `filled` pairs each template with the names and patterns that it makes for the caller.
    """

    registry: str
    applies: bool
    """The request is for this registry."""
    actions: tuple[str, ...]
    catalog: bool
    entries: tuple[str, ...]
    filled: tuple[tuple[str, tuple[str, ...]], ...]
    gives: tuple[Scope, ...]


@dataclass(frozen=True, slots=True)
class RuleTrace:
    """Say what becomes of one rule. `counts` tells whether its grants count: it matched and is enforced."""

    name: str
    origin: str | None
    status: Status
    enforced: bool
    not_before: str | None
    expires: str | None
    when: tuple[ConditionTrace, ...]
    when_any: tuple[tuple[AlternativeTrace, ...], ...]
    unless: tuple[ConditionTrace, ...]
    grants: tuple[GrantTrace, ...]

    @property
    def counts(self) -> bool:
        return self.status == "matched" and self.enforced

    @property
    def gives(self) -> bool:
        """Return whether the rule gives, or would give if it matched, some of what was asked."""
        return any(grant.gives for grant in self.grants)

    @property
    def distance(self) -> int:
        """Return how many conditions keep the rule from matching."""
        failed = sum(not condition.satisfied for condition in (*self.when, *self.unless))
        return failed + sum(not any(alternative.holds for alternative in group) for group in self.when_any)


@dataclass(frozen=True, slots=True)
class DenyTrace:
    """Say what becomes of one deny or never entry, and what it takes away of what would be granted."""

    name: str
    section: Section
    origin: str | None
    enabled: bool
    holds: bool
    """Enabled, within its time, and its conditions hold for the caller."""
    registry: str | None
    not_before: str | None
    expires: str | None
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
    found = evaluate(policy, claims, registry, scopes, now)
    triggers = sorted(found.matched.triggers)
    return Trace(
        decision=conclude(policy, claims, found, now),
        issuer=claims.issuer,
        registry=registry,
        asked=scopes,
        triggers=tuple((rules.refused[n].key, rules.refused[n].values[0]) for n in triggers),
        rules=tuple(_rule(rule, found, claims.claims, now) for rule in rules.rules),
        denies=tuple(_deny(deny, found, claims.claims, now) for deny in rules.denies),
    )


def _rule(rule: Rule, found: Evaluation, claims: Claims, now: float) -> RuleTrace:
    given = {id(gift.grant): gift.gives for gift in gifts(rule, found.registry, found.asked, claims)}
    return RuleTrace(
        name=rule.name,
        origin=rule.origin,
        status=_status(rule, found, claims, now),
        enforced=rule.enforced,
        not_before=rule.span.not_before,
        expires=rule.span.expires,
        when=_conditions(rule.when, claims, _MEETS_WHEN),
        when_any=tuple(tuple(_alternative(one, claims) for one in group) for group in rule.when_any),
        unless=_conditions(rule.unless, claims, _CLEARS_UNLESS),
        grants=tuple(_grant(grant, found, claims, given.get(id(grant), {})) for grant in rule.grants),
    )


def _status(rule: Rule, found: Evaluation, claims: Claims, now: float) -> Status:
    if not rule.enabled:
        return "disabled"
    if not is_in_force(rule.span, now):
        return _time_status(rule.span, now)
    if not rule_holds(rule, claims):
        return "not_matched"
    return "matched" if is_exempt(rule, found.matched.triggers, claims) else "trigger_refused"


def _time_status(span: Span, now: float) -> Literal["not_yet", "expired"]:
    return "not_yet" if now < span.start else "expired"


def _alternative(alternative: Alternative, claims: Claims) -> AlternativeTrace:
    conditions = _conditions(alternative.conditions, claims, _MEETS_WHEN)
    return AlternativeTrace(alternative_holds(alternative, claims), conditions)


def _conditions(
    conditions: Iterable[Condition], claims: Claims, satisfying: tuple[State, ...]
) -> tuple[ConditionTrace, ...]:
    tested = ((condition, condition.test(claims)) for condition in conditions)
    return tuple(
        ConditionTrace(
            claim=condition.key,
            accepted=condition.values,
            absent=condition.absent,
            actual=lookup(claims, condition.path),
            state=state,
            satisfied=state in satisfying,
        )
        for condition, state in tested
    )


def _grant(grant: Grant, found: Evaluation, claims: Claims, gives: Given) -> GrantTrace:
    reaches = ((template.text, template.reach(claims)) for template in grant.templates)
    return GrantTrace(
        registry=str(grant.registry),
        applies=grant.registry == found.registry,
        actions=grant.actions,
        catalog=grant.catalog,
        entries=(*sorted(grant.names), *(g.text for g in grant.globs), *(t.text for t in grant.templates)),
        filled=tuple((text, (*reach.names, *(glob.text for glob in reach.globs))) for text, reach in reaches),
        gives=_scopes(gives.items()),
    )


def _deny(deny: Deny, found: Evaluation, claims: Claims, now: float) -> DenyTrace:
    holds = deny.enabled and is_in_force(deny.span, now) and deny_holds(deny, claims)
    applies = holds and deny.covers.registry in {None, found.registry}
    losses = Losses([deny], PatternIndex([(deny, deny.covers.names, deny.covers.globs)]))
    left = [(name, some, losses.left(name, some)) for name, some in found.given.items() if applies]
    return DenyTrace(
        name=deny.name,
        section=deny.section,
        origin=deny.origin,
        enabled=deny.enabled,
        holds=holds,
        registry=deny.covers.registry,
        not_before=deny.span.not_before,
        expires=deny.span.expires,
        when=_conditions(deny.when, claims, _DENIES),
        unless=_conditions(deny.unless, claims, _MEETS_WHEN),
        takes=_scopes((name, tuple(some - kept)) for name, some, kept in left if kept != some),
    )


def _scopes(parts: Iterable[tuple[str | None, tuple[str, ...]]]) -> tuple[Scope, ...]:
    scopes = [CATALOG if name is None else repository(name, actions) for name, actions in parts]
    return tuple(dict.fromkeys(scopes))
