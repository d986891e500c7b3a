"""The decision table: what the language means, case by case. Each name is a promise."""

from __future__ import annotations

from typing import Any

import pytest

from tests.policy.language import GITHUB, NOW, ask, deny, grant, make_policy, rule
from vending.acr.scope import render

PULL = "repository:web/api:pull"
PUSH = "repository:web/api:push"
BOTH = "repository:web/api:pull,push"
ALLOW = "allow"


def outcome(policy: Any, scope: str | None, claims: dict[str, Any], **where: Any) -> str:
    """Say `allow`, or the reason why not."""
    decision = ask(policy, scope, claims, **where)
    assert decision.allowed == (decision.reason is None)
    assert decision.allowed or decision.description
    return ALLOW if decision.reason is None else decision.reason.value


def table(*rows: tuple[Any, ...]) -> pytest.MarkDecorator:
    """Parametrise by rows whose first cell is the promise."""
    names = [str(row[0]).replace(" ", "_") for row in rows]
    assert len(set(names)) == len(names), "duplicate promise"
    return pytest.mark.parametrize("row", [row[1:] for row in rows], ids=names)


# --- Union and default deny -------------------------------------------------------------------------------------------


@table(
    ("a policy without rules grants nothing", [], PULL, "no_matching_rule"),
    ("a rule grants what it names", [rule()], BOTH, ALLOW),
    ("a rule grants less than all of what it names", [rule()], PULL, ALLOW),
    ("a rule does not grant another repository", [rule()], "repository:web/ui:pull", "scope_not_granted"),
    ("a rule does not grant a repository below its own", [rule()], "repository:web/api/x:pull", "scope_not_granted"),
    ("a rule does not grant a repository above its own", [rule()], "repository:web:pull", "scope_not_granted"),
    ("a rule does not grant a name that begins alike", [rule()], "repository:web/api2:pull", "scope_not_granted"),
    ("push does not imply pull", [rule("r", grant("web/api", actions="push"))], PULL, "scope_not_granted"),
    ("pull does not imply push", [rule("r", grant("web/api", actions="pull"))], PUSH, "scope_not_granted"),
    ("push does not imply delete", [rule()], "repository:web/api:delete", "scope_not_granted"),
    ("pull does not imply metadata_read", [rule()], "repository:web/api:metadata_read", "scope_not_granted"),
    (
        "delete is granted where it is written",
        [rule("r", grant("web/api", actions="delete"))],
        "repository:web/api:delete",
        ALLOW,
    ),
    (
        "metadata_write is granted where it is written",
        [rule("r", grant("web/api", actions="metadata_write"))],
        "repository:web/api:metadata_write",
        ALLOW,
    ),
    (
        "two rules add up within one scope",
        [rule("a", grant("web/api", actions="pull")), rule("b", grant("web/api", actions="push"))],
        BOTH,
        ALLOW,
    ),
    (
        "two grants of one rule add up",
        [rule("r", grant("web/api", actions="pull"), grant("web/api", actions="push"))],
        BOTH,
        ALLOW,
    ),
    (
        "a request is all or nothing over actions",
        [rule("r", grant("web/api", actions="pull"))],
        BOTH,
        "scope_not_granted",
    ),
    ("a request is all or nothing over scopes", [rule()], f"{PULL} repository:web/ui:pull", "scope_not_granted"),
    (
        "several scopes are granted together",
        [rule("r", grant("web/api", "web/ui"))],
        f"{PULL} repository:web/ui:push",
        ALLOW,
    ),
    (
        "a rule of another caller adds nothing",
        [rule("a", grant("web/api", actions="pull")), rule("b", when={"repository_id": "2"})],
        BOTH,
        "scope_not_granted",
    ),
    (
        "a rule of another issuer adds nothing",
        [rule(issuer="generic", when={"sub": GITHUB["sub"]})],
        PULL,
        "no_matching_rule",
    ),
    ("a rule of several issuers serves each", [rule(issuer=["generic", "github"])], PULL, ALLOW),
    (
        "a grant in another registry adds nothing",
        [rule("r", grant("web/api", registry="dev"))],
        PULL,
        "scope_not_granted",
    ),
)
def test_union(row: tuple[Any, ...]) -> None:
    rules, scope, expected = row
    assert outcome(make_policy(rules=rules), scope, GITHUB) == expected


# --- Conditions -------------------------------------------------------------------------------------------------------

YES, NO = ALLOW, "no_matching_rule"
ABSENT = object()


