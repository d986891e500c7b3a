"""A policy ready for decisions: immutable, checked and compiled. Holds what the file says; decides nothing."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from vending.entra.identity import Identity, resolve
from vending.policy.engine.conditions import Condition
from vending.policy.engine.globs import Glob
from vending.policy.engine.index import Index
from vending.policy.engine.pattern_index import PatternIndex
from vending.policy.engine.repositories import Template

if TYPE_CHECKING:
    from pathlib import Path

    from vending.entra.clouds import Cloud
    from vending.oidc.types import Issuer
    from vending.policy.providers.preset import Preset

DEFAULT_IDENTITY: Final = "default"
"""The identity that exists without being written: the app's own managed identity."""


@dataclass(frozen=True, slots=True)
class Environment:
    """Hold what the app's settings contribute to loading: hosts of custom clouds, and whether loopback is allowed."""

    custom_hosts: frozenset[str] = frozenset()
    allow_loopback: bool = False


def digest_of_files(contents: Mapping[Path, bytes]) -> str:
    """Return one SHA-256, in hex, of files by their paths and contents."""
    parts = (f"{path}\0{hashlib.sha256(contents[path]).hexdigest()}\n" for path in sorted(contents))
    return hashlib.sha256("".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


# --- Registries -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Registry:
    """A registry that tokens are vended for. `hosts` are those beside the login server."""

    name: str
    login_server: str
    service: str | None
    hosts: tuple[str, ...]
    cloud: Cloud
    identity: str
    token_audience: str
    authority_host: str

    @property
    def all_hosts(self) -> tuple[str, ...]:
        """Every host that a token of this registry serves, the login server first."""
        return (self.login_server, *self.hosts)


# --- Issuers, rules and denies ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PolicyIssuer:
    """A trusted issuer: what verification needs, and what is known about its tokens.

    `preset.multi_tenant` is settled for this issuer's URL, and `preset.identity` is what the file says where it does.
    """

    name: str
    verification: Issuer
    preset: Preset


@dataclass(frozen=True, slots=True, eq=False)
class Grant:
    """What a rule grants in one registry, or a deny entry takes away."""

    registry: str | None
    """The registry's name; None is every one (deny only)."""
    actions: tuple[str, ...]
    names: Collection[str]
    globs: tuple[Glob, ...]
    templates: tuple[Template, ...]
    catalog: bool
    many: PatternIndex[bool] | None = None
    """The patterns once more, where they are too many to try each."""

    def covers(self, repository: str) -> bool:
        """Return whether an exact name or a pattern covers a repository; templates depend on the caller."""
        if repository in self.names:
            return True
        if self.many is not None:
            return bool(self.many.covering(repository))
        return any(glob.matches(repository) for glob in self.globs)


@dataclass(frozen=True, slots=True)
class Alternative:
    """One of several sets of conditions, of which at least one must hold as a whole.

    `exempt` are the issuer's refused triggers that it names literally, `identity` those of its conditions that are on
    identity claims.
    """

    conditions: tuple[Condition, ...]
    exempt: frozenset[int]
    identity: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """When an entry counts: from `start` until just before `end`, in seconds since the epoch.

    `not_before` and `expires` are what the file says, as text.
    """

    start: float = -math.inf
    end: float = math.inf
    not_before: str | None = None
    expires: str | None = None


ALWAYS: Final = Span()


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """A rule as one of its issuers sees it.

    All of `when` must hold, one alternative of each group in `when_any`, and nothing of `unless`. `exempt` are the
    issuer's refused triggers that `when` names literally. `identity` are those of the `when` conditions that are on
    identity claims, and `about` says that a condition without wildcards on one must hold. `origin` is
    `file:line:column`, where known.
    """

    name: str
    issuer: str
    when: tuple[Condition, ...]
    when_any: tuple[tuple[Alternative, ...], ...]
    unless: tuple[Condition, ...]
    grants: tuple[Grant, ...]
    exempt: frozenset[int]
    identity: tuple[Condition, ...]
    about: bool
    enforced: bool
    enabled: bool
    span: Span = ALWAYS
    origin: str | None = None


Section: TypeAlias = Literal["deny", "never"]


@dataclass(frozen=True, slots=True, eq=False)
class Deny:
    """A deny entry, or a `never` entry, as one issuer sees it."""

    name: str
    section: Section
    when: tuple[Condition, ...]
    unless: tuple[Condition, ...]
    covers: Grant
    enabled: bool
    span: Span = ALWAYS
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class IssuerRules:
    """Everything that the policy says about callers of one issuer.

    `rules` and `denies` (with the `never` entries behind them) are complete, in the order of the file; the indexes hold
    the enabled ones, `denied_names` by what they cover. `refused` are the issuer's refused triggers, as conditions,
    and `refused_any` the same with one condition for each claim.
    `reads` are the claims, sorted, that an enabled entry or a refused trigger looks at, whatever its mode.
    """

    rules: tuple[Rule, ...]
    denies: tuple[Deny, ...]
    refused: tuple[Condition, ...]
    refused_any: tuple[Condition, ...]
    reads: tuple[str, ...]
    by_condition: Index[Rule]
    by_identity: Index[Rule]
    denies_by_condition: Index[Deny]
    denied_names: PatternIndex[Deny]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one caller may ask for."""

    requests_per_minute: int = 600
    max_scopes: int = 32


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy in force.

    `sha256` is that of the file, or of the compiled policy for a directory. `issuers` are keyed by URL, `registries`
    and `identities` by name, `rules` by the issuer's name, and `registry_of`
    by every name and host of a registry.
    """

    sha256: str
    audience: str
    issuers: Mapping[str, PolicyIssuer]
    registries: Mapping[str, Registry]
    identities: Mapping[str, Identity]
    limits: Limits
    audit_claims: frozenset[str]
    rules: Mapping[str, IssuerRules] = field(repr=False)
    registry_of: Mapping[str, Registry] = field(repr=False)
    files: tuple[Path, ...] = ()
    """The files of keys and certificates that were read beside the policy."""
    files_sha256: str = ""
    """`digest_of_files` of what was read from them."""

    def issuer_for(self, url: str) -> PolicyIssuer | None:
        """Find an issuer by its URL, character by character."""
        return self.issuers.get(url)

    def find_registry(self, audience_or_host: str) -> Registry | None:
        """Find a registry by its name, its login server or one of its further hosts."""
        return self.registry_of.get(audience_or_host)

    def identity_of(self, registry: Registry, own_client_id: str | None) -> Identity:
        """Complete the identity that mints for `registry`; `own_client_id` is the setting `AZURE_CLIENT_ID`."""
        return resolve(
            self.identities[registry.identity],
            cloud=registry.cloud,
            authority_host=registry.authority_host,
            own_client_id=own_client_id,
            is_default=registry.identity == DEFAULT_IDENTITY,
        )
