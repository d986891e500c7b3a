"""Say what a denial is due to, in words that are safe for the caller: about the caller's own token and request.

A rule is named only to callers whom it is about: nobody else learns that it exists.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from heapq import merge
from itertools import chain, islice
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Final

from vending.acr.names import is_registry_host
from vending.acr.scope import render
from vending.errors import CATALOGUE, Reason, quote
from vending.oidc.claim_path import lookup, parse_key
from vending.policy.engine.conditions import MANY, with_long_lists
from vending.policy.engine.granting import Asked, gifts
from vending.policy.engine.matching import active_triggers, failed_claims, is_about, is_in_force

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vending.acr.scope import Scope
    from vending.oidc.types import Claims, VerifiedClaims
    from vending.policy.engine.granting import Gift
    from vending.policy.engine.policy import IssuerRules, Policy, Rule
    from vending.policy.providers.preset import Preset

MAX_HINTS: Final = 100
"""Hints are for reading; a caller with more rules than this has its owner's trace."""

MAX_LOOKED_AT: Final = 1_000
"""Where an organisation writes one rule for each of its repositories, by the owner's id alone, all may be about the
caller; a denial must not cost more than a decision. Of more rules, or of those that grant more repositories than this
together, the first by name are looked at."""

MAX_EXPLAINED: Final = 100
"""Rules of which it is found out what keeps them from matching: those that would grant something, then by name."""

MAX_CLAIMS_NAMED: Final = 4
"""A sentence that names more is a list; the trace has them all."""

MAX_SCOPES_NAMED: Final = 4
_name: Final = attrgetter("name")


@dataclass(frozen=True, slots=True)
class RuleHint:
    """Say what keeps a rule about the caller from granting.

    `failed_claims` are the claims whose conditions did not hold; `grants` says whether the rule grants, or would if it
    matched, some of what is in question.
    """

    name: str
    matched: bool
    failed_claims: tuple[str, ...]
    grants: bool


def hints(
    policy: Policy,
    claims: VerifiedClaims,
    registry: str,
    scopes: tuple[Scope, ...] | None,
    now: float,
    matched: Sequence[Rule] = (),
) -> tuple[RuleHint, ...]:
    """Return what the rules about the caller make of its token, for scopes in a registry (None: all that is listed).

    Those that would grant some of the scopes come first, then those nearest to matching, then those that would grant
    the most, then by name. Rules that are disabled, outside their time or in audit mode have no effect, and give no
    hint. At most `MAX_HINTS` are returned. Rules that are known to match are `matched`; they are not judged again.
    """
    rules = policy.rules[claims.issuer]
    of_caller = claims.claims
    asked = None if scopes is None else Asked(scopes)
    granting: list[tuple[int, Rule]] = []
    others: list[tuple[int, Rule]] = []
    looked_at = 0
    for rule in _filed(rules, of_caller):
        if looked_at < MAX_LOOKED_AT and is_in_force(rule.span, now):
            given = gifts(rule, registry, asked, of_caller)
            (granting if given else others).append((-_worth(given), rule))
            looked_at += sum(len(gift.gives) for gift in given)
    if len(granting) + len(others) > MANY:
        of_caller = with_long_lists(of_caller)
    near = islice((pair for pair in chain(granting, others) if is_about(pair[1], of_caller)), MAX_EXPLAINED)
    matching = set(map(id, matched))
    triggers = active_triggers(rules, of_caller)
    told: list[tuple[tuple[bool, int, int, str], RuleHint]] = []
    for given_less, rule in near:
        failed = () if id(rule) in matching else failed_claims(rule, rules, triggers, of_caller)
        order = (not given_less, len(failed), given_less, rule.name)
        told.append((order, RuleHint(rule.name, not failed, failed, bool(given_less))))
    return tuple([hint for _, hint in sorted(told, key=itemgetter(0))[:MAX_HINTS]])


def _worth(given: Sequence[Gift]) -> int:
    """Count the actions on repositories that a rule gives."""
    if len(given) == 1:
        return sum(map(len, given[0].gives.values()))
    return len({(name, action) for gift in given for name, actions in gift.gives.items() for action in actions})


