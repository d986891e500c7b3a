"""A compiled policy as what it grants and denies, one conjunction of conditions at a time, for one issuer.

What matters at one moment is here: rules in audit mode, and entries that are disabled or not in force, are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Final, TypeAlias

from vending.acr.scope import CATALOG, CATALOG_ACTION, Scope, repository
from vending.assurance.prover import Conjunction, Literal, Prover, Witness
from vending.assurance.space import Cover, put
from vending.assurance.values import MISSING, Domain
from vending.oidc.types import VerifiedClaims
from vending.policy.engine.conditions import State
from vending.policy.engine.decide import decide
from vending.policy.engine.matching import is_in_force
from vending.policy.engine.words import Undecided
from vending.policy.providers.preset import ClaimType

if TYPE_CHECKING:
    from vending.oidc.claim_path import ClaimPath
    from vending.oidc.types import JsonValue
    from vending.policy.engine.conditions import Condition
    from vending.policy.engine.policy import Deny, Grant, IssuerRules, Policy, PolicyIssuer, Rule
    from vending.policy.engine.repositories import Template

MAX_ALTERNATIVES: Final = 512
"""Combinations of the alternatives of a rule's `when_any` that are told apart."""

_TYPES: Final[Mapping[ClaimType, type]] = {
    ClaimType.TEXT: str,
    ClaimType.BOOLEAN: bool,
    ClaimType.INTEGER: int,
}

EntryKey: TypeAlias = "tuple[object, ...]"


@dataclass(frozen=True, slots=True)
class Right:
    """One entry of one grant of a rule, in one way in which the rule may match.

    `host` is the registry's login server: names of registries are a policy's own affair. `entry` is what the file says,
    and `key` what tells it from an entry that means something else. The catalog has no entry.
    """

    rule: Rule
    grant: Grant
    host: str
    registry: str
    entry: str
    key: EntryKey
    actions: tuple[str, ...]
    cover: Cover


@dataclass(frozen=True, slots=True)
class Denial:
    """A deny entry in one way in which it may hold. `host` is None for every registry."""

    deny: Deny
    host: str | None
    actions: frozenset[str]
    cover: Cover

    def concerns(self, host: str, action: str) -> bool:
        """Return whether the entry takes an action away in a registry."""
        return self.host in {None, host} and action in self.actions


class Access:
    """What one policy grants and denies to callers of one issuer, as covers of a shared prover."""

    def __init__(self, policy: Policy, issuer: PolicyIssuer, prover: Prover) -> None:
        self.policy = policy
        self.issuer = issuer
        self._prover = prover
        self.rules: IssuerRules = policy.rules[issuer.name]

    def rights(self, rule: Rule) -> Iterator[Right]:
        """Yield everything that a rule grants. Raises `Undecided`."""
        for conditions in self._ways(rule):
            for grant in rule.grants:
                yield from self._entries(rule, grant, conditions)

    def denials(self, deny: Deny) -> Iterator[Denial]:
        """Yield the ways in which a deny entry may hold: its `unless` exempts only where all of it holds."""
        holds = {self._prover.condition(condition, State.HOLDS, State.OTHER_TYPE) for condition in deny.when}
        covers = deny.covers
        patterns = _patterns(covers)
        host = None if covers.registry is None else self.policy.registries[covers.registry].login_server
        fails = [{-self._prover.condition(condition, State.HOLDS)} for condition in deny.unless] or [set()]
        for literals in fails:
            conditions = frozenset(holds | literals)
            if patterns:
                yield Denial(deny, host, frozenset(covers.actions), Cover(conditions, patterns))
            if covers.catalog:
                yield Denial(deny, host, frozenset({CATALOG_ACTION}), Cover(conditions))

    def rules_at(self, now: float) -> Iterator[Rule]:
        """Yield the rules that grant something at a time."""
        if self.issuer.verification.enabled:
            for rule in self.rules.rules:
                if rule.enabled and rule.enforced and is_in_force(rule.span, now):
                    yield rule

    def denies_at(self, now: float) -> Iterator[Deny]:
        """Yield the deny and `never` entries that count at a time."""
        return (deny for deny in self.rules.denies if deny.enabled and is_in_force(deny.span, now))

    def _ways(self, rule: Rule) -> Iterator[Conjunction]:
        """Yield the literals of a rule for each combination of its alternatives."""
        always = {self._prover.condition(condition, State.HOLDS) for condition in rule.when}
        always |= {self._prover.condition(condition, State.FAILS) for condition in rule.unless}
        ways = 1
        for group in rule.when_any:
            ways *= len(group)
        if ways > MAX_ALTERNATIVES:
            raise Undecided(f"the rule {rule.name} has too many combinations of alternatives")
        for chosen in product(*rule.when_any):
            literals: set[Literal] = set(always)
            exempt = set(rule.exempt)
            for alternative in chosen:
                literals |= {self._prover.condition(condition, State.HOLDS) for condition in alternative.conditions}
                exempt |= alternative.exempt
            for number, trigger in enumerate(self.rules.refused):
                if number not in exempt:
                    literals.add(-self._prover.condition(trigger, State.HOLDS, State.OTHER_TYPE))
            yield frozenset(literals)

    def _entries(self, rule: Rule, grant: Grant, conditions: Conjunction) -> Iterator[Right]:
        registry = self.policy.registries[grant.registry or ""]

        def right(entry: str, key: EntryKey, actions: tuple[str, ...], cover: Cover) -> Right:
            return Right(rule, grant, registry.login_server, registry.name, entry, key, actions, cover)

        for text in _patterns(grant):
            yield right(text, (text,), grant.actions, Cover(conditions, (text,)))
        for template in grant.templates:
            yield right(template.text, template_key(template), grant.actions, Cover(conditions, (), (template,)))
        if grant.catalog:
            yield right("", (), (CATALOG_ACTION,), Cover(conditions))


