"""Silence the warnings that a policy accepts, entry by entry, and report what is accepted and not there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vending.policy.lint.codes import Lint, finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from vending.policy.language.models import PolicyModel
    from vending.policy.language.problems import Finding, Location

NOT_PROVED: Final = "never_not_proved"
"""The warning of `check` about a `never` entry that it can neither prove nor refute; found elsewhere, accepted here."""

_ENTRY: Final = 2
"""An entry is named by its section and its name or number."""


def entry_of(found: Finding) -> Location:
    """Return the entry that a finding is about: its section, and its name or number."""
    return tuple(found.path[:_ENTRY])


def accepted(model: PolicyModel, findings: Iterable[tuple[Location, Finding]]) -> Iterator[Finding]:
    """Yield what is not accepted, and the acceptances that silence nothing.

    A finding comes with the entry that it is about, which may be another one than where it is written: a rule accepts
    what is said of the conditions that it uses.
    """
    accepts = dict(_accepts(model))
    used: set[tuple[Location, str]] = set()
    for entry, found in findings:
        if str(found.code) in accepts.get(entry, {}):
            used.add((entry, str(found.code)))
        else:
            yield found
    for entry, codes in accepts.items():
        for code in codes:
            if (entry, code) not in used and not (entry[0] == "never" and code == NOT_PROVED):
                known = code in {lint.value for lint in Lint}
                why = "there is no such warning here any more" if known else "no warning has this code"
                yield finding(
                    Lint.ACCEPT_UNUSED, (*entry, "accept", code), f"{why}; remove {code} from accept", at_key=True
                )


def _accepts(model: PolicyModel) -> Iterator[tuple[Location, Mapping[str, str]]]:
    yield from ((("rules", number), rule.accept) for number, rule in enumerate(model.rules) if rule.accept)
    yield from ((("deny", number), deny.accept) for number, deny in enumerate(model.deny) if deny.accept)
    yield from ((("never", number), never.accept) for number, never in enumerate(model.never) if never.accept)
    yield from ((("issuers", name), issuer.accept) for name, issuer in model.issuers.items() if issuer.accept)
    yield from ((("registries", name), each.accept) for name, each in model.registries.items() if each.accept)