def _filed(rules: IssuerRules, claims: Claims) -> Iterator[Rule]:
    """Yield the first `MAX_LOOKED_AT` rules, by name, that may be about a caller; each once."""
    groups = [group for group in rules.by_identity.groups(claims) if group]
    found = groups[0] if len(groups) == 1 else merge(*groups, key=_name)
    seen: set[int] = set()
    for rule in islice(found, MAX_LOOKED_AT):
        if id(rule) not in seen:
            seen.add(id(rule))
            yield rule


# --- In words ---------------------------------------------------------------------------------------------------------


def describe(
    reason: Reason,
    missing: Sequence[Scope],
    hints: Sequence[RuleHint],
    policy: Policy,
    claims: VerifiedClaims,
) -> str:
    """Say why a request is denied, and name the nearest rule about the caller that would have granted some of it."""
    if reason is Reason.TRIGGER_REFUSED:
        refused = policy.rules[claims.issuer].refused
        shown = ", ".join(dict.fromkeys(_value(trigger.key, claims.claims) for trigger in refused))
        return f"Tokens of this trigger are refused unless a rule names it: {shown}."
    if reason is Reason.NO_MATCHING_RULE:
        cause = _cause(missing, hints, claims.claims)
        preset = next(issuer.preset for issuer in policy.issuers.values() if issuer.name == claims.issuer)
        return f"No rule of the policy matches this token{cause}{_lacking(preset, claims.claims)}."
    if reason is Reason.TOO_MANY_SCOPES:
        return (
            f"The rules list more than {policy.limits.max_scopes} repositories for this caller, too many for one "
            "request; name those that are needed in scope."
        )
    if not missing and reason is Reason.SCOPE_NOT_GRANTED:
        nearest = _cause(missing, hints, claims.claims)
        return f"The request names no scope, and the policy grants this caller nothing in this registry{nearest}."
    if not missing:
        return CATALOGUE[reason].advice
    if reason is Reason.DENIED_BY_RULE:
        return f"A deny entry of the policy covers {_scopes(missing)}."
    cause = _host(missing, policy) or _cause(missing, hints, claims.claims)
    return f"The policy does not grant {_scopes(missing)} to this caller{cause}."


def _host(missing: Sequence[Scope], policy: Policy) -> str:
    """Say so where a name begins with a registry's host, as an image's name does; no repository is called that."""
    for scope in missing:
        host, slash, name = scope.name.partition("/")
        if slash and (is_registry_host(host) or any(host in each.all_hosts for each in policy.registries.values())):
            meant = str(replace(scope, name=name))
            return f"; {quote(host)} is a registry's host, and a scope has the repository alone: write {quote(meant)}"
    return ""


def _cause(missing: Sequence[Scope], hints: Sequence[RuleHint], claims: Claims) -> str:
    nearest = next((hint for hint in hints if hint.grants and not hint.matched), None)
    if nearest is None:
        return f"; no rule about this caller grants {_scopes(missing)}" if missing else ""
    shown = ", ".join(_value(key, claims) for key in nearest.failed_claims[:MAX_CLAIMS_NAMED])
    more = len(nearest.failed_claims) - MAX_CLAIMS_NAMED
    return f"; the rule {nearest.name} does not match because of {shown}" + (f" and {more} more" if more > 0 else "")


def _scopes(scopes: Sequence[Scope]) -> str:
    more = len(scopes) - MAX_SCOPES_NAMED
    return quote(render(scopes[:MAX_SCOPES_NAMED])) + (f" and {more} more" if more > 0 else "")


def _lacking(preset: Preset, claims: Claims) -> str:
    """Name the identity claims that a token lacks and could have, and say how its platform adds them."""
    missing = [
        name for name in preset.identity if lookup(claims, parse_key(name)) is None and _is_expected(preset, name)
    ]
    if not missing:
        return ""
    ways = dict.fromkeys(known.obtain for name in missing if (known := preset.claims.get(name)) and known.obtain)
    return f"; the token has no {quote(', '.join(missing))}" + "".join(f": {way}" for way in ways)


def _is_expected(preset: Preset, name: str) -> bool:
    """Return whether every token has the claim, or a job can ask for it; a generic issuer's are what the file says."""
    known = preset.claims.get(name)
    return not preset.claims if known is None else known.always or bool(known.obtain)


def _value(key: str, claims: Claims) -> str:
    """Show a claim with the caller's own value."""
    value = lookup(claims, parse_key(key))
    if value is None:
        return f"{quote(key)} (not in the token)"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=True)
    return f"{quote(key)} ({quote(text)})"
