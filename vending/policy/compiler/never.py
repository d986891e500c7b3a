"""Find plain contradictions between rules and `never` entries: a token and a scope that a rule grants all the same.

Tries a few tokens for each way that a rule and a `never` entry can both hold, made from the provider's sample tokens,
and lets the evaluator judge them. What is found is certain; that nothing is found proves nothing. Rules that expire are
left out: whether they still count is a question of the time, and loading knows none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice, product
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from vending.acr.scope import CATALOG, Scope, repository
from vending.oidc.claim_path import ClaimPath, write_key
from vending.oidc.types import VerifiedClaims
from vending.policy.engine.conditions import State
from vending.policy.engine.containment import common_name, common_text
from vending.policy.engine.decide import decide
from vending.policy.engine.globs import compile_glob, is_literal
from vending.policy.engine.index import Index
from vending.policy.engine.matching import deny_holds
from vending.policy.engine.policy import ALWAYS
from vending.policy.engine.words import Undecided, compatible
from vending.policy.providers.preset import Follows

if TYPE_CHECKING:
    from vending.oidc.types import Claims
    from vending.policy.engine.conditions import Condition, Scalar
    from vending.policy.engine.policy import Deny, Grant, IssuerRules, Policy, Rule
    from vending.policy.providers.preset import Preset, Relation

_MAX_WAYS: Final = 16
"""Combinations of alternatives, and values of one claim, that are tried."""

_Chosen: TypeAlias = "list[tuple[ClaimPath, Scalar | None]]"
"""Claims and their values; None is a claim that is not there."""

_DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Say which rule grants what a `never` entry rules out, and to whom, for example.

    `claims` are a whole token's; `because` are those of them that were chosen for the rule and the entry.
    """

    rule: Rule
    never: Deny
    claims: dict[str, Any]
    because: dict[str, Any]
    scope: Scope

    @property
    def example(self) -> dict[str, Any]:
        """Return the token's claims and the scope, as JSON."""
        return {"claims": self.claims, "scope": str(self.scope)}


def find_contradictions(policy: Policy) -> Iterator[Contradiction]:
    """Yield one contradiction for each rule and `never` entry that have one."""
    presets = {issuer.name: issuer.preset for issuer in policy.issuers.values()}
    for issuer, rules in policy.rules.items():
        nevers = [deny for deny in rules.denies if deny.section == "never" and deny.enabled]
        if not nevers:
            continue
        without = replace(policy, rules={**policy.rules, issuer: _without_never(rules)})
        for rule in rules.rules:
            if rule.enabled and rule.enforced and rule.span.end == ALWAYS.end:
                found = (_contradiction(without, presets[issuer], issuer, rule, never) for never in nevers)
                yield from (contradiction for contradiction in found if contradiction is not None)


def _without_never(rules: IssuerRules) -> IssuerRules:
    denies = [deny for deny in rules.denies if deny.section == "deny" and deny.enabled]
    return replace(rules, denies_by_condition=Index(denies, attrgetter("when"), other_types_hold=True))


def _contradiction(policy: Policy, preset: Preset, issuer: str, rule: Rule, never: Deny) -> Contradiction | None:
    covers = never.covers
    grants = [
        grant
        for grant in rule.grants
        if covers.registry in {None, grant.registry} and _shares(grant, covers) and _may_meet(grant, covers)
    ]
    moment = _moment(policy.rules[issuer], rule, never) if grants else None
    if moment is None:
        return None
    ways = product(*([alternative.conditions for alternative in group] for group in rule.when_any))
    for way in islice(ways, _MAX_WAYS):
        for chosen in _claims((*rule.when, *chain(*way), *never.when), rule.unless, never, grants):
            for claims in _tokens(preset, chosen):
                scope = _granted(policy, VerifiedClaims(issuer, claims), grants, never.covers, moment)
                if scope is not None and not _is_spared(never, claims):
                    because = {path[0]: claims[path[0]] for path, _ in chosen if path[0] in claims}
                    return Contradiction(rule, never, claims, because, scope)
    return None


def _granted(
    policy: Policy, caller: VerifiedClaims, grants: Sequence[Grant], covers: Grant, moment: float
) -> Scope | None:
    for grant in grants:
        for scope in _scopes(grant, covers, caller.claims):
            if decide(policy, caller, str(grant.registry), (scope,), moment).allowed:
                return scope
    return None


def _is_spared(never: Deny, claims: Claims) -> bool:
    return not deny_holds(never, claims)


def _shares(grant: Grant, covers: Grant) -> bool:
    return (grant.catalog and covers.catalog) or not set(grant.actions).isdisjoint(covers.actions)


def _may_meet(grant: Grant, covers: Grant) -> bool:
    """Return False where no name can be in both, whatever templates make of claims; this spares the search."""
    if grant.catalog and covers.catalog:
        return True
    given = [*grant.names, *(glob.text for glob in grant.globs), *(template.widest for template in grant.templates)]
    ruled_out = [*covers.names, *(glob.text for glob in covers.globs)]
    return bool(given and ruled_out) and compatible([given, ruled_out]) is not None


