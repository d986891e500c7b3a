"""Criticise a policy that loads: what its author may not want, and what to write instead. Changes no decision.

`POLICY_CHECKS`, `RULE_CHECKS` and `CONDITION_CHECKS` list everything that is looked for. docs/lint.md explains every
code with an example and a fix, and a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from vending.policy.lint.accept import accepted, entry_of
from vending.policy.lint.callers import (
    impossible_value,
    looks_like_regex,
    mixed_issuers,
    no_immutable_id,
    registered_only,
    subject_match,
    unknown_claim,
)
from vending.policy.lint.codes import INFORMATION, Findings, Lint
from vending.policy.lint.effect import contradiction, duplicate_rule, expired_rule, unreachable_rule
from vending.policy.lint.exclusions import case_escape, star_misses, unless_absent
from vending.policy.lint.gates import who_may_write
from vending.policy.lint.grants import (
    denied_grant,
    grant_everything,
    grant_nearly_everything,
    image_reference,
    pull_without_metadata_read,
    push_without_pull,
)
from vending.policy.lint.issuers import (
    fixed_audience,
    issuer_ends,
    issuer_form,
    loosened_preset,
    service_principal,
    shared_audience,
    shared_issuer,
)
from vending.policy.lint.leftovers import audit_claim, unused
from vending.policy.lint.templates import templates
from vending.policy.lint.view import LintedEntry, RuleEntry, View

if TYPE_CHECKING:
    from vending.policy.compiler.load import Loaded
    from vending.policy.language.problems import Finding, Location, Problem

__all__ = ["INFORMATION", "Lint", "lint"]

PolicyCheck: TypeAlias = Callable[[View, float], Findings]
RuleCheck: TypeAlias = Callable[[RuleEntry, View, float], Findings]
ConditionCheck: TypeAlias = Callable[[LintedEntry], Findings]

POLICY_CHECKS: Final[tuple[PolicyCheck, ...]] = (
    service_principal,
    shared_audience,
    issuer_form,
    fixed_audience,
    issuer_ends,
    shared_issuer,
    loosened_preset,
    unused,
    audit_claim,
)
RULE_CHECKS: Final[tuple[RuleCheck, ...]] = (
    no_immutable_id,
    unreachable_rule,
    contradiction,
    duplicate_rule,
    expired_rule,
    templates,
    denied_grant,
    push_without_pull,
    pull_without_metadata_read,
    grant_everything,
    grant_nearly_everything,
    image_reference,
    registered_only,
    mixed_issuers,
    who_may_write,
)
CONDITION_CHECKS: Final[tuple[ConditionCheck, ...]] = (
    unknown_claim,
    subject_match,
    impossible_value,
    looks_like_regex,
    case_escape,
    star_misses,
    unless_absent,
)
"""What is looked for in the conditions of rules and of deny entries."""


def lint(loaded: Loaded, now: float) -> tuple[Problem, ...]:
    """Return the warnings about a policy, in the order of the file, but for accepted ones. `now` is in seconds."""
    view = View.of(loaded)
    found: list[tuple[Location, Finding]] = []
    for check in POLICY_CHECKS:
        found += [(entry_of(finding), finding) for finding in check(view, now)]
    for rule in view.rules:
        found += [(rule.path, finding) for rule_check in RULE_CHECKS for finding in rule_check(rule, view, now)]
    for subject in (*view.rules, *view.denies):
        found += [(subject.path, finding) for clause_check in CONDITION_CHECKS for finding in clause_check(subject)]
    # What several entries use is criticised once.
    findings = list(dict.fromkeys(accepted(loaded.model, found)))
    return tuple(sorted(loaded.document.place(findings)))
