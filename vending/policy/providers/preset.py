"""The words in which a provider's file is written: claims, forms of values, addresses, relations and sample tokens.

Claims are named as in a policy: a top-level name, or a JSON Pointer. Knows no provider and decides nothing.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from vending.oidc.types import AppendedAudience, Claims, Replay

MINUTE: Final = 60
HOUR: Final = 60 * MINUTE

MultiTenant: TypeAlias = "bool | Literal['at_shared_issuer']"


class ClaimType(Enum):
    """Say which JSON type a claim has; of a list, the type of its elements."""

    TEXT = "text"
    BOOLEAN = "true or false"
    INTEGER = "an integer"

    def accepts(self, value: object) -> bool:
        """Return whether a condition's value has this type."""
        kind = bool if self is ClaimType.BOOLEAN else int if self is ClaimType.INTEGER else str
        return type(value) is kind


@dataclass(frozen=True, slots=True)
class Form:
    """Describe the values of a claim: `pattern` matches all of them, they begin with `prefix`, and `example` is one.

    `says` completes the sentence "a value of this claim …". `choices` are all the values where there are only a few.
    `slips` matches what is written by mistake and no token has, although the form alone would admit it.
    """

    pattern: re.Pattern[str]
    says: str
    example: str
    prefix: str = ""
    choices: tuple[str, ...] = ()
    slips: re.Pattern[str] | None = None

    def admits(self, value: str) -> bool:
        """Return whether a value, or something that a pattern matches, can have this form."""
        if self.slips is not None and self.slips.fullmatch(value):
            return False
        fixed, star, _ = value.partition("*")
        if star:
            return fixed.startswith(self.prefix) or self.prefix.startswith(fixed)
        return self.pattern.fullmatch(value) is not None


@dataclass(frozen=True, slots=True)
class Claim:
    """Describe one claim of a provider's tokens.

    - `always`: every token of the provider has it, in the form of `type` and not null.
    - `many`: it is a list, of elements of that type.
    - `since`: the version or month since which it is sent; empty where that was always so.
    - `form`: what its values look like; None where they may be anything.
    - `instead`: the immutable claim that says the same, for a claim whose value can be renamed or given away.
    - `obtain`: how a job gets this claim into its token where it is missing; completes "the token has no …; …".
    - `page`: where this was read; empty for the preset's own page.
    """

    type: ClaimType = ClaimType.TEXT
    always: bool = False
    many: bool = False
    since: str = ""
    form: Form | None = None
    instead: str = ""
    obtain: str = ""
    page: str = ""


@dataclass(frozen=True, slots=True)
class Address:
    """Describe one kind of issuer URL of a provider.

    `pattern` matches the whole URL. `audience` is what `aud` looks like in its tokens, for those where a job cannot
    choose it. From `ends` on the provider signs nothing there any more, and `instead` says what to move to.
    """

    pattern: re.Pattern[str]
    audience: Form | None = None
    ends: datetime.date | None = None
    instead: str = ""


@dataclass(frozen=True, slots=True)
class Follows:
    """State what a provider guarantees: where `claim` matches `pattern`, `then` is `value`."""

    claim: str
    pattern: str
    then: str
    value: str


@dataclass(frozen=True, slots=True)
class BeginsWith:
    """State what a provider guarantees: `claim` begins with the value of `other`, followed by `separator`."""

    claim: str
    other: str
    separator: str = "/"


Relation: TypeAlias = Follows | BeginsWith


class Gate(Enum):
    """Say what a condition on a claim is worth where it decides who may write.

    Some claims a reviewer, a protected branch or the platform decides; others whoever writes the job's code does.
    """

    REF = "refs/heads/… or refs/tags/…"
    BARE_REF = "a branch or a tag, and which of the two is another claim's to say"
    BRANCH = "a branch"
    ENVIRONMENT = "an environment, whose name any job can choose and whose rules its repository's owners write"
    FLAG = "true where somebody has protected it"
    TRIGGER = "what started the run"
    WORKFLOW = "the file whose code runs, and at which ref"
    KIND = "what kind of ref or run it is"
    CHOSEN = "what the job's author chooses"