@table(
    ("text equals text", "a", "a", YES),
    ("text differs from other text", "a", "b", NO),
    ("text differs from its prefix", "ab", "a", NO),
    ("text differs from its continuation", "a", "ab", NO),
    ("case matters", "a", "A", NO),
    ("surrounding space matters", "a", " a", NO),
    ("empty text equals empty text", "", "", YES),
    ("empty text is not a missing claim", "", ABSENT, NO),
    ("a list of values means any of them", ["a", "b"], "b", YES),
    ("a list of values means none but them", ["a", "b"], "c", NO),
    ("a missing claim satisfies nothing", "a", ABSENT, NO),
    ("a missing claim does not satisfy any text", "**", ABSENT, NO),
    ("a null claim satisfies nothing", "a", None, NO),
    ("a null claim does not satisfy any text", "**", None, NO),
    ("a list claim matches by one element", "a", ["x", "a"], YES),
    ("a list claim without the element does not match", "a", ["x", "y"], NO),
    ("an empty list claim satisfies nothing", "**", [], NO),
    ("a list claim of null satisfies nothing", "**", [None], NO),
    ("a list in a list claim is no element", "a", [["a"]], NO),
    ("any of the values may meet any of the elements", ["b", "c"], ["a", "b"], YES),
    ("an object satisfies nothing", "**", {"a": "a"}, NO),
    ("true equals true", True, True, YES),
    ("true differs from false", True, False, NO),
    ("true is not 1", True, 1, NO),
    ("1 is not true", 1, True, NO),
    ("0 is not false", 0, False, NO),
    ("true is not the text true", True, "true", NO),
    ("the text true is not true", "true", True, NO),
    ("1 equals 1", 1, 1, YES),
    ("1 differs from 2", 1, 2, NO),
    ("1 is not the text 1", 1, "1", NO),
    ("the text 1 is not 1", "1", 1, NO),
    ("1 is not 1.0", 1, 1.0, NO),
    ("negative integers equal themselves", -1, -1, YES),
    ("large integers are compared exactly", 2**53, 2**53 + 1, NO),
    ("a list claim of integers matches by one element", 2, [1, 2], YES),
    ("a list claim of true does not match 1", 1, [True], NO),
    ("a list claim of 1 does not match true", True, [1], NO),
    ("a list of values may mix types", ["a", 1], 1, YES),
    ("a list of mixed values does not mix their types up", ["1", True], 1, NO),
    ("any text matches text", "**", "x/y:z", YES),
    ("any text does not match an integer", "**", 7, NO),
    ("look-alike letters differ", "prod", "рrod", NO),
    ("composed and decomposed letters differ", "\u00e9", "e\u0301", NO),
)
def test_conditions(row: tuple[Any, ...]) -> None:
    accepted, actual, expected = row
    policy = make_policy(rules=[rule(issuer="generic", when={"sub": "me", "x": accepted})])
    claims = {"sub": "me"} if actual is ABSENT else {"sub": "me", "x": actual}
    assert outcome(policy, PULL, claims, issuer="generic") == expected
    # The index must see it the same way when the condition is the one it files the rule under.
    others = [rule(f"o{number}", issuer="generic", when={"sub": "me", "y": str(number)}) for number in range(3)]
    filed = make_policy(rules=[*others, rule(issuer="generic", when={"x": accepted, "z": "z"})])
    assert outcome(filed, PULL, {**claims, "z": "z"}, issuer="generic") == (
        "no_matching_rule" if expected == NO else ALLOW
    )


@table(
    ("all conditions must hold", {"a": "1", "b": "2"}, {"a": "1", "b": "3"}, NO),
    ("all conditions hold", {"a": "1", "b": "2"}, {"a": "1", "b": "2", "c": "3"}, YES),
    ("a pointer reaches into objects", {"/k/ns": "team"}, {"k": {"ns": "team"}}, YES),
    ("a pointer differs like a name", {"/k/ns": "team"}, {"k": {"ns": "other"}}, NO),
    ("a pointer to nothing satisfies nothing", {"/k/ns": "**"}, {"k": {}}, NO),
    ("a pointer through null satisfies nothing", {"/k/ns": "**"}, {"k": None}, NO),
    ("a pointer through text satisfies nothing", {"/k/ns": "**"}, {"k": "ns"}, NO),
    ("a pointer to an object satisfies nothing", {"/k": "**"}, {"k": {"ns": "team"}}, NO),
    ("a pointer takes an element of a list", {"/k/1": "b"}, {"k": ["a", "b"]}, YES),
    ("a pointer past a list satisfies nothing", {"/k/2": "**"}, {"k": ["a", "b"]}, NO),
    ("a pointer does not count from the end", {"/k/-1": "**"}, {"k": ["a", "b"]}, NO),
    ("a pointer's index has no leading zero", {"/k/01": "**"}, {"k": ["a", "b"]}, NO),
    ("a pointer's index is ASCII digits", {"/k/١": "**"}, {"k": ["a", "b"]}, NO),
    ("a pointer's index is a key in an object", {"/k/1": "b"}, {"k": {"1": "b"}}, YES),
    ("~1 is a slash in a pointer", {"/a~1b": "x"}, {"a/b": "x"}, YES),
    ("~0 is a tilde in a pointer", {"/a~0b": "x"}, {"a~b": "x"}, YES),
    ("~01 is a tilde and 1 in a pointer", {"/a~01": "x"}, {"a~1": "x"}, YES),
    ("a name with a slash is a name", {"oidc.circleci.com/x": "x"}, {"oidc.circleci.com/x": "x"}, YES),
    ("a name with a slash is no path", {"a/b": "x"}, {"a": {"b": "x"}}, NO),
    ("a name with dots is no path", {"a.b": "x"}, {"a": {"b": "x"}}, NO),
    ("a pointer to a top-level claim is that claim", {"/a": "x"}, {"a": "x"}, YES),
    ("a pointer may end in a list claim", {"/a/b": "x"}, {"a": {"b": ["y", "x"]}}, YES),
    ("a pointer with an empty part reaches the empty key", {"/a/": "x"}, {"a": {"": "x"}}, YES),
)
def test_claims_are_reached_by_name_or_pointer(row: tuple[Any, ...]) -> None:
    when, claims, expected = row
    policy = make_policy(rules=[rule(issuer="generic", when={"sub": "me", **when})])
    assert outcome(policy, PULL, {"sub": "me", **claims}, issuer="generic") == expected


