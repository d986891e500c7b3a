"""What lint may find, by name. Finds nothing itself; docs/lint.md explains each code with an example and a fix."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from vending.policy.language.problems import Finding, Location

if TYPE_CHECKING:
    from vending.policy.language.problems import Severity


class Lint(StrEnum):
    """Name one thing that a policy's author may not want; stable."""

    NO_IMMUTABLE_ID = "no_immutable_id"
    """A rule knows its callers by names that can be given to others."""
    UNKNOWN_CLAIM = "unknown_claim"
    """The issuer is not known to send the claim."""
    SUBJECT_MATCH = "subject_match"
    """`sub` is compared where its form depends on the caller's settings."""
    IMPOSSIBLE_VALUE = "impossible_value"
    """No token has such a value in this claim."""
    MUTABLE_TEMPLATE = "mutable_template"
    """A template inserts a name that can change hands, where an id would not."""
    UNPINNED_TEMPLATE = "unpinned_template"
    """A template inserts a claim whose value the caller chooses."""
    EMPTY_TEMPLATE = "empty_template"
    """A template inserts a claim that is never part of a repository name."""
    UNREACHABLE_RULE = "unreachable_rule"
    """`unless` excludes every caller that `when` admits."""
    DUPLICATE_RULE = "duplicate_rule"
    """Two rules say the same."""
    EXPIRED_RULE = "expired_rule"
    """The last valid day has passed."""
    DENIED_GRANT = "denied_grant"
    """A deny entry takes away everything that is granted."""
    PUSH_WITHOUT_PULL = "push_without_pull"
    """Clients that push also read."""
    PULL_WITHOUT_METADATA_READ = "pull_without_metadata_read"
    """Listing tags needs more than pull."""
    GRANT_EVERYTHING = "grant_everything"
    """A pattern covers every repository of the registry."""
    SERVICE_PRINCIPAL = "service_principal"
    """An identity with a stored secret."""
    SHARED_AUDIENCE = "shared_audience"
    """Tokens meant for other services are accepted too."""
    ISSUER_FORM = "issuer_form"
    """The issuer's URL does not have a form that its provider uses."""
    FIXED_AUDIENCE = "fixed_audience"
    """Tokens of the issuer never have the audience that is demanded."""
    ISSUER_ENDS = "issuer_ends"
    """The provider has announced the issuer's end."""
    SHARED_ISSUER = "shared_issuer"
    """A rule does not say whose tokens it means, of an issuer that signs for many."""
    LOOSENED_PRESET = "loosened_preset"
    """Less is demanded of tokens than the preset does."""
    CASE_IN_TEMPLATE = "case_in_template"
    """A template inserts a claim whose case the provider ignores, as it comes."""
    CASE_ESCAPE = "case_escape"
    """Another spelling escapes what excludes it."""
    STAR_MISSES = "star_misses"
    """A single star ends at a slash, and what it is meant for goes on."""
    UNLESS_ABSENT = "unless_absent"
    """`unless` is about a claim that some tokens lack, and excludes those too."""
    WRITE_BEFORE_REVIEW = "write_before_review"
    """Code that nobody has reviewed may write."""
    BROAD_WRITE = "broad_write"
    """A whole owner, tenant or namespace may write the same repositories."""
    UNGATED_WRITE = "ungated_write"
    """Any branch, tag and trigger may write."""
    WEAK_GATE = "weak_gate"
    """What gates writing is chosen by whoever writes the code."""
    LOOKS_LIKE_REGEX = "looks_like_regex"
    """A value is written as a regular expression."""
    IMAGE_REFERENCE = "image_reference"
    """A repository is written as an image reference."""
    REGISTERED_ONLY = "registered_only"
    """All conditions are on claims that verification has judged already."""
    MIXED_ISSUERS = "mixed_issuers"
    """One rule for several providers says for some of them nothing about the caller."""
    GRANT_NEARLY_EVERYTHING = "grant_nearly_everything"
    """Patterns together cover most names."""
    AUDIT_CLAIM = "audit_claim"
    """The audit log is to have a claim that no issuer sends."""
    UNUSED = "unused"
    """A map, list or named condition that nothing uses."""
    ACCEPT_UNUSED = "accept_unused"
    """A warning is accepted that is not there."""


INFORMATION: Final = frozenset({Lint.PULL_WITHOUT_METADATA_READ, Lint.ISSUER_ENDS})
"""What is worth knowing and often right as it is; everything else is a warning."""

Findings: TypeAlias = Iterator[Finding]


def finding(
    code: Lint, path: Location, message: str, *, at_key: bool = False, severity: Severity | None = None
) -> Finding:
    """Say what was found at a location of the policy, with the severity of its code unless another is given."""
    usual: Severity = "info" if code in INFORMATION else "warning"
    return Finding(path, code, message, at_key, severity or usual)
