"""Suggest rules as narrow as what was seen: for one caller each, from refusals, explanations and audit-mode matches.

A refused request may have been an attack. So nothing is written into a policy; runs whose code nobody has reviewed are
left out unless asked for, and so are callers that no rule is about and that came only once.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from vending.acr.scope import repository
from vending.evidence.decisions import Undecidable, decide_again
from vending.evidence.events import count
from vending.evidence.sightings import Caller, Request, Sightings
from vending.policy import PRESETS
from vending.policy.providers.preset import Gate

if TYPE_CHECKING:
    from vending.evidence.events import Event
    from vending.evidence.sightings import Situation
    from vending.policy import Policy, Preset

_REFS: Final = frozenset({Gate.REF, Gate.BRANCH, Gate.BARE_REF})
_NOT_A_NAME = re.compile(r"[^a-z0-9]+")
MAX_VALUES: Final = 20
"""Refs that one rule lists; whoever needs more needs a pattern, which a person must choose."""

Grants: TypeAlias = "tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]"
"""Registry, repositories and actions."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A rule as data, and the requests that it is made from."""

    rule: Mapping[str, Any]
    requests: tuple[Request, ...]

    @property
    def events(self) -> Iterator[Event]:
        """Yield the event of each request."""
        return (request.event() for request in self.requests)

    def of(self, requests: Iterable[Request]) -> Suggestion:
        """Return the same rule made from these requests alone."""
        kept = tuple(requests)
        grant = [
            {"registry": registry, "repositories": list(names), "actions": list(actions)}
            for registry, names, actions in _grants(kept)
        ]
        times = sum(request.times for request in kept)
        made_from = count(times, "recorded request")
        description = f"Suggested from {made_from}; a refused request may have been an attack."
        return Suggestion({**self.rule, "description": description, "grant": grant}, kept)


@dataclass(frozen=True, slots=True)
class Suggested:
    """The suggestions, the most frequent caller first, and how many requests were too many to be looked at."""

    suggestions: tuple[Suggestion, ...]
    left_out: int


def suggest(policy: Policy | None, events: Iterable[Event], *, everyone: bool) -> Suggested:
    """Return one rule for each caller and kind of situation worth a rule."""
    presets: Mapping[str, Preset] = PRESETS
    if policy is not None:
        presets = {issuer.name: issuer.preset for issuer in policy.issuers.values()}
    sightings = Sightings(policy, presets, everyone=everyone)
    for event in events:
        if _is_wanted(event) and not _needs_no_rule(policy, event):
            sightings.add(event)
    chosen = [caller for caller in sightings.callers() if everyone or caller.known or caller.times > 1]
    chosen.sort(key=lambda caller: -caller.times)
    made: list[Suggestion] = []
    for caller in chosen:
        for when, requests in _rules(caller, presets[caller.issuer]):
            made.append(_suggestion(caller, len(made) + 1, when, requests))
    return Suggested(tuple(made), sightings.left_out)


def _is_wanted(event: Event) -> bool:
    if event["kind"] == "security" or event.get("decided_on") is None:
        return False
    return event["kind"] == "explain" or event.get("outcome") == "deny" or bool(event.get("audit_rules"))


def _needs_no_rule(policy: Policy | None, event: Event) -> bool:
    """Return whether a request is granted as things are. A match in audit mode is to become a rule all the same."""
    if event.get("audit_rules"):
        return False
    if policy is None:
        return event.get("outcome") == "allow"
    try:
        return decide_again(policy, event).allowed
    except Undecidable:
        return False


def _rules(caller: Caller, preset: Preset) -> Iterator[tuple[dict[str, Any], list[Request]]]:
    """Yield conditions and requests: what was asked for from several refs alike becomes one rule."""
    alike: dict[tuple[Grants, Situation, str], dict[str, list[Request]]] = defaultdict(dict)
    for situation, requests in caller.situations.items():
        name, ref = next((gate for gate in situation if preset.gates.get(gate[0]) in _REFS), ("", ""))
        rest = tuple(gate for gate in situation if gate[0] != name)
        alike[_grants(requests), rest, name].setdefault(ref, []).extend(requests)
    for (_, rest, name), by_ref in alike.items():
        listed = sorted(by_ref)
        for start in range(0, len(listed), MAX_VALUES):
            refs = listed[start : start + MAX_VALUES]
            ref = {name: refs if len(refs) > 1 else refs[0]} if name else {}
            yield {**dict(caller.pins), **ref, **dict(rest)}, [one for each in refs for one in by_ref[each]]


def _grants(requests: Iterable[Request]) -> Grants:
    actions: dict[tuple[str, str], set[str]] = defaultdict(set)
    for request in requests:
        for scope in request.scopes:
            actions[request.registry, scope.name].update(scope.actions)
    found: dict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    for (registry, name), asked in sorted(actions.items()):
        found[registry, repository(name, asked).actions].append(name)
    return tuple((registry, tuple(names), listed) for (registry, listed), names in found.items())


def _suggestion(caller: Caller, number: int, when: Mapping[str, Any], requests: list[Request]) -> Suggestion:
    slug = _NOT_A_NAME.sub("-", "-".join(str(value) for _, value in caller.pins).lower()).strip("-")[:40]
    name = f"suggested-{number}-{slug}"[:64].strip("-")
    rule = {"name": name, "description": "", "issuer": caller.issuer, "when": dict(when)}
    return Suggestion(rule, ()).of(requests)
