"""Criticise a policy that loads: what its author may not want, and what to write instead. Changes no decision.

`RULE_CHECKS` and `POLICY_CHECKS` list everything that is looked for. docs/policy.md explains every code with an example
and a fix, and a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from itertools import product
from typing import TYPE_CHECKING, Final, TypeAlias, TypeGuard

from vending.policy.addresses import is_shared_audience
from vending.policy.claims import ClaimPath, fold, parse_key
from vending.policy.conditions import Condition, Scalar, State
from vending.policy.containment import contains
from vending.policy.forms import FORMS, REPLACED_BY, Form
from vending.policy.models import DenyModel, GrantModel, RuleModel, ServicePrincipalModel, as_list
from vending.policy.patterns import has_substance, is_literal
from vending.policy.problems import Finding, Path, Severity
from vending.policy.repositories import Insertion, compile_template

if TYPE_CHECKING:
    from vending.oidc.types import Claims, JsonValue
    from vending.policy.loading import Loaded
    from vending.policy.policy import Deny, Grant, PolicyIssuer, Rule
    from vending.policy.presets import Preset
    from vending.policy.problems import Problem


class Lint(StrEnum):
    """Name one thing that a policy's author may not want; stable."""

    NO_IMMUTABLE_ID = "no_immutable_id"
    """A rule knows its callers by names that can be given to others."""
    UNKNOWN_CLAIM = "unknown_claim"
    """The issuer does not send the claim."""
    SUBJECT_MATCH = "subject_match"
    """`sub` is compared where its form depends on the caller's settings."""
    IMPOSSIBLE_VALUE = "impossible_value"
    """No token has such a value in this claim."""
    MUTABLE_TEMPLATE = "mutable_template"
    """A template inserts a name that can change hands, where an id would not."""
    UNPINNED_TEMPLATE = "unpinned_template"
    """A template inserts a claim whose value the caller chooses."""
    EMPTY_TEMPLATE = "empty_template"
    """A template inserts a claim that is never part of a repository name."""
    UNREACHABLE_RULE = "unreachable_rule"
    """`unless` excludes every caller that `when` admits."""
    DUPLICATE_RULE = "duplicate_rule"
    """Two rules say the same."""
    EXPIRED_RULE = "expired_rule"
    """The last valid day has passed."""
    DENIED_GRANT = "denied_grant"
    """A deny entry takes away everything that is granted."""
    PUSH_WITHOUT_PULL = "push_without_pull"
    """Clients that push also read."""
    PULL_WITHOUT_METADATA_READ = "pull_without_metadata_read"
    """Listing tags needs more than pull."""
    GRANT_EVERYTHING = "grant_everything"
    """A pattern covers every repository of the registry."""
    SERVICE_PRINCIPAL = "service_principal"
    """An identity with a stored secret."""
    SHARED_AUDIENCE = "shared_audience"
    """Tokens meant for other services are accepted too."""


INFORMATION: Final = frozenset({Lint.PULL_WITHOUT_METADATA_READ})
"""What is worth knowing and often right as it is; everything else is a warning."""

_MAX_NAMES: Final = 200
"""How many values of a map are looked at one by one."""

_IN_EVERY_TOKEN: Final = frozenset({"aud", "exp", "iat", "iss", "jti", "nbf"})
"""Claims that verification has judged already."""

Findings: TypeAlias = Iterator[Finding]


def lint(loaded: Loaded, now: float) -> tuple[Problem, ...]:
    """Return the warnings about a policy, in the order of the file. `now` is in seconds since the epoch."""
    view = _View.of(loaded)
    findings = [finding for check in POLICY_CHECKS for finding in check(view, now)]
    findings += [finding for subject in view.rules for check in RULE_CHECKS for finding in check(subject, view, now)]
    findings += [finding for subject in view.denies for check in CONDITION_CHECKS for finding in check(subject)]
    return tuple(sorted(loaded.document.place(findings)))


