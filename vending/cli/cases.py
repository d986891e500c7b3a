"""Policy tests: recorded claims, a request, and the outcome that the author expects. Reads them and runs them; every
decision is the app's own.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

from pydantic import Field, ValidationError

from vending.acr import scope as scopes
from vending.cli.inputs import parse_scope, parse_time
from vending.errors import Reason, Refusal
from vending.oidc.issuer_url import difference
from vending.oidc.types import VerifiedClaims
from vending.policy import PolicyError, decide, lookup, parse_key
from vending.policy.engine.registries import find_registry
from vending.policy.language.fields import Name, Prose, Strict, Text
from vending.policy.language.json_schema import schema_of
from vending.policy.language.problems import Code, Finding
from vending.policy.language.reader import read

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from pydantic_core import ErrorDetails

    from vending.policy import Decision, Policy, PolicyIssuer, Problem
    from vending.policy.language.document import Document
    from vending.policy.language.problems import Location

ExpectableReason: TypeAlias = Literal[
    "no_matching_rule",
    "trigger_refused",
    "issuer_disabled",
    "malformed_scope",
    "wildcard_scope",
    "too_many_scopes",
    "scope_not_enumerable",
    "scope_not_granted",
    "denied_by_rule",
    "registry_required",
    "unknown_registry",
]
"""The reasons that depend on the policy and the request, and so can be tested without a signed token."""

MAX_TESTS_BYTES: Final = 32 << 20

_WRITE_TIME: Final = "write a date, or a time in RFC 3339 as in '2026-11-22T12:00:00Z'"


class CaseModel(Strict):
    """Who asks for what, and what the answer shall be."""

    name: Annotated[Text, Field(description="What the test promises; unique in its file.")]
    description: Annotated[Prose, Field(description="For people.")] = ""
    issuer: Annotated[Name, Field(description="The issuer of the token, by its name in the policy.")]
    claims: Annotated[
        dict[Text, Any],
        Field(
            description="The claims of the token, as the issuer sends them.",
            examples=[{"repository_id": "123456", "ref": "refs/heads/main"}],
        ),
    ]
    registry: Annotated[
        Text | None, Field(description="The registry, by name or host; may be left out where there is only one.")
    ] = None
    scope: Annotated[
        Text | None,
        Field(
            description="The scopes that are asked for; left out, everything that can be listed.",
            examples=["repository:web/api:pull,push"],
        ),
    ] = None
    at: Annotated[
        datetime.date | Text | None,
        Field(description="When the request is made: a date (UTC) or a time in RFC 3339; default now."),
    ] = None
    expect: Annotated[Literal["allow", "deny"], Field(description="The expected outcome.")]
    reason: Annotated[ExpectableReason | None, Field(description="With deny: the reason, see docs/errors.md.")] = None
    granted: Annotated[
        Text | None, Field(description="With allow: exactly these scopes; useful where scope is left out.")
    ] = None


class CasesModel(Strict):
    """Tests of an ACR Token Vending policy."""

    tests: Annotated[list[CaseModel], Field(description="The tests.", min_length=1)]


def tests_schema() -> dict[str, Any]:
    """Return the JSON Schema of a policy-test file."""
    return schema_of(CasesModel, "tests", "Tests of a policy of ACR Token Vending")


@dataclass(frozen=True, slots=True)
class Result:
    """Hold how one test went. `message` says what differs from what was expected; empty where nothing does."""

    name: str
    file: str
    line: int
    column: int
    expected: str
    actual: str
    reason: Reason | None
    message: str
    granted: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    denies: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Return whether the outcome is the expected one."""
        return not self.message


@dataclass(frozen=True, slots=True)
class CaseFile:
    """Hold the tests of one file, ready to run, with warnings about claims that no issuer would send."""

    cases: tuple[CaseModel, ...]
    document: Document
    warnings: tuple[Problem, ...]


# --- Reading ----------------------------------------------------------------------------------------------------------