def _moment(rules: IssuerRules, rule: Rule, never: Deny) -> float | None:
    """Choose a time at which both count: the last, so that whatever will end has ended."""
    spans = [*(entry.span for entry in rules.rules), *(entry.span for entry in rules.denies)]
    finite = [at for span in spans for at in (span.start, span.end) if abs(at) != float("inf")]
    last = min(never.span.end, max(finite, default=0.0) + _DAY)
    moment = last - 1
    return moment if moment >= max(rule.span.start, never.span.start) else None


# --- A token that meets conditions ------------------------------------------------------------------------------------


def _claims(
    must: Sequence[Condition], unless: Sequence[Condition], never: Deny, grants: Sequence[Grant]
) -> Iterator[_Chosen]:
    """Yield claims that meet all of `must` and nothing of `unless`, with values for what templates insert."""
    paths = list(dict.fromkeys(condition.path for condition in (*must, *unless)))
    choices: list[list[_Chosen]] = []
    for path in paths:
        wanted = [condition for condition in must if condition.path == path]
        shunned = [condition for condition in unless if condition.path == path]
        fitting = [value for value in _values(wanted, shunned) if _fits(path, value, wanted, shunned)]
        choices.append([[(path, value)] for value in fitting[:_MAX_WAYS]])
    inserted = {part.path for grant in grants for template in grant.templates for part in template.insertions}
    choices += [_insertable(path, never, grants) for path in sorted(inserted - set(paths))]
    for parts in islice(product(*choices), _MAX_WAYS * _MAX_WAYS):
        yield [pair for part in parts for pair in part]


def _tokens(preset: Preset, chosen: _Chosen) -> Iterator[dict[str, Any]]:
    """Yield tokens of a provider that have the chosen claims and keep to what it guarantees."""
    wanted = {write_key(path): value for path, value in chosen}
    for key, value in wanted.items():
        known = preset.claims.get(key)
        if known is None:
            continue
        if value is None and known.always:
            return
        if isinstance(value, str) and known.form is not None and known.form.pattern.fullmatch(value) is None:
            return
    for sample in islice(preset.samples.values(), _MAX_WAYS):
        claims = _put(chosen, _copy(sample.claims))
        if all(_keeps(relation, claims, wanted) for relation in preset.relations):
            yield claims


def _copy(value: Any) -> Any:
    """Copy claims as JSON has them: `_put` changes mappings, and a sample may hold frozen ones and tuples."""
    if isinstance(value, Mapping):
        return {key: _copy(inner) for key, inner in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list | tuple) else value


def _keeps(relation: Relation, claims: dict[str, Any], wanted: Mapping[str, object]) -> bool:
    """Return whether a guarantee holds, after changing a claim that nothing asks for, if that helps."""
    value = claims.get(relation.claim)
    if not isinstance(value, str):
        return True
    if isinstance(relation, Follows):
        matches = (
            value == relation.pattern if is_literal(relation.pattern) else compile_glob(relation.pattern).matches(value)
        )
        follower, due = relation.then, relation.value
        if not matches or claims.get(follower) == due:
            return True
    else:
        follower, (due, separator, _) = relation.other, value.partition(relation.separator)
        if not separator:
            return False
        if claims.get(follower) == due:
            return True
    if follower in wanted:
        return False
    claims[follower] = due
    return True


def _values(wanted: Sequence[Condition], shunned: Sequence[Condition]) -> Iterator[Scalar | None]:
    if any(condition.absent for condition in wanted):
        yield None
    for values in islice(product(*(condition.values for condition in wanted if not condition.absent)), _MAX_WAYS):
        if values and all(isinstance(value, str) for value in values):
            texts = [str(value) for value in values]
            yield texts[0].replace("**", "x").replace("*", "x")
            try:
                shortest = common_text(texts)
            except Undecided:
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
    claims = _put([(path, value)], {})
    return all(condition.test(claims) is State.HOLDS for condition in wanted) and all(
        condition.test(claims) is State.FAILS for condition in shunned
    )


def _insertable(path: ClaimPath, never: Deny, grants: Sequence[Grant]) -> list[_Chosen]:
    """Return choices for a claim that templates insert: the sample's, keys of maps, components that the entry names."""
    parts = [part for grant in grants for template in grant.templates for part in template.insertions]
    keys = [key for part in parts if part.path == path for key in (part.table or part.lists or {})]
    texts = [*never.covers.names, *(glob.text for glob in never.covers.globs)]
    named = [component for text in texts for component in text.split("/") if component and "*" not in component]
    choices: list[_Chosen] = [[]]
    choices += [[(path, value)] for value in (*keys[:_MAX_WAYS], *dict.fromkeys(named), "x")]
    return choices


def _put(pairs: Iterable[tuple[ClaimPath, Scalar | None]], claims: dict[str, Any]) -> dict[str, Any]:
    """Set claims, and take away those that are None."""
    for path, value in pairs:
        at = claims
        for step in path[:-1]:
            inner = at.setdefault(step, {})
            at = inner if isinstance(inner, dict) else {}
        at[path[-1]] = value
        if value is None:
            del at[path[-1]]
    return claims


# --- A scope that both cover ------------------------------------------------------------------------------------------


def _scopes(grant: Grant, covers: Grant, claims: Claims) -> Iterator[Scope]:
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
            except Undecided:
                continue
            if name is not None:
                yield repository(name, actions[:1])
