"""What can be wrong with a policy file, and where. Holds findings; finds nothing itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

Location: TypeAlias = "tuple[str | int, ...]"
"""The way from the top of a policy to one value: keys of mappings and indexes of lists."""

Severity: TypeAlias = Literal["error", "warning", "info"]


class Code(StrEnum):
    """Name one kind of error that keeps a policy from loading; stable."""

    SYNTAX = "syntax"
    """The file is not well-formed YAML or JSON."""
    ENCODING = "encoding"
    """The file is not UTF-8."""
    TOO_LARGE = "too_large"
    """The file exceeds its size limit."""
    TOO_DEEP = "too_deep"
    """Lists and mappings are nested deeper than any policy needs."""
    CHARACTER = "character"
    """A control character, or one that is invisible or turns the direction of text."""
    YAML_FEATURE = "yaml_feature"
    """An alias, anchor, tag, merge key, directive or second document."""
    DUPLICATE_KEY = "duplicate_key"
    """One mapping has a key twice."""
    KEY_TYPE = "key_type"
    """A key that is not text."""
    AMBIGUOUS_SCALAR = "ambiguous_scalar"
    """A number or time that parsers read in different ways."""
    EMPTY = "empty"
    """A key without a value, an empty list or an empty mapping."""
    UNKNOWN_KEY = "unknown_key"
    """A key that the language does not have."""
    MISSING_KEY = "missing_key"
    """A required key is absent."""
    VALUE = "value"
    """A value of the wrong type or form."""
    DUPLICATE_NAME = "duplicate_name"
    """Two entries of one kind have one name."""
    REFERENCE = "reference"
    """A name that nothing in the file defines."""
    CONFLICT = "conflict"
    """Keys that exclude or require each other."""
    UNPINNED = "unpinned"
    """A rule that callers of other tenants could satisfy."""
    CLAIM_TYPE = "claim_type"
    """A condition of a type that the issuer never sends for this claim."""
    PATTERN = "pattern"
    """A pattern with `***`."""
    POINTER = "pointer"
    """A key that begins with `/` and is not a JSON Pointer."""
    REPOSITORY = "repository"
    """A repository name, pattern or template that can never be a valid name."""
    REGISTRY_HOST = "registry_host"
    """A host to which this service would send its Entra token, and must not."""
    DUPLICATE_HOST = "duplicate_host"
    """One host belongs to two registries."""
    ISSUER_URL = "issuer_url"
    """An issuer that is not an https URL, is a duplicate, or belongs to another preset."""
    AUDIENCE = "audience"
    """An audience that other services accept too, or that is not an https URL."""
    KEYS = "keys"
    """Static keys or certificates that cannot be used."""
    FILE = "file"
    """A file that cannot be read, or lies outside the policy's directory."""
    LOADER = "loader"
    """The loader failed where it should have found a mistake: a bug of this program."""
    OUT_OF_BOUNDS = "out_of_bounds"
    """A file of a directory says more than its bounds under `files` allow."""
    NEVER_VIOLATED = "never_violated"
    """A rule grants what a `never` entry rules out."""
    TOO_COSTLY = "too_costly"
    """Too much of the policy may have to be compared with a single token or name."""
    DATE = "date"
    """A day that the calendar does not have."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Say what is wrong at a path of the policy. `at_key` points at the key rather than at its value.

    `example` is a token's claims and a scope that show it, where there are some.
    """

    path: Location
    code: str
    message: str
    at_key: bool = False
    severity: Severity = "error"
    example: Mapping[str, object] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """Say what is wrong at a place in a file, and what to write instead. Lines and columns count from 1."""

    file: str
    line: int
    column: int
    code: str
    message: str
    severity: Severity = "error"
    example: Mapping[str, object] | None = field(default=None, compare=False)
    """Claims and a scope that show the problem, where it is about what the policy grants."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.severity}: {self.message} [{self.code}]"


class PolicyError(Exception):
    """Refuse a policy. `problems` holds everything that was found, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(str(problem) for problem in self.problems))
