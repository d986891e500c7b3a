"""Decide a recorded request again, by any policy, at the event's time; and know when an event does not tell enough.

An event tells the claims that the policy of its time looked at. A draft may look at others, and personal claims may
have been withheld. What is not told may have been anything, so every kind of value that the draft's conditions tell
apart is tried: only where all of them lead to one answer is the request decided.
"""

from __future__ import annotations

import json
from bisect import bisect
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from itertools import islice, product
from typing import TYPE_CHECKING, Any, Final

from vending.acr.scope import parse as parse_scopes
from vending.assurance.access import claims_of, domains
from vending.assurance.prover import Prover
from vending.assurance.space import put
from vending.assurance.values import MISSING, Missing
from vending.audit_event import MAX_TEXT
from vending.errors import Reason, Refusal
from vending.evidence.events import Event, seconds
from vending.oidc.claim_path import parse_key
from vending.oidc.types import VerifiedClaims
from vending.policy import decide
from vending.policy.engine.conditions import State
from vending.policy.engine.words import Undecided
from vending.policy.providers.preset import REGISTERED, ClaimType

if TYPE_CHECKING:
    from vending.acr.scope import Scope
    from vending.oidc.claim_path import ClaimPath
    from vending.oidc.types import JsonValue
    from vending.policy import Decision, Policy, Preset
    from vending.policy.engine.conditions import Condition
    from vending.policy.engine.policy import IssuerRules

MAX_COMBINATIONS: Final = 512
MAX_KNOWN: Final = 8_192
"""Decisions that are kept for requests that ask the same."""
MAX_KEPT: Final = 4_096
"""Characters of a request whose decision is kept, so that what a caller makes long takes no memory."""

DECISIONS: Final = frozenset(
    {
        Reason.NO_MATCHING_RULE,
        Reason.TRIGGER_REFUSED,
        Reason.SCOPE_NOT_ENUMERABLE,
        Reason.SCOPE_NOT_GRANTED,
        Reason.DENIED_BY_RULE,
    }
)
"""The reasons that a decision itself can give; any other one stopped a request before or after it."""

_REPLACED: Final = "\ufffd"
"""Replaces in an event what other readers of JSON would refuse."""
_NEEDED: Final = frozenset({"decided_on", "absent", "withheld", "scope", "granted", "missing"})


@dataclass(frozen=True, slots=True)
class Ruling:
    """What was or would be decided. `reason` is None where everything was granted."""

    allowed: bool
    reason: str | None
    granted: tuple[str, ...]
    missing: tuple[str, ...]
    rules: tuple[str, ...]
    description: str = ""


class Undecidable(Exception):
    """Say why an event cannot be decided again: `args[0]`, for a person."""


def recorded(event: Event) -> Ruling | None:
    """Return what was decided then; None where the request never reached a decision.

    A request that was granted and failed afterwards counts as allowed.
    """
    if event.get("decided_on") is None:
        return None
    reason = event.get("reason")
    refused = reason in {one.value for one in DECISIONS}
    return Ruling(
        allowed=not refused,
        reason=reason if refused else None,
        granted=tuple(event.get("granted") or ()),
        missing=tuple(event.get("missing") or ()) if refused else (),
        rules=tuple(event.get("rules") or ()),
    )


