"""Compile rules and deny entries: check what they mean for each of their issuers, and file them for quick finding."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar, cast

from vending.acr.scope import ACTIONS
from vending.oidc.claim_path import ClaimPath, parse_key
from vending.policy.engine.conditions import Condition, Scalar, compact, compile_condition
from vending.policy.engine.globs import Glob, compile_glob, has_substance, is_literal
from vending.policy.engine.index import Index
from vending.policy.engine.policy import Deny, Grant, IssuerRules, Rule
from vending.policy.engine.repositories import Entry, Maps, RepositoryError, Template, compile_entry, compile_plain
from vending.policy.language.models import Absent, DenyModel, GrantModel, InList, RuleModel, as_list, moment
from vending.policy.language.problems import Code, Finding, Location
from vending.policy.providers.preset import ClaimType, Preset
from vending.policy.providers.presets import PRESETS

if TYPE_CHECKING:
    from vending.policy.engine.policy import PolicyIssuer
    from vending.policy.language.document import Document
    from vending.policy.language.models import ConditionValue

T = TypeVar("T")

_NO_CONDITIONS: Final[tuple[Condition, ...]] = ()
_NO_TRIGGERS: Final[frozenset[int]] = frozenset()


@dataclass(frozen=True, slots=True)
class _Provider:
    """A preset with its claims as paths, so that `repository_id` and `/repository_id` are one claim."""

    preset: Preset
    identity: frozenset[ClaimPath]
    pins: frozenset[ClaimPath]
    folded: frozenset[ClaimPath]
    types: Mapping[ClaimPath, ClaimType]
    refused: tuple[Condition, ...]

    @classmethod
    def of(cls, preset: Preset) -> _Provider:
        paths = parse_key
        folded = frozenset(map(paths, preset.folded))
        return cls(
            preset=preset,
            identity=frozenset(map(paths, preset.identity)),
            pins=frozenset(map(paths, preset.pins)),
            folded=folded,
            types={paths(key): claim.type for key, claim in preset.claims.items()},
            refused=tuple(
                compile_condition(key, paths(key), [value], folds=paths(key) in folded) for key, value in preset.refused
            ),
        )

    def type_of(self, path: ClaimPath) -> ClaimType | None:
        known = self.types.get(path)
        return self.preset.type_of(path[0]) if known is None and len(path) == 1 else known


_ANY_PROVIDER: Final = _Provider.of(PRESETS["generic"])
"""Judges what names no issuer that exists: it knows no claims, so whatever it objects to is wrong for every issuer."""


@dataclass(slots=True)
class RuleCompiler:
    """Compile the rules and denies of one policy; `findings` gathers what is wrong with them."""

    document: Document
    issuers: Mapping[str, PolicyIssuer]
    registries: frozenset[str]
    maps: Maps
    findings: list[Finding] = field(default_factory=list)
    _paths: dict[str, ClaimPath] = field(default_factory=dict)
    _conditions: dict[tuple[object, ...], Condition] = field(default_factory=dict)
    _templates: dict[str, Entry] = field(default_factory=dict)
    _tuples: dict[tuple[object, ...], tuple[object, ...]] = field(default_factory=dict)
    _providers: dict[str, _Provider] = field(default_factory=dict)

    def compile(self, rules: Sequence[RuleModel], denies: Sequence[DenyModel]) -> Mapping[str, IssuerRules]:
        """Compile everything, for each issuer by name."""
        self._providers = {name: _Provider.of(issuer.preset) for name, issuer in self.issuers.items()}
        self._check_names("rules", (rule.name for rule in rules))
        self._check_names("deny", (deny.name for deny in denies))
        self._refuse_what_is_not_compiled(rules, denies)
        of_issuer: dict[str, tuple[list[Rule], list[Deny]]] = {name: ([], []) for name in self.issuers}
        for number, rule in enumerate(rules):
            for compiled in self._rule(rule, ("rules", number)):
                of_issuer[compiled.issuer][0].append(compiled)
        for number, deny in enumerate(denies):
            for issuer, compiled_deny in self._deny(deny, ("deny", number)):
                of_issuer[issuer][1].append(compiled_deny)
        return {name: _file(tuple(r), tuple(d), self._providers[name].refused) for name, (r, d) in of_issuer.items()}

    def _refuse_what_is_not_compiled(self, rules: Sequence[RuleModel], denies: Sequence[DenyModel]) -> None:
        """Refuse the parts of the language that are read and have no effect yet."""
        sections: list[tuple[str, Sequence[RuleModel | DenyModel]]] = [("rules", rules), ("deny", denies)]
        for section, entries in sections:
            for number, entry in enumerate(entries):
                absent = {"use", "when_any", *(["not_before"] if section == "rules" else [])}
                for key in sorted(absent & entry.model_fields_set):
                    self._add((section, number, key), Code.UNKNOWN_KEY, f"{key} has no effect yet", at_key=True)
                for where in (entry.when or {}, entry.unless or {}):
                    if any(isinstance(value, InList | Absent) for value in where.values()):
                        self._add((section, number), Code.UNKNOWN_KEY, "in and absent have no effect yet")

    def _add(self, path: Location, code: Code, message: str, *, at_key: bool = False) -> None:
        self.findings.append(Finding(path, code, message, at_key))

    def _check_names(self, section: str, names: Iterable[str]) -> None:
        first: dict[str, int] = {}
        for number, name in enumerate(names):
            if first.setdefault(name, number) != number:
                self._add((section, number, "name"), Code.DUPLICATE_NAME, f"duplicate name {name!r}; choose another")

    # --- Rules --------------------------------------------------------------------------------------------------------

    def _rule(self, rule: RuleModel, path: Location) -> Iterable[Rule]:
        grants = tuple(
            self._grant(grant, (*path, "grant", number), as_list(grant.registry)[0], templates=True)
            for number, grant in enumerate(rule.grant)
        )
        expires = self._expires(rule, path)
        origin = self.document.origin(path)
        issuers = self._issuers(rule.issuer, path)
        if not issuers:
            self._conditions_of(rule, path, "", _ANY_PROVIDER)
        for issuer in issuers:
            provider = self._providers[issuer]
            when, unless = self._conditions_of(rule, path, issuer, provider)
            identity = tuple(condition for condition in when if condition.path in provider.identity)
            yield Rule(
                name=rule.name,
                issuer=issuer,
                when=when,
                unless=unless,
                grants=grants,
                exempt=_exempt(when, provider) or _NO_TRIGGERS,
                identity=identity,
                about=any(condition.is_literal for condition in identity),
                enforced=rule.mode == "enforce",
                enabled=rule.enabled,
                expires=expires,
                expires_at=float("inf") if expires is None else _end_of(expires),
                origin=origin,
            )

    def _conditions_of(
        self, rule: RuleModel, path: Location, issuer: str, provider: _Provider
    ) -> tuple[tuple[Condition, ...], tuple[Condition, ...]]:
        when = self._compile(rule.when, (*path, "when"), provider)
        unless = self._compile(rule.unless, (*path, "unless"), provider)
        if not rule.when:
            self._add((*path, "when"), Code.MISSING_KEY, "when is missing; add it", at_key=True)
        elif len(when) == len(rule.when):
            self._check_pinned(when, path, issuer, provider)
        return when, unless

    def _expires(self, rule: RuleModel, path: Location) -> datetime.date | None:
        if rule.expires is None:
            return None
        try:
            return moment(rule.expires)
        except ValueError:
            self._add((*path, "expires"), Code.DATE, f"the calendar has no day {rule.expires}")
            return None

    def _issuers(self, issuer: str | list[str], path: Location) -> list[str]:
        """Return the issuers that exist, each once."""
        named: list[str] = []
        for number, name in enumerate(as_list(issuer)):
            place = (*path, "issuer", number) if isinstance(issuer, list) else (*path, "issuer")
            if name in named:
                self._add(place, Code.DUPLICATE_NAME, f"duplicate issuer {name!r}; remove one")
                continue
            named.append(name)
            if name not in self._providers:
                message = f"unknown issuer {name!r}; expected one of {_names(self._providers)}"
                self._add(place, Code.REFERENCE, message)
        return [name for name in named if name in self._providers]

    def _check_pinned(self, when: tuple[Condition, ...], path: Location, issuer: str, provider: _Provider) -> None:
        """Refuse a rule that strangers satisfy: callers of other tenants, or anybody."""
        place = (*path, "when")
        if provider.preset.multi_tenant:
            if not any(condition.path in provider.pins and _pins(condition) for condition in when):
                self._add(
                    place,
                    Code.UNPINNED,
                    f"the issuer {issuer!r} signs for everybody, so a rule needs a condition without wildcards on one "
                    f"of {', '.join(provider.preset.pins)}",
                    at_key=True,
                )
        elif not any(all(_excludes(value) for value in condition.values) for condition in when):
            self._add(
                place, Code.UNPINNED, "every condition matches anything; write one whose values have text", at_key=True
            )

    # --- Denies -------------------------------------------------------------------------------------------------------

    def _deny(self, deny: DenyModel, path: Location) -> Iterable[tuple[str, Deny]]:
        if deny.issuer is None:
            for key in ("when", "unless"):
                if getattr(deny, key) is not None:
                    self._add(
                        (*path, key), Code.CONFLICT, f"{key} needs issuer; say whose claims these are", at_key=True
                    )
        covers = self._grant(deny, path, deny.registry, templates=False)
        origin = self.document.origin(path)
        issuers = [] if deny.issuer is None else self._issuers(deny.issuer, path)
        if not issuers:
            self._compile(deny.when, (*path, "when"), _ANY_PROVIDER)
            self._compile(deny.unless, (*path, "unless"), _ANY_PROVIDER)
        named = deny.issuer is not None
        for issuer in issuers if named else self.issuers:
            provider = self._providers[issuer]
            when = self._compile(deny.when if named else None, (*path, "when"), provider)
            unless = self._compile(deny.unless if named else None, (*path, "unless"), provider)
            yield issuer, Deny(deny.name, when, unless, covers, deny.enabled, origin)

    def _shared(self, value: tuple[T, ...]) -> tuple[T, ...]:
        """Return the first tuple that was equal to this one, so that a hundred thousand rules share it."""
        return cast("tuple[T, ...]", self._tuples.setdefault(value, value))

    # --- What both have -----------------------------------------------------------------------------------------------

    def _grant(self, grant: GrantModel | DenyModel, path: Location, registry: str | None, *, templates: bool) -> Grant:
        if registry is not None and registry not in self.registries:
            self._add(
                (*path, "registry"),
                Code.REFERENCE,
                f"unknown registry {registry!r}; expected one of {_names(self.registries)}",
            )
        if (grant.repositories is None) != (grant.actions is None):
            missing, present = (
                ("repositories", "actions") if grant.repositories is None else ("actions", "repositories")
            )
            self._add((*path, present), Code.CONFLICT, f"{present} needs {missing}; add it", at_key=True)
        if grant.repositories is None and grant.actions is None and not grant.catalog:
            self._add(path, Code.MISSING_KEY, "nothing is named here; add repositories and actions, or catalog: true")
        names: set[str] = set()
        globs: list[Glob] = []
        filled: list[Template] = []
        for number, text in enumerate(grant.repositories or ()):
            entry = self._entry(text, (*path, "repositories", number), templates=templates)
            if isinstance(entry, str):
                names.add(entry)
            elif isinstance(entry, Glob):
                globs.append(entry)
            elif entry is not None:
                filled.append(entry)
        actions = self._shared(tuple(action for action in ACTIONS if action in (grant.actions or ())))
        return Grant(registry, actions, compact(names), tuple(globs), self._shared(tuple(filled)), grant.catalog)

    def _entry(self, text: str, path: Location, *, templates: bool) -> str | Glob | Template | None:
        try:
            if not templates and "{" in text:
                raise RepositoryError("is a template, and a deny entry has none; write a name or a pattern")
            if not templates:
                return compile_plain(text)
            if "{" not in text:
                return compile_entry(text, self.maps)
            if text not in self._templates:
                self._templates[text] = compile_entry(text, self.maps)
            return self._templates[text]
        except RepositoryError as error:
            self._add(path, Code.REPOSITORY, f"{text!r} {error}")
        except ValueError as error:
            self._add(path, Code.PATTERN, f"in {text!r}, {error}")
        return None

    def _compile(
        self, conditions: Mapping[str, ConditionValue] | None, path: Location, provider: _Provider
    ) -> tuple[Condition, ...]:
        if conditions is None:
            return _NO_CONDITIONS
        compiled = (
            self._condition(key, value, (*path, key), provider)
            for key, value in conditions.items()
            if not isinstance(value, InList | Absent)
        )
        return tuple(condition for condition in compiled if condition is not None)

    def _condition(
        self, key: str, value: Scalar | list[Scalar], path: Location, provider: _Provider
    ) -> Condition | None:
        claim = self._path(key, path)
        if claim is None:
            return None
        values: list[Scalar] = value if isinstance(value, list) else [value]
        kind = provider.type_of(claim)
        for number, item in enumerate(values):
            if kind is not None and not kind.accepts(item):
                self._add(
                    (*path, number) if isinstance(value, list) else path,
                    Code.CLAIM_TYPE,
                    f"{key} is {kind.value} in tokens of {provider.preset.name}, and this is not; "
                    + ("put quotes around it" if kind is ClaimType.TEXT else f"write {kind.value}"),
                )
        folds = claim in provider.folded
        # Python holds 1 and True for equal, so the key of the cache has their types.
        cached = (key, folds, *((type(item), item) for item in values))
        compiled = self._conditions.get(cached)
        if compiled is None:
            try:
                compiled = self._conditions[cached] = compile_condition(key, claim, values, folds=folds)
            except ValueError:
                compiled = compile_condition(key, claim, self._usable(value, path), folds=folds)
        return compiled

    def _usable(self, value: Scalar | list[Scalar], path: Location) -> list[Scalar]:
        """Report every value with a wrong pattern, and return the others; a condition left without any pins."""
        usable: list[Scalar] = []
        for number, item in enumerate(value if isinstance(value, list) else [value]):
            try:
                if isinstance(item, str) and not is_literal(item):
                    compile_glob(item)
                usable.append(item)
            except ValueError as error:
                self._add((*path, number) if isinstance(value, list) else path, Code.PATTERN, str(error))
        return usable

    def _path(self, key: str, path: Location) -> ClaimPath | None:
        claim = self._paths.get(key)
        if claim is None:
            try:
                claim = self._paths[key] = parse_key(key)
            except ValueError as error:
                self._add(path, Code.POINTER, f"{key!r} names no claim: {error}", at_key=True)
        return claim


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)[:20])


def _end_of(last: datetime.date) -> float:
    """Return the first second after a day, UTC."""
    start = datetime.datetime.combine(last, datetime.time(), datetime.UTC)
    return start.timestamp() + datetime.timedelta(days=1).total_seconds()


def _pins(condition: Condition) -> bool:
    return condition.is_literal and all(value != "" for value in condition.values)


def _excludes(value: Scalar) -> bool:
    return not isinstance(value, str) or has_substance(value)


def _exempt(when: tuple[Condition, ...], provider: _Provider) -> frozenset[int]:
    """Find the refused triggers that a rule names literally."""
    return frozenset(
        number
        for number, refused in enumerate(provider.refused)
        if any(condition.path == refused.path and condition.names(refused.values[0]) for condition in when)
    )


def _file(rules: tuple[Rule, ...], denies: tuple[Deny, ...], refused: tuple[Condition, ...]) -> IssuerRules:
    enabled = [rule for rule in rules if rule.enabled]
    return IssuerRules(
        rules=rules,
        denies=denies,
        refused=refused,
        by_condition=Index(enabled, lambda rule: rule.when),
        by_identity=Index(
            sorted((rule for rule in enabled if rule.enforced and rule.about), key=lambda rule: rule.name),
            lambda rule: rule.identity,
        ),
        denies_by_condition=Index(
            [deny for deny in denies if deny.enabled], lambda deny: deny.when, other_types_hold=True
        ),
    )
