"""Criticise what nothing uses: maps, lists, conditions, claims of the audit log, accepted warnings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from vending.oidc.claim_path import parse_key
from vending.policy.language.fields import InList, as_list
from vending.policy.language.models import DenyModel
from vending.policy.lint.codes import Findings, Lint, finding
from vending.policy.lint.forms import is_sent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vending.policy.language.fields import ConditionValue
    from vending.policy.language.models import NamedConditionModel, PolicyModel, RuleModel
    from vending.policy.lint.view import View

_FILTER: Final = re.compile(r"\|([A-Za-z0-9._-]+)")


def unused(view: View, now: float) -> Findings:
    """Find maps, lists and named conditions that no rule and no deny entry uses."""
    model = view.loaded.model
    for section, table, used in (
        ("maps", model.maps, _used_maps(view)),
        ("lists", model.lists, _used_lists(model)),
        ("conditions", model.conditions, _used_conditions(model)),
    ):
        for name in table:
            if name not in used:
                yield finding(
                    Lint.UNUSED,
                    (section, name),
                    f"nothing uses {name!r} of {section}; remove it, or use it where it was meant to be used",
                    at_key=True,
                )


def _used_maps(view: View) -> set[str]:
    return {name for rule in view.rules for _, _, text in rule.entries() for name in _FILTER.findall(text)}


def _used_lists(model: PolicyModel) -> set[str]:
    values = (value for conditions in _all_conditions(model) for value in conditions.values())
    return {value.name for value in values if isinstance(value, InList)}


def _all_conditions(model: PolicyModel) -> Iterator[Mapping[str, ConditionValue]]:
    holders: list[RuleModel | DenyModel | NamedConditionModel] = [*model.rules, *model.deny, *model.never]
    for holder in (*holders, *model.conditions.values()):
        yield holder.when or {}
        yield holder.unless or {}
        if not isinstance(holder, DenyModel):
            yield from holder.when_any


def _used_conditions(model: PolicyModel) -> set[str]:
    entries: list[RuleModel | DenyModel] = [*model.rules, *model.deny, *model.never]
    return {name for entry in entries for name in as_list(entry.use)}


def audit_claim(view: View, now: float) -> Findings:
    """Find claims that the audit log is to have and that no issuer is known to send."""
    audit = view.loaded.model.audit
    issuers = view.loaded.policy.issuers.values()
    for number, name in enumerate(audit.claims if audit else ()):
        if not any(is_sent(issuer.preset, parse_key(name)) for issuer in issuers):
            yield finding(
                Lint.AUDIT_CLAIM,
                ("audit", "claims", number),
                f"no issuer of this policy is known to send {name!r}, so the audit log will not have it; write a claim "
                "that one of them sends, or remove it",
            )
