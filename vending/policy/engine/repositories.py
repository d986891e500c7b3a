"""The entries of `repositories`: exact names, patterns and templates. Pure; grants nothing itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from vending.acr.scope import COMPONENT_PATTERN, MAX_NAME_LENGTH, is_component, is_repository_name
from vending.oidc.claim_path import ClaimPath, lookup, parse_key
from vending.policy.engine.globs import Glob, compile_glob

if TYPE_CHECKING:
    from vending.oidc.types import Claims

RESERVED_FILTERS: Final = frozenset({"lower", "path"})
"""Words after `|` in a template that are no names of maps."""

Maps: TypeAlias = Mapping[str, Mapping[str, str]]

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_PARTS = re.compile(r"(?:\{[^{}]*\}|[^/{}])+|/|[{}]")
_GLOB_PART = re.compile(r"[a-z0-9._*-]+")
_COMPONENT = re.compile(COMPONENT_PATTERN)


class RepositoryError(ValueError):
    """Say why an entry can never stand for a valid repository name."""


@dataclass(frozen=True, slots=True)
class Insertion:
    """Fill one place of a template from a claim.

    With `table` the claim's value is a key of it; with `many` the value may have several components.
    """

    path: ClaimPath
    lower: bool = False
    many: bool = False
    table: Mapping[str, str] | None = None

    def fill(self, claims: Claims) -> str | None:
        """Return what to insert; None where the claim is missing, no ASCII text, or no valid component."""
        value = lookup(claims, self.path)
        if not isinstance(value, str) or not value.isascii():
            return None
        if self.lower:
            value = value.lower()
        if self.table is not None:
            return self.table.get(value)
        return value if is_component(value) or (self.many and is_repository_name(value)) else None

    @property
    def varies(self) -> bool:
        """Tell whether the number of inserted components depends on the claim."""
        return self.many or (self.table is not None and len({name.count("/") for name in self.table.values()}) > 1)


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """Make a repository name from claims: every part is one literal component or one insertion."""

    text: str
    parts: tuple[str | Insertion, ...]

    def fill(self, claims: Claims) -> str | None:
        """Return the name for these claims; None where they make none."""
        filled: list[str] = []
        for part in self.parts:
            text = part if isinstance(part, str) else part.fill(claims)
            if text is None:
                return None
            filled.append(text)
        name = "/".join(filled)
        return name if len(name) <= MAX_NAME_LENGTH else None


Entry: TypeAlias = str | Glob | Template
"""An exact name, a pattern, or a template."""


def compile_entry(text: str, maps: Maps) -> Entry:
    """Compile one entry of a grant's `repositories`. Raises `RepositoryError`, and `ValueError` for `***`."""
    if "{" in text or "}" in text:
        return compile_template(text, maps)
    return compile_plain(text)


def compile_plain(text: str) -> str | Glob:
    """Compile an exact name or a pattern. Raises `RepositoryError`, and `ValueError` for `***`."""
    if "*" not in text:
        if not is_repository_name(text):
            raise RepositoryError(
                "is no repository name: lower-case letters and digits, joined by . _ __ or -, in parts joined by /"
            )
        return text
    for part in text.split("/"):
        if not _GLOB_PART.fullmatch(part):
            raise RepositoryError(
                "matches no repository name: besides * and ** only lower-case letters, digits and . _ - stand "
                "between single slashes"
            )
    return compile_glob(text)


def compile_template(text: str, maps: Maps) -> Template:
    """Compile a template. Raises `RepositoryError`."""
    if "*" in text:
        raise RepositoryError("mixes a template with a wildcard; write two entries")
    parts = tuple(_part(token, maps) for token in _split(text))
    insertions = [part for part in parts if isinstance(part, Insertion)]
    if any(part.many for part in insertions if part is not parts[-1]):
        raise RepositoryError("may have {…|path} only as its last part, since it inserts any number of components")
    if sum(part.varies for part in insertions) > 1:
        raise RepositoryError(
            "inserts two values of varying length, so two callers could get one name; let all but one of them "
            "always have the same number of components"
        )
    return Template(text, parts)


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
    return Insertion(path, lower, table=maps[rest[0]])
