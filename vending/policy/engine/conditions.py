"""Test one claim against the values that a rule accepts. Pure; knows nothing of rules, grants or issuers."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeAlias

from vending.oidc.claim_path import ClaimPath, fold, lookup
from vending.policy.engine.globs import Glob, compile_glob, is_literal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from vending.oidc.types import Claims, JsonValue

Scalar: TypeAlias = "str | bool | int"
"""What a condition may compare with: text, true or false, or an integer."""


class State(Enum):
    """Say what a condition makes of a token."""

    HOLDS = "holds"
    FAILS = "fails"
    """The claim is there, of the right type, and has another value."""
    MISSING = "missing"
    """The claim is absent, null or an empty list."""
    OTHER_TYPE = "other_type"
    """The claim is there, but of a type that the condition does not name."""


_FEW: Final = 4
"""A policy of 100,000 rules has as many of these; a set of one text takes four times the memory of a tuple."""

_LONG: Final = 16
"""Elements of a list beyond which a set of them is worth making."""

_HOLDS: Final = State.HOLDS
_FAILS: Final = State.FAILS
_MISSING: Final = State.MISSING
_OTHER_TYPE: Final = State.OTHER_TYPE


@dataclass(frozen=True, slots=True)
class Condition:
    """Compare the claim at `path` with `values`, of which any may match; `key` is what the file calls the claim.

    With `folds`, both sides are compared in ASCII lower case. With `absent` there are no values: the condition holds
    where the claim is missing or null, and fails otherwise.
    """

    key: str
    path: ClaimPath
    values: tuple[Scalar, ...]
    folds: bool
    literals: Collection[str] = field(repr=False)
    globs: tuple[Glob, ...] = field(repr=False)
    integers: tuple[int, ...] = field(repr=False)
    booleans: tuple[bool, ...] = field(repr=False)
    absent: bool = False

    @property
    def is_literal(self) -> bool:
        """Return whether there are values, and none has a wildcard."""
        return not (self.globs or self.absent)

    def test(self, claims: Claims) -> State:
        """Say what the condition makes of these claims."""
        path = self.path
        value = claims.get(path[0]) if len(path) == 1 else lookup(claims, path)
        if self.absent:
            return _HOLDS if value is None else _FAILS
        if isinstance(value, str):
            return self._test_text(value)
        if value is None:
            return _MISSING
        if isinstance(value, list):
            return self._test_list(value)
        return self._test_other(value)

    def names(self, value: Scalar) -> bool:
        """Return whether `value` is written out among the condition's values, of the same type, without a wildcard."""
        if isinstance(value, str):
            return (fold(value) if self.folds else value) in self.literals
        return value in (self.booleans if isinstance(value, bool) else self.integers)

    def _test_text(self, value: str) -> State:
        if self.folds:
            value = fold(value)
        if value in self.literals:
            return _HOLDS
        for glob in self.globs:
            if glob.matches(value):
                return _HOLDS
        return _FAILS if self.literals or self.globs else _OTHER_TYPE

    def _test_list(self, value: Sequence[JsonValue]) -> State:
        if not value:
            return _MISSING
        if isinstance(value, LongList) and not self.globs:
            return self._test_long(value)
        states = {self._test_text(item) if isinstance(item, str) else self._test_other(item) for item in value}
        if _HOLDS in states:
            return _HOLDS
        return _FAILS if _FAILS in states else _OTHER_TYPE

    def _test_long(self, value: LongList) -> State:
        texts = value.folded if self.folds else value.texts
        if any(literal in texts for literal in self.literals):
            return _HOLDS
        states = {self._test_other(item) for item in value.others}
        if _HOLDS in states:
            return _HOLDS
        return _FAILS if _FAILS in states or (texts and self.literals) else _OTHER_TYPE

    def _test_other(self, value: JsonValue) -> State:
        # A bool is an int to Python, and 1 == 1.0 == True: JSON's types are told apart before any comparison.
        if isinstance(value, bool):
            accepted: tuple[int, ...] = self.booleans
        elif isinstance(value, int):
            accepted = self.integers
        else:
            return _OTHER_TYPE
        if not accepted:
            return _OTHER_TYPE
        return _HOLDS if value in accepted else _FAILS


class LongList(list["JsonValue"]):
    """A list that many conditions look at: its texts as sets, and beside them everything else."""

    def __init__(self, items: Iterable[JsonValue]) -> None:
        super().__init__(items)
        self.texts = frozenset(item for item in self if isinstance(item, str))
        self.folded = frozenset(map(fold, self.texts))
        self.others = [item for item in self if not isinstance(item, str)]


MANY: Final = 16
"""Rules for which it is worth making claims ready."""


def with_long_lists(claims: Claims) -> Claims:
    """Return the same claims, ready for many conditions that look at their lists."""
    return {key: _ready(value) for key, value in claims.items()}


def _ready(value: JsonValue) -> JsonValue:
    if isinstance(value, list):
        return LongList(map(_ready, value)) if len(value) > _LONG else [_ready(item) for item in value]
    return {key: _ready(inner) for key, inner in value.items()} if isinstance(value, dict) else value


def compile_condition(key: str, path: ClaimPath, values: Sequence[Scalar], *, folds: bool) -> Condition:
    """Compile the values of one claim. Raises `ValueError` for a pattern with `***`."""
    texts = [fold(value) if folds else value for value in values if isinstance(value, str)]
    return Condition(
        key=key,
        path=path,
        values=tuple(values),
        folds=folds,
        literals=compact([text for text in texts if is_literal(text)]),
        globs=tuple(compile_glob(text) for text in texts if not is_literal(text)),
        integers=tuple(v for v in values if isinstance(v, int) and not isinstance(v, bool)),
        booleans=tuple(v for v in values if isinstance(v, bool)),
    )


def compile_absent(key: str, path: ClaimPath) -> Condition:
    """Compile the condition that a claim is missing or null."""
    return Condition(key, path, (), False, (), (), (), (), absent=True)


def compact(texts: Collection[str]) -> Collection[str]:
    """Return a collection to look texts up in: a tuple for the usual few, which is small and as fast as a set."""
    return tuple(texts) if len(texts) <= _FEW else frozenset(texts)