def _finding(code: Lint, path: Path, message: str, *, at_key: bool = False) -> Finding:
    severity: Severity = "info" if code in INFORMATION else "warning"
    return Finding(path, code, message, at_key, severity)


# --- What is looked at ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Test:
    """One condition as it is written. `where` is `when` or `unless`."""

    where: str
    key: str
    claim: ClaimPath
    values: tuple[Scalar, ...]
    path: Path
    is_list: bool

    def place(self, number: int) -> Path:
        """Return the path of one of the values."""
        return (*self.path, number) if self.is_list else self.path

    @property
    def pins(self) -> bool:
        """Tell whether the claim can only have values that are written out."""
        return self.where == "when" and all(
            not isinstance(value, str) or (value != "" and "*" not in value) for value in self.values
        )


@dataclass(frozen=True, slots=True)
class _Subject:
    """A rule or deny entry with its issuers and conditions."""

    model: RuleModel | DenyModel
    path: Path
    issuers: tuple[PolicyIssuer, ...]
    tests: tuple[_Test, ...]

    def on(self, claim: ClaimPath) -> list[_Test]:
        """Return the conditions of `when` on a claim."""
        return [test for test in self.tests if test.where == "when" and test.claim == claim]


@dataclass(frozen=True, slots=True)
class _RuleSubject(_Subject):
    """A rule, with what its grants name."""

    model: RuleModel
    compiled: tuple[Rule, ...]
    """The rule as each of its issuers sees it."""

    def entries(self) -> Iterator[tuple[Path, GrantModel, str]]:
        """Yield path, grant and text of every entry of `repositories`."""
        for number, grant in enumerate(self.model.grant):
            for position, text in enumerate(grant.repositories or ()):
                yield (*self.path, "grant", number, "repositories", position), grant, text


@dataclass(frozen=True, slots=True)
class _View:
    """A policy as the checks look at it."""

    loaded: Loaded
    rules: tuple[_RuleSubject, ...]
    denies: tuple[_Subject, ...]
    denies_of: Mapping[str, tuple[Deny, ...]]
    """The enabled deny entries, for each issuer by name."""
    twins: Mapping[object, list[int]]
    """What a rule says, to the numbers of the rules that say so."""

    @classmethod
    def of(cls, loaded: Loaded) -> _View:
        issuers = {issuer.name: issuer for issuer in loaded.policy.issuers.values()}
        compiled: dict[str, list[Rule]] = {}
        for of_issuer in loaded.policy.rules.values():
            for rule in of_issuer.rules:
                compiled.setdefault(rule.name, []).append(rule)
        twins: dict[object, list[int]] = {}
        for number, model in enumerate(loaded.model.rules):
            twins.setdefault(_meaning(model), []).append(number)
        return cls(
            loaded=loaded,
            rules=tuple(
                _RuleSubject(
                    model,
                    ("rules", number),
                    tuple(issuers[name] for name in as_list(model.issuer)),
                    _tests(model, ("rules", number)),
                    tuple(compiled[model.name]),
                )
                for number, model in enumerate(loaded.model.rules)
            ),
            denies=tuple(
                _Subject(
                    model,
                    ("deny", number),
                    tuple(issuers[name] for name in as_list(model.issuer or [])),
                    _tests(model, ("deny", number)),
                )
                for number, model in enumerate(loaded.model.deny)
            ),
            denies_of={
                name: tuple(deny for deny in of_issuer.denies if deny.enabled)
                for name, of_issuer in loaded.policy.rules.items()
            },
            twins=twins,
        )


def _tests(model: RuleModel | DenyModel, path: Path) -> tuple[_Test, ...]:
    return tuple(
        _Test(where, key, parse_key(key), tuple(as_list(value)), (*path, where, key), isinstance(value, list))
        for where, conditions in (("when", model.when), ("unless", model.unless))
        for key, value in (conditions or {}).items()
    )