def _patterns(grant: Grant) -> tuple[str, ...]:
    return (*sorted(grant.names), *(glob.text for glob in grant.globs))


def template_key(template: Template) -> EntryKey:
    """Return what a template means: its text, and what the maps that it names hold."""
    tables: list[object] = []
    for insertion in template.insertions:
        if insertion.table is not None:
            tables.append(tuple(sorted(insertion.table.items())))
        if insertion.lists is not None:
            lists = insertion.lists.items()
            tables.append(tuple(sorted((k, reach.names, tuple(g.text for g in reach.globs)) for k, reach in lists)))
    return (template.text, *tables)


def domains(issuer: PolicyIssuer, conditions: Mapping[ClaimPath, str]) -> dict[ClaimPath, Domain]:
    """Return what the claims of an issuer may hold; `conditions` are those that matter, with the keys of the file."""
    found: dict[ClaimPath, Domain] = {}
    for path, key in conditions.items():
        known = issuer.preset.type_of(key)
        if key == "iss":
            found[path] = Domain(types=frozenset({str}), lists=False, missing=False, only=issuer.verification.url)
        elif known is not None and key != "aud":
            claim = issuer.preset.claims.get(key)
            many = claim is not None and claim.many
            found[path] = Domain(types=frozenset({_TYPES[known]}), scalars=not many, lists=many)
    return found


def claims_of(rules: IssuerRules) -> dict[ClaimPath, str]:
    """Return the claims that an issuer's rules and denies look at, with the keys of the file."""
    found: dict[ClaimPath, str] = {}

    def add(conditions: tuple[Condition, ...]) -> None:
        found.update((condition.path, condition.key) for condition in conditions)

    for rule in rules.rules:
        add(rule.when)
        add(rule.unless)
        for group in rule.when_any:
            for alternative in group:
                add(alternative.conditions)
        for grant in rule.grants:
            for template in grant.templates:
                for insertion in template.insertions:
                    found.setdefault(insertion.path, _key(insertion.path))
    for deny in rules.denies:
        add(deny.when)
        add(deny.unless)
    add(rules.refused)
    return found


def _key(path: ClaimPath) -> str:
    if len(path) == 1 and not path[0].startswith("/"):
        return path[0]
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)


@dataclass(frozen=True, slots=True)
class Example:
    """A token's claims and a scope, which the evaluator has confirmed."""

    claims: Mapping[str, JsonValue]
    scope: str

    def data(self) -> dict[str, object]:
        """Return it as JSON has it."""
        return {"claims": dict(self.claims), "scope": self.scope}


def scope_of(witness: Witness, action: str) -> Scope:
    """Return the scope that a witness asks for."""
    return CATALOG if action == CATALOG_ACTION else repository(witness.repository, (action,))


def token_of(witness: Witness) -> dict[str, JsonValue]:
    """Return the claims of a witness; claims that matter and are missing are left out."""
    claims: dict[str, JsonValue] = {}
    for path, value in sorted(witness.claims.items()):
        if value is not MISSING:
            put(claims, path, value)  # type: ignore[arg-type]
    return claims


def allows(
    policy: Policy, issuer: str, claims: Mapping[str, JsonValue], registry: str, scope: Scope, now: float
) -> bool:
    """Ask the evaluator itself."""
    return decide(policy, VerifiedClaims(issuer, dict(claims)), registry, (scope,), now).allowed
