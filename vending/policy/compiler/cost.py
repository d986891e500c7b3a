"""Bound what one decision may cost: how much of a policy a single token, and a single name, may be compared with.

The indexes leave out nearly everything. What they cannot leave out, because no value tells it apart, is counted here;
a policy of which that is too much does not load, since a decision runs on the event loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from vending.policy.engine.pattern_index import heaviest_chain
from vending.policy.language.problems import Code, Finding

if TYPE_CHECKING:
    from vending.policy.engine.conditions import Condition
    from vending.policy.engine.policy import Deny, IssuerRules, Rule
    from vending.policy.engine.repositories import Template

MAX_RULES: Final = 1_100
"""Rules that one token may have to be compared with, their alternatives and the patterns in their conditions counted:
those of a company that writes a thousand rules without any value that tells its repositories apart."""

MAX_DENIES: Final = 3_000
"""The same for deny and never entries, most of which have no conditions."""

MAX_PATTERNS: Final = 16_384
"""Patterns that one repository may have to be compared with, times the scopes of a request: 512 for 32 scopes."""

_FEW: Final = 16
"""Patterns of which it is not worth finding out how many one name can begin with."""


def check_cost(rules: Mapping[str, IssuerRules], max_scopes: int) -> list[Finding]:
    """Return a finding for each issuer of which a token could take too long to decide."""
    findings = []
    for issuer, compiled in rules.items():
        problem = _problem(compiled, max_scopes)
        if problem:
            findings.append(Finding(("issuers", issuer), Code.TOO_COSTLY, problem, at_key=True))
    return findings


def _problem(rules: IssuerRules, max_scopes: int) -> str | None:
    for what, most, compared in (
        ("rules", MAX_RULES, rules.by_condition.heaviest(_weight)),
        ("deny entries", MAX_DENIES, rules.denies_by_condition.heaviest(_weight)),
    ):
        if compared > most:
            return (
                f"one token of this issuer may have to be compared with {compared} {what}, their alternatives and "
                f"patterns counted, and {most} are the most; give them a condition that tells callers apart, such as "
                "a repository's id, or merge those that differ only in a value into one with a list"
            )
    limit = MAX_PATTERNS // max_scopes
    patterns = rules.by_condition.heaviest(_patterns) + rules.denied_names.most_compared()
    if patterns > limit:
        return (
            f"one repository may have to be compared with {patterns} patterns of this issuer's rules and deny entries, "
            f"and {limit} are the most where max_scopes is {max_scopes}; begin patterns with a text that tells them "
            "apart, or lower max_scopes"
        )
    return None


def _weight(entries: Sequence[Rule] | Sequence[Deny]) -> int:
    """Count entries, their alternatives and the patterns in their conditions; a shared one counts once."""
    conditions: dict[int, Condition] = {}
    alternatives = 0
    for entry in entries:
        conditions.update((id(condition), condition) for condition in (*entry.when, *(entry.unless or ())))
        for group in getattr(entry, "when_any", ()):
            alternatives += len(group)
            conditions.update((id(condition), condition) for one in group for condition in one.conditions)
    return len(entries) + alternatives + sum(len(condition.globs) for condition in conditions.values())


def _patterns(rules: Sequence[Rule]) -> int:
    """Count the patterns of grants that a name may have to be compared with."""
    grants = [grant for rule in rules for grant in rule.grants if grant.globs or grant.templates]
    simple = sum([len(grant.globs) for grant in grants if grant.many is None])
    if simple > _FEW:
        beginnings: dict[str, set[str]] = {}
        for glob in (glob for grant in grants if grant.many is None for glob in grant.globs):
            beginnings.setdefault(glob.prefix, set()).add(glob.text)
        simple = heaviest_chain({prefix: len(texts) for prefix, texts in beginnings.items()})
    indexes = {id(grant.many): grant.many for grant in grants if grant.many is not None}
    templates = {id(template): template for grant in grants for template in grant.templates}
    return (
        simple
        + sum(index.most_compared() for index in indexes.values())
        + sum(map(_patterns_of_template, templates.values()))
    )


def _patterns_of_template(template: Template) -> int:
    """Count the patterns that a template may stand for, for one caller."""
    reaches = [reach for part in template.insertions for reach in (part.lists or {}).values()]
    patterns = (len(r.globs) if r.many is None else r.many.most_compared() for r in reaches if r.globs)
    return max(patterns, default=0) + (template.tail is not None)