class Again:
    """Decide recorded requests again by one policy, and those that ask the same only once.

    Most requests of a job differ in nothing that a decision reads; time counts only where it passes the beginning or
    the end of a rule or deny.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._presets = {issuer.name: issuer.preset for issuer in policy.issuers.values()}
        spans = [rule.span for rules in policy.rules.values() for rule in rules.rules]
        spans += [deny.span for rules in policy.rules.values() for deny in rules.denies]
        self._turns = sorted({moment for span in spans for moment in (span.start, span.end)})
        self._known: dict[bytes, Ruling | str] = {}

    def decide(self, event: Event) -> Ruling:
        """Decide one request as `decide_again` does. Raises `Undecidable`."""
        key = self._key(event)
        known = self._known.get(key) if key else None
        if known is None:
            known = self._decided(event)
            if key:
                if len(self._known) >= MAX_KNOWN:
                    del self._known[next(iter(self._known))]
                self._known[key] = known
        if isinstance(known, str):
            raise Undecidable(known)
        return known

    def _decided(self, event: Event) -> Ruling | str:
        try:
            return decide_again(self._policy, event)
        except Undecidable as why:
            return str(why)

    def _key(self, event: Event) -> bytes:
        """Return a digest of all that a decision reads of an event; nothing for what is too long to be kept."""
        issuer, told = str(event.get("issuer")), event.get("decided_on") or {}
        beside: dict[str, JsonValue] = {}
        if issuer in self._presets:
            unknown = frozenset(self._policy.rules[issuer].reads).difference(told, event.get("absent") or ())
            beside = told_beside(event, self._presets[issuer], unknown) if unknown else beside
        lists = [event.get(name) or () for name in ("scope", "absent", "withheld", "shortened")]
        text = json.dumps([issuer, event.get("registry"), told, beside, lists, bisect(self._turns, seconds(event))])
        return sha256(text.encode()).digest() if len(text) <= MAX_KEPT else b""


def decide_again(policy: Policy, event: Event) -> Ruling:
    """Decide a recorded request by a policy, at the event's time. Raises `Undecidable`."""
    shortened = _NEEDED.intersection(event.get("shortened") or ())
    if shortened:
        raise Undecidable(f"the event was too large to tell {', '.join(sorted(shortened))} in full")
    issuer = next((one for one in policy.issuers.values() if one.name == event.get("issuer")), None)
    if issuer is None or not issuer.verification.enabled:
        return _refused(event, Reason.ISSUER_UNKNOWN if issuer is None else Reason.ISSUER_DISABLED)
    registry = policy.registry_of.get(str(event.get("registry")))
    if registry is None:
        return _refused(event, Reason.UNKNOWN_REGISTRY)
    scopes, now = _asked(event), seconds(event)
    told: dict[str, Any] = dict(event["decided_on"])
    absent = frozenset(event.get("absent") or ())
    unknown = [key for key in policy.rules[issuer.name].reads if key not in told and key not in absent]
    if unknown:
        beside = told_beside(event, issuer.preset, frozenset(unknown))
        told |= beside
        unknown = [key for key in unknown if key not in beside]
    first: Ruling | None = None
    for values in _completions(policy, issuer.name, unknown, event.get("withheld") or ()):
        verified = VerifiedClaims(issuer.name, _claims({**told, **values}))
        outcome = _outcome(decide(policy, verified, registry.name, scopes, now))
        if first is not None and _differs(first, outcome):
            raise Undecidable(f"the event does not tell {', '.join(unknown)}, which this policy looks at")
        first = first or outcome
    if first is None:
        raise Undecidable("no token has such claims")
    return first


def _asked(event: Event) -> tuple[Scope, ...] | None:
    if not event.get("scope"):
        return None
    try:
        return parse_scopes(" ".join(event["scope"]))
    except Refusal as refusal:
        raise Undecidable(f"the recorded scope cannot be read ({refusal.reason})") from None


def _differs(one: Ruling, other: Ruling) -> bool:
    return (one.allowed, one.reason, one.granted, one.missing) != (
        other.allowed,
        other.reason,
        other.granted,
        other.missing,
    )


def _outcome(decision: Decision) -> Ruling:
    return Ruling(
        decision.allowed,
        None if decision.reason is None else decision.reason.value,
        tuple(map(str, decision.granted)),
        tuple(map(str, decision.missing)),
        decision.rules,
        decision.description,
    )


def _refused(event: Event, reason: Reason) -> Ruling:
    return Ruling(False, reason.value, (), tuple(event.get("scope") or ()), ())


def claims_told(event: Event) -> dict[str, JsonValue]:
    """Return the claims that an event says were looked at, as a token has them. Raises `Undecidable`."""
    return _claims(event.get("decided_on") or {})


def told_beside(event: Event, preset: Preset, wanted: Collection[str] | None = None) -> dict[str, JsonValue]:
    """Return further claims that an event tells for certain: those of the caller, of the run, and listed ones.

    `wanted` are the claims to look for; None means every one.
    These are written as text, lists and objects as JSON, and cut where they are long. So only text counts that is
    whole, of a claim that the provider sends as text.
    """
    pairs = [(pair["name"], pair["value"]) for pair in (*(event.get("caller") or ()), *(event.get("claims") or ()))]
    pairs += (event.get("job") or {}).items()
    return {
        name: value for name, value in pairs if (wanted is None or name in wanted) and _is_whole(preset, name, value)
    }