def _meaning(rule: RuleModel) -> object:
    """Return what a rule says, whatever its name and the order in which it says it."""
    return (
        frozenset(as_list(rule.issuer)),
        _said(rule.when),
        _said(rule.unless or {}),
        frozenset(
            (grant.registry, frozenset(grant.repositories or ()), frozenset(grant.actions or ()), grant.catalog)
            for grant in rule.grant
        ),
        rule.mode,
        rule.enabled,
    )


def _said(conditions: Mapping[str, Scalar | list[Scalar]]) -> object:
    # Python holds 1 and True for equal.
    return frozenset(
        (parse_key(key), frozenset((type(item), item) for item in as_list(value))) for key, value in conditions.items()
    )


# --- Who the callers are ----------------------------------------------------------------------------------------------


def _no_immutable_id(rule: _RuleSubject, view: _View, now: float) -> Findings:
    for issuer in rule.issuers:
        immutable = {parse_key(key) for key in issuer.preset.immutable}
        if immutable and not any(test.pins and test.claim in immutable for test in rule.tests):
            yield _finding(
                Lint.NO_IMMUTABLE_ID,
                (*rule.path, "when"),
                f"the rule names no immutable id of {issuer.name}, and a name can be given to somebody else; add "
                f"{' or '.join(issuer.preset.immutable)}",
                at_key=True,
            )
            return


def _unknown_claim(subject: _Subject) -> Findings:
    for test in subject.tests:
        issuer = next((issuer for issuer in subject.issuers if not _is_sent(issuer.preset, test.claim)), None)
        if issuer is not None:
            message = _not_sent(issuer, test.key, _EFFECTS[subject.path[0], test.where])
            yield _finding(Lint.UNKNOWN_CLAIM, test.path, message, at_key=True)


_EFFECTS: Final[Mapping[tuple[str | int, str], str]] = {
    ("rules", "when"): "the rule matches nobody",
    ("rules", "unless"): "the rule excludes everybody",
    ("deny", "when"): "the entry denies nothing",
    ("deny", "unless"): "the entry exempts nobody",
}


def _is_sent(preset: Preset, claim: ClaimPath) -> bool:
    if preset.sends(claim[0]):
        return True  # A pointer may lead into a list.
    return any(len(known) > 1 and known[: len(claim)] == claim for known in map(parse_key, preset.types))


def _not_sent(issuer: PolicyIssuer, key: str, effect: str) -> str:
    known = issuer.preset.types
    close = get_close_matches(key, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(known.keys() - _IN_EVERY_TOKEN))}"
    return f"tokens of {issuer.name} have no claim {key!r}, so {effect}; {hint}"


def _subject_match(subject: _Subject) -> Findings:
    for test in subject.tests:
        if test.claim == ("sub",) and any(issuer.preset.name == "github" for issuer in subject.issuers):
            yield _finding(
                Lint.SUBJECT_MATCH,
                test.path,
                "a repository's settings change the form of sub, and GitHub has changed it before; compare "
                "repository_id, ref, environment or event_name instead",
                at_key=True,
            )


def _impossible_value(subject: _Subject) -> Findings:
    for test in subject.tests:
        forms = [_form(issuer.preset, test.claim) for issuer in subject.issuers]
        for number, value in enumerate(test.values):
            if isinstance(value, str) and forms and not any(form is None or form.admits(value) for form in forms):
                says = " or ".join(dict.fromkeys(form.says for form in forms if form))
                yield _finding(
                    Lint.IMPOSSIBLE_VALUE,
                    test.place(number),
                    f"no token has {value!r} in {test.key}: a value of this claim {says}",
                )


def _form(preset: Preset, claim: ClaimPath) -> Form | None:
    forms = FORMS.get(preset.name, {})
    return next((form for key, form in forms.items() if parse_key(key) == claim), None)


# --- Whether the rule counts ------------------------------------------------------------------------------------------


