"""Bound what one decision may cost: how much of a policy a single token, and a single name, may be compared with.

The indexes leave out nearly everything. What they cannot leave out, because no value tells it apart, is counted here;
a policy of which that is too much does not load, since a decision runs on the event loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from vending.policy.engine.pattern_index import heaviest_chain
from vending.policy.language.problems import Code, Finding

if TYPE_CHECKING:
    from vending.policy.engine.conditions import Condition
    from vending.policy.engine.globs import Glob
    from vending.policy.engine.policy import Deny, IssuerRules, Rule

MAX_COMPARISONS: Final = 2_000
"""Entries, alternatives and patterns that one token may have to be compared with: those of a company that writes two
thousand rules without any value that tells its repositories apart."""

MAX_PATTERNS: Final = 16_000
"""Patterns that one repository may have to be compared with, times the scopes of a request: 500 for 32 scopes."""

_FEW: Final = 8
"""Rules of one value that are not worth counting unless they are large."""


def check_cost(rules: Mapping[str, IssuerRules], max_scopes: int) -> list[Finding]:
    """Return a finding for each issuer of which a token could take too long to decide."""
    findings = []
    for issuer, compiled in rules.items():
        problem = _problem(compiled, max_scopes)
        if problem:
            findings.append(Finding(("issuers", issuer), Code.TOO_COSTLY, problem, at_key=True))
    return findings


def _problem(rules: IssuerRules, max_scopes: int) -> str | None:
    compared = rules.by_condition.heaviest(_weight) + rules.denies_by_condition.heaviest(_weight)
    if compared > MAX_COMPARISONS:
        return (
            f"one token of this issuer may have to be compared with {compared} rules, deny entries and patterns, and "
            f"{MAX_COMPARISONS} are the most; give rules a condition that tells their callers apart, such as a "
            "repository's id, or merge those that differ only in a value into one with a list"
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
    return sum(map(_weight_of, entries))


def _weight_of(entry: Rule | Deny) -> int:
    patterns = sum([len(condition.globs) for condition in entry.when])
    if entry.unless:
        patterns += sum(len(condition.globs) for condition in entry.unless)
    groups = getattr(entry, "when_any", ())
    if groups:
        patterns += sum(1 + _globs(one.conditions) for group in groups for one in group)
    return 1 + patterns


def _globs(conditions: Sequence[Condition]) -> int:
    return sum(len(condition.globs) for condition in conditions)


def _patterns(rules: Sequence[Rule]) -> int:
    """Count the patterns of grants that a name may have to be compared with."""
    if len(rules) <= _FEW and all(len(rule.grants) <= _FEW for rule in rules):
        return 0
    beginnings: dict[str, set[str]] = {}
    for glob in _compared(rules):
        beginnings.setdefault(glob.prefix, set()).add(glob.text)
    indexes = {id(grant.many): grant.many for rule in rules for grant in rule.grants if grant.many is not None}
    return heaviest_chain({prefix: len(texts) for prefix, texts in beginnings.items()}) + sum(
        index.most_compared() for index in indexes.values()
    )


def _compared(rules: Sequence[Rule]) -> Iterator[Glob]:
    for rule in rules:
        for grant in rule.grants:
            if grant.many is None:
                yield from grant.globs
