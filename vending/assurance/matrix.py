"""Who may do what: one row for each rule, issuer, registry and entry, and the rows that concern one repository.

Every row is what the file says. What deny entries take away of it is told by their names, and decided as in `diff`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vending.acr.names import ACTIONS
from vending.acr.scope import CATALOG_ACTION
from vending.assurance.access import Access, Denial, Right, claims_of, domains
from vending.assurance.diff import entry_text, intersection
from vending.assurance.prover import Prover
from vending.assurance.space import Cover, Space
from vending.policy.engine.matching import is_in_force
from vending.policy.engine.words import Undecided

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vending.policy.engine.conditions import Condition
    from vending.policy.engine.policy import Policy, PolicyIssuer, Rule

    Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Row:
    """What one entry of one rule grants to callers of one issuer in one registry.

    `denied_by` are the deny and `never` entries that take something of it away from somebody.
    """

    rule: Rule
    issuer: str
    registry: str
    repository: str
    actions: tuple[str, ...]
    denied_by: tuple[str, ...]

    def data(self, places: Mapping[str, str]) -> dict[str, Any]:
        """Return it as JSON has it; `places` are those of rules, by name, as `file:line:column`."""
        file, line = place_of(places.get(self.rule.name, self.rule.origin))
        return {
            "rule": self.rule.name,
            "issuer": self.issuer,
            "registry": self.registry,
            "repository": self.repository,
            "actions": list(self.actions),
            "when": when_of(self.rule),
            "mode": "enforce" if self.rule.enforced else "audit",
            "not_before": self.rule.span.not_before,
            "expires": self.rule.span.expires,
            "denied_by": list(self.denied_by),
            "file": file,
            "line": line,
        }


def rows(policy: Policy, now: float, progress: Progress | None = None) -> Iterator[Row]:
    """Yield every row of a policy: rules that are enabled and not over at a time, audit mode included."""
    issuers = [issuer for issuer in policy.issuers.values() if issuer.verification.enabled]
    total = sum(len(policy.rules[issuer.name].rules) for issuer in issuers)
    done = 0
    for issuer in issuers:
        view = _View(policy, issuer, now)
        for rule in policy.rules[issuer.name].rules:
            yield from view.rows(rule)
            done += 1
            if progress is not None:
                progress(done, total)


def who_can(policy: Policy, name: str, now: float, *, registry: str | None, action: str | None) -> list[Row]:
    """Return the rows that can grant something on one repository, merged: one for each rule, issuer and registry.

    `registry` is the name of one, `action` one action; None is all. A row tells all its actions on that repository.
    """
    merged: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for issuer in policy.issuers.values():
        if not issuer.verification.enabled:
            continue
        view = _View(policy, issuer, now)
        for rule in policy.rules[issuer.name].rules:
            for row in view.rows(rule, name):
                if registry in {None, row.registry}:
                    merged[rule.name, issuer.name, row.registry].append(row)
    found = [_merge(parts) for parts in merged.values()]
    return [row for row in found if action is None or action in row.actions]


def _merge(parts: list[Row]) -> Row:
    first = parts[0]
    actions = {action for row in parts for action in row.actions}
    return Row(
        first.rule,
        first.issuer,
        first.registry,
        first.repository,
        tuple(action for action in (*ACTIONS, CATALOG_ACTION) if action in actions),
        tuple(sorted({name for row in parts for name in row.denied_by})),
    )


class _View:
    """A policy as callers of one issuer meet it, from a time on."""

    def __init__(self, policy: Policy, issuer: PolicyIssuer, now: float) -> None:
        prover = Prover(domains(issuer, claims_of(policy.rules[issuer.name])))
        self._space = Space(prover, issuer.preset.relations)
        self._access = Access(policy, issuer, prover)
        self._now = now
        self._denials = [
            denial
            for deny in self._access.rules.denies
            if deny.enabled and is_in_force(deny.span, now)
            for denial in self._access.denials(deny)
        ]

    def rows(self, rule: Rule, name: str | None = None) -> Iterator[Row]:
        """Yield the rows of a rule; with `name` only those that can concern that repository."""
        if not rule.enabled or rule.span.end <= self._now:
            return
        grouped: dict[tuple[str, str, int], list[Right]] = defaultdict(list)
        for right in self._access.rights(rule):
            grouped[right.registry, right.entry, id(right.grant)].append(right)
        for (registry, _, _), rights in grouped.items():
            possible = [right for right in rights if self._is_possible(right, name)]
            if not possible:
                continue
            first = possible[0]
            denied = {
                denial.deny.name
                for right in possible
                for denial in self._denials
                if self._takes_away(denial, right, name)
            }
            yield Row(rule, self._access.issuer.name, registry, entry_text(first), first.actions, tuple(sorted(denied)))

    def _is_possible(self, right: Right, name: str | None) -> bool:
        """Return whether some token is granted this; what cannot be decided counts as possible."""
        if name is not None and right.entry == "":
            return False
        cover = right.cover if name is None else self._narrowed(right.cover, (name,))
        try:
            return self._space.find(cover) is not None
        except Undecided:
            return True

    def _takes_away(self, denial: Denial, right: Right, name: str | None) -> bool:
        if not any(denial.concerns(right.host, action) for action in right.actions):
            return False
        cover = intersection(right.cover, denial.cover, self._space.prover)
        try:
            return self._space.find(cover if name is None else self._narrowed(cover, (name,))) is not None
        except Undecided:
            return True

    def _narrowed(self, cover: Cover, names: tuple[str, ...]) -> Cover:
        conditions = cover.conditions | {self._space.prover.covered(names)}
        return Cover(conditions, cover.patterns, cover.templates)


# --- Writing it down --------------------------------------------------------------------------------------------------


def place_of(origin: str | None) -> tuple[str | None, int | None]:
    """Split `file:line:column`; None where a place is not known."""
    if origin is None:
        return None, None
    file, line, _ = origin.rsplit(":", 2)
    return file, int(line)


def when_of(rule: Rule) -> dict[str, Any]:
    """Return a rule's conditions, expanded: claims to values, with `when_any` and `unless` where there are some."""
    found: dict[str, Any] = _written(rule.when)
    if rule.when_any:
        groups = [[_written(alternative.conditions) for alternative in group] for group in rule.when_any]
        found["when_any"] = groups[0] if len(groups) == 1 else groups
    if rule.unless:
        found["unless"] = _written(rule.unless)
    return found


def _written(conditions: Iterable[Condition]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for condition in conditions:
        values: Any = {"absent": True} if condition.absent else list(condition.values)
        if isinstance(values, list) and len(values) == 1:
            values = values[0]
        if condition.key in found:
            before = found[condition.key]
            both = before["all"] if isinstance(before, dict) and "all" in before else [before]
            values = {"all": [*both, values]}
        found[condition.key] = values
    return found


def when_text(when: Mapping[str, Any]) -> str:
    """Write conditions on one line, for people."""
    parts = []
    for key, value in when.items():
        if key == "when_any":
            groups = value if value and isinstance(value[0], list) else [value]
            parts += [" or ".join(f"({when_text(one)})" for one in group) for group in groups]
        elif key == "unless":
            parts.append(f"unless {when_text(value)}")
        else:
            parts.append(f"{key}: {_value_text(value)}")
    return "; ".join(parts)


def _value_text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_value_text, value))
    if isinstance(value, dict):
        return "absent" if value.get("absent") else " and ".join(map(_value_text, value.get("all", ())))
    return f'"{value}"' if isinstance(value, str) else str(value).lower()
