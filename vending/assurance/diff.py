"""The difference in access between two policies: what one grants and the other does not, each with a confirmed example.

Not a difference of texts: rules that are renamed, reordered or written in another way differ in nothing. Issuers are
told apart by their URL and registries by their login server, since names are a policy's own affair.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from vending.assurance.access import (
    Access,
    Denial,
    Example,
    Right,
    allows,
    claims_of,
    domains,
    scope_of,
    token_of,
)
from vending.assurance.prover import Conjunction, Prover, Witness
from vending.assurance.space import Cover, Space
from vending.policy.engine.words import Undecided

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vending.oidc.claim_path import ClaimPath
    from vending.oidc.types import Issuer
    from vending.policy.engine.policy import Policy

Progress = Callable[[int, int], None]
"""Told how many rules of how many have been compared."""

_UNCONFIRMED: Final = "the example that was found is not one for the evaluator; please report this"


@dataclass(frozen=True, slots=True)
class Change:
    """An entry of a rule that grants something under one policy which the other one does not grant."""

    issuer: str
    registry: str
    repository: str
    action: str
    rules: tuple[str, ...]
    example: Example

    def data(self) -> dict[str, object]:
        """Return it as JSON has it."""
        return {
            "issuer": self.issuer,
            "registry": self.registry,
            "repository": self.repository,
            "action": self.action,
            "rules": list(self.rules),
            "example": self.example.data(),
        }


@dataclass(frozen=True, slots=True)
class Open:
    """Something that was not decided, and why; empty where it is about more than one entry."""

    issuer: str
    why: str
    registry: str = ""
    repository: str = ""
    action: str = ""
    rules: tuple[str, ...] = ()

    def data(self) -> dict[str, object]:
        """Return it as JSON has it."""
        return {
            "issuer": self.issuer,
            "registry": self.registry,
            "repository": self.repository,
            "action": self.action,
            "rules": list(self.rules),
            "why": self.why,
        }


@dataclass(frozen=True, slots=True)
class Difference:
    """What the new policy grants and the old one did not, the reverse, and what could not be decided."""

    grew: tuple[Change, ...]
    shrank: tuple[Change, ...]
    not_decided: tuple[Open, ...]

    def data(self) -> dict[str, object]:
        """Return it as JSON has it."""
        return {
            "grew": [change.data() for change in self.grew],
            "shrank": [change.data() for change in self.shrank],
            "not_decided": [entry.data() for entry in self.not_decided],
        }


def compare(old: Policy, new: Policy, now: float, progress: Progress | None = None) -> Difference:
    """Compare what two policies grant at a time, in seconds since the epoch."""
    total = sum(len(rules.rules) for policy in (old, new) for rules in policy.rules.values())
    done = _Done(total, progress or (lambda *_: None))
    grew, shrank, open_ = [], [], list(_trust_changes(old, new))
    for url in sorted({*old.issuers, *new.issuers}):
        pair = _Pair(old, new, url, now, done)
        more, undecided = pair.gained(new=True)
        less, also = pair.gained(new=False)
        grew += more
        shrank += less
        open_ += [*undecided, *also]
    return Difference(tuple(grew), tuple(shrank), tuple(dict.fromkeys(open_)))


def _trust_changes(old: Policy, new: Policy) -> Iterator[Open]:
    """Say where the two policies trust an issuer's tokens on other terms, which no comparison of rules shows."""
    for url in sorted(set(old.issuers) & set(new.issuers)):
        before, after = _terms(old.issuers[url].verification), _terms(new.issuers[url].verification)
        changed = [name for name, value in after.items() if before[name] != value]
        if changed:
            why = f"which tokens are accepted changed ({', '.join(changed)}); compare this by eye"
            yield Open(new.issuers[url].name, why)


def _terms(issuer: Issuer) -> dict[str, object]:
    return {
        "audience": (issuer.audience, issuer.allow_extra_audiences),
        "algorithms": issuer.algorithms,
        "keys or certificates": (issuer.static_keys, issuer.ca_pem),
        "lifetime": issuer.max_token_lifetime,
        "replay": issuer.replay,
    }


