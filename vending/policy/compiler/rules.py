"""Compile rules, deny and never entries: check what they mean for each of their issuers, and file them for quick
finding.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar, cast

from vending.acr.names import ACTIONS
from vending.oidc.claim_path import ClaimPath, write_key
from vending.policy.compiler.clauses import ANY_PROVIDER, ClauseCompiler, Clauses, Provider
from vending.policy.engine.conditions import Condition, compact
from vending.policy.engine.globs import Glob, has_substance
from vending.policy.engine.index import Clause, Index
from vending.policy.engine.pattern_index import PatternIndex
from vending.policy.engine.policy import ALWAYS, Deny, Grant, IssuerRules, Rule, Section, Span
from vending.policy.engine.repositories import (
    Entry,
    Maps,
    RepositoryError,
    Template,
    compile_entry,
    compile_plain,
    index_of_many,
)
from vending.policy.language.dates import not_a_moment
from vending.policy.language.fields import as_list, moment
from vending.policy.language.models import DenyModel, GrantModel, PolicyModel, RuleModel
from vending.policy.language.problems import Code, Finding, Location

if TYPE_CHECKING:
    from vending.policy.engine.policy import PolicyIssuer
    from vending.policy.language.document import Document

T = TypeVar("T")

_DAY: Final = datetime.timedelta(days=1)


@dataclass(slots=True)
class RuleCompiler:
    """Compile the rules and denies of one policy; `findings` gathers what is wrong with them."""

    document: Document
    issuers: Mapping[str, PolicyIssuer]
    registries: frozenset[str]
    maps: Maps
    clauses: ClauseCompiler
    _templates: dict[str, Entry] = field(default_factory=dict)
    _actions: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)
    _tuples: dict[tuple[object, ...], tuple[object, ...]] = field(default_factory=dict)
    _spans: dict[tuple[object, object], Span] = field(default_factory=dict)
    _providers: dict[str, Provider] = field(default_factory=dict)

    @property
    def findings(self) -> list[Finding]:
        return self.clauses.findings

    def compile(self, model: PolicyModel) -> Mapping[str, IssuerRules]:
        """Compile everything, for each issuer by name."""
        self._providers = {name: Provider.of(issuer.preset) for name, issuer in self.issuers.items()}
        self.clauses.check_named()
        rules: dict[str, list[Rule]] = {name: [] for name in self.issuers}
        denies: dict[str, list[Deny]] = {name: [] for name in self.issuers}
        self._check_names("rules", (rule.name for rule in model.rules))
        for number, rule in enumerate(model.rules):
            for compiled in self._rule(rule, ("rules", number)):
                rules[compiled.issuer].append(compiled)
        sections: list[tuple[Section, Sequence[DenyModel]]] = [("deny", model.deny), ("never", model.never)]
        for section, entries in sections:
            self._check_names(section, (entry.name for entry in entries))
            for number, entry in enumerate(entries):
                for issuer, deny in self._deny(entry, section, (section, number)):
                    denies[issuer].append(deny)
        return {name: _file(rules[name], denies[name], self._providers[name]) for name in self.issuers}

    def _add(self, path: Location, code: Code, message: str, *, at_key: bool = False) -> None:
        self.findings.append(Finding(path, code, message, at_key))

    def _check_names(self, section: str, names: Iterable[str]) -> None:
        first: dict[str, int] = {}
        for number, name in enumerate(names):
            if first.setdefault(name, number) != number:
                self._add((section, number, "name"), Code.DUPLICATE_NAME, f"duplicate name {name!r}; choose another")

    # --- Rules --------------------------------------------------------------------------------------------------------

    def _rule(self, rule: RuleModel, path: Location) -> Iterable[Rule]:
        if not (rule.when or rule.when_any or rule.use):
            self._add((*path, "when"), Code.MISSING_KEY, "when is missing; add it", at_key=True)
        grants = tuple(
            compiled
            for number, grant in enumerate(rule.grant)
            for compiled in self._grants(grant, (*path, "grant", number))
        )
        span = self._span(rule, path)
        origin = self.document.origin(path)
        issuers = self._issuers(rule.issuer, path)
        if not issuers:
            self.clauses.compile(rule, path, ANY_PROVIDER)
        for issuer in issuers:
            provider = self._providers[issuer]
            clauses = self.clauses.compile(rule, path, provider)
            if clauses.complete and (clauses.when or clauses.when_any):
                self._check_pinned(clauses, (*path, "when" if rule.when else "when_any"), issuer, provider)
            self._check_prefix_free(rule, grants, path, provider)
            identity = tuple([condition for condition in clauses.when if condition.path in provider.identity])
            yield Rule(
                name=rule.name,
                issuer=issuer,
                when=clauses.when,
                when_any=clauses.when_any,
                unless=clauses.unless,
                grants=grants,
                exempt=provider.exempt(clauses.when),
                identity=identity,
                about=_must_hold(
                    identity, [[one.identity for one in group] for group in clauses.when_any], _is_literal
                ),
                enforced=rule.mode == "enforce",
                enabled=rule.enabled,
                span=span,
                origin=origin,
            )

    def _issuers(self, issuer: str | list[str], path: Location) -> list[str]:
        """Return the issuers that exist, each once."""
        if isinstance(issuer, str) and issuer in self._providers:
            return [issuer]
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

    def _check_pinned(self, clauses: Clauses, place: Location, issuer: str, provider: Provider) -> None:
        """Refuse a rule that callers of other tenants, or anybody, could satisfy."""
        groups = [[one.conditions for one in group] for group in clauses.when_any]
        if provider.preset.multi_tenant:
            if not _must_hold(clauses.when, groups, lambda c: c.path in provider.pins and _pins(c)):
                self._add(
                    place,
                    Code.UNPINNED,
                    f"the issuer {issuer!r} signs for everybody, so a rule needs a condition without wildcards on one "
                    f"of {', '.join(provider.preset.pins)}",
                    at_key=True,
                )
        elif not _must_hold(clauses.when, groups, _excludes_some):
            self._add(
                place, Code.UNPINNED, "every condition matches anything; write one whose values have text", at_key=True
            )

    def _check_prefix_free(self, rule: RuleModel, grants: Iterable[Grant], path: Location, provider: Provider) -> None:
        """Refuse patterns behind a whole path whose values may lie below one another."""
        templates = [template for grant in grants for template in grant.templates]
        if not templates:
            return
        allowed = {None, *provider.prefix_free}
        texts = {template.text for template in templates if template.must_be_prefix_free not in allowed}
        for number, grant in enumerate(rule.grant) if texts else ():
            for position, text in enumerate(grant.repositories or ()):
                if text in texts:
                    self._add(
                        (*path, "grant", number, "repositories", position),
                        Code.REPOSITORY,
                        f"{text!r} lets one caller's names lie below another's: values of this claim of "
                        f"{provider.preset.name} may begin with one another; only "
                        f"{', '.join(sorted(provider.preset.prefix_free)) or 'claims of other providers'} may have "
                        "/** behind |path",
                    )

    # --- Denies -------------------------------------------------------------------------------------------------------

    def _deny(self, deny: DenyModel, section: Section, path: Location) -> Iterable[tuple[str, Deny]]:
        named = deny.issuer is not None
        for key in ("when", "unless", "use") if not named else ():
            if getattr(deny, key):
                self._add((*path, key), Code.CONFLICT, f"{key} needs issuer; say whose claims these are", at_key=True)
        covers = self._grant(deny, path, deny.registry, templates=False)
        span = self._span(deny, path)
        origin = self.document.origin(path)
        issuers = [] if deny.issuer is None else self._issuers(deny.issuer, path)
        if not issuers:
            self.clauses.compile(deny, path, ANY_PROVIDER)
        for issuer in issuers if named else self.issuers:
            provider = self._providers[issuer] if named else ANY_PROVIDER
            clauses = self.clauses.compile(deny, path, provider)
            yield issuer, Deny(deny.name, section, clauses.when, clauses.unless, covers, deny.enabled, span, origin)

    # --- What both have -----------------------------------------------------------------------------------------------

    def _span(self, entry: RuleModel | DenyModel, path: Location) -> Span:
        if entry.not_before is None and entry.expires is None:
            return ALWAYS
        not_before = self._moment(entry.not_before, (*path, "not_before"))
        expires = self._moment(entry.expires, (*path, "expires"))
        span = self._spans.get((not_before, expires))
        if span is None:
            span = self._spans[not_before, expires] = _make_span(not_before, expires)
        if span.start >= span.end:
            self._add(
                (*path, "not_before"),
                Code.CONFLICT,
                f"not_before {span.not_before} is not before expires {span.expires}, so the entry never counts",
            )
        return span

    def _moment(self, value: datetime.date | str | None, path: Location) -> datetime.date | None:
        try:
            return None if value is None else moment(value)
        except ValueError:
            self._add(path, Code.DATE, not_a_moment(str(value)))
            return None

    def _shared(self, value: tuple[T, ...]) -> tuple[T, ...]:
        """Return the first tuple that was equal to this one, so that a hundred thousand rules share it."""
        return cast("tuple[T, ...]", self._tuples.setdefault(value, value))

    def _in_order(self, actions: Sequence[str]) -> tuple[str, ...]:
        """Return the actions in the order in which they are written; a hundred thousand grants share a few tuples."""
        key = tuple(actions)
        ordered = self._actions.get(key)
        if ordered is None:
            ordered = self._actions[key] = self._shared(tuple(action for action in ACTIONS if action in key))
        return ordered

    def _grants(self, grant: GrantModel, path: Location) -> Iterator[Grant]:
        """Compile one grant for each of its registries."""
        if not isinstance(grant.registry, list):
            yield self._grant(grant, path, grant.registry, templates=True)
            return
        for number, registry in enumerate(grant.registry):
            place = (*path, "registry", number)
            if registry in grant.registry[:number]:
                self._add(place, Code.DUPLICATE_NAME, f"duplicate registry {registry!r}; remove one")
            yield self._grant(grant, path, registry, templates=True, place=place)

    def _grant(
        self,
        grant: GrantModel | DenyModel,
        path: Location,
        registry: str | None,
        *,
        templates: bool,
        place: Location | None = None,
    ) -> Grant:
        if registry is not None and registry not in self.registries:
            self._add(
                place or (*path, "registry"),
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
        return Grant(
            registry,
            self._in_order(grant.actions or ()),
            compact(names),
            tuple(globs),
            self._shared(tuple(filled)),
            grant.catalog,
            index_of_many(globs),
        )

    def _entry(self, text: str, path: Location, *, templates: bool) -> Entry | None:
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


# --- What conditions require ------------------------------------------------------------------------------------------


def _must_hold(
    when: Iterable[Condition], groups: Iterable[Sequence[Sequence[Condition]]], is_wanted: Callable[[Condition], bool]
) -> bool:
    """Return whether a condition of a kind must hold: one of `when`, or one in every alternative of a group."""
    return any(map(is_wanted, when)) or any(all(any(map(is_wanted, one)) for one in group) for group in groups)


def _is_literal(condition: Condition) -> bool:
    return condition.is_literal


def _pins(condition: Condition) -> bool:
    return condition.is_literal and all(value != "" for value in condition.values)


def _excludes_some(condition: Condition) -> bool:
    """Return whether no value of a condition matches anything at all."""
    return not condition.absent and all(
        not isinstance(value, str) or has_substance(value) for value in condition.values
    )


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)[:20])


# --- When entries count -----------------------------------------------------------------------------------------------


def _make_span(not_before: datetime.date | None, expires: datetime.date | None) -> Span:
    return Span(
        start=ALWAYS.start if not_before is None else _begin(not_before).timestamp(),
        end=ALWAYS.end if expires is None else _end(expires),
        not_before=None if not_before is None else _written(not_before),
        expires=None if expires is None else _written(expires),
    )


def _begin(value: datetime.date) -> datetime.datetime:
    if isinstance(value, datetime.datetime):
        return value
    return datetime.datetime.combine(value, datetime.time(), datetime.UTC)


def _end(value: datetime.date) -> float:
    """Return when an entry ends: with its last day, or at the very minute."""
    day = 0.0 if isinstance(value, datetime.datetime) else _DAY.total_seconds()
    return _begin(value).timestamp() + day


def _written(value: datetime.date) -> str:
    return f"{value:%Y-%m-%dT%H:%MZ}" if isinstance(value, datetime.datetime) else value.isoformat()


# --- Filing -----------------------------------------------------------------------------------------------------------


def _file(rules: list[Rule], denies: list[Deny], provider: Provider) -> IssuerRules:
    enabled = [rule for rule in rules if rule.enabled]
    in_effect = [deny for deny in denies if deny.enabled]
    about = sorted((rule for rule in enabled if rule.enforced and rule.about), key=lambda rule: rule.name)
    return IssuerRules(
        rules=tuple(rules),
        denies=tuple(denies),
        refused=provider.refused,
        refused_any=provider.refused_any,
        reads=_reads(enabled, in_effect, provider.refused),
        by_condition=Index(enabled, _clauses_of_rule),
        by_identity=Index(about, _identity_of_rule),
        denies_by_condition=Index(in_effect, _clauses_of_deny, other_types_hold=True),
        denied_names=PatternIndex((deny, deny.covers.names, deny.covers.globs) for deny in in_effect),
    )


def _reads(rules: Iterable[Rule], denies: Iterable[Deny], refused: Iterable[Condition]) -> tuple[str, ...]:
    """Return the claims that entries look at, as keys, sorted."""
    paths: set[ClaimPath] = {condition.path for condition in refused}
    for rule in rules:
        paths.update(condition.path for condition in rule.when)
        paths.update(condition.path for condition in rule.unless)
        paths.update(c.path for group in rule.when_any for one in group for c in one.conditions)
        for grant in rule.grants:
            paths.update(part.path for template in grant.templates for part in template.insertions)
    for deny in denies:
        paths.update(condition.path for condition in (*deny.when, *deny.unless))
    return tuple(sorted(map(write_key, paths)))


def _clauses_of_rule(rule: Rule) -> Sequence[Clause]:
    if not rule.when_any:
        return rule.when
    return [*rule.when, *(_one_of_each(one.conditions for one in group) for group in rule.when_any)]


def _identity_of_rule(rule: Rule) -> Sequence[Clause]:
    if not rule.when_any:
        return rule.identity
    return [*rule.identity, *(_one_of_each(one.identity for one in group) for group in rule.when_any)]


def _clauses_of_deny(deny: Deny) -> Sequence[Clause]:
    return deny.when


def _one_of_each(alternatives: Iterable[Sequence[Condition]]) -> tuple[Condition, ...]:
    """Choose a literal condition of each alternative; nothing where one has none."""
    chosen = [next(filter(_is_literal, conditions), None) for conditions in alternatives]
    usable = [condition for condition in chosen if condition is not None]
    return tuple(usable) if len(usable) == len(chosen) else ()