@table(
    ("unless excludes when it holds", {"a": "x"}, {"a": "x"}, NO),
    ("unless lets others pass", {"a": "x"}, {"a": "y"}, YES),
    ("unless excludes when any key holds", {"a": "x", "b": "x"}, {"a": "y", "b": "x"}, NO),
    ("unless excludes when the claim is missing", {"a": "x"}, {}, NO),
    ("unless excludes when the claim is null", {"a": "x"}, {"a": None}, NO),
    ("unless excludes when the claim is of another type", {"a": "x"}, {"a": 1}, NO),
    ("unless excludes when the claim is an object", {"a": "x"}, {"a": {}}, NO),
    ("unless excludes when the list is empty", {"a": "x"}, {"a": []}, NO),
    ("unless excludes when one element holds", {"a": "x"}, {"a": ["y", "x"]}, NO),
    ("unless lets a list of others pass", {"a": "x"}, {"a": ["y", "z"]}, YES),
    ("unless lets a mixed list pass that has the type", {"a": "x"}, {"a": ["y", 1]}, YES),
    ("unless excludes a list without the type", {"a": "x"}, {"a": [1, 2]}, NO),
    ("unless keeps true and 1 apart", {"a": True}, {"a": 1}, NO),
    ("unless lets false pass for true", {"a": True}, {"a": False}, YES),
    ("unless matches patterns", {"a": "*[bot]"}, {"a": "renovate[bot]"}, NO),
    ("unless with patterns lets others pass", {"a": "*[bot]"}, {"a": "mona"}, YES),
    ("unless reaches by pointer", {"/a/b": "x"}, {"a": {"b": "x"}}, NO),
)
def test_unless(row: tuple[Any, ...]) -> None:
    unless, claims, expected = row
    policy = make_policy(rules=[rule(issuer="generic", when={"sub": "me"}, unless=unless)])
    assert outcome(policy, PULL, {"sub": "me", **claims}, issuer="generic") == expected


# --- Patterns ---------------------------------------------------------------------------------------------------------


@table(
    ("a star matches a run", "v*", "v1.2", YES),
    ("a star matches an empty run", "v*", "v", YES),
    ("a star stops at a slash", "refs/*", "refs/heads/main", NO),
    ("a star stops at a colon", "a*", "a:b", NO),
    ("a star in the middle", "refs/*/main", "refs/heads/main", YES),
    ("a star in the middle stops at a slash", "refs/*/main", "refs/a/b/main", NO),
    ("two stars cross slashes", "refs/**", "refs/heads/main", YES),
    ("two stars cross colons", "a**z", "a:b:z", YES),
    ("two stars match an empty run", "refs/**", "refs/", YES),
    ("two stars need what stands before them", "refs/**", "ref", NO),
    ("a pattern matches the whole value", "ref*", "xref", NO),
    ("a pattern matches to the end", "*main", "main2", NO),
    ("a line break is a character like others", "a**", "a\nb", YES),
    ("a trailing line break is not ignored", "a*b", "ab\n", NO),
    ("a dot is a dot", "v1.*", "v1x2", NO),
    ("a question mark is a question mark", "v?", "v1", NO),
    ("brackets are brackets", "[ab]*", "a", NO),
    ("brackets match themselves", "*[bot]", "renovate[bot]", YES),
    ("a backslash is a backslash", "a\\*", "a\\b", YES),
    ("a dollar sign is a dollar sign", "a$*", "a", NO),
    ("stars mix", "repo:*/web:ref:refs/heads/**", "repo:contoso/web:ref:refs/heads/a/b", YES),
    ("stars mix and still stop", "repo:*/web:ref:refs/heads/**", "repo:contoso/x/web:ref:refs/heads/a", NO),
    ("prefix and suffix do not overlap", "aba*aba", "aba", NO),
    ("prefix and suffix may touch", "aba*aba", "abaaba", YES),
    ("a pattern of many stars ends soon", "*a*a*a*a*a*a*a*a*b", "a" * 5000, NO),
    ("patterns are case-sensitive", "refs/heads/Main*", "refs/heads/main", NO),
)
def test_patterns(row: tuple[Any, ...]) -> None:
    pattern, value, expected = row
    policy = make_policy(rules=[rule(issuer="generic", when={"sub": "me", "x": pattern})])
    assert outcome(policy, PULL, {"sub": "me", "x": value}, issuer="generic") == expected


