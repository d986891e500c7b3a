"""The entries of `repositories`: exact names, patterns and templates. Pure; grants nothing itself."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeAlias

from vending.acr.names import COMPONENT_PATTERN, MAX_NAME_LENGTH, explain_name, is_component, is_repository_name
from vending.oidc.claim_path import ClaimPath, lookup, parse_key
from vending.policy.engine.conditions import compact
from vending.policy.engine.globs import Glob, compile_glob
from vending.policy.engine.pattern_index import PatternIndex

if TYPE_CHECKING:
    from vending.oidc.types import Claims

_MANY: Final = 16
"""Patterns of one entry beyond which an index beats trying each."""

RESERVED_FILTERS: Final = frozenset({"lower", "path"})
"""Words after `|` in a template that are no names of maps."""

Maps: TypeAlias = Mapping[str, Mapping[str, str | list[str]]]
"""Tables by name: a claim's value to a repository name, or to a list of names and patterns."""

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_PARTS = re.compile(r"(?:\{[^{}]*\}|[^/{}])+|/|[{}]")
_GLOB_PART = re.compile(r"[a-z0-9._*-]+")
_COMPONENT = re.compile(COMPONENT_PATTERN)


class RepositoryError(ValueError):
    """Say why an entry can never stand for a valid repository name."""


# --- What entries stand for -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Below:
    """Match the names that begin with a filled template and go on as a pattern says."""

    prefix: str
    glob: Glob

    @property
    def text(self) -> str:
        """Write it as one pattern."""
        return self.prefix + self.glob.text

    def matches(self, value: str) -> bool:
        """Return whether the whole value matches."""
        return value.startswith(self.prefix) and self.glob.matches(value[len(self.prefix) :])


@dataclass(frozen=True, slots=True)
class Reach:
    """The repositories that entries stand for, for one caller: exact names, and patterns."""

    names: Collection[str] = ()
    globs: tuple[Glob | Below, ...] = ()
    many: PatternIndex[bool] | None = None
    """The patterns once more, where they are too many to try each."""


_NOTHING: Final = Reach()

ListMap: TypeAlias = Mapping[str, Reach]
"""A map of which some value is a list."""


@dataclass(frozen=True, slots=True)
class Insertion:
    """Fill one place of a template from a claim.

    With `table` or `lists` the claim's value is a key of it; with `many` the value may have several components. What a
    list holds is not inserted: the claim selects it.
    """

    path: ClaimPath
    lower: bool = False
    many: bool = False
    table: Mapping[str, str] | None = None
    lists: ListMap | None = None

    def read(self, claims: Claims) -> str | None:
        """Return the claim's value; None where it is missing or no ASCII text."""
        value = lookup(claims, self.path)
        if not isinstance(value, str) or not value.isascii():
            return None
        return value.lower() if self.lower else value

    def fill(self, claims: Claims) -> str | None:
        """Return what to insert; None where the claim is missing, no ASCII text, or no valid component."""
        value = self.read(claims)
        if value is None:
            return None
        if self.table is not None:
            return self.table.get(value)
        if self.lists is not None:
            return None
        return value if is_component(value) or (self.many and is_repository_name(value)) else None

    @property
    def is_mapped(self) -> bool:
        """Return whether the claim's value is a key of a map, and not itself inserted."""
        return self.table is not None or self.lists is not None

    @property
    def widest(self) -> str:
        """The one pattern for all that may be inserted."""
        return "**" if self.is_mapped or self.many else "*"

    @property
    def varies(self) -> bool:
        """Return whether the number of inserted components depends on the claim."""
        return self.many or (self.table is not None and len({name.count("/") for name in self.table.values()}) > 1)


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """Make repository names from claims: every part is one literal component or one insertion.

    With `tail`, a pattern for the components that follow, it stands for all names that go on so. One insertion of a map
    with lists stands for what the caller's list holds.
    """

    text: str
    parts: tuple[str | Insertion, ...]
    tail: Glob | None = None

    @property
    def insertions(self) -> tuple[Insertion, ...]:
        return tuple(part for part in self.parts if isinstance(part, Insertion))

    @property
    def widest(self) -> str:
        """The one pattern for all names that the template can stand for."""
        parts = [part if isinstance(part, str) else part.widest for part in self.parts]
        return "/".join([*parts, *([] if self.tail is None else [self.tail.text])])

    @property
    def must_be_prefix_free(self) -> ClaimPath | None:
        """Return the claim of which no value may begin with another one and a slash; None where that does not matter.

        Else one caller's names would lie below those of another one.
        """
        last = self.parts[-1]
        return last.path if self.tail is not None and isinstance(last, Insertion) and last.many else None

    def fill(self, claims: Claims) -> str | None:
        """Return the name that the parts make for these claims; None where they make none."""
        filled: list[str] = []
        for part in self.parts:
            text = part if isinstance(part, str) else part.fill(claims)
            if text is None:
                return None
            filled.append(text)
        name = "/".join(filled)
        return name if len(name) <= MAX_NAME_LENGTH else None

    def reach(self, claims: Claims) -> Reach:
        """Return the repositories that the template stands for with these claims."""
        first = self.parts[0]
        if isinstance(first, Insertion) and first.lists is not None:
            key = first.read(claims)
            return _NOTHING if key is None else first.lists.get(key, _NOTHING)
        name = self.fill(claims)
        if name is None:
            return _NOTHING
        return Reach((name,)) if self.tail is None else Reach((), (Below(f"{name}/", self.tail),))


Entry: TypeAlias = str | Glob | Template
"""An exact name, a pattern, or a template."""


# --- Compiling --------------------------------------------------------------------------------------------------------


