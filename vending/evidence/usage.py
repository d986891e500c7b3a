"""How often and when last each right of a policy was used, and what to write where one never was."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from vending.acr.scope import CATALOG_ACTION
from vending.acr.scope import parse as parse_scopes
from vending.errors import Refusal
from vending.evidence.decisions import claims_told
from vending.evidence.events import seconds

if TYPE_CHECKING:
    from vending.evidence.events import Event
    from vending.oidc.types import JsonValue
    from vending.policy import Policy
    from vending.policy.engine.policy import Grant, Rule

MAX_NAMES: Final = 10
"""Repositories that take the place of a pattern; more of them are no narrower for a reader."""


@dataclass(frozen=True, slots=True)
class Key:
    """One action of one entry of a rule, for one issuer and registry."""

    rule: str
    issuer: str
    registry: str
    repository: str
    action: str


@dataclass
class Used:
    """How often a right was used, when last, and on which repositories."""

    count: int = 0
    last: str | None = None
    names: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Row:
    """What is told of one right."""

    key: Key
    used: int
    last: str | None
    names: tuple[str, ...]
    instead: str

    def data(self, places: Mapping[str, str]) -> dict[str, Any]:
        """Return it as JSON has it; `places` are those of rules, as `file:line:column`."""
        file, line, _ = places[self.key.rule].rsplit(":", 2)
        return {
            "rule": self.key.rule,
            "issuer": self.key.issuer,
            "registry": self.key.registry,
            "repository": self.key.repository,
            "action": self.key.action,
            "used": self.used,
            "last": self.last,
            "file": file,
            "line": int(line),
            "instead": self.instead,
        }


def usage(policy: Policy, events: Iterable[Event], *, since: float, now: float) -> list[Row]:
    """Count the uses of every right in force since a time, unused ones first.

    A rule that began within the period is left out unless it was used: nobody can say that it is not needed.
    """
    counted: dict[Key, Used] = {key: Used() for key, _ in _rights(policy, now)}
    young = {rule.name for _, rule in _rights(policy, now) if rule.span.start > since}
    hosts = {registry.login_server: name for name, registry in policy.registries.items()}
    for event in events:
        if event["kind"] == "token" and event.get("outcome") == "allow" and seconds(event) >= since:
            _count(policy, event, hosts, counted)
    rows = [_row(key, used, counted) for key, used in counted.items() if used.count or key.rule not in young]
    return sorted(rows, key=lambda row: (row.used > 0, row.key.rule, row.key.registry, row.key.repository, row.used))


def _rights(policy: Policy, now: float) -> Iterator[tuple[Key, Rule]]:
    for issuer in policy.issuers.values():
        for rule in policy.rules[issuer.name].rules:
            if not (rule.enabled and rule.enforced and now < rule.span.end):
                continue
            for grant in rule.grants:
                for entry in entries(grant):
                    for action in grant.actions:
                        yield Key(rule.name, issuer.name, str(grant.registry), entry, action), rule
                if grant.catalog:
                    yield Key(rule.name, issuer.name, str(grant.registry), "registry:catalog:*", CATALOG_ACTION), rule


def entries(grant: Grant) -> list[str]:
    """Return the entries of a grant as they are written."""
    return [*sorted(grant.names), *(glob.text for glob in grant.globs), *(one.text for one in grant.templates)]


def _count(policy: Policy, event: Event, hosts: Mapping[str, str], counted: dict[Key, Used]) -> None:
    issuer, registry = str(event.get("issuer")), hosts.get(str(event.get("registry")))
    listed = policy.rules.get(issuer)
    if listed is None or registry is None:
        return
    named = set(event.get("rules") or ())
    claims = claims_told(event)
    try:
        granted = parse_scopes(" ".join(event.get("granted") or ()))
    except Refusal:
        return
    for rule in (rule for rule in listed.rules if rule.name in named):
        for grant in rule.grants:
            if grant.registry != registry:
                continue
            for scope in granted:
                for entry in _covering(grant, scope.name, claims, catalog=scope.is_catalog):
                    for action in scope.actions:
                        used = counted.get(Key(rule.name, issuer, registry, entry, action))
                        if used is not None:
                            used.count += 1
                            used.last = max(used.last or "", event["time"])
                            if len(used.names) <= MAX_NAMES:
                                used.names.add(scope.name)


def _covering(grant: Grant, name: str, claims: Mapping[str, JsonValue], *, catalog: bool) -> Iterator[str]:
    if catalog:
        if grant.catalog:
            yield "registry:catalog:*"
        return
    if name in grant.names:
        yield name
    yield from (glob.text for glob in grant.globs if glob.matches(name))
    for template in grant.templates:
        reach = template.reach(claims)
        if name in reach.names or any(glob.matches(name) for glob in reach.globs):
            yield template.text


def _row(key: Key, used: Used, counted: Mapping[Key, Used]) -> Row:
    names = tuple(sorted(used.names))
    return Row(key, used.count, used.last, names, _instead(key, used, counted))


def _instead(key: Key, used: Used, counted: Mapping[Key, Used]) -> str:
    if used.count:
        if "*" in key.repository and "{" not in key.repository and 0 < len(used.names) <= MAX_NAMES:
            return f"write {', '.join(sorted(used.names))} instead of {key.repository}"
        return ""
    of_rule = [other for other in counted if other.rule == key.rule]
    if not any(counted[other].count for other in of_rule):
        return "give the rule an expiry date, or remove it"
    same_entry = [other for other in of_rule if (other.registry, other.repository) == (key.registry, key.repository)]
    if not any(counted[other].count for other in same_entry):
        return f"remove {key.repository} from the grant in {key.registry}"
    return f"drop {key.action} on {key.repository}"


def by_rule(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Group rows by their rule."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row.key.rule].append(row)
    return found
