"""Criticise templates: what they insert should belong to the caller, and be part of a repository's name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vending.oidc.claim_path import parse_key, write_key
from vending.policy.engine.repositories import Insertion, compile_template
from vending.policy.lint.codes import Findings, Lint, finding
from vending.policy.lint.forms import form_of, replacement, unknown
from vending.policy.lint.implication import claims_with

if TYPE_CHECKING:
    from vending.policy.engine.policy import PolicyIssuer
    from vending.policy.language.problems import Finding, Location
    from vending.policy.lint.view import RuleEntry, View


def templates(rule: RuleEntry, view: View, now: float) -> Findings:
    """Find insertions of claims that are not sent, never fit, can change hands, or are the caller's to choose."""
    for path, _, text in rule.entries():
        if "{" not in text:
            continue
        for part in compile_template(text, view.loaded.model.maps).parts:
            if isinstance(part, Insertion):
                found = filter(None, (_judge(part, issuer, rule, path) for issuer in rule.issuers))
                yield from [first for first in [next(found, None)] if first is not None]


def _judge(part: Insertion, issuer: PolicyIssuer, rule: RuleEntry, path: Location) -> Finding | None:
    """Say what is wrong with an insertion for one issuer; the worst first."""
    preset, key = issuer.preset, write_key(part.path)
    not_known = unknown(issuer, part.path, key, path, "this grants nothing")
    if not_known is not None:
        return not_known
    instead = _never_fits(part, issuer)
    if instead is not None:
        return finding(Lint.EMPTY_TEMPLATE, path, instead)
    pinned = any(clause.pins and clause.claim == part.path for clause in rule.clauses)
    replaced = replacement(preset, part.path)
    if replaced and not pinned:
        return finding(
            Lint.MUTABLE_TEMPLATE,
            path,
            f"whoever takes over the name in {key} takes over its repositories; write {{{replaced}|<map>}} with a map "
            f"of ids, or the values of {key} under when",
        )
    if not (pinned or part.is_mapped) and part.path not in {parse_key(name) for name in preset.identity}:
        return finding(
            Lint.UNPINNED_TEMPLATE,
            path,
            f"nothing says which values {key} may have, so the caller chooses the repository; write its values under "
            "when, or use a map",
        )
    if key in preset.folded and not part.lower:
        return finding(
            Lint.CASE_IN_TEMPLATE,
            path,
            f"{preset.name} ignores the case of {key}, and a token may have Contoso/Web where you expect contoso/web: "
            f"then nothing is granted; write lower into it, {{{key}|lower}}",
        )
    return None


def _never_fits(part: Insertion, issuer: PolicyIssuer) -> str | None:
    """Say that no value of a claim is part of a name, and what to write instead; None where some may be."""
    form, key = form_of(issuer.preset, part.path), write_key(part.path)
    if form is None or part.is_mapped:
        return None
    claims = claims_with(part.path, form.example)
    if part.fill(claims) is not None:
        return None
    is_path = Insertion(part.path, many=True).fill(claims) is not None
    instead = f"write {{{key}|path}} as the last part" if is_path else f"use a map, {{{key}|<map>}}"
    return f"a value of {key} {form.says}, and so is no part of a repository name: nothing is granted; {instead}"