def read_cases(path: Path, data: bytes, policy: Policy) -> CaseFile:
    """Read a test file and hold it against the policy. Raises `PolicyError` with everything that is wrong in it."""
    document = read(data, str(path))
    try:
        model = CasesModel.model_validate(document.data)
    except ValidationError as error:
        findings = [_finding(detail, document.data) for detail in error.errors(include_url=False)]
        raise PolicyError([*document.problems, *document.place(findings)]) from None
    findings = [finding for number, case in enumerate(model.tests) for finding in _check(case, number, policy)]
    findings += _duplicates(model.tests)
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors or document.problems:
        raise PolicyError([*document.problems, *document.place(errors)])
    return CaseFile(tuple(model.tests), document, tuple(document.place(findings)))


def _finding(detail: ErrorDetails, data: Any) -> Finding:
    """Put what pydantic found into a path of the file and a sentence that says what to write."""
    kind, location = detail["type"], detail["loc"]
    path = tuple(step for step in location if step != "[key]")
    while path and not _is_in(path, data):
        path = path[:-1]
    key = str(location[-1]) if location else ""
    known = tuple((CasesModel if len(location) == 1 else CaseModel).model_fields)
    if kind == "missing":
        return Finding(path, Code.MISSING_KEY, f"{key} is missing; add it", at_key=True)
    if kind == "extra_forbidden":
        close = get_close_matches(key, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
        return Finding(path, Code.UNKNOWN_KEY, f"unknown key {key[:64]!r}; {hint}", at_key=True)
    if kind == "literal_error":
        return Finding(path, Code.VALUE, f"{str(detail['input'])[:64]!r} is not {detail['ctx']['expected']}")
    if kind in {"model_type", "model_attributes_type", "dict_type"}:
        return Finding(path, Code.VALUE, "write a mapping of keys to values here")
    if kind == "too_short":
        return Finding(path, Code.EMPTY, "must not be empty; write at least one test", at_key=True)
    if path[-1:] == ("at",):
        return Finding(path, Code.VALUE, _WRITE_TIME)
    return Finding(path, Code.VALUE, detail["msg"][:1].lower() + detail["msg"][1:])


def _is_in(path: Location, data: Any) -> bool:
    for step in path:
        inside = (isinstance(data, dict) and step in data) or (
            isinstance(data, list) and isinstance(step, int) and step < len(data)
        )
        if not inside:
            return False
        data = data[step]
    return True


def _duplicates(cases: Iterable[CaseModel]) -> Iterator[Finding]:
    seen: set[str] = set()
    for number, case in enumerate(cases):
        if case.name in seen:
            yield Finding(
                ("tests", number, "name"), Code.DUPLICATE_NAME, f"{case.name!r} is taken; choose another name"
            )
        seen.add(case.name)


def _check(case: CaseModel, number: int, policy: Policy) -> Iterator[Finding]:
    """Find what makes a test meaningless: it would fail, or worse pass, for a reason that has nothing to do with it."""
    path: Location = ("tests", number)
    issuer = _issuer(policy, case.issuer)
    if issuer is None:
        known = ", ".join(sorted(issuer.name for issuer in policy.issuers.values()))
        message = f"the policy has no issuer {case.issuer!r}; there are {known}"
        yield Finding((*path, "issuer"), Code.REFERENCE, message)
    else:
        yield from _check_claims(case, issuer, path)
    if case.reason is not None and case.expect == "allow":
        yield Finding((*path, "reason"), Code.CONFLICT, "reason needs expect: deny", at_key=True)
    if case.granted is not None:
        if case.expect == "deny":
            yield Finding((*path, "granted"), Code.CONFLICT, "granted needs expect: allow", at_key=True)
        yield from _check_scope(case.granted, None, (*path, "granted"))
    yield from _check_scope(case.scope, case.reason, (*path, "scope"))
    try:
        find_registry(policy, case.registry, reveal=True)
    except Refusal as refusal:
        if refusal.reason != case.reason:
            place = (*path, "registry") if case.registry is not None else path
            yield Finding(place, Code.REFERENCE, refusal.description)
    try:
        _moment(case, 0)
    except ValueError as error:
        yield Finding((*path, "at"), Code.DATE, f"{_WRITE_TIME}: {error}")


def _check_scope(text: str | None, expected: str | None, path: Location) -> Iterator[Finding]:
    try:
        parse_scope(text)
    except Refusal as refusal:
        if refusal.reason != expected:
            yield Finding(path, Code.VALUE, refusal.description)


def _check_claims(case: CaseModel, issuer: PolicyIssuer, path: Location) -> Iterator[Finding]:
    for place in _dates(case.claims, (*path, "claims")):
        yield Finding(place, Code.AMBIGUOUS_SCALAR, "this is read as a date; put quotes around it")
    url = case.claims.get("iss", issuer.verification.url)
    if url != issuer.verification.url:
        how = difference(url, issuer.verification.url) if isinstance(url, str) else None
        message = f"{url!r} is not the issuer {issuer.name!r}, which is {issuer.verification.url!r}"
        message += f": {how}" if how else ""
        yield Finding((*path, "claims", "iss"), Code.VALUE, message)
    for key, claim in issuer.preset.claims.items():
        value = lookup(case.claims, parse_key(key))
        items = value if isinstance(value, list) else [value]
        if value is not None and not all(claim.type.accepts(item) for item in items):
            message = f"tokens of {issuer.preset.name} have {claim.type.value} in {key}, and this is not"
            yield Finding((*path, "claims", *parse_key(key)), Code.CLAIM_TYPE, message, severity="warning")


def _dates(value: Any, path: Location) -> Iterator[Location]:
    """Find dates, which YAML has and tokens have not."""
    if isinstance(value, datetime.date):
        yield path
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _dates(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _dates(item, (*path, number))


def _issuer(policy: Policy, name: str) -> PolicyIssuer | None:
    return next((issuer for issuer in policy.issuers.values() if issuer.name == name), None)


# --- Running ----------------------------------------------------------------------------------------------------------


def run_cases(file: CaseFile, policy: Policy, now: float) -> list[Result]:
    """Run the tests of one file. `now` counts for tests that say no time of their own."""
    places = file.document.locate([(("tests", number), False) for number in range(len(file.cases))])
    results = []
    for case, (name, place) in zip(file.cases, places, strict=True):
        results.append(_result(case, _decide(case, policy, now), name, place.line, place.column))
    return results


def _moment(case: CaseModel, now: float) -> float:
    return now if case.at is None else parse_time(str(case.at))


def _decide(case: CaseModel, policy: Policy, now: float) -> Decision | Refusal:
    """Do what the app does with a verified token, in its order; a refusal is one that precedes the decision."""
    issuer = _issuer(policy, case.issuer)
    try:
        asked = parse_scope(case.scope)
        if case.scope is not None and scopes.count(case.scope) > policy.limits.max_scopes:
            return Refusal(Reason.TOO_MANY_SCOPES)
        if issuer is None or not issuer.verification.enabled:
            return Refusal(Reason.ISSUER_DISABLED)
        registry = find_registry(policy, case.registry, reveal=True)
    except Refusal as refusal:
        return refusal
    return decide(policy, VerifiedClaims(case.issuer, case.claims), registry.name, asked, _moment(case, now))


def _result(case: CaseModel, outcome: Decision | Refusal, file: str, line: int, column: int) -> Result:
    expected = f"{case.expect}: {case.reason}" if case.reason else case.expect
    if isinstance(outcome, Refusal):
        # No decision was made: that is what the test is about only where it says so.
        as_expected = case.expect == "deny" and case.reason == outcome.reason
        message = "" if as_expected else f"{outcome.reason}: {outcome.description}"
        return Result(case.name, file, line, column, expected, "deny", outcome.reason, message)
    return Result(
        name=case.name,
        file=file,
        line=line,
        column=column,
        expected=expected,
        actual="allow" if outcome.allowed else "deny",
        reason=outcome.reason,
        message=_difference(case, outcome),
        granted=tuple(map(str, outcome.granted)),
        missing=tuple(map(str, outcome.missing)),
        rules=outcome.rules,
        denies=outcome.denies,
    )


def _difference(case: CaseModel, decision: Decision) -> str:
    if not decision.allowed:
        denies = f" (taken away by {', '.join(decision.denies)})" if decision.denies else ""
        if case.expect == "allow" or case.reason not in {None, decision.reason}:
            return f"{decision.reason}: {decision.description}{denies}"
        return ""
    granted = scopes.render(decision.granted)
    if case.expect == "deny":
        return f"{granted} was granted by {', '.join(decision.rules)}"
    if case.granted is not None and set(scopes.parse(case.granted)) != set(decision.granted):
        return f"granted was {granted}, not {case.granted}"
    return ""
