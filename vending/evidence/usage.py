"""How often and when last each right of a policy was used, and what to write where one never was."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from vending.acr.scope import CATALOG_ACTION
from vending.acr.scope import parse as parse_scopes
from vending.assurance.comment import code
from vending.errors import Refusal
from vending.evidence.decisions import Undecidable, claims_told
from vending.evidence.events import seconds

if TYPE_CHECKING:
    from vending.evidence.events import Event
    from vending.oidc.types import JsonValue
    from vending.policy import Policy
    from vending.policy.engine.policy import Grant, Rule

MAX_NAMES: Final = 10
"""Repositories that take the place of a pattern; more of them are no narrower for a reader."""
_SHOWN: Final = 50
"""Rights that a comment lists; the whole list is in `--format json`."""


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


def usage(policy: Policy, events: Iterable[Event], *, since: float | None, now: float) -> list[Row]:
    """Count the uses of every right in force since a time (None: that of the first event), unused ones first.

    A rule that began within the period is left out unless it was used: nobody can say that it is not needed.
    """
    counted: dict[Key, Used] = {}
    began: dict[str, float] = {}
    for key, rule in _rights(policy, now):
        counted[key] = Used()
        began[rule.name] = rule.span.start
    hosts = {registry.login_server: name for name, registry in policy.registries.items()}
    first = now
    for event in events:
        if event["kind"] != "token" or event.get("outcome") != "allow":
            first = min(first, seconds(event)) if since is None else first
            continue
        moment = seconds(event)
        first = min(first, moment)
        if since is None or moment >= since:
            _count(policy, event, hosts, counted)
    period = first if since is None else since
    rows = _rows({key: used for key, used in counted.items() if used.count or began[key.rule] <= period}, counted)
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
    try:
        claims = claims_told(event)
        granted = parse_scopes(" ".join(event.get("granted") or ()))
    except (Refusal, Undecidable):
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


def _rows(told: Mapping[Key, Used], counted: Mapping[Key, Used]) -> Iterator[Row]:
    """Yield what is told of each right; what to write instead depends on the others of its rule and entry."""
    used_rules = {key.rule for key, used in counted.items() if used.count}
    used_entries = {(key.rule, key.registry, key.repository) for key, used in counted.items() if used.count}
    for key, used in told.items():
        names = tuple(sorted(used.names))
        if used.count:
            is_short = "*" in key.repository and "{" not in key.repository and 0 < len(names) <= MAX_NAMES
            instead = f"write {', '.join(names)} instead of {key.repository}" if is_short else ""
        elif key.rule not in used_rules:
            instead = "give the rule an expiry date, or remove it"
        elif (key.rule, key.registry, key.repository) not in used_entries:
            instead = f"remove {key.repository} from the grant in {key.registry}"
        else:
            instead = f"drop {key.action} on {key.repository}"
        yield Row(key, used.count, used.last, names, instead)


def by_rule(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Group rows by their rule."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row.key.rule].append(row)
    return found


def comment(rows: Iterable[Row], notes: Iterable[str], days: int) -> str:
    """Write what was not used as Markdown, for an issue; `notes` say what was read, and what it does not cover."""
    unused = [row for row in rows if not row.used]
    rights = f"{len(unused)} right{' was' if len(unused) == 1 else 's were'}"
    title = f"### {rights} not used in {days} days" if unused else f"### Every right was used in {days} days"
    parts = [title, "\n".join(f"- {note}" for note in notes)]
    if unused:
        lines = ["| rule | may | on | in | instead |", "| --- | --- | --- | --- | --- |"]
        for row in unused[:_SHOWN]:
            key = row.key
            cells = (f"{code(key.rule)} ({code(key.issuer)})", key.action, code(key.repository), code(key.registry))
            lines.append(f"| {' | '.join(cells)} | {code(row.instead)} |")
        if len(unused) > _SHOWN:
            lines.append(f"| … {len(unused) - _SHOWN} more | | | | |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"