def _is_whole(preset: Preset, name: str, value: Any) -> bool:
    if not isinstance(value, str) or len(value) >= MAX_TEXT or _REPLACED in value or _is_json(value):
        return False
    known = preset.claims.get(name) or REGISTERED.get(name)
    if known is not None:
        return known.type is ClaimType.TEXT and not known.many
    return preset.type_of(name) is ClaimType.TEXT


def _is_json(value: str) -> bool:
    """Return whether a text may stand for a list or an object; Bitbucket's ids only begin like one."""
    if not value.startswith(("[", "{")):
        return False
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        return False
    return True


def _claims(told: Mapping[str, Any]) -> dict[str, JsonValue]:
    claims: dict[str, JsonValue] = {}
    try:
        for key, value in told.items():
            if not isinstance(value, Missing):
                put(claims, parse_key(key), value)
    except (Undecided, ValueError) as why:
        raise Undecidable(f"what the event tells does not fit together: {why}") from None
    return claims


# --- What an event does not tell --------------------------------------------------------------------------------------


def _completions(
    policy: Policy, issuer: str, unknown: list[str], withheld: Collection[str]
) -> Iterator[dict[str, JsonValue | Missing]]:
    """Yield values for the claims that are not told, one of each kind that the policy's conditions tell apart.

    Claims whose names alone were recorded (`withheld`) were there.
    """
    if not unknown:
        yield {}
        return
    try:
        kinds = [
            [value for value in _kinds(_Key(policy), issuer, key) if key not in withheld or value is not MISSING]
            for key in unknown
        ]
    except Undecided as why:
        raise Undecidable(f"the event does not tell {', '.join(unknown)}: {why}") from None
    combinations = list(islice(product(*kinds), MAX_COMBINATIONS + 1))
    if len(combinations) > MAX_COMBINATIONS:
        raise Undecidable(f"the event does not tell {', '.join(unknown)}, which could have too many values")
    for values in combinations:
        yield dict(zip(unknown, values, strict=True))


class _Key:
    """A policy by its identity, for a cache: policies are large, and equal ones are rarely asked for."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def __hash__(self) -> int:
        return id(self.policy)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other.policy is self.policy


@lru_cache(maxsize=4_096)
def _kinds(key: _Key, issuer: str, claim: str) -> tuple[JsonValue | Missing, ...]:
    """Return a value of a claim for each combination of outcomes that all conditions on it can have."""
    rules = key.policy.rules[issuer]
    path = parse_key(claim)
    if any(path in (i.path for i in template.insertions) for template in _templates(rules)):
        raise Undecided("a template inserts it")
    found = next(one for one in key.policy.issuers.values() if one.name == issuer)
    prover = Prover(domains(found, claims_of(rules)))
    literals: dict[int, None] = {}
    for condition in _conditions(rules, path):
        states = (State.HOLDS,), (State.HOLDS, State.OTHER_TYPE), (State.MISSING,)
        literals.update(dict.fromkeys(abs(prover.condition(condition, *wanted)) for wanted in states))
    values: list[JsonValue | Missing] = []
    cases: list[frozenset[int]] = [frozenset()]
    for literal in literals:
        cases = [
            case | {sign}
            for case in cases
            for sign in (literal, -literal)
            if prover.value(path, case | {sign}) is not None
        ]
        if len(cases) > MAX_COMBINATIONS:
            raise Undecided("too many conditions look at it")
    for case in cases:
        value = prover.value(path, case)
        values.append(MISSING if value is None else value)
    return tuple(values)


def _templates(rules: IssuerRules) -> Iterator[Any]:
    for rule in rules.rules:
        for grant in rule.grants:
            yield from grant.templates


def _conditions(rules: IssuerRules, path: ClaimPath) -> Iterator[Condition]:
    for rule in rules.rules:
        groups = [rule.when, rule.unless, *(a.conditions for group in rule.when_any for a in group)]
        yield from (condition for group in groups for condition in group if condition.path == path)
    for deny in rules.denies:
        yield from (condition for condition in (*deny.when, *deny.unless) if condition.path == path)
    yield from (condition for condition in rules.refused if condition.path == path)