def _unreachable_rule(rule: _RuleSubject, view: _View, now: float) -> Findings:
    for compiled in rule.compiled[:1]:
        for number, excluded in enumerate(compiled.unless):
            if any(_implies(condition, excluded) for condition in compiled.when):
                key = list(rule.model.unless or {})[number]
                yield _finding(
                    Lint.UNREACHABLE_RULE,
                    (*rule.path, "unless", key),
                    f"every {key} that `when` admits is excluded here, so the rule matches nobody; remove one of them",
                    at_key=True,
                )


def _duplicate_rule(rule: _RuleSubject, view: _View, now: float) -> Findings:
    first = view.twins[_meaning(rule.model)][0]
    if rule.path != ("rules", first):
        other = view.rules[first].model.name
        yield _finding(Lint.DUPLICATE_RULE, rule.path, f"the rule {other!r} says the same; remove one of the two")


def _expired_rule(rule: _RuleSubject, view: _View, now: float) -> Findings:
    for compiled in rule.compiled[:1]:
        if compiled.enabled and now >= compiled.expires_at:
            yield _finding(
                Lint.EXPIRED_RULE,
                (*rule.path, "expires"),
                f"the last valid day was {compiled.expires}; remove the rule, or write a later day",
            )


# --- What is granted --------------------------------------------------------------------------------------------------


def _templates(rule: _RuleSubject, view: _View, now: float) -> Findings:
    for path, _, text in rule.entries():
        if "{" not in text:
            continue
        for part in compile_template(text, view.loaded.model.maps).parts:
            if isinstance(part, Insertion):
                finding = next(filter(None, (_insertion(part, issuer, rule, path) for issuer in rule.issuers)), None)
                if finding is not None:
                    yield finding


def _insertion(part: Insertion, issuer: PolicyIssuer, rule: _RuleSubject, path: Path) -> Finding | None:
    preset = issuer.preset
    key = _written(part.path)
    if not _is_sent(preset, part.path):
        return _finding(Lint.UNKNOWN_CLAIM, path, _not_sent(issuer, key, "this grants nothing"))
    form = _form(preset, part.path)
    if form is not None and part.table is None and part.fill(_claims(part.path, form.example)) is None:
        is_path = Insertion(part.path, many=True).fill(_claims(part.path, form.example)) is not None
        instead = f"write {{{key}|path}} as the last part" if is_path else f"use a map, {{{key}|<map>}}"
        message = f"a value of {key} {form.says}, and so is no part of a repository name: nothing is granted; {instead}"
        return _finding(Lint.EMPTY_TEMPLATE, path, message)
    if any(test.pins for test in rule.on(part.path)):
        return None
    replaced = REPLACED_BY.get(preset.name, {}).get(key)
    if replaced is not None:
        return _finding(
            Lint.MUTABLE_TEMPLATE,
            path,
            f"whoever takes over the name in {key} takes over its repositories; write {{{replaced}|<map>}} with a map "
            f"of ids, or the values of {key} under when",
        )
    if part.table is None and part.path not in {parse_key(name) for name in preset.identity}:
        return _finding(
            Lint.UNPINNED_TEMPLATE,
            path,
            f"nothing says which values {key} may have, so the caller chooses the repository; write its values under "
            "when, or use a map",
        )
    return None


def _written(claim: ClaimPath) -> str:
    """Write a claim as a preset's tables do."""
    return claim[0] if len(claim) == 1 else "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in claim)


def _claims(path: ClaimPath, value: Scalar) -> Claims:
    """Make claims that have one value at a path."""
    inner: JsonValue = value
    for part in reversed(path[1:]):
        inner = {part: inner}
    return {path[0]: inner}


