"""A policy as its critics look at it: what is written beside what it compiles to, with its place. Judges nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vending.oidc.claim_path import ClaimPath, parse_key
from vending.policy.engine.conditions import Scalar
from vending.policy.engine.globs import is_literal
from vending.policy.language.fields import Absent, InList, as_list
from vending.policy.language.models import DenyModel, GrantModel, RuleModel
from vending.policy.language.problems import Location

if TYPE_CHECKING:
    from vending.policy.compiler.load import Loaded
    from vending.policy.engine.policy import Deny, PolicyIssuer, Rule
    from vending.policy.engine.repositories import Maps
    from vending.policy.language.fields import ConditionValue
    from vending.policy.language.models import NamedConditionModel, PolicyModel


@dataclass(frozen=True, slots=True)
class Clause:
    """One condition of an entry, what it uses included. `where` is `when`, `when_any` or `unless`.

    `values` are those of the list where it names one. `choice` numbers the `when_any` and the alternative in it that
    the condition belongs to. `is_own` says that it is written in the entry itself.
    """

    where: str
    key: str
    claim: ClaimPath
    values: tuple[Scalar, ...]
    path: Location
    is_list: bool
    absent: bool = False
    choice: tuple[Location, int] | None = None
    is_own: bool = True

    def place(self, number: int) -> Location:
        """Return the location of one of the values."""
        return (*self.path, number) if self.is_list else self.path

    @property
    def admits(self) -> bool:
        """Return whether the condition says what a caller must have, rather than whom it excludes."""
        return self.where != "unless"

    @property
    def pins(self) -> bool:
        """Return whether the claim can only have values that are written out."""
        return self.where == "when" and self.is_literal

    @property
    def is_literal(self) -> bool:
        """Return whether there are values, all of them without a wildcard and not empty."""
        return bool(self.values) and all(
            not isinstance(value, str) or (value != "" and is_literal(value)) for value in self.values
        )


@dataclass(frozen=True, slots=True)
class LintedEntry:
    """A rule or deny entry with its issuers and conditions."""

    model: RuleModel | DenyModel
    path: Location
    issuers: tuple[PolicyIssuer, ...]
    clauses: tuple[Clause, ...]

    def least(self, worth: Callable[[Clause], int]) -> int:
        """Return what the conditions are worth together: the best of `when`, or of the worst choice in a `when_any`."""
        best = max((worth(clause) for clause in self.clauses if clause.where == "when"), default=0)
        choices: dict[Location, dict[int, int]] = {}
        for clause in self.clauses:
            if clause.choice is not None:
                group, number = clause.choice
                of_group = choices.setdefault(group, {})
                of_group[number] = max(of_group.get(number, 0), worth(clause))
        return max([best, *(min(of_group.values()) for of_group in choices.values())])


@dataclass(frozen=True, slots=True)
class RuleEntry(LintedEntry):
    """A rule, with what its grants name."""

    model: RuleModel
    compiled: tuple[Rule, ...]
    """The rule as each of its issuers sees it."""
    meaning: object
    """What the rule says, whatever its name and the order in which it says it."""

    def entries(self) -> Iterator[tuple[Location, GrantModel, str]]:
        """Yield path, grant and text of every entry of `repositories`."""
        for number, grant in enumerate(self.model.grant):
            for position, text in enumerate(grant.repositories or ()):
                yield (*self.path, "grant", number, "repositories", position), grant, text


@dataclass(frozen=True, slots=True)
class View:
    """A policy as the checks look at it."""

    loaded: Loaded
    rules: tuple[RuleEntry, ...]
    denies: tuple[LintedEntry, ...]
    denies_of: Mapping[str, tuple[Deny, ...]]
    """The enabled deny and never entries, for each issuer by name."""
    twins: Mapping[object, RuleModel]
    """What a rule says, to the first rule that says so."""

    @property
    def maps(self) -> Maps:
        """Return the maps, by name."""
        return self.loaded.model.maps

    @classmethod
    def of(cls, loaded: Loaded) -> View:
        """Look at a policy."""
        issuers = {issuer.name: issuer for issuer in loaded.policy.issuers.values()}
        compiled: dict[str, list[Rule]] = {}
        for of_issuer in loaded.policy.rules.values():
            for rule in of_issuer.rules:
                compiled.setdefault(rule.name, []).append(rule)
        rules = tuple(
            RuleEntry(
                model,
                ("rules", number),
                tuple(issuers[name] for name in as_list(model.issuer)),
                clauses,
                tuple(compiled[model.name]),
                _meaning(model, clauses),
            )
            for number, model in enumerate(loaded.model.rules)
            for clauses in (_clauses(model, ("rules", number), loaded.model),)
        )
        twins: dict[object, RuleModel] = {}
        for subject in rules:
            twins.setdefault(subject.meaning, subject.model)
        return cls(
            loaded=loaded,
            rules=rules,
            denies=tuple(
                LintedEntry(
                    model,
                    (section, number),
                    tuple(issuers[name] for name in as_list(model.issuer or [])),
                    _clauses(model, (section, number), loaded.model),
                )
                for section, entries in (("deny", loaded.model.deny), ("never", loaded.model.never))
                for number, model in enumerate(entries)
            ),
            denies_of={
                name: tuple(deny for deny in of_issuer.denies if deny.enabled)
                for name, of_issuer in loaded.policy.rules.items()
            },
            twins=twins,
        )


def _clauses(model: RuleModel | DenyModel, path: Location, policy: PolicyModel) -> tuple[Clause, ...]:
    """Return the conditions of an entry and of all that it uses."""
    found = list(_written(model, path, policy, is_own=True))
    for name in as_list(model.use):
        used = policy.conditions.get(name)
        if used is not None:
            found += _written(used, ("conditions", name), policy, is_own=False)
    return tuple(found)


def _written(
    model: RuleModel | DenyModel | NamedConditionModel, path: Location, policy: PolicyModel, *, is_own: bool
) -> Iterator[Clause]:
    for where, conditions in (("when", model.when), ("unless", model.unless)):
        for key, value in (conditions or {}).items():
            yield _clause(where, key, value, (*path, where, key), policy, is_own=is_own)
    for number, alternative in enumerate(() if isinstance(model, DenyModel) else model.when_any):
        group: Location = (*path, "when_any")
        for key, value in alternative.items():
            place = (*group, number, key)
            yield _clause("when_any", key, value, place, policy, is_own=is_own, choice=(group, number))


def _clause(
    where: str,
    key: str,
    value: ConditionValue,
    path: Location,
    policy: PolicyModel,
    *,
    is_own: bool,
    choice: tuple[Location, int] | None = None,
) -> Clause:
    values = policy.lists.get(value.name, ()) if isinstance(value, InList) else _values(value)
    is_list = isinstance(value, list)
    absent = isinstance(value, Absent)
    return Clause(where, key, parse_key(key), tuple(values), path, is_list, absent, choice, is_own)


def _values(value: ConditionValue) -> list[Scalar]:
    return [] if isinstance(value, InList | Absent) else as_list(value)


def _meaning(rule: RuleModel, clauses: tuple[Clause, ...]) -> object:
    return (
        frozenset(as_list(rule.issuer)),
        frozenset(map(_said, clauses)),
        frozenset(
            (
                frozenset(as_list(grant.registry)),
                frozenset(grant.repositories or ()),
                frozenset(grant.actions or ()),
                grant.catalog,
            )
            for grant in rule.grant
        ),
        str(rule.not_before),
        rule.mode,
        rule.enabled,
    )


def _said(clause: Clause) -> object:
    """Say what a condition means, whatever it is called and wherever it is written, but for its choice."""
    # Python holds 1 and True for equal.
    values = frozenset((type(value), value) for value in clause.values)
    choice = None if clause.choice is None else ("" if clause.is_own else clause.path[1], clause.choice[1])
    return clause.where, choice, clause.claim, values, clause.absent
