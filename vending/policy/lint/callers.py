"""Criticise how rules and deny entries know their callers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vending.oidc.claim_path import parse_key
from vending.policy.lint.codes import Findings, Lint, finding
from vending.policy.lint.forms import form_of, unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vending.policy.lint.view import RuleSubject, Subject, View

_EFFECTS: Final[Mapping[tuple[str | int, str], str]] = {
    ("rules", "when"): "the rule matches nobody",
    ("rules", "unless"): "the rule excludes everybody",
    ("deny", "when"): "the entry denies nothing",
    ("deny", "unless"): "the entry exempts nobody",
}


def no_immutable_id(rule: RuleSubject, view: View, now: float) -> Findings:
    """Find rules that know their callers by names only."""
    for issuer in rule.issuers:
        immutable = {parse_key(key) for key in issuer.preset.immutable}
        if immutable and not any(clause.pins and clause.claim in immutable for clause in rule.clauses):
            yield finding(
                Lint.NO_IMMUTABLE_ID,
                (*rule.path, "when"),
                f"the rule names no immutable id of {issuer.name}, and a name can be given to somebody else; add "
                f"{' or '.join(issuer.preset.immutable)}",
                at_key=True,
            )
            return


def unknown_claim(subject: Subject) -> Findings:
    """Find conditions on claims that an issuer is not known to send."""
    for clause in subject.clauses:
        effect = _EFFECTS[subject.path[0], clause.where]
        found = (unknown(issuer, clause.claim, clause.key, clause.path, effect) for issuer in subject.issuers)
        yield from [finding for finding in [next(filter(None, found), None)] if finding is not None]


def subject_match(subject: Subject) -> Findings:
    """Find conditions on the `sub` of GitHub."""
    for clause in subject.clauses:
        if clause.claim == ("sub",) and any(issuer.preset.name == "github" for issuer in subject.issuers):
            yield finding(
                Lint.SUBJECT_MATCH,
                clause.path,
                "a repository's settings change the form of sub, and GitHub has changed it before; compare "
                "repository_id, ref, environment or event_name instead",
                at_key=True,
            )


def impossible_value(subject: Subject) -> Findings:
    """Find values that no token of any of the issuers has."""
    for clause in subject.clauses:
        forms = [form_of(issuer.preset, clause.claim) for issuer in subject.issuers]
        for number, value in enumerate(clause.values):
            if isinstance(value, str) and forms and not any(form is None or form.admits(value) for form in forms):
                says = " or ".join(dict.fromkeys(form.says for form in forms if form))
                yield finding(
                    Lint.IMPOSSIBLE_VALUE,
                    clause.place(number),
                    f"no token has {value!r} in {clause.key}: a value of this claim {says}",
                )
