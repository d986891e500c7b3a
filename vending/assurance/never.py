"""Prove the `never` entries of a policy for all rules and tokens, or refute them by a token that the evaluator grants.

At run time a `never` entry denies, so it cannot be broken; what is proved here is that nothing but the entry itself
prevents it, now or later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from vending.assurance.access import Access, Denial, Example, Right, allows, claims_of, domains, scope_of, token_of
from vending.assurance.diff import entry_text, intersection
from vending.assurance.prover import Prover, Witness
from vending.assurance.space import Space
from vending.policy.engine.index import Index
from vending.policy.engine.words import Undecided
from vending.policy.language.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from vending.policy.engine.policy import Deny, IssuerRules, Policy, PolicyIssuer, Rule, Span

    Progress = Callable[[int, int], None]


class Verdict(Enum):
    """Say what became of a `never` entry."""

    PROVED = "proved"
    VIOLATED = "violated"
    NOT_PROVED = "not_proved"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found out about one `never` entry; `rule`, `repository` and `example` where it is violated."""

    name: str
    verdict: Verdict
    issuer: str = ""
    rule: str = ""
    repository: str = ""
    example: Example | None = None
    why: str = ""


def prove(policy: Policy, now: float, progress: Progress | None = None) -> list[Judgement]:
    """Judge every enabled `never` entry, in the order of the file; `now` is in seconds since the epoch."""
    found: dict[str, Judgement] = {}
    issuers = list(policy.issuers.values())
    bare = replace(policy, rules={name: _without_never(rules) for name, rules in policy.rules.items()})
    for number, issuer in enumerate(issuers):
        examiner = _Examiner(bare, issuer, policy.rules[issuer.name], now)
        for finding in examiner.findings():
            before = found.get(finding.name)
            if before is None or _gravity(finding) > _gravity(before):
                found[finding.name] = finding
        if progress is not None:
            progress(number + 1, len(issuers))
    return list(found.values())


def _gravity(finding: Judgement) -> int:
    return (Verdict.PROVED, Verdict.NOT_PROVED, Verdict.VIOLATED).index(finding.verdict)


def _without_never(rules: IssuerRules) -> IssuerRules:
    denies = tuple(deny for deny in rules.denies if deny.section == "deny")
    enabled = [deny for deny in denies if deny.enabled]
    return replace(rules, denies=denies, denies_by_condition=Index(enabled, lambda _: ()))


class _Examiner:
    """Hold the `never` entries of a policy against the rules of one issuer."""

    def __init__(self, bare: Policy, issuer: PolicyIssuer, rules: IssuerRules, now: float) -> None:
        prover = Prover(domains(issuer, claims_of(rules)))
        self._space = Space(prover, issuer.preset.relations)
        self._access = Access(bare, issuer, prover)
        self._bare = bare
        self._now = now
        self._entries = [deny for deny in rules.denies if deny.section == "never" and deny.enabled]
        self._denials = [
            denial
            for deny in self._access.rules.denies
            if deny.enabled and deny.span.end > now
            for denial in self._access.denials(deny)
        ]
        self._rights: list[tuple[Rule, list[Right], str]] = []
        if self._entries and issuer.verification.enabled:
            for rule in self._access.rules.rules:
                if rule.enabled and rule.enforced and rule.span.end > now:
                    self._rights.append(self._rights_of(rule))

    def _rights_of(self, rule: Rule) -> tuple[Rule, list[Right], str]:
        try:
            return rule, list(self._access.rights(rule)), ""
        except Undecided as why:
            return rule, [], str(why)

    def findings(self) -> Iterator[Judgement]:
        """Judge each entry."""
        for entry in self._entries:
            yield self._judge(entry)

    def _judge(self, entry: Deny) -> Judgement:
        why = ""
        denials = list(self._access.denials(entry))
        for rule, rights, trouble in self._rights:
            why = why or trouble
            for right in rights:
                for denial in denials:
                    for action in right.actions:
                        if not denial.concerns(right.host, action):
                            continue
                        try:
                            finding = self._violation(entry, denial, right, action)
                        except Undecided as reason:
                            why = why or f"{reason} (rule {rule.name}, {entry_text(right)})"
                            continue
                        if finding is not None:
                            return finding
        verdict = Verdict.NOT_PROVED if why else Verdict.PROVED
        return Judgement(entry.name, verdict, issuer=self._access.issuer.name, why=why)

    def _violation(self, entry: Deny, denial: Denial, right: Right, action: str) -> Judgement | None:
        """Return how a right breaks an entry; None is a proof that it does not. Raises `Undecided`."""
        start = max(self._now, right.rule.span.start, entry.span.start)
        end = min(right.rule.span.end, entry.span.end)
        if start >= end:
            return None
        others = [other for other in self._denials if other.concerns(right.host, action)]
        lasting = [other.cover for other in others if other.deny.span.start <= start and other.deny.span.end >= end]
        box = intersection(right.cover, denial.cover, self._space.prover)
        if self._space.find(box, lasting) is None:
            return None
        # Some deny entries count for a part of the time only: look at each part.
        for moment in sorted(_moments(start, end, (other.deny.span for other in others))):
            active = [other.cover for other in others if other.deny.span.start <= moment < other.deny.span.end]
            found = self._space.find(box, active)
            if found is not None:
                return self._confirmed(entry, right, action, found, moment)
        return None

    def _confirmed(self, entry: Deny, right: Right, action: str, found: Witness, moment: float) -> Judgement:
        claims, scope = token_of(found), scope_of(found, action)
        issuer = self._access.issuer.name
        if not allows(self._bare, issuer, claims, right.registry, scope, moment):
            raise Undecided("the example that was found is not one for the evaluator; please report this")
        return Judgement(
            entry.name,
            Verdict.VIOLATED,
            issuer=issuer,
            rule=right.rule.name,
            repository=entry_text(right),
            example=Example(claims, str(scope)),
        )


def _moments(start: float, end: float, spans: Iterator[Span]) -> set[float]:
    found = {start}
    for span in spans:
        found |= {moment for moment in (span.start, span.end) if start < moment < end}
    return found


def problem(finding: Judgement, never: Mapping[str, str], rules: Mapping[str, str]) -> Problem:
    """Write a finding that is no proof as a problem of the file: `never_violated` or `never_not_proved`.

    `never` and `rules` are the places of entries by their names, as `file:line:column`.
    """
    file, line, column = never[finding.name].rsplit(":", 2)
    if finding.verdict is Verdict.NOT_PROVED:
        message = f"never {finding.name} is neither proved nor refuted: {finding.why}; look at it yourself"
        return Problem(file, int(line), int(column), "never_not_proved", message, "warning")
    example = finding.example
    if example is None:
        raise ValueError("only a finding that is no proof is a problem")
    claims = ", ".join(f"{name}: {value!r}" for name, value in example.claims.items()) or "no claims that matter"
    message = (
        f"never {finding.name} does not hold: the rule {finding.rule} ({rules[finding.rule]}) grants {example.scope} "
        f"to a token of {finding.issuer} with {claims}; narrow the rule, or deny it"
    )
    return Problem(file, int(line), int(column), "never_violated", message, "error", example.data())