@table(
    ("github repositories are compared without case", {"repository": "contoso/web"}, {}, YES),
    ("github repositories in the policy too", {"repository": "CONTOSO/WEB"}, {}, YES),
    ("github owners are compared without case", {"repository_owner": "contoso"}, {}, YES),
    ("github environments are compared without case", {"environment": "production"}, {}, YES),
    ("github actors are compared without case", {"actor": "MONA"}, {}, YES),
    ("github patterns are compared without case too", {"environment": "PROD*"}, {}, YES),
    ("github refs keep their case", {"ref": "refs/heads/Main"}, {}, NO),
    ("github workflow refs keep their case", {"job_workflow_ref": "A"}, {"job_workflow_ref": "a"}, NO),
    ("a pointer to a caseless claim is compared without case", {"/environment": "production"}, {}, YES),
    ("only A to Z lose their case", {"environment": "k"}, {"environment": "\u212a"}, NO),
    ("other letters keep their case", {"environment": "\u00fc"}, {"environment": "\u00dc"}, NO),
    ("letters beside others lose their case", {"environment": "\u00fcber"}, {"environment": "\u00fcBER"}, YES),
)
def test_case(row: tuple[Any, ...]) -> None:
    when, claims, expected = row
    policy = make_policy(rules=[rule(when={"repository_owner_id": "9919", **when})])
    assert outcome(policy, PULL, {**GITHUB, **claims}) == expected


def test_case_matters_where_the_preset_does_not_say_otherwise() -> None:
    policy = make_policy(
        rules=[
            rule(issuer=["github", "gitlab"], when={"project_path": "g/p", "environment": "prod", "repository_id": "1"})
        ]
    )
    claims = {**GITHUB, "project_path": "g/p", "environment": "PROD"}
    assert outcome(policy, PULL, claims) == YES
    assert outcome(policy, PULL, claims, issuer="gitlab") == NO


# --- Refused triggers -------------------------------------------------------------------------------------------------

RERUN = "oidc.circleci.com/ssh-rerun"
PROJECT = "oidc.circleci.com/project-id"


@table(
    ("pull_request_target is refused", "github", {}, {"event_name": "pull_request_target"}, "trigger_refused"),
    ("workflow_run is refused", "github", {}, {"event_name": "workflow_run"}, "trigger_refused"),
    ("pull_request is not refused", "github", {}, {"event_name": "pull_request"}, YES),
    ("a token without a trigger is not affected", "github", {}, {"event_name": None}, YES),
    (
        "a trigger that a rule names is accepted",
        "github",
        {"event_name": "workflow_run"},
        {"event_name": "workflow_run"},
        YES,
    ),
    (
        "a trigger that a rule names among others is accepted",
        "github",
        {"event_name": ["push", "workflow_run"]},
        {"event_name": "workflow_run"},
        YES,
    ),
    (
        "a trigger that a pattern covers is still refused",
        "github",
        {"event_name": "workflow_*"},
        {"event_name": "workflow_run"},
        "trigger_refused",
    ),
    ("a trigger of an unknown type is refused", "github", {}, {"event_name": 7}, "trigger_refused"),
    (
        "a list with a refused trigger is refused",
        "github",
        {},
        {"event_name": ["push", "workflow_run"]},
        "trigger_refused",
    ),
    (
        "naming one trigger does not accept another",
        "github",
        {"event_name": ["workflow_run"]},
        {"event_name": "pull_request_target"},
        NO,
    ),
    (
        "naming one of two triggers does not accept both",
        "github",
        {"event_name": ["workflow_run"]},
        {"event_name": ["workflow_run", "pull_request_target"]},
        "trigger_refused",
    ),
    (
        "a trigger is named by pointer too",
        "github",
        {"/event_name": "workflow_run"},
        {"event_name": "workflow_run"},
        YES,
    ),
    ("an ssh rerun is refused", "circleci", {}, {RERUN: True}, "trigger_refused"),
    ("a run without ssh is not refused", "circleci", {}, {RERUN: False}, YES),
    ("a job without that claim is not refused", "circleci", {}, {}, YES),
    ("an ssh rerun that a rule names is accepted", "circleci", {RERUN: True}, {RERUN: True}, YES),
    ("an ssh rerun of an unknown type is refused", "circleci", {}, {RERUN: "true"}, "trigger_refused"),
    ("other issuers have no refused triggers", "gitlab", {}, {"event_name": "workflow_run"}, YES),
)
def test_triggers(row: tuple[Any, ...]) -> None:
    issuer, when, claims, expected = row
    pin = {"github": {"repository_id": "1"}, "circleci": {PROJECT: "p"}, "gitlab": {"project_id": "1"}}[issuer]
    policy = make_policy(rules=[rule(issuer=issuer, when={**pin, **when})])
    assert outcome(policy, PULL, {**GITHUB, **pin, **claims}, issuer=issuer) == expected


def test_trigger_is_only_blamed_when_a_rule_would_match_otherwise() -> None:
    policy = make_policy(rules=[rule(when={"repository_id": "2"})])
    assert outcome(policy, PULL, {**GITHUB, "event_name": "workflow_run"}) == NO


def test_unless_does_not_name_a_trigger() -> None:
    policy = make_policy(rules=[rule(unless={"event_name": "workflow_run"})])
    assert outcome(policy, PULL, {**GITHUB, "event_name": "pull_request_target"}) == "trigger_refused"


