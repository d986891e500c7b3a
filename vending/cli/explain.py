"""`explain`: show a policy's owner how a decision is reached, rule by rule and condition by condition.

It says what the running app keeps from callers: rules and repositories that are not theirs.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vending.acr import scope as scopes
from vending.cli.frame import add_command
from vending.cli.inputs import load_policy, now, parse_scope, parse_time, read_claims, read_token
from vending.cli.report import FINDINGS, FINE, Cell, Report, UsageError, count, line
from vending.clock import timestamp
from vending.errors import Refusal
from vending.oidc.claims import check_claims
from vending.oidc.issuer_url import near_miss
from vending.oidc.types import VerifiedClaims
from vending.policy import trace
from vending.policy.engine.conditions import State
from vending.policy.engine.registries import find_registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from vending.acr.scope import Scope
    from vending.cli.frame import Commands
    from vending.cli.report import Block, Line
    from vending.oidc.types import Claims, JsonValue
    from vending.policy import Loaded, Policy, PolicyIssuer, Registry, Trace
    from vending.policy.engine.trace import ConditionTrace, DenyTrace, GrantTrace, RuleTrace

UNVERIFIED: Final = "The token is NOT VERIFIED: nobody checked its signature, so anybody may have written its claims."

_STATES: Final[Mapping[State, str]] = {
    State.HOLDS: "holds",
    State.FAILS: "differs",
    State.MISSING: "missing",
    State.OTHER_TYPE: "other type",
}
_STATUSES: Final[Mapping[str, tuple[str, str]]] = {
    "matched": ("matches", "green"),
    "not_matched": ("does not match", "red"),
    "trigger_refused": ("matches but for a refused trigger", "red"),
    "not_yet": ("does not count yet", "dim"),
    "expired": ("expired", "dim"),
    "disabled": ("disabled", "dim"),
}
_GOOD: Final = "green"
_BAD: Final = "red"
_HEADING: Final = "bold"


NEAREST: Final = 5
"""How many rules of a kind one screen has room for."""


@dataclass(frozen=True, slots=True)
class _Shown:
    """The rules and deny entries that are shown, with all conditions or only those that failed."""

    rules: tuple[RuleTrace, ...]
    denies: tuple[DenyTrace, ...]
    in_full: bool


@dataclass(frozen=True, slots=True)
class _Case:
    """Hold a trace with what it does not say itself. `places` maps section and name to file and line."""

    traced: Trace
    shown: _Shown
    issuer: PolicyIssuer
    registry: Registry
    at: str
    notes: tuple[str, ...]
    places: Mapping[tuple[str, str], str]


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "explain",
        run,
        description="Decide a request as the app would, and show what granted or took away, and the nearest rules\n"
        "with the conditions that failed. Claims are taken as they are: with --token, nothing is verified, and the\n"
        "token is not printed.",
        exit_status="Exit status: 0 the request is allowed, 1 it is denied or the policy has errors, 2 the command "
        "cannot run as it was called.",
    )
    parser.add_argument("policy", metavar="POLICY", type=Path, help="a policy file, or a directory")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--claims", metavar="FILE", help="a JSON object of claims, or the answer of /explain; - is standard input"
    )
    source.add_argument("--token", metavar="FILE", help="an OIDC token, which is not verified; - is standard input")
    parser.add_argument("--issuer", metavar="NAME", help="the issuer's name; default: the one that the claim iss names")
    parser.add_argument("--registry", metavar="NAME", help="the registry, by name or host; default: the only one")
    parser.add_argument(
        "--scope", metavar="SCOPES", help="the requested scopes; default: everything that can be listed"
    )
    parser.add_argument(
        "--at", metavar="TIME", type=_time, help="decide as of 2027-06-30 or 2027-06-30T12:00:00Z; default: now"
    )
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--rule", metavar="NAME", help="show one rule or deny entry, condition by condition")
    shown.add_argument("--all", action="store_true", help="show every rule and deny entry of the issuer")


def _time(text: str) -> float:
    try:
        return parse_time(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date and no time such as 2027-06-30T12:00:00Z") from None


def run(arguments: argparse.Namespace) -> Report:
    """Explain one decision."""
    loaded = load_policy(arguments.policy)
    policy = loaded.policy
    peeked = None if arguments.token is None else read_token(arguments.token)
    claims = read_claims(arguments.claims) if peeked is None else peeked.unverified_claims
    issuer = _find_issuer(policy, arguments.issuer, claims)
    moment = now() if arguments.at is None else arguments.at
    try:
        asked = parse_scope(arguments.scope)
        registry = find_registry(policy, arguments.registry, reveal=True)
    except Refusal as refusal:
        raise UsageError(refusal.description) from None
    if arguments.scope is not None and scopes.count(arguments.scope) > policy.limits.max_scopes:
        raise UsageError(f"this policy allows {policy.limits.max_scopes} scopes in one request")
    notes = _notes(issuer, claims, moment, is_token=peeked is not None)
    traced = trace(policy, VerifiedClaims(issuer.name, claims), registry.name, asked, moment)
    shown = _choose(traced, arguments.rule, everything=arguments.all)
    case = _Case(traced, shown, issuer, registry, timestamp(moment), tuple(notes), _places(loaded))
    return Report(FINE if traced.decision.allowed else FINDINGS, data=_data(case), body=tuple(_body(case)))


def _choose(traced: Trace, name: str | None, *, everything: bool) -> _Shown:
    """Choose what is shown: all, one entry, or what made the decision and the rules that came nearest."""
    if everything:
        return _Shown(traced.rules, traced.denies, in_full=True)
    if name is not None:
        rules = tuple(rule for rule in traced.rules if rule.name == name)
        denies = tuple(deny for deny in traced.denies if deny.name == name)
        if not (rules or denies):
            raise UsageError(f"the policy has no rule or deny entry {name!r} for callers of {traced.issuer}")
        return _Shown(rules, denies, in_full=True)
    gave = [rule for rule in traced.rules if rule.counts and rule.gives]
    took = tuple(deny for deny in traced.denies if deny.takes)
    others = [] if traced.decision.allowed else [rule for rule in traced.rules if not (rule.counts and rule.gives)]
    nearest = sorted(others, key=lambda rule: (not rule.gives, rule.distance, rule.name))[:NEAREST]
    return _Shown((*gave[:NEAREST], *nearest), took[:NEAREST], in_full=False)


def _find_issuer(policy: Policy, named: str | None, claims: Claims) -> PolicyIssuer:
    by_name = {issuer.name: issuer for issuer in policy.issuers.values()}
    known = ", ".join(sorted(by_name))
    if named is not None:
        if named not in by_name:
            raise UsageError(f"the policy has no issuer {named!r}; there are {known}")
        return by_name[named]
    url = claims.get("iss")
    if url is None:
        if len(by_name) == 1:
            return next(iter(by_name.values()))
        raise UsageError(f"the claims have no iss; name the issuer with --issuer, one of {known}")
    found = policy.issuer_for(url) if isinstance(url, str) else None
    if found is None:
        near = near_miss(url, policy.issuers) if isinstance(url, str) else None
        hint = f"; {near[0]!r} is another string: {near[1]}" if near else ""
        raise UsageError(f"the policy has no issuer with the URL {url!r}; there are {known}{hint}")
    return found


def _places(loaded: Loaded) -> dict[tuple[str, str], str]:
    """Find file and line of every rule and deny entry."""
    entries = [("rules", number, rule.name) for number, rule in enumerate(loaded.model.rules)]
    entries += [("deny", number, deny.name) for number, deny in enumerate(loaded.model.deny)]
    entries += [("never", number, deny.name) for number, deny in enumerate(loaded.model.never)]
    found = loaded.document.locate([((section, number), False) for section, number, _ in entries])
    return {
        (section, name): f"{file}:{place.line}"
        for (section, _, name), (file, place) in zip(entries, found, strict=True)
    }


def _notes(issuer: PolicyIssuer, claims: Claims, moment: float, *, is_token: bool) -> list[str]:
    """Say what precedes the decision in the running app, and was left out here."""
    notes = [UNVERIFIED] if is_token else []
    if not issuer.verification.enabled:
        notes.append(f"The app refuses every token of {issuer.name}: the issuer is disabled.")
    if is_token:
        try:
            check_claims(claims, issuer.verification, moment)
        except Refusal as refusal:
            notes.append(f"The app would refuse this token before any rule is read: {refusal}")
    return notes


# --- For programs -----------------------------------------------------------------------------------------------------


def _data(case: _Case) -> dict[str, Any]:
    traced, decision = case.traced, case.traced.decision
    return {
        "allowed": decision.allowed,
        "issuer": case.issuer.name,
        "registry": case.registry.name,
        "login_server": case.registry.login_server,
        "at": case.at,
        "asked": None if traced.asked is None else [str(scope) for scope in traced.asked],
        "granted": [str(scope) for scope in decision.granted],
        "missing": [str(scope) for scope in decision.missing],
        "reason": decision.reason,
        "error_description": decision.description or None,
        "notes": list(case.notes),
        "refused_triggers": dict(traced.triggers),
        "rules": [_rule_data(rule, case.places) for rule in case.shown.rules],
        "deny": [_deny_data(deny, case.places) for deny in case.shown.denies],
        "left_out": _left_out(case),
    }


def _rule_data(rule: RuleTrace, places: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    return {
        "name": rule.name,
        "place": places["rules", rule.name],
        "status": rule.status,
        "enforced": rule.enforced,
        "not_before": rule.not_before,
        "expires": rule.expires,
        "when": [_condition_data(condition) for condition in rule.when],
        "when_any": [
            [[_condition_data(condition) for condition in alternative.conditions] for alternative in group]
            for group in rule.when_any
        ],
        "unless": [_condition_data(condition) for condition in rule.unless],
        "grants": [
            {
                "registry": grant.registry,
                "applies": grant.applies,
                "repositories": list(grant.entries),
                "actions": list(grant.actions),
                "catalog": grant.catalog,
                "filled": {text: list(names) for text, names in grant.filled},
                "gives": [str(scope) for scope in grant.gives],
            }
            for grant in rule.grants
        ],
    }


def _deny_data(deny: DenyTrace, places: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    return {
        "name": deny.name,
        "section": deny.section,
        "place": places[deny.section, deny.name],
        "enabled": deny.enabled,
        "holds": deny.holds,
        "registry": deny.registry,
        "when": [_condition_data(condition) for condition in deny.when],
        "unless": [_condition_data(condition) for condition in deny.unless],
        "takes": [str(scope) for scope in deny.takes],
    }


def _condition_data(condition: ConditionTrace) -> dict[str, Any]:
    return {
        "claim": condition.claim,
        "accepted": list(condition.accepted),
        "absent": condition.absent,
        "actual": condition.actual,
        "state": condition.state.value,
        "satisfied": condition.satisfied,
    }


# --- For people -------------------------------------------------------------------------------------------------------


def _body(case: _Case) -> Iterator[Block]:
    traced, decision, issuer, registry = case.traced, case.traced.decision, case.issuer, case.registry
    outcome = Cell("allowed", "bold green") if decision.allowed else Cell(f"denied: {decision.reason}", "bold red")
    yield line(_label("decision"), outcome)
    if decision.description:
        yield line(_label("caller told"), decision.description)
    yield line(_label("issuer"), f"{issuer.name} ({issuer.verification.url})")
    yield line(_label("registry"), f"{registry.name} ({registry.login_server})")
    yield line(_label("at"), case.at)
    yield line(_label("asked"), "everything that can be listed" if traced.asked is None else _scopes(traced.asked))
    yield line(_label("granted"), _scopes(decision.granted))
    if decision.missing:
        yield line(_label("missing"), _scopes(decision.missing))
    for claim, value in traced.triggers:
        yield line(_label("trigger"), Cell(f"refused unless a rule names it: {claim} = {_value(value)}", _BAD))
    for note in case.notes:
        yield line(_label("note"), Cell(note, "bold yellow"))
    yield line()
    shown = case.shown
    yield line(Cell(f"Rules of {issuer.name}" if traced.rules else f"There is no rule for {issuer.name}.", _HEADING))
    for rule in shown.rules:
        yield from _rule(rule, case.places["rules", rule.name], in_full=shown.in_full)
    if shown.denies:
        yield line()
        yield line(Cell("Deny entries", _HEADING))
    for deny in shown.denies:
        yield from _deny(deny, case.places[deny.section, deny.name], in_full=shown.in_full)
    rest = _left_out(case)
    if not shown.in_full and any(rest.values()):
        yield line()
        left = f"{count(rest['rules'], 'rule')} and {count(rest['deny'], 'deny entry', 'deny entries')}"
        yield line(Cell(f"Not shown: {left}; --rule NAME shows one, --all all of them.", "dim"))


def _left_out(case: _Case) -> dict[str, int]:
    return {
        "rules": len(case.traced.rules) - len(case.shown.rules),
        "deny": len(case.traced.denies) - len(case.shown.denies),
    }


def _label(text: str) -> Cell:
    return Cell(f"{text:<12}", "dim")


def _rule(rule: RuleTrace, place: str, *, in_full: bool) -> Iterator[Line]:
    says, style = _STATUSES[rule.status]
    mode = "" if rule.enforced else ", in audit mode: it grants nothing"
    yield line(Cell(rule.name, _HEADING), f" ({place})", Cell(f" {says}", style), f"{mode}{_time_of(rule)}", indent=2)
    yield from _conditions("when", rule.when, in_full=in_full)
    for group in rule.when_any:
        if in_full or not any(alternative.holds for alternative in group):
            yield line(f"at least one of {len(group)}:", indent=4)
            for number, alternative in enumerate(group, 1):
                yield from _conditions(f"{number}. when", alternative.conditions, in_full=in_full)
    yield from _conditions("unless", rule.unless, in_full=in_full)
    for grant in rule.grants:
        if in_full or grant.gives:
            yield from _grant(grant, counts=rule.counts)


def _time_of(entry: RuleTrace | DenyTrace) -> str:
    begins = f", from {entry.not_before}" if entry.not_before is not None else ""
    return begins + (f", until {entry.expires}" if entry.expires is not None else "")


def _deny(deny: DenyTrace, place: str, *, in_full: bool) -> Iterator[Line]:
    says, style = ("holds", _BAD) if deny.holds else ("does not hold" if deny.enabled else "disabled", "dim")
    where = f" in {'every registry' if deny.registry is None else deny.registry}{_time_of(deny)}"
    kind = "" if deny.section == "deny" else f" ({deny.section})"
    yield line(Cell(deny.name, _HEADING), f"{kind} ({place})", Cell(f" {says}", style), where, indent=2)
    if in_full:
        yield from _conditions("when", deny.when, in_full=True)
        yield from _conditions("unless", deny.unless, in_full=True)
    if deny.holds:
        yield line("takes away ", _scopes(deny.takes), indent=4)


def _conditions(keyword: str, conditions: Iterable[ConditionTrace], *, in_full: bool) -> Iterator[Line]:
    for condition in conditions:
        if condition.satisfied and not in_full:
            continue
        mark = Cell("+ ", _GOOD) if condition.satisfied else Cell("- ", _BAD)
        actual = "nothing" if condition.actual is None else _value(condition.actual)
        accepted = "that it be absent" if condition.absent else " or ".join(map(_value, condition.accepted[:NEAREST]))
        more = len(condition.accepted) - NEAREST
        accepted += f" or {more} more" if more > 0 else ""
        said = f"{keyword} {condition.claim}: {_STATES[condition.state]}; the token has {actual}, the policy {accepted}"
        yield line(mark, said, indent=4)


def _grant(grant: GrantTrace, *, counts: bool) -> Iterator[Line]:
    what = [f"{','.join(grant.actions)} on {', '.join(grant.entries)}"] if grant.entries else []
    what += ["the catalog"] if grant.catalog else []
    yield line(f"grants {' and '.join(what)} in {grant.registry}", indent=4)
    for text, names in grant.filled:
        yield line(f"{text} is {', '.join(names) or 'nothing: the claim makes no repository name'}", indent=6)
    if not grant.applies:
        yield line("another registry than the one asked for", indent=6)
    else:
        verb = "gives" if counts else "would give"
        yield line(f"{verb} ", Cell(_scopes(grant.gives), _GOOD if counts and grant.gives else ""), indent=6)


def _scopes(listed: Iterable[Scope]) -> str:
    return scopes.render(listed) or "nothing"


def _value(value: JsonValue) -> str:
    return json.dumps(value)