@dataclass(slots=True)
class _Done:
    total: int
    tell: Progress
    count: int = 0

    def one_more(self) -> None:
        self.count += 1
        self.tell(self.count, self.total)


class _Pair:
    """Two policies as seen by the callers of one issuer."""

    def __init__(self, old: Policy, new: Policy, url: str, now: float, done: _Done) -> None:
        self._now = now
        self._done = done
        issuers = {True: new.issuers.get(url), False: old.issuers.get(url)}
        policies = {True: new, False: old}
        known: dict[ClaimPath, str] = {}
        for side, issuer in issuers.items():
            if issuer is not None:
                known |= claims_of(policies[side].rules[issuer.name])
        described = issuers[True] or issuers[False]
        if described is None:
            raise LookupError(url)
        prover = Prover(domains(described, known))
        self._space = Space(prover, described.preset.relations)
        self._access: dict[bool, Access | None] = {
            side: None if issuer is None else Access(policies[side], issuer, prover) for side, issuer in issuers.items()
        }
        self._sides = {side: _Side(access, prover, now) for side, access in self._access.items()}

    def gained(self, *, new: bool) -> tuple[list[Change], list[Open]]:
        """Return what one side grants and the other does not."""
        mine, other = self._sides[new], self._sides[not new]
        changes: dict[tuple[object, ...], Change] = {}
        open_ = list(mine.open)
        for rule_rights in mine.by_rule:
            for right in rule_rights:
                for action in right.actions:
                    key = (right.rule.name, right.registry, right.entry, action)
                    if key in changes:
                        continue
                    try:
                        found = self._find(right, action, mine, other)
                        change = None if found is None else self._confirmed(right, action, found, mine, other)
                    except Undecided as why:
                        open_.append(_open(mine, right, action, str(why)))
                        continue
                    if change is not None:
                        changes[key] = change
            self._done.one_more()
        return list(changes.values()), open_

    def _find(self, right: Right, action: str, mine: _Side, other: _Side) -> Witness | None:
        denied = [denial.cover for denial in mine.denials if denial.concerns(right.host, action)]
        if not other.has_same(right, action):
            found = self._space.find(right.cover, [*denied, *other.covers_near(right, action, self._space.prover)])
            if found is not None:
                return found
        for denial in other.denials:
            if not denial.concerns(right.host, action) or mine.denies_the_same(denial, right.host, action):
                continue
            box = intersection(right.cover, denial.cover, self._space.prover)
            found = self._space.find(box, denied)
            if found is not None:
                return found
        return None

    def _confirmed(self, right: Right, action: str, found: Witness, mine: _Side, other: _Side) -> Change:
        claims, scope = token_of(found), scope_of(found, action)
        granted = mine.allows(right.host, claims, scope, self._now)
        if not granted or other.allows(right.host, claims, scope, self._now):
            raise Undecided(_UNCONFIRMED)
        example = Example(claims, str(scope))
        return Change(mine.issuer, right.registry, entry_text(right), action, (right.rule.name,), example)


def entry_text(right: Right) -> str:
    """Return an entry as a report shows it; the catalog has the name that its scope has."""
    return right.entry or "registry:catalog:*"


def _open(side: _Side, right: Right, action: str, why: str) -> Open:
    return Open(side.issuer, why, right.registry, entry_text(right), action, (right.rule.name,))


def intersection(cover: Cover, other: Cover, prover: Prover) -> Cover:
    """Return what lies in both covers; the second one has no templates."""
    conditions = set(cover.conditions | other.conditions)
    if other.patterns:
        conditions.add(prover.covered(other.patterns))
    return Cover(frozenset(conditions), cover.patterns, cover.templates)