# --- Templates --------------------------------------------------------------------------------------------------------

MAPS = {"images": {"1": "web/api", "2": "web/ui"}, "deep": {"1": "a", "2": "b/c"}}


@table(
    ("a claim fills one component", "ci/{x}", {"x": "web"}, "ci/web", YES),
    ("a claim stands between literals", "ci/{x}/img", {"x": "web"}, "ci/web/img", YES),
    ("a claim may stand first", "{x}/img", {"x": "web"}, "web/img", YES),
    ("a claim may stand alone", "{x}", {"x": "web"}, "web", YES),
    ("two claims fill two components", "{x}/{y}", {"x": "a", "y": "b"}, "a/b", YES),
    ("a template grants no other name", "ci/{x}", {"x": "web"}, "ci/api", "scope_not_granted"),
    ("a template grants nothing below its name", "ci/{x}", {"x": "web"}, "ci/web/x", "scope_not_granted"),
    ("a claim with a slash fills no single component", "ci/{x}", {"x": "a/b"}, "ci/a/b", "scope_not_granted"),
    ("path fills several components", "ci/{x|path}", {"x": "a/b"}, "ci/a/b", YES),
    ("path fills one component", "ci/{x|path}", {"x": "a"}, "ci/a", YES),
    ("path cannot climb", "ci/{x|path}", {"x": "../prod"}, "prod", "scope_not_granted"),
    ("path has no empty component", "ci/{x|path}", {"x": "a//b"}, "ci/a/b", "scope_not_granted"),
    ("path does not begin with a slash", "ci/{x|path}", {"x": "/a"}, "ci/a", "scope_not_granted"),
    ("path does not end with a slash", "ci/{x|path}", {"x": "a/"}, "ci/a", "scope_not_granted"),
    ("upper case fills nothing", "ci/{x}", {"x": "Web"}, "ci/web", "scope_not_granted"),
    ("lower fills with lower case", "ci/{x|lower}", {"x": "Web"}, "ci/web", YES),
    ("lower stands before path", "ci/{x|lower|path}", {"x": "Contoso/Web"}, "ci/contoso/web", YES),
    ("a non-ASCII value fills nothing", "ci/{x|lower}", {"x": "\u212aelvin"}, "ci/kelvin", "scope_not_granted"),
    ("a dotted capital I fills nothing", "ci/{x|lower}", {"x": "\u0130"}, "ci/i", "scope_not_granted"),
    ("a missing claim fills nothing", "ci/{x}", {}, "ci/x", "scope_not_granted"),
    ("a null claim fills nothing", "ci/{x}", {"x": None}, "ci/none", "scope_not_granted"),
    ("an empty claim fills nothing", "ci/{x}", {"x": ""}, "ci", "scope_not_granted"),
    ("an integer fills nothing", "ci/{x}", {"x": 7}, "ci/7", "scope_not_granted"),
    ("a truth fills nothing", "ci/{x}", {"x": True}, "ci/true", "scope_not_granted"),
    ("a list fills nothing", "ci/{x}", {"x": ["web"]}, "ci/web", "scope_not_granted"),
    ("a value is inserted literally", "ci/{x}", {"x": "*"}, "ci/web", "scope_not_granted"),
    (
        "a value that is a template is not filled again",
        "ci/{x}",
        {"x": "{y}", "y": "web"},
        "ci/web",
        "scope_not_granted",
    ),
    ("a pointer fills a template", "ns/{/k/ns}", {"k": {"ns": "team"}}, "ns/team", YES),
    ("a name that grows too long grants nothing", "ci/{x|path}", {"x": "a" * 252}, "ci/" + "a" * 252, YES),
    ("a map inserts its value", "{x|images}", {"x": "1"}, "web/api", YES),
    ("a map keeps callers apart", "{x|images}", {"x": "2"}, "web/api", "scope_not_granted"),
    ("a key that a map lacks fills nothing", "{x|images}", {"x": "3"}, "web/api", "scope_not_granted"),
    ("a map's key is text", "{x|images}", {"x": 1}, "web/api", "scope_not_granted"),
    ("a map stands below a literal", "t/{x|images}", {"x": "1"}, "t/web/api", YES),
    ("a map of one size stands before a path", "{x|images}/{y|path}", {"x": "1", "y": "a/b"}, "web/api/a/b", YES),
    ("a map of varying size stands with single components", "{y}/{x|deep}", {"x": "2", "y": "t"}, "t/b/c", YES),
    ("lower stands before a map", "{x|lower|names}", {"x": "Web"}, "web/api", YES),
    ("a map looks up the value as it is", "{x|names}", {"x": "Web"}, "web/api", "scope_not_granted"),
)
def test_templates(row: tuple[Any, ...]) -> None:
    template, claims, name, expected = row
    policy = make_policy(
        rules=[rule("r", grant(template), issuer="generic", when={"sub": "me"})],
        maps={**MAPS, "names": {"web": "web/api"}},
    )
    assert outcome(policy, f"repository:{name}:pull", {"sub": "me", **claims}, issuer="generic") == expected