def compile_entry(text: str, maps: Maps) -> Entry:
    """Compile one entry of a grant's `repositories`. Raises `RepositoryError`, and `ValueError` for `***`."""
    if "{" in text or "}" in text:
        return compile_template(text, maps)
    return compile_plain(text)


def compile_plain(text: str) -> str | Glob:
    """Compile an exact name or a pattern. Raises `RepositoryError`, and `ValueError` for `***`."""
    if "*" not in text:
        if not is_repository_name(text):
            raise RepositoryError(explain_name(text))
        return text
    if not all(_GLOB_PART.fullmatch(part) for part in text.split("/")):
        raise RepositoryError(explain_name(text, patterns=True))
    return compile_glob(text)


def compile_list(values: Sequence[str]) -> Reach:
    """Compile a list of names and patterns. Raises `RepositoryError`, and `ValueError` for `***`."""
    entries = [compile_plain(value) for value in values]
    globs = tuple([entry for entry in entries if not isinstance(entry, str)])
    return Reach(compact([entry for entry in entries if isinstance(entry, str)]), globs, index_of_many(globs))


def index_of_many(globs: Sequence[Glob]) -> PatternIndex[bool] | None:
    """Return an index of patterns where there are too many to try each."""
    return PatternIndex([(True, (), globs)]) if len(globs) > _MANY else None


def compile_template(text: str, maps: Maps) -> Template:
    """Compile a template. Raises `RepositoryError`, and `ValueError` for `***`."""
    tokens = _split(text)
    filled = next((number for number, token in enumerate(tokens) if "*" in _outside_braces(token)), len(tokens))
    if any("{" in token for token in tokens[filled:]):
        raise RepositoryError(
            "has a {…} in or behind a component with a wildcard; what is inserted comes first, as in ci/{claim}/**"
        )
    parts = tuple(_part(token, maps) for token in tokens[:filled])
    tail = _tail(tokens[filled:])
    if any(isinstance(part, Insertion) and part.lists is not None for part in parts) and len(tokens) > 1:
        raise RepositoryError("names a map with lists, which fills a whole entry: write {claim|map} alone")
    _check_unambiguous(parts, tail)
    return Template(text, parts, tail)


def _outside_braces(token: str) -> str:
    return _PLACEHOLDER.sub("", token)


def _split(text: str) -> list[str]:
    """Split a template at the slashes outside braces."""
    tokens = _PARTS.findall(text)
    if "".join(tokens) != text or tokens[1::2] != ["/"] * (len(tokens) // 2) or len(tokens) % 2 == 0:
        raise RepositoryError("is no template: parts joined by single slashes, each a literal or one {claim}")
    return tokens[::2]


def _part(token: str, maps: Maps) -> str | Insertion:
    match = _PLACEHOLDER.fullmatch(token)
    if match:
        return _insertion(match[1], maps)
    if "{" in token or "}" in token:
        raise RepositoryError("fills part of a component; {…} must stand alone between slashes, as in ci/{claim}")
    if not _COMPONENT.fullmatch(token):
        raise RepositoryError("has a literal part that is no component of a repository name")
    return token


def _insertion(text: str, maps: Maps) -> Insertion:
    claim, *filters = text.split("|")
    lower = filters[:1] == ["lower"]
    rest = filters[1:] if lower else filters
    try:
        path = parse_key(claim)
    except ValueError as error:
        raise RepositoryError(f"names no claim: {error}") from None
    if len(rest) > 1 or (rest and rest[0] == "lower"):
        raise RepositoryError("may have lower first and then path or one map, as in {claim|lower|path}")
    if not rest:
        return Insertion(path, lower)
    if rest[0] == "path":
        return Insertion(path, lower, many=True)
    if rest[0] not in maps:
        raise RepositoryError(f"names the map {rest[0]!r}, which the policy does not have")
    table = maps[rest[0]]
    names = {key: value for key, value in table.items() if isinstance(value, str)}
    if len(names) == len(table):
        return Insertion(path, lower, table=names)
    lists = {key: compile_list([value] if isinstance(value, str) else value) for key, value in table.items()}
    return Insertion(path, lower, lists=lists)


def _tail(tokens: Sequence[str]) -> Glob | None:
    """Compile the components behind the filled ones; the first of them has a wildcard."""
    if not tokens:
        return None
    for token in tokens:
        _check_glob_part(token)
    return compile_glob("/".join(tokens))


def _check_glob_part(part: str) -> None:
    if not _GLOB_PART.fullmatch(part):
        raise RepositoryError(f"has the part {part!r}, which {explain_name(part, patterns=True)}")


def _check_unambiguous(parts: Sequence[str | Insertion], tail: Glob | None) -> None:
    """Refuse templates of which two callers could get one name."""
    insertions = [part for part in parts if isinstance(part, Insertion)]
    if any(part.many for part in insertions if part is not parts[-1]):
        raise RepositoryError("may have {…|path} only as its last part, since it inserts any number of components")
    if sum(part.varies for part in insertions) > 1:
        raise RepositoryError(
            "inserts two values of varying length, so two callers could get one name; let all but one of them "
            "always have the same number of components"
        )
    if tail is None:
        return
    if isinstance(parts[-1], Insertion) and parts[-1].many and tail.text != "**":
        raise RepositoryError("may have only /** behind {…|path}")
    if not tail.crosses:
        return
    for number, part in enumerate(insertions):
        mapped = part.table is not None and not _is_prefix_free(part.table.values())
        if mapped and any(later.table is None for later in insertions[number + 1 :]):
            raise RepositoryError(
                "lets one caller's names lie below another's: a value of the map begins with another one, and a claim "
                "and ** follow"
            )


def _is_prefix_free(names: Iterable[str]) -> bool:
    """Return whether no name lies below another one."""
    listed = sorted({f"{name}/" for name in names})
    return not any(second.startswith(first) for first, second in pairwise(listed))