def _denied_grant(rule: _RuleSubject, view: _View, now: float) -> Findings:
    if not rule.model.enabled:
        return
    certain = [[deny for deny in view.denies_of[c.issuer] if _surely_holds(deny, c)] for c in rule.compiled]
    if not all(certain):
        return
    for number, grant in enumerate(rule.model.grant):
        path: Path = (*rule.path, "grant", number)
        compiled = [(c.grants[number], denies) for c, denies in zip(rule.compiled, certain, strict=True)]
        if grant.catalog and all(_takes_catalog(grant.registry, denies) for _, denies in compiled):
            yield _finding(
                Lint.DENIED_GRANT, (*path, "catalog"), "a deny entry takes the catalog away; remove one of the two"
            )
        patterns = {text: _patterns(text, view) for text in grant.repositories or ()}
        taken: set[tuple[str, str]] = {
            (text, action)
            for text, names in patterns.items()
            for action in grant.actions or ()
            if all(_takes(grant.registry, denies, names, action) for _, denies in compiled)
        }
        yield from _denied(grant, path, taken)


def _denied(grant: GrantModel, path: Path, taken: set[tuple[str, str]]) -> Findings:
    """Report what is taken away as a whole: the grant, or else its single entries and actions."""
    entries, actions = grant.repositories or [], grant.actions or []
    if not taken:
        return
    message = "a deny entry takes away {}; remove it here, or narrow the deny entry"
    if len(taken) == len(set(entries)) * len(set(actions)):
        yield _finding(Lint.DENIED_GRANT, path, message.format("all that is granted here"))
        return
    for number, text in enumerate(entries):
        if all((text, action) in taken for action in actions):
            yield _finding(Lint.DENIED_GRANT, (*path, "repositories", number), message.format(repr(text)))
    for number, action in enumerate(actions):
        if all((text, action) in taken for text in entries):
            yield _finding(Lint.DENIED_GRANT, (*path, "actions", number), message.format(action))


def _surely_holds(deny: Deny, rule: Rule) -> bool:
    """Tell whether a deny entry holds for every caller that a rule matches."""
    for condition in deny.when:
        if not any(_implies(known, condition) for known in rule.when):
            return False
    return not deny.unless or any(_excludes(known, condition) for condition in deny.unless for known in rule.when)


def _implies(known: Condition, other: Condition) -> bool:
    """Tell whether `other` holds wherever `known` does."""
    if known.path != other.path:
        return False
    texts = [text for text in other.values if isinstance(text, str)]
    return all(
        any(contains(_folded(text, other), _folded(value, other)) for text in texts)
        if _is_pattern(value)
        else other.test(_claims(other.path, value)) is State.HOLDS
        for value in known.values
    )


def _excludes(known: Condition, other: Condition) -> bool:
    """Tell whether `other` fails wherever `known` holds, of claims that are no lists."""
    return known.path == other.path and all(
        not _is_pattern(value) and other.test(_claims(other.path, value)) is not State.HOLDS for value in known.values
    )


def _is_pattern(value: Scalar) -> TypeGuard[str]:
    return isinstance(value, str) and not is_literal(value)


def _folded(text: str, condition: Condition) -> str:
    return fold(text) if condition.folds else text


def _takes_catalog(registry: str, denies: list[Deny]) -> bool:
    return any(deny.covers.catalog and deny.covers.registry in {None, registry} for deny in denies)


def _takes(registry: str, denies: list[Deny], names: list[str], action: str) -> bool:
    covering = [d.covers for d in denies if d.covers.registry in {None, registry} and action in d.covers.actions]
    return all(any(_covers(grant, name) for grant in covering) for name in names)


def _covers(grant: Grant, name: str) -> bool:
    return name in grant.names or any(contains(glob.text, name) for glob in grant.globs)


def _patterns(text: str, view: _View) -> list[str]:
    """Return patterns that together match every name which an entry can stand for."""
    if "{" not in text:
        return [text]
    choices: list[list[str]] = []
    for part in compile_template(text, view.loaded.model.maps).parts:
        if isinstance(part, str):
            choices.append([part])
        elif part.table is not None:
            choices.append(list(part.table.values()) if len(part.table) <= _MAX_NAMES else ["**"])
        else:
            choices.append(["**" if part.many else "*"])
    return ["/".join(parts) for parts in product(*choices)]