def test_a_template_that_makes_too_long_a_name_grants_nothing() -> None:
    policy = make_policy(rules=[rule("r", grant("ci/{x|path}"), issuer="generic", when={"sub": "me"})])
    assert outcome(policy, None, {"sub": "me", "x": "a" * 253}, issuer="generic") == "scope_not_granted"


@table(
    ("a star grants within a component", "web/*", "web/api", YES),
    ("a star does not grant below", "web/*", "web/api/x", "scope_not_granted"),
    ("a star does not grant the folder itself", "web/*", "web", "scope_not_granted"),
    ("two stars grant below", "web/**", "web/api/x", YES),
    ("two stars do not grant a name that begins alike", "web/**", "web2/api", "scope_not_granted"),
    ("two stars alone grant everything", "**", "a/b/c", YES),
    ("a star alone grants the top only", "*", "a/b", "scope_not_granted"),
    ("a star in a component", "web/*-dev", "web/api-dev", YES),
)
def test_repository_patterns(row: tuple[Any, ...]) -> None:
    pattern, name, expected = row
    policy = make_policy(rules=[rule("r", grant(pattern))])
    assert outcome(policy, f"repository:{name}:pull", GITHUB) == expected


# --- Deny -------------------------------------------------------------------------------------------------------------

SUB = {"sub": "me"}
DENIED = "denied_by_rule"


def mine(**conditions: Any) -> dict[str, Any]:
    """Write a deny entry for callers of the issuer `generic` under conditions."""
    return deny("d", "web/api", issuer="generic", **conditions)


@table(
    ("a deny wins over a grant", [deny("d", "web/api")], PUSH, {}, DENIED),
    ("a deny leaves other actions", [deny("d", "web/api")], PULL, {}, YES),
    ("a deny leaves other repositories", [deny("d", "web/ui")], PUSH, {}, YES),
    ("a deny takes its part of a scope", [deny("d", "web/api")], BOTH, {}, DENIED),
    ("a deny covers by pattern", [deny("d", "web/**")], PUSH, {}, DENIED),
    ("a deny's star stops at a slash", [deny("d", "*")], PUSH, {}, YES),
    ("a deny of its own registry counts", [deny("d", "web/api", registry="prod")], PUSH, {}, DENIED),
    ("a deny of another registry does not", [deny("d", "web/api", registry="dev")], PUSH, {}, YES),
    ("a deny of its own issuer counts", [deny("d", "web/api", issuer="generic")], PUSH, {}, DENIED),
    ("a deny of another issuer does not", [deny("d", "web/api", issuer="github")], PUSH, {}, YES),
    ("a deny of several issuers counts", [deny("d", "web/api", issuer=["github", "generic"])], PUSH, {}, DENIED),
    ("a disabled deny does not count", [deny("d", "web/api", enabled=False)], PUSH, {}, YES),
    ("a deny whose when holds", [mine(when={"x": "1"})], PUSH, {"x": "1"}, DENIED),
    ("a deny whose when fails", [mine(when={"x": "1"})], PUSH, {"x": "2"}, YES),
    ("a deny's when on a missing claim fails", [mine(when={"x": "1"})], PUSH, {}, YES),
    ("a deny's when on null fails", [mine(when={"x": "1"})], PUSH, {"x": None}, YES),
    ("a deny's when on another type holds", [mine(when={"x": "1"})], PUSH, {"x": 1}, DENIED),
    ("a deny's when on a number holds for text", [mine(when={"x": 1})], PUSH, {"x": "1"}, DENIED),
    ("a deny's when on an object holds", [mine(when={"x": "1"})], PUSH, {"x": {}}, DENIED),
    ("a deny's when on an empty list fails", [mine(when={"x": "1"})], PUSH, {"x": []}, YES),
    ("a deny's when on a list holds by one element", [mine(when={"x": "1"})], PUSH, {"x": ["0", "1"]}, DENIED),
    ("a deny's when on a list of others fails", [mine(when={"x": "1"})], PUSH, {"x": ["0"]}, YES),
    ("a deny's when needs all its keys", [mine(when={"x": "1", "y": "1"})], PUSH, {"x": "1"}, YES),
    ("a deny's when matches patterns", [mine(when={"x": "1*"})], PUSH, {"x": "12"}, DENIED),
    ("a deny's unless exempts", [mine(unless={"x": "1"})], PUSH, {"x": "1"}, YES),
    ("a deny's unless exempts no others", [mine(unless={"x": "1"})], PUSH, {"x": "2"}, DENIED),
    ("a deny's unless exempts by all its keys", [mine(unless={"x": "1", "y": "1"})], PUSH, {"x": "1", "y": "1"}, YES),
    ("a deny's unless exempts by no single key", [mine(unless={"x": "1", "y": "1"})], PUSH, {"x": "1"}, DENIED),
    ("a deny's unless exempts no missing claim", [mine(unless={"x": "1"})], PUSH, {}, DENIED),
    ("a deny's unless exempts no other type", [mine(unless={"x": "1"})], PUSH, {"x": 1}, DENIED),
    ("two denies add up", [deny("d", "web/api"), deny("e", "web/api", actions="pull")], BOTH, {}, DENIED),
    (
        "a deny of what nobody grants is not told",
        [deny("d", "**", actions="delete")],
        "repository:web/api:delete",
        {},
        "scope_not_granted",
    ),
    (
        "a deny is told only if all that is missing is denied",
        [deny("d", "web/api")],
        "repository:web/api:push,delete",
        {},
        "scope_not_granted",
    ),
    (
        "a deny is not told beside what nobody grants",
        [deny("d", "web/api")],
        f"repository:web/ui:push {PUSH}",
        {},
        "scope_not_granted",
    ),
    ("a deny is told beside what is granted", [deny("d", "web/api")], f"{PUSH} registry:catalog:*", {}, DENIED),
    ("a catalog deny leaves repositories", [deny("d", catalog=True)], BOTH, {}, YES),
    ("a repository deny leaves the catalog", [deny("d", "**", actions="pull push")], "registry:catalog:*", {}, YES),
    ("a catalog deny takes the catalog", [deny("d", catalog=True)], "registry:catalog:*", {}, DENIED),
    ("a deny may take both", [deny("d", "**", catalog=True)], f"{PUSH} registry:catalog:*", {}, DENIED),
)
def test_deny(row: tuple[Any, ...]) -> None:
    denies, scope, claims, expected = row
    policy = make_policy(rules=[rule("r", grant("web/api", catalog=True), issuer="generic", when=SUB)], deny=denies)
    assert outcome(policy, scope, {**SUB, **claims}, issuer="generic") == expected


