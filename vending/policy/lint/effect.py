"""Criticise rules that have no effect: unreachable, duplicate, expired."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vending.policy.lint.codes import Findings, Lint, finding
from vending.policy.lint.implication import implies

if TYPE_CHECKING:
    from vending.policy.engine.policy import Rule
    from vending.policy.lint.view import RuleSubject, View


def unreachable_rule(rule: RuleSubject, view: View, now: float) -> Findings:
    """Find rules whose `unless` excludes, for every issuer, whatever `when` admits."""
    for number, key in enumerate(rule.model.unless or {}):
        if all(_takes_back(compiled, number) for compiled in rule.compiled):
            yield finding(
                Lint.UNREACHABLE_RULE,
                (*rule.path, "unless", key),
                f"every {key} that `when` admits is excluded here, so the rule matches nobody; remove one of the two",
                at_key=True,
            )


def _takes_back(rule: Rule, number: int) -> bool:
    return any(implies(condition, rule.unless[number]) for condition in rule.when)


def duplicate_rule(rule: RuleSubject, view: View, now: float) -> Findings:
    """Find rules that say what an earlier one says."""
    first = view.twins[rule.meaning]
    if first is not rule.model:
        yield finding(Lint.DUPLICATE_RULE, rule.path, f"the rule {first.name!r} says the same; remove one of the two")


def expired_rule(rule: RuleSubject, view: View, now: float) -> Findings:
    """Find rules whose last valid day has passed."""
    compiled = rule.compiled[0]
    if compiled.enabled and now >= compiled.span.end:
        yield finding(
            Lint.EXPIRED_RULE,
            (*rule.path, "expires"),
            f"it expired with {compiled.span.expires}; remove the rule, or write a later day",
        )
