"""Find plain contradictions between rules and `never` entries: a token and a scope that a rule grants all the same.

Tries one token for each way that a rule and a `never` entry can both hold, and lets the evaluator judge it. What is
found is certain; that nothing is found proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice, product
from typing import TYPE_CHECKING, Any, Final

from vending.acr.scope import CATALOG, Scope, repository
from vending.oidc.types import VerifiedClaims
from vending.policy.engine.conditions import State
from vending.policy.engine.containment import UndecidedError, common_name, common_text
from vending.policy.engine.decide import decide
from vending.policy.engine.index import Index

if TYPE_CHECKING:
    from vending.oidc.claim_path import ClaimPath
    from vending.policy.engine.conditions import Condition, Scalar
    from vending.policy.engine.policy import Deny, Grant, IssuerRules, Policy, Rule

_MAX_WAYS: Final = 16
"""Combinations of alternatives, and values of one claim, that are tried."""

_DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Say which rule grants what a `never` entry rules out, and to whom, for example."""

    rule: Rule
    never: Deny
    claims: dict[str, Any]
    scope: Scope

    @property
    def example(self) -> dict[str, Any]:
        """Return the token's claims and the scope, as JSON."""
        return {"claims": self.claims, "scope": str(self.scope)}


def find_contradictions(policy: Policy) -> Iterator[Contradiction]:
    """Yield one contradiction for each rule and `never` entry that have one."""
    for issuer, rules in policy.rules.items():
        nevers = [deny for deny in rules.denies if deny.section == "never" and deny.enabled]
        if not nevers:
            continue
        without = replace(policy, rules={**policy.rules, issuer: _without_never(rules)})
        for rule in rules.rules:
            if rule.enabled and rule.enforced:
                found = (_contradiction(without, issuer, rule, never) for never in nevers)
                yield from (contradiction for contradiction in found if contradiction is not None)


def _without_never(rules: IssuerRules) -> IssuerRules:
    denies = [deny for deny in rules.denies if deny.section == "deny" and deny.enabled]
    return replace(rules, denies_by_condition=Index(denies, _when, other_types_hold=True))


def _when(deny: Deny) -> list[tuple[Condition, ...]]:
    return [(condition,) for condition in deny.when]


def _contradiction(policy: Policy, issuer: str, rule: Rule, never: Deny) -> Contradiction | None:
    covers = never.covers
    grants = [grant for grant in rule.grants if covers.registry in {None, grant.registry} and _shares(grant, covers)]
    moment = _moment(policy.rules[issuer], rule, never) if grants else None
    if moment is None:
        return None
    ways = product(*([alternative.conditions for alternative in group] for group in rule.when_any))
    for way in islice(ways, _MAX_WAYS):
        for claims in _claims((*rule.when, *chain(*way), *never.when), rule.unless, never, grants):
            for grant in grants:
                for scope in _scopes(grant, covers, claims):
                    verified = VerifiedClaims(issuer, claims)
                    if decide(policy, verified, str(grant.registry), (scope,), moment).allowed:
                        return Contradiction(rule, never, claims, scope)
    return None


def _shares(grant: Grant, covers: Grant) -> bool:
    return (grant.catalog and covers.catalog) or not set(grant.actions).isdisjoint(covers.actions)


def _moment(rules: IssuerRules, rule: Rule, never: Deny) -> float | None:
    """Choose a time at which both count: the last, so that whatever will end has ended."""
    spans = [*(entry.span for entry in rules.rules), *(entry.span for entry in rules.denies)]
    finite = [at for span in spans for at in (span.start, span.end) if abs(at) != float("inf")]
    last = min(rule.span.end, never.span.end, max(finite, default=0.0) + _DAY)
    moment = last - 1
    return moment if moment >= max(rule.span.start, never.span.start) else None


# --- A token that meets conditions ------------------------------------------------------------------------------------