def test_a_deny_does_not_change_what_a_caller_without_rules_is_told() -> None:
    policy = make_policy(rules=[rule(when={"repository_id": "2"})], deny=[deny("d", "**", actions="pull push")])
    assert outcome(policy, PULL, GITHUB) == "no_matching_rule"


# --- Catalog ----------------------------------------------------------------------------------------------------------


@table(
    ("the catalog is granted where it is written", [rule("r", grant(catalog=True))], YES),
    ("the catalog is not granted by a pattern", [rule("r", grant("**"))], "scope_not_granted"),
    ("the catalog is not granted by false", [rule("r", grant("web/api", catalog=False))], "scope_not_granted"),
    (
        "the catalog of another registry is not granted",
        [rule("r", grant(catalog=True, registry="dev"))],
        "scope_not_granted",
    ),
)
def test_catalog(row: tuple[Any, ...]) -> None:
    rules, expected = row
    assert outcome(make_policy(rules=rules), "registry:catalog:*", GITHUB) == expected


def test_the_catalog_grants_no_repository() -> None:
    assert outcome(make_policy(rules=[rule("r", grant(catalog=True))]), PULL, GITHUB) == "scope_not_granted"


# --- Expiry, mode, enabled --------------------------------------------------------------------------------------------

JANUARY_15 = 1_799_971_200.0  # 2027-01-15T00:00:00Z


@table(
    ("a rule counts on its last day", {"expires": "2027-01-15"}, NOW, YES),
    ("a rule counts in the last second of its last day", {"expires": "2027-01-14"}, JANUARY_15 - 1, YES),
    ("a rule ends with its last day", {"expires": "2027-01-14"}, JANUARY_15, NO),
    ("a rule counts in the first second of its last day", {"expires": "2027-01-15"}, JANUARY_15, YES),
    ("a rule of yesterday does not count", {"expires": "2027-01-14"}, NOW, NO),
    ("a rule of the last possible day counts", {"expires": "9999-12-31"}, NOW, YES),
    ("a rule in audit mode grants nothing", {"mode": "audit"}, NOW, NO),
    ("a rule in enforce mode grants", {"mode": "enforce"}, NOW, YES),
    ("a disabled rule grants nothing", {"enabled": False}, NOW, NO),
    ("an enabled rule grants", {"enabled": True}, NOW, YES),
)
def test_rules_that_count(row: tuple[Any, ...]) -> None:
    changes, now, expected = row
    assert outcome(make_policy(rules=[rule(**changes)]), PULL, GITHUB, now=now) == expected


def test_an_audit_rule_is_named_when_it_would_have_granted() -> None:
    policy = make_policy(
        rules=[
            rule("a", grant("web/api", actions="pull")),
            rule("b", mode="audit"),
            rule("c", grant("x"), mode="audit"),
        ]
    )
    decision = ask(policy, BOTH, GITHUB)
    assert (decision.rules, decision.audit_rules) == (("a",), ("b",))
    assert render(decision.granted) == PULL
    assert render(decision.missing) == PUSH


def test_an_audit_rule_is_named_when_nothing_else_matches() -> None:
    decision = ask(make_policy(rules=[rule("b", mode="audit")]), PULL, GITHUB)
    assert (decision.reason, decision.audit_rules, decision.rules) == ("no_matching_rule", ("b",), ())


def test_rules_and_denies_that_contributed_are_named_in_order() -> None:
    policy = make_policy(
        rules=[rule("b"), rule("a", grant("web/api", actions="pull")), rule("c", grant("other"))],
        deny=[deny("y", "web/*"), deny("x", "web/api"), deny("z", "other")],
    )
    decision = ask(policy, BOTH, GITHUB)
    assert (decision.rules, decision.denies) == (("a", "b"), ("x", "y"))


# --- Scope left out ---------------------------------------------------------------------------------------------------


