"""Suggest rules as narrow as what was seen: for one caller each, from refusals, explanations and audit-mode matches.

A refused request may have been an attack. So nothing is written into a policy, pull requests are left out unless asked
for, and so are callers that no rule is about and that came only once.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from vending.acr.scope import parse as parse_scopes
from vending.errors import Refusal
from vending.evidence.decisions import claims_told
from vending.oidc.claim_path import lookup, parse_key
from vending.policy import PRESETS

if TYPE_CHECKING:
    from vending.acr.scope import Scope
    from vending.evidence.events import Event
    from vending.policy import Policy, Preset

GATES: Final = (
    "ref",
    "ref_type",
    "ref_protected",
    "environment",
    "environment_protected",
    "event_name",
    "pipeline_source",
    "build_branch",
    "build_source",
    "terraform_run_phase",
    "terraform_operation",
    "scope",
)
"""Claims that say in which situation a job runs, whichever provider sends them; written as they were seen."""

_UNREVIEWED: Final = {"event_name": "pull_request", "pipeline_source": "merge_request_event"}
_NOT_A_NAME = re.compile(r"[^a-z0-9]+")


@dataclass
class Seen:
    """What one caller in one kind of situation asked for."""

    issuer: str
    pins: tuple[tuple[str, Any], ...]
    times: int = 0
    known: bool = False
    unreviewed: bool = False
    gates: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    scopes: dict[str, list[Scope]] = field(default_factory=lambda: defaultdict(list))
    events: list[Event] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A rule as data, and the events that it is made from."""

    rule: Mapping[str, Any]
    events: tuple[Event, ...]


def suggest(policy: Policy | None, events: Iterable[Event], *, everyone: bool) -> list[Suggestion]:
    """Return one rule for each caller and situation worth a rule, the most frequent first."""
    presets: Mapping[str, Preset] = PRESETS
    if policy is not None:
        presets = {issuer.name: issuer.preset for issuer in policy.issuers.values()}
    found: dict[tuple[Any, ...], Seen] = {}
    for event in events:
        if _is_wanted(event):
            _gather(event, presets, found, policy)
    chosen = [
        seen
        for seen in found.values()
        if seen.scopes and (everyone or not seen.unreviewed) and (everyone or seen.known or seen.times > 1)
    ]
    chosen.sort(key=lambda seen: -seen.times)
    return [Suggestion(_rule(seen, number), tuple(seen.events)) for number, seen in enumerate(chosen, 1)]


def _is_wanted(event: Event) -> bool:
    if event["kind"] == "security" or event.get("decided_on") is None:
        return False
    return event["kind"] == "explain" or event.get("outcome") == "deny" or bool(event.get("audit_rules"))


def _gather(
    event: Event, presets: Mapping[str, Preset], found: dict[tuple[Any, ...], Seen], policy: Policy | None
) -> None:
    name = str(event.get("issuer"))
    preset = presets.get(name)
    if preset is None:
        return
    claims = claims_told(event)
    for pair in event.get("caller") or ():
        claims.setdefault(pair["name"], pair["value"])
    for claim, value in (event.get("job") or {}).items():
        claims.setdefault(claim, value)
    pins = tuple(
        (key, value)
        for key in (preset.immutable or preset.identity)
        if (value := lookup(claims, parse_key(key))) is not None
    )
    scopes = _asked(event)
    if not pins or not scopes:
        return
    situation = tuple(sorted((gate, str(claims[gate])) for gate in _UNREVIEWED if gate in claims))
    seen = found.setdefault((name, pins, situation), Seen(name, pins))
    seen.times += 1
    seen.events.append(event)
    seen.known = seen.known or bool(event.get("failed_rules") or event.get("rules") or event.get("audit_rules"))
    seen.unreviewed = seen.unreviewed or any(claims.get(gate) == value for gate, value in _UNREVIEWED.items())
    for gate in GATES:
        value = claims.get(gate)
        if isinstance(value, str) and value and preset.sends(gate) and "*" not in value:
            seen.gates[gate].add(value)
    registry = str(event.get("registry"))
    known = None if policy is None else policy.registry_of.get(registry)
    seen.scopes[registry if known is None else known.name] += scopes


def _asked(event: Event) -> list[Scope]:
    try:
        scopes = parse_scopes(" ".join(event.get("scope") or ()))
    except Refusal:
        return []
    return [scope for scope in scopes if not scope.is_catalog]


def _rule(seen: Seen, number: int) -> dict[str, Any]:
    when: dict[str, Any] = dict(seen.pins)
    for gate, values in seen.gates.items():
        listed = sorted(values)
        when.setdefault(gate, listed[0] if len(listed) == 1 else listed)
    grants: list[dict[str, Any]] = []
    for registry, scopes in sorted(seen.scopes.items()):
        by_actions: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for scope in parse_scopes(" ".join(map(str, scopes))):
            by_actions[scope.actions].append(scope.name)
        grants += [
            {"registry": registry, "repositories": sorted(names), "actions": list(actions)}
            for actions, names in by_actions.items()
        ]
    slug = _NOT_A_NAME.sub("-", "-".join(str(value) for _, value in seen.pins).lower()).strip("-")[:40]
    return {
        "name": f"suggested-{number}-{slug}"[:64].strip("-"),
        "description": f"Suggested from {seen.times} recorded requests; a refused request may have been an attack.",
        "issuer": seen.issuer,
        "when": when,
        "grant": grants,
    }