def _push_without_pull(rule: _RuleSubject, view: _View, now: float) -> Findings:
    for path, names in _lacking(rule, "push", "pull"):
        message = f"clients that push also read what is there, and {names} cannot be read; add pull"
        yield _finding(Lint.PUSH_WITHOUT_PULL, path, message)


def _pull_without_metadata_read(rule: _RuleSubject, view: _View, now: float) -> Findings:
    for path, names in _lacking(rule, "pull", "metadata_read"):
        message = f"the tags of {names} cannot be listed with pull alone; add metadata_read where that is needed"
        yield _finding(Lint.PULL_WITHOUT_METADATA_READ, path, message)


def _lacking(rule: _RuleSubject, has: str, lacks: str) -> Iterator[tuple[Path, str]]:
    """Find grants that give one action without another that no grant of the rule gives for the same repositories."""
    given = [(grant.registry, text) for _, grant, text in rule.entries() if lacks in (grant.actions or ())]
    for number, grant in enumerate(rule.model.grant):
        actions = grant.actions or []
        if has not in actions or lacks in actions:
            continue
        names = [
            text
            for text in grant.repositories or ()
            if not any(registry == grant.registry and contains(other, text) for registry, other in given)
        ]
        if names:
            yield (*rule.path, "grant", number, "actions"), ", ".join(names)


def _grant_everything(rule: _RuleSubject, view: _View, now: float) -> Findings:
    for path, grant, text in rule.entries():
        if not has_substance(text):
            yield _finding(
                Lint.GRANT_EVERYTHING,
                path,
                f"{text} covers whatever is in {grant.registry}, now and later; name repositories, or a prefix as in "
                "web/**",
            )


# --- What is around the rules -----------------------------------------------------------------------------------------


def _service_principal(view: _View, now: float) -> Findings:
    for name, identity in view.loaded.model.identities.items():
        if isinstance(identity, ServicePrincipalModel):
            yield _finding(
                Lint.SERVICE_PRINCIPAL,
                ("identities", name, "type"),
                "a service principal has a secret that must be kept and renewed; write managed_identity, or "
                "federated_app for a registry in another tenant",
            )


def _shared_audience(view: _View, now: float) -> Findings:
    for name, issuer in view.loaded.model.issuers.items():
        if issuer.audience is not None and is_shared_audience(issuer.audience):
            yield _finding(
                Lint.SHARED_AUDIENCE,
                ("issuers", name, "audience"),
                f"every service that accepts {issuer.audience} could present its callers' tokens here; leave audience "
                "out where the platform lets jobs choose it, else pin every rule to an id",
            )


ConditionCheck: TypeAlias = Callable[[_Subject], Findings]
RuleCheck: TypeAlias = Callable[[_RuleSubject, _View, float], Findings]
PolicyCheck: TypeAlias = Callable[[_View, float], Findings]

CONDITION_CHECKS: Final[tuple[ConditionCheck, ...]] = (_unknown_claim, _subject_match, _impossible_value)
"""What is looked for in the conditions of rules and deny entries."""


def _conditions(rule: _RuleSubject, view: _View, now: float) -> Findings:
    for check in CONDITION_CHECKS:
        yield from check(rule)


RULE_CHECKS: Final[tuple[RuleCheck, ...]] = (
    _conditions,
    _no_immutable_id,
    _unreachable_rule,
    _duplicate_rule,
    _expired_rule,
    _templates,
    _denied_grant,
    _push_without_pull,
    _pull_without_metadata_read,
    _grant_everything,
)
POLICY_CHECKS: Final[tuple[PolicyCheck, ...]] = (_service_principal, _shared_audience)
