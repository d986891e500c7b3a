"""Gather what callers asked for, by caller and by the situation in which its job ran; in bounded memory.

A situation is what the claims say by which a rule can tell reviewed code from any: ref, environment, trigger. Decides
nothing, but for which requests count.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from vending.acr.scope import parse as parse_scopes
from vending.errors import Refusal
from vending.evidence.decisions import Undecidable, claims_told, told_beside
from vending.evidence.events import seconds
from vending.oidc.claim_path import parse_key, write_key
from vending.oidc.types import VerifiedClaims
from vending.policy.engine.containment import contains
from vending.policy.engine.hints import hints
from vending.policy.providers.preset import Gate

if TYPE_CHECKING:
    from vending.acr.scope import Scope
    from vending.evidence.events import Event
    from vending.oidc.types import JsonValue
    from vending.policy import Policy, Preset

MAX_CALLERS: Final = 5_000
MAX_BYTES: Final = 24 << 20
"""Of different requests, as JSON."""
MAX_REQUESTS: Final = 100
"""Different requests of one caller; who sends more of them has no use for a rule as narrow as they are."""
_KEPT: Final = (
    "kind",
    "time",
    "issuer",
    "registry",
    "scope",
    "caller",
    "job",
    "claims",
    "decided_on",
    "absent",
    "withheld",
)
_STATED: Final = frozenset({Gate.REF, Gate.BARE_REF, Gate.BRANCH, Gate.ENVIRONMENT, Gate.TRIGGER, Gate.KIND})
_IMPLIED: Final = frozenset({Gate.BARE_REF, Gate.KIND})
"""What a full ref says as well."""
_FLAGS: Final[tuple[JsonValue, ...]] = (True, False, "true", "false")

Pins: TypeAlias = "tuple[tuple[str, str], ...]"
Situation: TypeAlias = "tuple[tuple[str, Any], ...]"


@dataclass
class Request:
    """One request of a caller, however often it came. `kept` is what of its event decides it again, as JSON."""

    kept: bytes
    registry: str
    scopes: tuple[Scope, ...]
    times: int = 0

    def event(self) -> Event:
        """Return the event of the first one."""
        event: Event = json.loads(self.kept)
        return event


@dataclass
class Caller:
    """What one caller asked for. `known` says that a rule is about it."""

    issuer: str
    pins: Pins
    times: int = 0
    known: bool = False
    requests: dict[tuple[Any, ...], Request] = field(default_factory=dict)
    situations: dict[Situation, list[Request]] = field(default_factory=dict)


class Sightings:
    """Gather requests. `left_out` counts those that were too many to keep; whoever came rarely goes first."""

    def __init__(self, policy: Policy | None, presets: Mapping[str, Preset], *, everyone: bool) -> None:
        self._policy = policy
        self._presets = presets
        self._everyone = everyone
        self._found: dict[tuple[str, Pins], Caller] = {}
        self._bytes = 0
        self.left_out = 0

    def callers(self) -> list[Caller]:
        """Return those who asked for something."""
        return list(self._found.values())

    def add(self, event: Event) -> None:
        """Gather one request, if a rule can be made from it."""
        issuer = str(event.get("issuer"))
        preset = self._presets.get(issuer)
        scopes = _asked(event)
        if preset is None or not scopes or event.get("shortened"):
            return
        try:
            claims = _told(event, preset)
        except ValueError:
            return
        pins = _pins(preset, claims)
        situation = _situation(preset, claims)
        if pins is None or situation is None or (not self._everyone and is_unreviewed(preset, claims)):
            return
        if len(self._found) >= MAX_CALLERS or self._bytes >= MAX_BYTES:
            self._make_room()
        caller = self._found.get((issuer, pins))
        if caller is None:
            caller = self._found[issuer, pins] = Caller(issuer, pins)
        caller.times += 1
        caller.known = caller.known or self._is_known(event, claims, scopes)
        self._keep(caller, situation, event, scopes)

    def _keep(self, caller: Caller, situation: Situation, event: Event, scopes: tuple[Scope, ...]) -> None:
        registry = str(event.get("registry"))
        known = None if self._policy is None else self._policy.registry_of.get(registry)
        key = (situation, registry, scopes)
        request = caller.requests.get(key)
        if request is None:
            if len(caller.requests) >= MAX_REQUESTS:
                self.left_out += 1
                return
            kept = json.dumps({name: event[name] for name in _KEPT if name in event}).encode()
            self._bytes += len(kept)
            request = caller.requests[key] = Request(kept, registry if known is None else known.name, scopes)
            caller.situations.setdefault(situation, []).append(request)
        request.times += 1

    def _is_known(self, event: Event, claims: Mapping[str, JsonValue], scopes: tuple[Scope, ...]) -> bool:
        """Return whether a rule of the policy is about a caller; without one, whether one was at the time."""
        if event.get("audit_rules"):
            return True
        if self._policy is None:
            return bool(event.get("failed_rules") or event.get("rules"))
        registry = self._policy.registry_of.get(str(event.get("registry")))
        if registry is None:
            return False
        try:
            verified = VerifiedClaims(str(event.get("issuer")), claims_told({"decided_on": claims}))
        except Undecidable:
            return False
        return bool(hints(self._policy, verified, registry.name, scopes, seconds(event)))

    def _make_room(self) -> None:
        ordered = sorted(self._found, key=lambda key: (self._found[key].known, self._found[key].times))
        for key in ordered[: len(ordered) // 2]:
            caller = self._found.pop(key)
            self.left_out += caller.times
            self._bytes -= sum(len(request.kept) for request in caller.requests.values())


def _asked(event: Event) -> tuple[Scope, ...]:
    """Return what was asked for by name; nothing where the catalog is a part of it, which no narrow rule grants."""
    try:
        scopes = parse_scopes(" ".join(event.get("scope") or ()))
    except Refusal:
        return ()
    return () if any(scope.is_catalog for scope in scopes) else scopes


def _told(event: Event, preset: Preset) -> dict[str, JsonValue]:
    """Return what an event tells of a token, by keys in one form. Raises `ValueError`."""
    told = {**told_beside(event, preset), **event["decided_on"]}
    return {write_key(parse_key(name)): value for name, value in told.items()}


def _pins(preset: Preset, claims: Mapping[str, JsonValue]) -> Pins | None:
    """Return the claims that say who a caller is, immutable ones if it has them; None where they would say too little.

    A value with a star would be a pattern.
    """
    names = [name for name in preset.immutable if name in claims] or [n for n in preset.identity if n in claims]
    if not names or (preset.units and not preset.units.intersection(names)):
        return None
    pins = [(name, claims[name]) for name in names]
    if not all(isinstance(value, str) and _is_literal(value) for _, value in pins):
        return None
    return tuple((name, str(value)) for name, value in pins)


def _situation(preset: Preset, claims: Mapping[str, JsonValue]) -> Situation | None:
    """Return the claims that say where a job runs, as they were seen; None where a condition cannot say it."""
    found = []
    full = any(preset.gates[name] is Gate.REF and claims.get(name) for name in preset.gates)
    for name, gate in preset.gates.items():
        value = claims.get(name)
        if gate is Gate.FLAG:
            if value in _FLAGS and isinstance(value, bool | str):
                found.append((name, value))
        elif gate in _STATED and value and not (full and gate in _IMPLIED):
            if not isinstance(value, str) or not _is_literal(value):
                return None
            found.append((name, value))
    return tuple(found)


def _is_literal(value: str) -> bool:
    return bool(value) and "*" not in value and value.isprintable()


def is_unreviewed(preset: Preset, claims: Mapping[str, JsonValue]) -> bool:
    """Return whether a job runs code that nobody has reviewed, or was started by a trigger that a rule must name."""
    if any(claims.get(name) == value for name, value in preset.refused):
        return True
    return any(
        isinstance(value := claims.get(name), str) and contains(pattern, value) for name, pattern in preset.unreviewed
    )
