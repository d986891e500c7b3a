"""Criticise how rules and deny entries know their callers."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Final

from vending.oidc.claim_path import parse_key
from vending.policy.lint.codes import Findings, Lint, finding
from vending.policy.lint.forms import form_of, says_all_by_subject, unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vending.oidc.claim_path import ClaimPath
    from vending.policy.lint.view import Clause, LintedEntry, RuleEntry, View

_EFFECTS: Final[Mapping[tuple[str | int, str], str]] = {
    ("rules", "when"): "the rule matches nobody",
    ("rules", "when_any"): "this alternative matches nobody",
    ("rules", "unless"): "the rule excludes everybody",
    ("deny", "when"): "the entry denies nothing",
    ("deny", "unless"): "the entry exempts nobody",
    ("never", "when"): "the entry is about nobody",
    ("never", "unless"): "the entry exempts nobody",
}


def no_immutable_id(rule: RuleEntry, view: View, now: float) -> Findings:
    """Find rules that know their callers by names only."""
    for issuer in rule.issuers:
        immutable = {parse_key(key) for key in issuer.preset.immutable}
        if immutable and not says_all_by_subject(rule, issuer) and not rule.least(partial(_is_literal_in, immutable)):
            yield finding(
                Lint.NO_IMMUTABLE_ID,
                (*rule.path, "when"),
                f"the rule names no immutable id of {issuer.name}, and a name can be given to somebody else; add "
                f"{' or '.join(issuer.preset.immutable)}",
                at_key=True,
            )
            return


def unknown_claim(subject: LintedEntry) -> Findings:
    """Find conditions on claims that an issuer is not known to send."""
    for clause in subject.clauses:
        effect = _EFFECTS[subject.path[0], clause.where]
        found = (unknown(issuer, clause.claim, clause.key, clause.path, effect) for issuer in subject.issuers)
        yield from [finding for finding in [next(filter(None, found), None)] if finding is not None]


def subject_match(subject: LintedEntry) -> Findings:
    """Find conditions on `sub` where a repository's settings change its form."""
    for clause in subject.clauses:
        if clause.claim == ("sub",) and any(issuer.preset.subject_varies for issuer in subject.issuers):
            yield finding(
                Lint.SUBJECT_MATCH,
                clause.path,
                "a repository's settings change the form of sub, and GitHub has changed it before; compare "
                "repository_id, ref, environment or event_name instead",
                at_key=True,
            )


def impossible_value(subject: LintedEntry) -> Findings:
    """Find values that no token of any of the issuers has."""
    for clause in subject.clauses:
        forms = [form_of(issuer.preset, clause.claim) for issuer in subject.issuers]
        for number, value in enumerate(clause.values):
            if isinstance(value, str) and _EXPRESSION.search(value):
                yield finding(
                    Lint.IMPOSSIBLE_VALUE,
                    clause.place(number),
                    f"no token has {value!r} in {clause.key}: nothing fills in expressions here; write the value",
                )
            elif isinstance(value, str) and forms and not any(form is None or form.admits(value) for form in forms):
                says = " or ".join(dict.fromkeys(form.says for form in forms if form))
                example = next(form.example for form in forms if form)
                yield finding(
                    Lint.IMPOSSIBLE_VALUE,
                    clause.place(number),
                    f"no token has {value!r} in {clause.key}: a value of this claim {says}; "
                    f"write one, such as {example!r}",
                )


_EXPRESSION: Final = re.compile(r"\$\{\{?|\{\{|\$\(|^\$[A-Z][A-Z0-9_]*$")
"""What CI systems, shells and template engines replace, and this file's reader does not."""
_REGISTERED: Final = frozenset({("iss",), ("aud",), ("exp",), ("nbf",), ("iat",), ("jti",)})
_REGEX: Final = re.compile(r"\[[^\]]*-[^\]]*\]|\([^)]*\|[^)]*\)|\.\*|\.\+|\\[dws.]|^\^|\$$|\[\^")
"""What regular expressions have and no branch, tag or name: classes, groups of alternatives, escapes, anchors."""


def looks_like_regex(subject: LintedEntry) -> Findings:
    """Find values that are written as regular expressions, which patterns are not."""
    for clause in subject.clauses:
        for number, value in enumerate(clause.values):
            if isinstance(value, str) and _REGEX.search(value):
                yield finding(
                    Lint.LOOKS_LIKE_REGEX,
                    clause.place(number),
                    f"{value!r} looks like a regular expression, and is compared letter by letter but for * and **; "
                    "write a list of values or of patterns",
                )


def registered_only(rule: RuleEntry, view: View, now: float) -> Findings:
    """Find rules whose only conditions are on what verification has judged already."""
    admitting = [clause for clause in rule.clauses if clause.admits]
    if admitting and all(clause.claim in _REGISTERED for clause in admitting):
        names = ", ".join(dict.fromkeys(clause.key for clause in admitting))
        yield finding(
            Lint.REGISTERED_ONLY,
            (*rule.path, "when"),
            f"every token of the issuer that is accepted at all passes a condition on {names}; add a claim that says "
            "who the caller is",
            at_key=True,
        )


def _is_literal_in(claims: set[ClaimPath], clause: Clause) -> int:
    return int(clause.is_literal and clause.claim in claims)


def mixed_issuers(rule: RuleEntry, view: View, now: float) -> Findings:
    """Find rules for issuers of several providers that say for one of them only who the caller is."""
    if len({issuer.preset.name for issuer in rule.issuers}) < 2:
        return
    for issuer in rule.issuers:
        identity = {parse_key(name) for name in issuer.preset.identity}
        if not rule.least(partial(_is_literal_in, identity)):
            yield finding(
                Lint.MIXED_ISSUERS,
                (*rule.path, "issuer"),
                f"nothing here says who a caller of {issuer.name} is; write a rule of its own for it, with "
                f"{' or '.join(issuer.preset.identity)}",
                at_key=True,
            )
            return