@dataclass(slots=True)
class _Pins:
    """Find the covers that a case can overlap: those that pin one of its claims to the same text, or not at all."""

    covers: list[Cover] = field(default_factory=list)
    by_path: dict[ClaimPath, tuple[dict[str, list[int]], list[int]]] = field(default_factory=dict)

    @classmethod
    def of(cls, covers: Sequence[Cover], prover: Prover) -> _Pins:
        pins = [_pinned(cover.conditions, prover) for cover in covers]
        made = cls(list(covers))
        for path in {path for pinned in pins for path in pinned}:
            buckets: dict[str, list[int]] = defaultdict(list)
            free = []
            for number, pinned in enumerate(pins):
                if path in pinned:
                    for text in pinned[path]:
                        buckets[text].append(number)
                else:
                    free.append(number)
            made.by_path[path] = (dict(buckets), free)
        return made

    def near(self, case: Conjunction, prover: Prover) -> Iterable[Cover]:
        best: Iterable[int] | None = None
        for path, texts in _pinned(case, prover).items():
            if path not in self.by_path:
                continue
            buckets, free = self.by_path[path]
            found = {number for text in texts for number in buckets.get(text, ())}.union(free)
            if best is None or len(found) < len(list(best)):
                best = sorted(found)
        return self.covers if best is None else [self.covers[number] for number in best]


def _pinned(case: Conjunction, prover: Prover) -> Mapping[ClaimPath, frozenset[str]]:
    """Return the claims that a case holds to a few texts, none with a wildcard, where a list cannot hold more."""
    found: dict[ClaimPath, frozenset[str]] = {}
    for literal in case:
        texts = prover.pin(literal)
        path = prover.variable(literal)
        if texts is not None and (path not in found or len(texts) < len(found[path])):
            found[path] = texts
    return found


class _Side:
    """What one policy grants and denies to callers of the issuer, ready to be compared."""

    def __init__(self, access: Access | None, prover: Prover, now: float) -> None:
        self.by_rule: list[list[Right]] = []
        self.denials: list[Denial] = []
        self.open: list[Open] = []
        self.issuer = "" if access is None else access.issuer.name
        self._access = access
        self._pins: dict[tuple[str, str], _Pins] = {}
        self._same: set[tuple[object, ...]] = set()
        self._denied: set[tuple[object, ...]] = set()
        if access is not None:
            self._collect(access, prover, now)

    def _collect(self, access: Access, prover: Prover, now: float) -> None:
        grouped: dict[tuple[str, str], list[Cover]] = defaultdict(list)
        for rule in access.rules_at(now):
            try:
                rights = list(access.rights(rule))
            except Undecided as why:
                self.open.append(Open(self.issuer, str(why), rules=(rule.name,)))
                continue
            self.by_rule.append(rights)
            for right in rights:
                for action in right.actions:
                    grouped[right.host, action].append(right.cover)
                    self._same.add((right.host, action, right.cover.conditions, right.key))
        self._pins = {key: _Pins.of(covers, prover) for key, covers in grouped.items()}
        self.denials = [denial for deny in access.denies_at(now) for denial in access.denials(deny)]
        for denial in self.denials:
            for action in denial.actions:
                self._denied.add((denial.host, action, denial.cover.conditions, denial.cover.patterns))

    def has_same(self, right: Right, action: str) -> bool:
        """Return whether this side has the very same entry under the same conditions."""
        return (right.host, action, right.cover.conditions, right.key) in self._same

    def covers_near(self, right: Right, action: str, prover: Prover) -> Iterable[Cover]:
        """Return what this side grants that may overlap a right."""
        pins = self._pins.get((right.host, action))
        return () if pins is None else pins.near(right.cover.conditions, prover)

    def denies_the_same(self, denial: Denial, host: str, action: str) -> bool:
        """Return whether this side has the very same denial for a registry."""
        cover = denial.cover
        return any((where, action, cover.conditions, cover.patterns) in self._denied for where in (None, host))

    def allows(self, host: str, claims: Mapping[str, object], scope: object, now: float) -> bool:
        """Ask the evaluator, where this side knows issuer and registry at all."""
        access = self._access
        if access is None or not access.issuer.verification.enabled:
            return False
        registry = access.policy.registry_of.get(host)
        if registry is None:
            return False
        return allows(access.policy, self.issuer, claims, registry.name, scope, now)  # type: ignore[arg-type]