def _claims(
    must: Sequence[Condition], unless: Sequence[Condition], never: Deny, grants: Sequence[Grant]
) -> Iterator[dict[str, Any]]:
    """Yield claims that meet all of `must` and nothing of `unless`, with values for what templates insert."""
    paths = list(dict.fromkeys(condition.path for condition in (*must, *unless)))
    choices: list[list[Scalar | None]] = []
    for path in paths:
        wanted = [condition for condition in must if condition.path == path]
        shunned = [condition for condition in unless if condition.path == path]
        fitting = [value for value in _values(wanted, shunned) if _fits(path, value, wanted, shunned)]
        choices.append(fitting[:_MAX_WAYS])
    inserted = {part.path for grant in grants for template in grant.templates for part in template.insertions}
    for path in sorted(inserted - set(paths)):
        paths.append(path)
        choices.append([None, *_insertable(path, never, grants)])
    for values in islice(product(*choices), _MAX_WAYS * _MAX_WAYS):
        claims = _put(zip(paths, values, strict=True))
        held = [condition.test(claims) is State.HOLDS for condition in never.unless]
        if not (held and all(held)):
            yield claims


def _values(wanted: Sequence[Condition], shunned: Sequence[Condition]) -> Iterator[Scalar | None]:
    if any(condition.absent for condition in wanted):
        yield None
    for values in islice(product(*(condition.values for condition in wanted if not condition.absent)), _MAX_WAYS):
        if values and all(isinstance(value, str) for value in values):
            texts = [str(value) for value in values]
            yield texts[0].replace("**", "x").replace("*", "x")
            try:
                shortest = common_text(texts)
            except UndecidedError:
                continue
            if shortest is not None:
                yield shortest
        elif values:
            yield values[0]
    if not wanted:
        kinds = [value for condition in shunned for value in condition.values]
        others: list[Scalar] = ["x", "y", 0, 1]
        yield from others
        yield from (not value for value in kinds if isinstance(value, bool))


def _fits(path: ClaimPath, value: Scalar | None, wanted: Sequence[Condition], shunned: Sequence[Condition]) -> bool:
    claims = _put([(path, value)])
    return all(condition.test(claims) is State.HOLDS for condition in wanted) and all(
        condition.test(claims) is State.FAILS for condition in shunned
    )


def _insertable(path: ClaimPath, never: Deny, grants: Sequence[Grant]) -> list[str]:
    """Return values for a claim that templates insert: keys of maps, and components that the entry names."""
    parts = [part for grant in grants for template in grant.templates for part in template.insertions]
    keys = [key for part in parts if part.path == path for key in (part.table or part.lists or {})]
    texts = [*never.covers.names, *(glob.text for glob in never.covers.globs)]
    named = [component for text in texts for component in text.split("/") if component and "*" not in component]
    return [*keys[:_MAX_WAYS], *dict.fromkeys(named), "x"]


def _put(pairs: Any) -> dict[str, Any]:
    claims: dict[str, Any] = {}
    for path, value in pairs:
        if value is None:
            continue
        at = claims
        for step in path[:-1]:
            inner = at.setdefault(step, {})
            at = inner if isinstance(inner, dict) else {}
        at[path[-1]] = value
    return claims


# --- A scope that both cover ------------------------------------------------------------------------------------------


def _scopes(grant: Grant, covers: Grant, claims: dict[str, Any]) -> Iterator[Scope]:
    if grant.catalog and covers.catalog:
        yield CATALOG
    actions = [action for action in grant.actions if action in covers.actions]
    if not actions:
        return
    reaches = [template.reach(claims) for template in grant.templates]
    given = [*grant.names, *(glob.text for glob in grant.globs)]
    given += [text for reach in reaches for text in (*reach.names, *(glob.text for glob in reach.globs))]
    ruled_out = [*covers.names, *(glob.text for glob in covers.globs)]
    for one in given:
        for other in ruled_out:
            try:
                name = common_name([one, other])
            except UndecidedError:
                continue
            if name is not None:
                yield repository(name, actions[:1])
