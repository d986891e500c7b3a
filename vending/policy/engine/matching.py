"""Judge one entry against the claims of a token: whether a rule matches, whether a deny entry holds. Grants nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vending.policy.engine.conditions import State

if TYPE_CHECKING:
    from vending.oidc.types import Claims
    from vending.policy.engine.policy import Alternative, Deny, IssuerRules, Rule, Span

_HOLDS: Final = State.HOLDS
_FAILS: Final = State.FAILS
_OTHER_TYPE: Final = State.OTHER_TYPE
_NOTHING: Final[frozenset[int]] = frozenset()


def is_in_force(span: Span, now: float) -> bool:
    """Return whether the time lies within a span; `now` is in seconds since the epoch."""
    return span.start <= now < span.end


def active_triggers(rules: IssuerRules, claims: Claims) -> frozenset[int]:
    """Return which of the issuer's refused triggers a token has; a claim of an unexpected type counts as one."""
    for condition in rules.refused_any:
        state = condition.test(claims)
        if state is _HOLDS or state is _OTHER_TYPE:
            break
    else:
        return _NOTHING
    return frozenset(
        number for number, condition in enumerate(rules.refused) if condition.test(claims) in {_HOLDS, _OTHER_TYPE}
    )


def rule_holds(rule: Rule, claims: Claims) -> bool:
    """Return whether all conditions of a rule are met; refused triggers are judged by `is_exempt`."""
    for condition in rule.when:
        if condition.test(claims) is not _HOLDS:
            return False
    for group in rule.when_any:
        if not any(alternative_holds(alternative, claims) for alternative in group):
            return False
    # An exclusion that cannot be judged excludes too: its claim is missing, or of another type.
    return not rule.unless or all(condition.test(claims) is _FAILS for condition in rule.unless)


def alternative_holds(alternative: Alternative, claims: Claims) -> bool:
    """Return whether all conditions of one alternative are met."""
    return all(condition.test(claims) is _HOLDS for condition in alternative.conditions)


def is_exempt(rule: Rule, triggers: frozenset[int], claims: Claims) -> bool:
    """Return whether a rule names all these refused triggers literally.

    What an alternative names counts only where the rule matches by that alternative.
    """
    if triggers <= rule.exempt:
        return True
    left = triggers - rule.exempt
    named = {_NOTHING}
    for group in rule.when_any:
        holding = [alternative.exempt & left for alternative in group if alternative_holds(alternative, claims)]
        named = {known | more for known in named for more in holding}
    return left in named


def is_about(rule: Rule, claims: Claims) -> bool:
    """Return whether a rule may be named to the caller.

    One of its conditions on identity claims has no wildcard, and all that it has on identity claims hold.
    """
    if not rule.about or any(condition.test(claims) is not _HOLDS for condition in rule.identity):
        return False
    return all(any(_identity_holds(alternative, claims) for alternative in group) for group in rule.when_any)


def _identity_holds(alternative: Alternative, claims: Claims) -> bool:
    return all(condition.test(claims) is _HOLDS for condition in alternative.identity)


def deny_holds(deny: Deny, claims: Claims) -> bool:
    """Return whether a deny entry applies to the caller; what cannot be judged does, but for a missing claim."""
    for condition in deny.when:
        if condition.test(claims) not in {_HOLDS, _OTHER_TYPE}:
            return False
    return not deny.unless or any(condition.test(claims) is not _HOLDS for condition in deny.unless)


def failed_claims(rule: Rule, rules: IssuerRules, triggers: frozenset[int], claims: Claims) -> tuple[str, ...]:
    """Return the claims whose conditions keep a rule from matching, each once; of alternatives the nearest one's."""
    failed = [condition.key for condition in rule.when if condition.test(claims) is not _HOLDS]
    for group in rule.when_any:
        missed = [_missed(one, claims) for one in group if _identity_holds(one, claims)]
        nearest = min(map(len, missed), default=0)
        failed += next((keys for keys in missed if len(keys) == nearest), ())
    failed += [condition.key for condition in rule.unless if condition.test(claims) is not _FAILS]
    if not failed and not is_exempt(rule, triggers, claims):
        failed += [rules.refused[number].key for number in sorted(triggers - rule.exempt)]
    return tuple(dict.fromkeys(failed))


def _missed(alternative: Alternative, claims: Claims) -> tuple[str, ...]:
    return tuple(condition.key for condition in alternative.conditions if condition.test(claims) is not _HOLDS)