@table(
    ("exact names are listed", [grant("web/api")], {}, BOTH),
    (
        "names are sorted",
        [grant("web/ui", "web/api", actions="pull")],
        {},
        "repository:web/api:pull repository:web/ui:pull",
    ),
    (
        "templates are listed",
        [grant("ci/{repository|lower|path}", actions="pull")],
        {},
        "repository:ci/contoso/web:pull",
    ),
    ("maps are listed", [grant("{repository_id|images}", actions="pull")], {}, PULL),
    ("metadata_read is listed", [grant("a", actions="metadata_read")], {}, "repository:a:metadata_read"),
    ("delete is left out", [grant("web/api", actions="pull delete metadata_write")], {}, PULL),
    ("the catalog is left out", [grant("web/api", actions="pull", catalog=True)], {}, PULL),
    ("grants of one name are merged", [grant("web/api", actions="push"), grant("web/api", actions="pull")], {}, BOTH),
    ("patterns are left out", [grant("web/api", "web/**", actions="pull")], {}, PULL),
    (
        "a pattern adds no action to a name",
        [grant("web/api", actions="pull"), grant("web/*", actions="push")],
        {},
        PULL,
    ),
    ("other registries are left out", [grant("web/api", actions="pull"), grant("x", registry="dev")], {}, PULL),
    ("a template that fills to nothing is left out", [grant("web/api", "ci/{head_ref}", actions="pull")], {}, PULL),
    ("denied actions are left out", [grant("web/api")], {"deny": [deny("d", "web/api")]}, PULL),
    (
        "a name with nothing left is left out",
        [grant("web/api"), grant("x", actions="push")],
        {"deny": [deny("d", "**")]},
        PULL,
    ),
    ("patterns alone cannot be listed", [grant("web/**")], {}, "scope_not_enumerable"),
    ("a pattern of delete alone is nothing to list", [grant("web/**", actions="delete")], {}, "scope_not_granted"),
    ("delete alone is nothing to list", [grant("web/api", actions="delete")], {}, "scope_not_granted"),
    ("the catalog alone is nothing to list", [grant(catalog=True)], {}, "scope_not_granted"),
    ("a grant elsewhere is nothing to list", [grant("web/api", registry="dev")], {}, "scope_not_granted"),
    (
        "what is wholly denied is nothing to list",
        [grant("web/api", actions="push")],
        {"deny": [deny("d", "**")]},
        "scope_not_granted",
    ),
    (
        "a pattern beside what is denied is nothing to list",
        [grant("a", "web/**", actions="push")],
        {"deny": [deny("d", "a")]},
        "scope_not_granted",
    ),
    (
        "a template that fills to nothing beside a pattern",
        [grant("ci/{head_ref}", "web/**")],
        {},
        "scope_not_enumerable",
    ),
    (
        "as many as the limit are listed",
        [grant("a", "b", actions="pull")],
        {"limits": {"max_scopes": 2}},
        "repository:a:pull repository:b:pull",
    ),
    (
        "more than the limit are refused",
        [grant("a", "b", "c")],
        {"limits": {"max_scopes": 2}},
        "too_many_scopes",
    ),
    (
        "what a deny covers does not count",
        [grant("a", "b", "c")],
        {"limits": {"max_scopes": 2}, "deny": [deny("d", "b", actions="pull push")]},
        "repository:a:pull,push repository:c:pull,push",
    ),
    (
        "what a deny covers in part does",
        [grant("a", "b", "c")],
        {"limits": {"max_scopes": 2}, "deny": [deny("d", "b")]},
        "too_many_scopes",
    ),
)
def test_scope_left_out(row: tuple[Any, ...]) -> None:
    grants, sections, expected = row
    policy = make_policy(rules=[rule("r", *grants)], maps=MAPS, **sections)
    decision = ask(policy, None, GITHUB)
    assert (render(decision.granted) if decision.allowed else decision.reason) == expected
    assert decision.missing == ()


def test_scope_left_out_lists_nothing_for_strangers() -> None:
    assert outcome(make_policy(rules=[rule(when={"repository_id": "2"})]), None, GITHUB) == "no_matching_rule"


def test_scope_left_out_ignores_audit_rules() -> None:
    policy = make_policy(rules=[rule("a", grant("a", actions="pull")), rule("b", grant("b"), mode="audit")])
    decision = ask(policy, None, GITHUB)
    assert (render(decision.granted), decision.audit_rules) == ("repository:a:pull", ("b",))


# --- What is reported -------------------------------------------------------------------------------------------------


def test_granted_and_missing_split_what_was_asked_in_its_order() -> None:
    policy = make_policy(
        rules=[rule("r", grant("b"), grant("a", actions="pull"))], deny=[deny("d", "b", actions="pull")]
    )
    decision = ask(policy, "repository:b:pull,push repository:c:pull repository:a:pull,delete", GITHUB)
    assert render(decision.granted) == "repository:b:push repository:a:pull"
    assert render(decision.missing) == "repository:b:pull repository:c:pull repository:a:delete"
    assert decision.reason == "scope_not_granted"


def test_a_caller_without_rules_misses_all_that_was_asked() -> None:
    assert render(ask(make_policy(), BOTH, GITHUB).missing) == BOTH
