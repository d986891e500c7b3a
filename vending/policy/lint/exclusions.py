"""Criticise what excludes: denies and `unless` that miss whom they are meant for, or exclude more than that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vending.oidc.claim_path import parse_key, write_key
from vending.policy.lint.codes import Findings, Lint, finding

if TYPE_CHECKING:
    from vending.policy.lint.view import Clause, LintedEntry


def _excludes(subject: LintedEntry, clause: Clause) -> bool:
    """Return whether a condition says who is kept out: `unless` of a rule, `when` of a deny entry."""
    return clause.where == "unless" if subject.path[0] == "rules" else clause.where == "when"


def case_escape(subject: LintedEntry) -> Findings:
    """Find exclusions that another spelling escapes, of names that the provider compares without case."""
    for clause in subject.clauses:
        if not _excludes(subject, clause):
            continue
        name = write_key(clause.claim)
        for number, value in enumerate(clause.values):
            if not isinstance(value, str):
                continue
            if any(name in issuer.preset.composed for issuer in subject.issuers) and _has_names(value):
                yield finding(
                    Lint.CASE_ESCAPE,
                    clause.place(number),
                    f"the names in {clause.key} may come in any case, and {value!r} is compared with case, so another "
                    "spelling escapes; exclude by an id, or invert the condition and admit the right values",
                )
            elif not value.isascii() and any(name in issuer.preset.folded for issuer in subject.issuers):
                yield finding(
                    Lint.CASE_ESCAPE,
                    clause.place(number),
                    f"case is ignored for the letters a to z alone, so another spelling of {value!r} escapes; exclude "
                    "by an id, or invert the condition and admit the right values",
                )


def _has_names(value: str) -> bool:
    """Return whether owner and repository, the first two parts of a composed value, have letters in them."""
    names = "/".join(value.split("/")[:2])
    return not names.startswith("**") and names != names.swapcase()


def star_misses(subject: LintedEntry) -> Findings:
    """Find single stars that end at a slash, on claims whose values go on behind it."""
    for clause in subject.clauses:
        deep = any(write_key(clause.claim) in issuer.preset.deep for issuer in subject.issuers)
        if not deep:
            continue
        for number, value in enumerate(clause.values):
            if isinstance(value, str) and "*" in value.replace("**", "") and _misses(subject, clause, value):
                yield finding(
                    Lint.STAR_MISSES,
                    clause.place(number),
                    f"* ends at a slash, so {value!r} misses {_example(value)!r}; write "
                    f"{value.replace('**', '*').replace('*', '**')!r}",
                )


def _misses(subject: LintedEntry, clause: Clause, value: str) -> bool:
    """Return whether the star misses values that it is meant for: all that is excluded, and refs of pull requests."""
    return _excludes(subject, clause) or value == "refs/pull/*"


def _example(value: str) -> str:
    """Return a value that the pattern was probably meant to match."""
    return "refs/pull/7/merge" if value == "refs/pull/*" else value.replace("**", "*").replace("*", "dev/x")


def unless_absent(subject: LintedEntry) -> Findings:
    """Find exclusions of a rule on claims that some tokens lack: those are excluded too."""
    if subject.path[0] != "rules":
        return
    there = {clause.claim for clause in subject.clauses if clause.where == "when" and not clause.absent}
    for clause in subject.clauses:
        if clause.where != "unless" or clause.absent or clause.claim in there:
            continue
        for issuer in subject.issuers:
            known = issuer.preset.claims.get(write_key(clause.claim))
            if known is not None and not known.always and len(parse_key(write_key(clause.claim))) == 1:
                yield finding(
                    Lint.UNLESS_ABSENT,
                    clause.path,
                    f"tokens of {issuer.name} do not always have {clause.key}, and `unless` excludes those that lack "
                    "it; write the values that are right under when, or a second rule for tokens without it "
                    f"({clause.key}: {{absent: true}})",
                    at_key=True,
                )
                break