@dataclass(frozen=True, slots=True)
class Sample:
    """A token as the provider issues it, decoded: all of its claims, with the audience that a job gets unasked.

    `says` completes "the token of …". `subject` is `sub` with other claims in braces, for tokens of the same form with
    other values; empty where `sub` does not follow from them.
    """

    says: str
    claims: Claims
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Preset:
    """Describe the tokens of one identity provider, as known on the day `as_of`; `page` is the source.

    - `default_issuer` is the URL where a policy names none; `issuer_form` says what to write otherwise; `addresses`
      are the kinds of URL there are; `shared_issuers` sign for many tenants.
    - `shared_hosts` (generic only) are issuers of other services that sign for many tenants, with the claims that tell
      these apart.
    - `identity` are the claims that say who the caller is, `immutable` those of them that survive renames, `pins`
      those of which each alone belongs to one tenant. `callers` are sets of claims that name the caller to the rate
      limiter: the first set that a token has completely.
    - `folded` claims are compared without case.
    - `prefix_free` claims have no value that begins with another value and a slash.
    - A token with one of the `refused` values is refused unless a rule names the value.
    - `personal` claims describe a person and stay out of the audit log; `job` claims lead to the very run.
    - `claims` are the claims that the provider sends; those that begin with one of `prefixes` are text; `other` is the
      type of all remaining ones, where it is certain.
    - `extra_audience` is what the platform appends to the audience that a job asks for.
    - `relations` hold for every token.
    - `units` are the identity claims that name one repository, project, pipeline or account, not all of a tenant's.
    - `gates` are the claims by which a rule can tell reviewed code from any; empty where the provider has none.
    - `unreviewed` are values (patterns too) of runs whose code nobody has reviewed yet: pull requests, plans.
    - `deep` claims have values with slashes in them, which a single star does not match.
    - `subject_varies`: each repository's settings, and the provider now and then, change the form of `sub`.
    - `composed` claims hold names that the provider compares without case, among parts that it does not.
    - `lifetime` is the longest life of a token, in seconds.
    - `samples` has the default form under `default`, and each further form.
    """

    name: str
    as_of: datetime.date
    page: str
    multi_tenant: MultiTenant
    identity: tuple[str, ...]
    immutable: tuple[str, ...]
    callers: tuple[tuple[str, ...], ...]
    replay: Replay
    lifetime: int
    samples: Mapping[str, Sample]
    default_issuer: str | None = None
    shared_issuers: tuple[str, ...] = ()
    shared_hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    issuer_form: str = ""
    addresses: tuple[Address, ...] = ()
    pins: tuple[str, ...] = ()
    folded: frozenset[str] = frozenset()
    prefix_free: frozenset[str] = frozenset()
    refused: tuple[tuple[str, str | bool], ...] = ()
    personal: frozenset[str] = frozenset()
    job: tuple[str, ...] = ()
    claims: Mapping[str, Claim] = field(default_factory=dict)
    prefixes: tuple[str, ...] = ()
    other: ClaimType | None = None
    extra_audience: AppendedAudience | None = None
    relations: tuple[Relation, ...] = ()
    units: frozenset[str] = frozenset()
    gates: Mapping[str, Gate] = field(default_factory=dict)
    unreviewed: tuple[tuple[str, str], ...] = ()
    deep: frozenset[str] = frozenset()
    composed: frozenset[str] = frozenset()
    subject_varies: bool = False

    def type_of(self, key: str) -> ClaimType | None:
        """Return the JSON type of a claim; None where it is not known."""
        known = self.claims.get(key)
        if known is not None:
            return known.type
        return ClaimType.TEXT if self.prefixes and key.startswith(self.prefixes) else self.other

    def sends(self, key: str) -> bool:
        """Return whether the provider is known to send a claim; True for providers that may send anything."""
        return not self.claims or key in self.claims or bool(self.prefixes and key.startswith(self.prefixes))

    def page_of(self, key: str) -> str:
        """Return the page that documents a claim."""
        known = self.claims.get(key)
        return (known.page if known is not None else "") or self.page

    def shares(self, url: str) -> bool:
        """Return whether an issuer of this provider signs for many tenants."""
        return url in self.shared_issuers if self.multi_tenant == "at_shared_issuer" else self.multi_tenant


REGISTERED: Final[Mapping[str, Claim]] = MappingProxyType(
    {
        "iss": Claim(always=True),
        "sub": Claim(always=True),
        "aud": Claim(always=True),
        "exp": Claim(ClaimType.INTEGER, always=True),
        "nbf": Claim(ClaimType.INTEGER),
        "iat": Claim(ClaimType.INTEGER, always=True),
        "jti": Claim(),
    }
)
"""The registered claims of RFC 7519 section 4.1, which verification has judged before a rule is looked at."""


def named(
    names: str,
    type: ClaimType = ClaimType.TEXT,  # noqa: A002 - as the field is called.
    *,
    always: bool = False,
    many: bool = False,
    since: str = "",
    form: Form | None = None,
    instead: str = "",
    obtain: str = "",
    page: str = "",
) -> dict[str, Claim]:
    """Describe several claims, their names separated by blanks, of which the same is known."""
    return dict.fromkeys(names.split(), Claim(type, always, many, since, form, instead, obtain, page))


def frozen(*tables: Mapping[str, Claim]) -> Mapping[str, Claim]:
    """Put tables of claims together, on top of the registered claims; a later table wins."""
    whole: dict[str, Claim] = dict(REGISTERED)
    for table in tables:
        whole |= table
    return MappingProxyType(whole)


def samples(**forms: Sample) -> Mapping[str, Sample]:
    """Name the forms of a provider's tokens; an underscore in a name stands for a dash."""
    return MappingProxyType({name.replace("_", "-"): sample for name, sample in forms.items()})


def varied(
    sample: Sample, says: str, changes: Claims, *, without: Iterable[str] = (), subject: str | None = None
) -> Sample:
    """Derive a further form from a sample: other values, and claims that are left out."""
    dropped = set(without)
    kept = {name: value for name, value in sample.claims.items() if name not in dropped}
    return Sample(says, {**kept, **changes}, sample.subject if subject is None else subject)
