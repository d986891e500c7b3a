"""Compile the conditions of rules and deny entries, with what they `use` and the lists they name, for one issuer.

Everything is expanded here: the decision knows neither named conditions nor lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from vending.oidc.claim_path import ClaimPath, parse_key
from vending.policy.engine.conditions import Condition, compile_absent, compile_condition
from vending.policy.engine.globs import compile_glob, is_literal
from vending.policy.engine.policy import Alternative
from vending.policy.language.fields import Absent, InList, as_list
from vending.policy.language.messages import misplaced_key
from vending.policy.language.models import DenyModel, NamedConditionModel, RuleModel
from vending.policy.language.problems import Code, Finding, Location
from vending.policy.providers.preset import ClaimType
from vending.policy.providers.presets import PRESETS

if TYPE_CHECKING:
    from vending.policy.engine.conditions import Scalar
    from vending.policy.language.fields import ConditionValue
    from vending.policy.providers.preset import Preset

_NOTHING: Final[tuple[Condition, ...]] = ()
_NO_GROUPS: Final[tuple[tuple[Alternative, ...], ...]] = ()
_NO_TRIGGERS: Final[frozenset[int]] = frozenset()


_LEAVES_OUT: Final = frozenset({Code.POINTER, Code.REFERENCE, Code.CONFLICT})
"""Findings about conditions that cannot be compiled at all, so that nobody can say what they would require."""


@dataclass(frozen=True, slots=True)
class Provider:
    """A preset with its claims as paths, so that `repository_id` and `/repository_id` are one claim."""

    preset: Preset
    identity: frozenset[ClaimPath]
    pins: frozenset[ClaimPath]
    folded: frozenset[ClaimPath]
    prefix_free: frozenset[ClaimPath]
    types: Mapping[ClaimPath, ClaimType]
    refused: tuple[Condition, ...]
    refused_any: tuple[Condition, ...]
    """The refused triggers with one condition for each claim."""
    triggers: frozenset[ClaimPath]
    """The claims of the refused triggers."""

    @classmethod
    def of(cls, preset: Preset) -> Provider:
        """Look at a preset."""
        paths = parse_key
        folded = frozenset(map(paths, preset.folded))
        return cls(
            preset=preset,
            identity=frozenset(map(paths, preset.identity)),
            pins=frozenset(map(paths, preset.pins)),
            folded=folded,
            prefix_free=frozenset(map(paths, preset.prefix_free)),
            types={paths(key): claim.type for key, claim in preset.claims.items()},
            refused=tuple(
                compile_condition(key, paths(key), [value], folds=paths(key) in folded) for key, value in preset.refused
            ),
            refused_any=tuple(
                compile_condition(
                    claim,
                    paths(claim),
                    [value for key, value in preset.refused if key == claim],
                    folds=paths(claim) in folded,
                )
                for claim in dict.fromkeys(key for key, _ in preset.refused)
            ),
            triggers=frozenset(paths(key) for key, _ in preset.refused),
        )

    def type_of(self, path: ClaimPath) -> ClaimType | None:
        """Return the JSON type of a claim; None where it is not known."""
        known = self.types.get(path)
        return self.preset.type_of(path[0]) if known is None and len(path) == 1 else known

    def exempt(self, when: Iterable[Condition]) -> frozenset[int]:
        """Return the refused triggers that conditions name literally."""
        listed = [condition for condition in when if condition.path in self.triggers]
        named = [
            number
            for number, refused in enumerate(self.refused if listed else ())
            if any(condition.path == refused.path and condition.names(refused.values[0]) for condition in listed)
        ]
        return frozenset(named) if named else _NO_TRIGGERS


ANY_PROVIDER: Final = Provider.of(PRESETS["generic"])
"""Judges what names no issuer that exists: it knows no claims, so whatever it objects to is wrong for every issuer."""


@dataclass(frozen=True, slots=True)
class Clauses:
    """The conditions of one entry as one issuer sees them; `complete` where every one that is written could be used."""

    when: tuple[Condition, ...]
    when_any: tuple[tuple[Alternative, ...], ...]
    unless: tuple[Condition, ...]
    complete: bool


@dataclass(frozen=True, slots=True)
class _Claim:
    """A claim as one provider sends it, with the conditions on it that have been compiled.

    `compiled` is keyed by a text, or by the types and values of anything else: Python holds 1 and True for equal.
    """

    key: str
    path: ClaimPath
    preset: str
    kind: ClaimType | None
    folds: bool
    compiled: dict[object, Condition]


@dataclass(frozen=True, slots=True)
class _Piece:
    """Conditions as they are written, and where."""

    conditions: Mapping[str, ConditionValue]
    path: Location


@dataclass(slots=True)
class ClauseCompiler:
    """Compile conditions; `findings` gathers what is wrong with them."""

    named: Mapping[str, NamedConditionModel]
    lists: Mapping[str, list[Scalar]]
    findings: list[Finding] = field(default_factory=list)
    _claims: dict[tuple[int, str], _Claim] = field(default_factory=dict)
    _compiled: dict[tuple[str, bool], dict[object, Condition]] = field(default_factory=dict)

    def compile(self, entry: RuleModel | DenyModel, path: Location, provider: Provider) -> Clauses:
        """Compile all conditions that an entry has or uses, for callers of one provider."""
        before = len(self.findings)
        if not entry.use and not (isinstance(entry, RuleModel) and entry.when_any):
            when = self._compile(entry.when, (*path, "when"), provider) if entry.when else _NOTHING
            unless = self._compile(entry.unless, (*path, "unless"), provider) if entry.unless else _NOTHING
            return Clauses(when, _NO_GROUPS, unless, self._is_complete(before))
        used = list(self._used(entry, path)) if entry.use else []
        whens = [_Piece(entry.when or {}, (*path, "when")), *(piece for part in used for piece in _when(part))]
        groups = list(_groups(entry, path)) if isinstance(entry, RuleModel) and entry.when_any else []
        groups += [group for part in used for group in _groups(*part)]
        unlesses = [_Piece(entry.unless or {}, (*path, "unless")), *(piece for part in used for piece in _unless(part))]
        return Clauses(
            when=self._all(whens, provider),
            when_any=tuple(tuple(self._alternative(one, provider) for one in group) for group in groups) or _NO_GROUPS,
            unless=self._all(unlesses, provider),
            complete=self._is_complete(before),
        )

    def _is_complete(self, before: int) -> bool:
        return len(self.findings) == before or all(f.code not in _LEAVES_OUT for f in self.findings[before:])

    def check_named(self) -> None:
        """Judge every named condition by itself, so that one that nothing uses is not left unread."""
        for name, part in self.named.items():
            place: Location = ("conditions", name)
            if not (part.when or part.when_any or part.unless):
                self._add(place, Code.EMPTY, "there is no condition here; add when, when_any or unless", at_key=True)
            for piece in (
                *_when((part, place)),
                *_unless((part, place)),
                *(p for g in _groups(part, place) for p in g),
            ):
                self._all([piece], ANY_PROVIDER)
        for name, values in self.lists.items():
            self._usable(values, ("lists", name))

    def _add(self, path: Location, code: Code, message: str, *, at_key: bool = False) -> None:
        self.findings.append(Finding(path, code, message, at_key))

    def _used(self, entry: RuleModel | DenyModel, path: Location) -> Iterator[tuple[NamedConditionModel, Location]]:
        seen: set[str] = set()
        for number, name in enumerate(as_list(entry.use)):
            place = (*path, "use", number) if isinstance(entry.use, list) else (*path, "use")
            if name in seen:
                self._add(place, Code.DUPLICATE_NAME, f"duplicate condition {name!r}; remove one")
            elif name not in self.named:
                known = ", ".join(sorted(self.named)[:20]) or "none"
                self._add(place, Code.REFERENCE, f"unknown condition {name!r}; expected one of {known}")
            elif isinstance(entry, DenyModel) and self.named[name].when_any:
                self._add(place, Code.CONFLICT, f"{name!r} has when_any, which is for rules; write one entry for each")
            else:
                yield self.named[name], ("conditions", name)
            seen.add(name)

    def _alternative(self, piece: _Piece, provider: Provider) -> Alternative:
        conditions = self._all([piece], provider)
        identity = tuple(condition for condition in conditions if condition.path in provider.identity)
        return Alternative(conditions, provider.exempt(conditions), identity)

    def _all(self, pieces: Iterable[_Piece], provider: Provider) -> tuple[Condition, ...]:
        compiled = [c for piece in pieces for c in self._compile(piece.conditions, piece.path, provider)]
        return tuple(compiled) or _NOTHING

    def _compile(
        self, conditions: Mapping[str, ConditionValue], path: Location, provider: Provider
    ) -> tuple[Condition, ...]:
        compiled = [self._condition(key, value, path, provider) for key, value in conditions.items()]
        return tuple([condition for condition in compiled if condition is not None])

    def _condition(self, key: str, value: ConditionValue, path: Location, provider: Provider) -> Condition | None:
        claim = self._claims.get((id(provider), key)) or self._claim(key, path, provider)
        if claim is None:
            return None
        if isinstance(value, InList):
            return self._listed(claim, value.name, (*path, key))
        if isinstance(value, Absent):
            return claim.compiled.setdefault(Absent, compile_absent(key, claim.path))
        return self._values(claim, value, path, key)

    def _claim(self, key: str, path: Location, provider: Provider) -> _Claim | None:
        try:
            at = parse_key(key)
        except ValueError as error:
            self._add((*path, key), Code.POINTER, f"{key!r} names no claim: {error}", at_key=True)
            return None
        folds = at in provider.folded
        compiled = self._compiled.setdefault((key, folds), {})
        claim = _Claim(key, at, provider.preset.name, provider.type_of(at), folds, compiled)
        return self._claims.setdefault((id(provider), key), claim)

    def _listed(self, claim: _Claim, name: str, place: Location) -> Condition | None:
        if name not in self.lists:
            known = ", ".join(sorted(self.lists)[:20]) or "none"
            self._add((*place, "in"), Code.REFERENCE, f"unknown list {name!r}; expected one of {known}")
            return None
        return self._values(claim, self.lists[name], ("lists",), name)

    def _values(self, claim: _Claim, value: Scalar | list[Scalar], path: Location, key: str) -> Condition:
        """Compile the values of one condition; they are written at `key` below `path`."""
        one = not isinstance(value, list)
        values = value if isinstance(value, list) else [value]
        if claim.kind is not None and not all(map(claim.kind.accepts, values)):
            self._check_types(claim, values, (*path, key), one=one)
        cached = value if isinstance(value, str) else (*map(type, values), *values)
        compiled = claim.compiled.get(cached)
        if compiled is None:
            try:
                compiled = claim.compiled[cached] = compile_condition(claim.key, claim.path, values, folds=claim.folds)
            except ValueError:
                usable = self._usable(values, (*path, key), one=one)
                compiled = compile_condition(claim.key, claim.path, usable, folds=claim.folds)
        return compiled

    def _check_types(self, claim: _Claim, values: list[Scalar], path: Location, *, one: bool) -> None:
        for number, item in enumerate(values):
            if claim.kind is not None and not claim.kind.accepts(item):
                misplaced = misplaced_key(claim.key, path[-2])
                if misplaced and not PRESETS[claim.preset].sends(claim.key):
                    self._add(path, Code.CLAIM_TYPE, misplaced, at_key=True)
                    return
                self._add(
                    path if one else (*path, number),
                    Code.CLAIM_TYPE,
                    f"{claim.key} is {claim.kind.value} in tokens of {claim.preset}, and this is not; "
                    + ("put quotes around it" if claim.kind is ClaimType.TEXT else f"write {claim.kind.value}"),
                )

    def _usable(self, values: list[Scalar], path: Location, *, one: bool = False) -> list[Scalar]:
        """Report every value with a wrong pattern, and return the others; a condition left without any pins."""
        usable: list[Scalar] = []
        for number, item in enumerate(values):
            try:
                if isinstance(item, str) and not is_literal(item):
                    compile_glob(item)
                usable.append(item)
            except ValueError as error:
                self._add(path if one else (*path, number), Code.PATTERN, str(error))
        return usable


def _when(part: tuple[NamedConditionModel, Location]) -> Iterator[_Piece]:
    yield _Piece(part[0].when, (*part[1], "when"))


def _unless(part: tuple[NamedConditionModel, Location]) -> Iterator[_Piece]:
    yield _Piece(part[0].unless, (*part[1], "unless"))


def _groups(entry: RuleModel | NamedConditionModel, path: Location) -> Iterator[list[_Piece]]:
    if entry.when_any:
        yield [_Piece(one, (*path, "when_any", number)) for number, one in enumerate(entry.when_any)]
