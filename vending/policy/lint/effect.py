"""Criticise rules that have no effect: unreachable, duplicate, expired."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from vending.oidc.claim_path import fold, write_key
from vending.policy.engine.containment import contains
from vending.policy.engine.globs import is_literal
from vending.policy.lint.codes import Findings, Lint, finding
from vending.policy.lint.implication import implies
from vending.policy.providers.preset import Follows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vending.policy.engine.conditions import Scalar
    from vending.policy.engine.policy import PolicyIssuer, Rule
    from vending.policy.lint.view import Clause, RuleEntry, View


def unreachable_rule(rule: RuleEntry, view: View, now: float) -> Findings:
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


def contradiction(rule: RuleEntry, view: View, now: float) -> Findings:
    """Find rules whose conditions no token can meet together, for any of their issuers."""
    conflicts = [_conflict(rule, issuer) for issuer in rule.issuers]
    if conflicts and all(conflicts):
        clause, why = next(conflict for conflict in conflicts if conflict is not None)
        message = f"{why}, so the rule matches nobody; remove one of the two"
        yield finding(Lint.UNREACHABLE_RULE, clause.path, message, at_key=True)


def _conflict(rule: RuleEntry, issuer: PolicyIssuer) -> tuple[Clause, str] | None:
    """Return a condition that another one excludes, and why."""
    required = [clause for clause in rule.clauses if clause.where == "when"]
    for one, other in combinations(required, 2):
        if one.claim == other.claim and not _agree(one, other):
            return other, f"{other.key} cannot be {_listed(one)} and {_listed(other)}"
    for clause in required:
        known = issuer.preset.claims.get(write_key(clause.claim))
        if clause.absent and known is not None and known.always:
            return clause, f"every token of {issuer.name} has {clause.key}"
    return _against_relations(required, issuer)


def _against_relations(required: Sequence[Clause], issuer: PolicyIssuer) -> tuple[Clause, str] | None:
    """Return a condition that the provider's own guarantees exclude beside another one."""
    of_claim = {write_key(clause.claim): clause for clause in required if not clause.absent}
    for relation in issuer.preset.relations:
        one = of_claim.get(relation.claim)
        other = of_claim.get(relation.then if isinstance(relation, Follows) else relation.other)
        if one is None or other is None or not other.is_literal:
            continue
        folds = relation.claim in issuer.preset.folded
        wanted = {fold(str(value)) if folds else str(value) for value in other.values}
        if isinstance(relation, Follows):
            meant = all(contains(relation.pattern, str(value)) for value in one.values)
            if meant and relation.value not in wanted:
                return other, f"where {one.key} is {_listed(one)}, {other.key} is {relation.value}"
        elif one.is_literal:
            begun = {fold(str(value)) if folds else str(value) for value in one.values}
            if not any(value.startswith(f"{prefix}{relation.separator}") for value in begun for prefix in wanted):
                return (
                    other,
                    f"{one.key} begins with {other.key}, and {_listed(one)} does not begin with {_listed(other)}",
                )
    return None


def _agree(one: Clause, other: Clause) -> bool:
    """Return whether some value may meet both conditions; two patterns are taken to have one."""
    if one.absent or other.absent:
        return one.absent and other.absent
    return any(_overlap(a, b) for a in one.values for b in other.values)


def _overlap(a: Scalar, b: Scalar) -> bool:
    if not isinstance(a, str) or not isinstance(b, str):
        return type(a) is type(b) and a == b
    if not is_literal(a) and not is_literal(b):
        return True
    return contains(fold(a), fold(b)) or contains(fold(b), fold(a))


def _listed(clause: Clause) -> str:
    return "absent" if clause.absent else " or ".join(repr(value) for value in clause.values)


def duplicate_rule(rule: RuleEntry, view: View, now: float) -> Findings:
    """Find rules that say what an earlier one says."""
    first = view.twins[rule.meaning]
    if first is not rule.model:
        yield finding(Lint.DUPLICATE_RULE, rule.path, f"the rule {first.name!r} says the same; remove one of the two")


def expired_rule(rule: RuleEntry, view: View, now: float) -> Findings:
    """Find rules whose last valid day has passed."""
    compiled = rule.compiled[0]
    if compiled.enabled and now >= compiled.span.end:
        yield finding(
            Lint.EXPIRED_RULE,
            (*rule.path, "expires"),
            f"it expired with {compiled.span.expires}; remove the rule, or write a later day",
        )
