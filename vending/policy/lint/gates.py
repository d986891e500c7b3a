"""Criticise who may write: whole tenants, any branch, and code that nobody has reviewed.

What a condition is worth is data of the provider (`Gate`); nothing here knows one by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vending.oidc.claim_path import fold, parse_key, write_key
from vending.policy.engine.containment import contains
from vending.policy.engine.globs import is_literal
from vending.policy.engine.repositories import Insertion, compile_template
from vending.policy.lint.codes import Findings, Lint, finding
from vending.policy.lint.forms import says_all_by_subject
from vending.policy.providers.preset import Gate

if TYPE_CHECKING:
    from vending.policy.engine.policy import PolicyIssuer
    from vending.policy.language.models import GrantModel
    from vending.policy.language.problems import Location
    from vending.policy.lint.view import Clause, RuleEntry, View

WRITES: Final = frozenset({"push", "delete", "metadata_write"})
_NOTHING: Final = 0
_WEAK: Final = 1
_STRONG: Final = 2
_HEADS: Final = "refs/heads/"


def who_may_write(rule: RuleEntry, view: View, now: float) -> Findings:
    """Find rules that let more callers write than their author may want; the worst of each rule."""
    writing = [(number, grant) for number, grant in enumerate(rule.model.grant) if WRITES & set(grant.actions or ())]
    if not writing or not rule.model.enabled:
        return
    for issuer in rule.issuers:
        if says_all_by_subject(rule, issuer):
            continue
        found = (
            list(_unreviewed(rule, issuer)) or list(_broad(rule, issuer, view, writing)) or list(_gate(rule, issuer))
        )
        if found:
            yield from found
            return


# --- Code that nobody has reviewed ------------------------------------------------------------------------------------


def _unreviewed(rule: RuleEntry, issuer: PolicyIssuer) -> Findings:
    """Find writing on pull requests, plans and proposed runs."""
    for clause in rule.clauses:
        for name, pattern in issuer.preset.unreviewed if clause.admits else ():
            if clause.claim != parse_key(name):
                continue
            for number, value in enumerate(clause.values):
                if isinstance(value, str) and _admits_unreviewed(rule, issuer, value, name, pattern):
                    yield finding(
                        Lint.WRITE_BEFORE_REVIEW,
                        clause.place(number),
                        f"a run with {clause.key} {value!r} executes code that nobody has reviewed, and it may write "
                        "here; grant it pull alone, and write from a rule for reviewed code",
                    )


def _admits_unreviewed(rule: RuleEntry, issuer: PolicyIssuer, value: str, name: str, pattern: str) -> bool:
    """Return whether a value is one of unreviewed runs, or a pattern that takes them in and nothing else is against."""
    if contains(pattern, value):
        return True
    excluded = any(
        clause.where == "unless" and clause.claim == parse_key(name) and contains(str(other), pattern)
        for clause in rule.clauses
        for other in clause.values
    )
    return (
        contains(value, pattern)
        and not excluded
        and rule.least(lambda clause: _worth(clause, issuer, rule)[0]) < _STRONG
    )


# --- Whole tenants ----------------------------------------------------------------------------------------------------


def _broad(rule: RuleEntry, issuer: PolicyIssuer, view: View, writing: list[tuple[int, GrantModel]]) -> Findings:
    """Find writing to the same repositories for every caller of an owner, tenant or namespace."""
    preset = issuer.preset
    units = {parse_key(name) for name in preset.units}
    if not units or rule.least(lambda clause: int(clause.is_literal and clause.claim in units)):
        return
    if rule.least(lambda clause: int(_names_code(clause, issuer) and _worth(clause, issuer, rule)[0] == _STRONG)):
        return
    for number, grant in writing:
        for position, text in enumerate(grant.repositories or ()):
            if not _is_place_of_its_own(text, units, view):
                tenant = ", ".join(f"{clause.key} {_shown(clause)}" for clause in rule.clauses if clause.pins)
                location: Location = (*rule.path, "grant", number, "repositories", position)
                yield finding(
                    Lint.BROAD_WRITE,
                    location,
                    f"every caller with {tenant or 'these claims'} may write {text}, whichever of them it is; name "
                    f"callers by {' or '.join(sorted(preset.units))}, or give each a place of its own by a template",
                )
                return


def _names_code(clause: Clause, issuer: PolicyIssuer) -> bool:
    return _kind_of(clause, issuer) is Gate.WORKFLOW


def _is_place_of_its_own(text: str, units: set[tuple[str, ...]], view: View) -> bool:
    """Return whether an entry has a claim in it that only one caller has."""
    if "{" not in text:
        return False
    template = compile_template(text, view.maps)
    return any(isinstance(part, Insertion) and part.path in units for part in template.parts)


def _shown(clause: Clause) -> str:
    values = [str(value) for value in clause.values]
    return values[0] if len(values) == 1 else f"{values[0]} or {len(values) - 1} more"


# --- Gates ------------------------------------------------------------------------------------------------------------


def _gate(rule: RuleEntry, issuer: PolicyIssuer) -> Findings:
    """Find writing that no condition on the code gates, or only one that whoever writes the code can meet."""
    preset = issuer.preset
    if not preset.gates:
        return
    worth = rule.least(lambda clause: _worth(clause, issuer, rule)[0])
    if worth == _STRONG:
        return
    weak = [(clause, why) for clause in rule.clauses if clause.admits and (why := _worth(clause, issuer, rule)[1])]
    gates = [name for name, kind in preset.gates.items() if kind not in {Gate.CHOSEN, Gate.KIND}]
    if worth == _NOTHING:
        yield finding(
            Lint.UNGATED_WRITE,
            (*rule.path, "when" if rule.model.when else "grant"),
            f"any branch, tag and trigger of these callers may write; add a condition on {' or '.join(gates[:4])}",
            at_key=True,
        )
        return
    clause, why = weak[0]
    yield finding(
        Lint.WEAK_GATE,
        clause.path,
        f"{why}, and nothing else gates what is written here; add a condition on {' or '.join(gates[:4])}",
        at_key=True,
    )


def _kind_of(clause: Clause, issuer: PolicyIssuer) -> Gate | None:
    return issuer.preset.gates.get(write_key(clause.claim))


def _worth(clause: Clause, issuer: PolicyIssuer, rule: RuleEntry) -> tuple[int, str]:
    """Return what a condition is worth as a gate, and if it is weak, why."""
    kind = _kind_of(clause, issuer)
    if kind is None or not clause.admits or not clause.values:
        return _NOTHING, ""
    worst = _STRONG
    reason = ""
    for value in clause.values:
        why = _weakness(kind, str(value), clause.key, has_kind=_has_kind(rule, issuer))
        if why is not None:
            worst, reason = min(worst, _WEAK if why else _NOTHING), why
    return worst, reason


def _weakness(kind: Gate, value: str, key: str, *, has_kind: bool) -> str | None:
    """Say why a value gates nothing that its author could not meet; empty where it is no gate, None where it is one."""
    match kind:
        case Gate.BARE_REF if is_literal(value) and not has_kind:
            return f"a tag may be called {value!r} too, since {key} does not tell a branch from a tag"
        case Gate.REF | Gate.BRANCH | Gate.BARE_REF:
            return _any_branch(key, value)
        case Gate.ENVIRONMENT if not is_literal(value):
            return f"a job can name any environment that {value!r} matches, and a new one has no rules"
        case Gate.WORKFLOW:
            _, at, ref = value.rpartition("@")
            if not at or not is_literal(ref):
                return f"{value!r} admits the workflow as it is on any branch"
        case Gate.FLAG:
            return None if is_literal(value) and fold(value) != "false" else ""
        case Gate.KIND:
            return f"whoever writes the code chooses whether it is a {value}"
        case Gate.CHOSEN:
            return f"whoever writes the job chooses {key}, or starts it"
        case Gate.TRIGGER if not is_literal(value):
            return f"{value!r} leaves the trigger to whoever writes the job"
    return None


def _has_kind(rule: RuleEntry, issuer: PolicyIssuer) -> bool:
    """Return whether the rule says of which kind a ref is."""
    return any(clause.admits and _kind_of(clause, issuer) is Gate.KIND for clause in rule.clauses)


def _any_branch(key: str, value: str) -> str | None:
    """Say that anybody who may push can make a branch of a matching name: a star that does not follow a slash.

    A tag, a literal and a folder of branches (`release/*`) are taken for what somebody guards.
    """
    if is_literal(value) or value.startswith("refs/tags/"):
        return None
    fixed = value.removeprefix(_HEADS).partition("*")[0]
    if fixed.endswith("/") and not contains(value, f"{_HEADS}*"):
        return None
    return f"anybody who may push can make a branch that {value!r} in {key} matches"
