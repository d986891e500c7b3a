"""`test`: which outcomes count as expected, and which mistakes in a test file are found."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import HEAD, RULES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run, Write

POLICY = (
    HEAD.replace(
        "github: {preset: github}", "github: {preset: github}\n  old: {preset: entra, issuer: URL, enabled: no}"
    )
    .replace("URL", '"https://login.microsoftonline.com/t/v2.0"')
    .replace("enabled: no", "enabled: false")
    + RULES
    + """\
  - name: patterns-only
    issuer: github
    when: {repository_id: "2"}
    grant:
      - {registry: prod, repositories: ["web/**"], actions: [pull, push, delete]}
  - name: until-summer
    issuer: github
    when: {repository_id: "3"}
    grant:
      - {registry: prod, repositories: [a, b], actions: [pull]}
    expires: 2026-06-30
deny:
  - name: nothing-is-deleted
    repositories: ["**"]
    actions: [delete]
limits: {max_scopes: 2}
"""
)

ALICE = 'issuer: github, claims: {repository_id: "123456", ref: refs/heads/main}'
BOB = 'issuer: github, claims: {repository_id: "2"}'
CAROL = 'issuer: github, claims: {repository_id: "3"}'


@pytest.fixture
def rich_policy(write: Write) -> Path:
    """Write a policy with an outcome of every kind."""
    return write("policy.yaml", POLICY)


def _tests(*cases: str) -> str:
    lines = [f"  - {{name: test {number}, {case}}}" for number, case in enumerate(cases)]
    return "\n".join(["tests:", *lines, ""])


PASSING = [
    f"{ALICE}, scope: 'repository:web/api:pull,push', expect: allow",
    f"{ALICE}, expect: allow",
    f"{ALICE}, registry: contoso.azurecr.io, expect: allow",
    f"{ALICE}, expect: allow, granted: 'repository:web/api:metadata_read,push,pull'",
    f"{ALICE}, scope: 'repository:web/api:delete', expect: deny",
    f"{ALICE}, scope: 'repository:web/api:delete', expect: deny, reason: scope_not_granted",
    f"{ALICE}, scope: 'repository:web/api:pull repository:web/ui:pull', expect: deny, reason: scope_not_granted",
    f"{BOB}, scope: 'repository:web/api:delete', expect: deny, reason: denied_by_rule",
    f"{BOB}, expect: deny, reason: scope_not_enumerable",
    f"{ALICE}, scope: 'repository:*:pull', expect: deny, reason: wildcard_scope",
    f"{ALICE}, scope: nonsense, expect: deny, reason: malformed_scope",
    f"{ALICE}, scope: '{' '.join(['repository:web/api:pull'] * 3)}', expect: deny, reason: too_many_scopes",
    f"{ALICE}, registry: other, expect: deny, reason: unknown_registry",
    "issuer: old, claims: {oid: x}, expect: deny, reason: issuer_disabled",
    "issuer: github, claims: {repository_id: '9'}, expect: deny, reason: no_matching_rule",
    "issuer: github, claims: {}, expect: deny, reason: no_matching_rule",
    f"{BOB[:-1]}, event_name: workflow_run}}, scope: 'repository:web/a:pull', expect: deny, reason: trigger_refused",
    f"{CAROL}, at: 2026-06-30, scope: 'repository:a:pull', expect: allow",
    f"{CAROL}, at: '2026-06-30T23:59:59Z', scope: 'repository:a:pull', expect: allow",
    f"{CAROL}, at: '2026-07-01T01:59:59+02:00', scope: 'repository:a:pull', expect: allow",
    f"{CAROL}, at: 2026-07-01, scope: 'repository:a:pull', expect: deny, reason: no_matching_rule",
]

FAILING = [
    (f"{ALICE}, scope: 'repository:web/api:delete', expect: allow", "scope_not_granted: The policy does not grant"),
    (f"{ALICE}, expect: deny", "repository:web/api:pull,push,metadata_read was granted by web-release"),
    (f"{BOB}, scope: 'repository:web/a:delete', expect: deny, reason: scope_not_granted", "denied_by_rule: "),
    (f"{BOB}, scope: 'repository:web/a:delete', expect: allow", "(taken away by nothing-is-deleted)"),
    (f"{ALICE}, expect: allow, granted: 'repository:web/api:pull'", "granted was repository:web/api:pull,push"),
    ("issuer: old, claims: {oid: x}, expect: deny", "issuer_disabled: "),
    ("issuer: old, claims: {oid: x}, expect: allow", "issuer_disabled: "),
    (f"{ALICE}, scope: '{' '.join(['repository:web/api:pull'] * 3)}', expect: deny", "too_many_scopes: "),
]

BROKEN = [
    (
        "issuer: githab, claims: {}, expect: deny",
        "reference",
        "the policy has no issuer 'githab'; there are github, old",
    ),
    (f"{ALICE}, registry: prid, expect: deny", "reference", "The policy lists no registry prid; expected one of prod."),
    (f"{ALICE}, scope: 'repository:*:pull', expect: deny", "value", "has a wildcard"),
    (f"{ALICE}, scope: 'repository:a:pul', expect: deny", "value", "unknown action 'pul'"),
    (f"{ALICE}, scope: 'repository:*:pull', expect: deny, reason: malformed_scope", "value", "has a wildcard"),
    (f"{ALICE}, expect: maybe", "value", "'maybe' is not 'allow' or 'deny'"),
    (f"{ALICE}, expect: deny, reason: token_expired", "value", "'token_expired' is not "),
    (f"{ALICE}, expect: allow, reason: denied_by_rule", "conflict", "reason needs expect: deny"),
    (f"{ALICE}, expect: deny, granted: 'repository:a:pull'", "conflict", "granted needs expect: allow"),
    (f"{ALICE}, expect: allow, granted: 'repository:*:pull'", "value", "has a wildcard"),
    (f"{ALICE}, expects: allow, expect: deny", "unknown_key", "unknown key 'expects'; did you mean expect?"),
    (f"{ALICE}", "missing_key", "expect is missing; add it"),
    ("claims: {}, expect: deny", "missing_key", "issuer is missing; add it"),
    (f"{ALICE}, expect: deny, at: tomorrow", "date", "write a date, or a time"),
    (f"{ALICE}, expect: deny, at: '2026-07-01T00:00:00'", "date", "needs its zone"),
    (f"{ALICE}, expect: deny, at: 1", "value", "write a date, or a time"),
    ("issuer: github, claims: [], expect: deny", "value", "write a mapping of keys to values here"),
    ("issuer: github, claims: {ref: 2026-01-01}, expect: deny", "ambiguous_scalar", "put quotes around it"),
    ("issuer: github, claims: {a: {b: [2026-01-01]}}, expect: deny", "ambiguous_scalar", "put quotes around it"),
    ("issuer: github, claims: {ref: null}, expect: deny", "empty", "the value is missing"),
    ("issuer: github, claims: {iss: 'https://gitlab.com'}, expect: deny", "value", "is not the issuer 'github'"),
]


def _number(cases: list[str]) -> list[str]:
    return [f"{number:02}-{case[-60:]}" for number, case in enumerate(cases)]


@pytest.mark.parametrize("case", PASSING, ids=_number(PASSING))
def test_an_outcome_as_expected_passes(run: Run, write: Write, rich_policy: Path, case: str) -> None:
    ran = run("test", rich_policy, write("t.yaml", _tests(case)), "--format", "json")
    assert ran.json["tests"][0]["message"] == ""
    assert (ran.status, ran.json["passed"], ran.json["failed"]) == (0, 1, 0)


@pytest.mark.parametrize(("case", "says"), FAILING, ids=_number([case for case, _ in FAILING]))
def test_any_difference_fails_and_is_named(run: Run, write: Write, rich_policy: Path, case: str, says: str) -> None:
    ran = run("test", rich_policy, write("t.yaml", _tests(case)), "--format", "json")
    assert says in ran.json["tests"][0]["message"]
    assert (ran.status, ran.json["passed"], ran.json["failed"]) == (1, 0, 1)


@pytest.mark.parametrize(("case", "code", "says"), BROKEN, ids=_number([case for case, _, _ in BROKEN]))
def test_a_test_that_means_nothing_is_an_error_rather_than_a_passed_deny(
    run: Run, write: Write, rich_policy: Path, case: str, code: str, says: str
) -> None:
    ran = run("test", rich_policy, write("t.yaml", _tests(case)), "--format", "json")
    (problem,) = ran.json["problems"]
    assert (ran.status, problem["code"], problem["line"]) == (1, code, 2)
    assert says in problem["message"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "empty"),
        ("tests: []\n", "empty"),
        ("tests: {}\n", "value"),
        ("test:\n", "empty"),
        ("- a\n", "value"),
        ("tests:\n  - &a {name: x}\n", "yaml_feature"),
        (_tests(f"{ALICE}, expect: allow") + "more: 1\n", "unknown_key"),
        ("tests: [", "syntax"),
    ],
    ids=["nothing", "no-tests", "mapping", "null", "list", "anchor", "more", "no-yaml"],
)
def test_a_file_that_is_no_test_file_is_refused(
    run: Run, write: Write, rich_policy: Path, text: str, code: str
) -> None:
    ran = run("test", rich_policy, write("t.yaml", text), "--format", "json")
    assert ran.status == 1
    assert code in {problem["code"] for problem in ran.json["problems"]}


def test_two_tests_of_one_name_are_an_error(run: Run, write: Write, rich_policy: Path) -> None:
    text = _tests(f"{ALICE}, expect: allow", f"{ALICE}, expect: allow").replace("test 1", "test 0")
    ran = run("test", rich_policy, write("t.yaml", text), "--format", "json")
    assert [(p["code"], p["line"], p["column"]) for p in ran.json["problems"]] == [("duplicate_name", 3, 12)]


def test_errors_of_all_files_are_reported_at_once(run: Run, write: Write, rich_policy: Path) -> None:
    one, two = (write(f"{name}.yaml", _tests("claims: {}, expect: deny")) for name in ("one", "two"))
    ran = run("test", rich_policy, one, two, "--format", "json")
    assert [problem["file"] for problem in ran.json["problems"]] == [str(one), str(two)]


def test_several_files_and_json_run_in_one_go(run: Run, write: Write, rich_policy: Path) -> None:
    one = write("one.yaml", _tests(*PASSING))
    two = write(
        "two.json",
        '{"tests": [{"name": "a", "issuer": "github", "claims": {"repository_id": "123456", "ref": "refs/heads/main"}, '
        '"expect": "allow"}]}',
    )
    ran = run("test", rich_policy, one, two)
    assert ran.status == 0
    assert ran.out.endswith(f"{len(PASSING) + 1} passed, 0 failed\n")


def test_a_directory_is_tested_as_a_policy(run: Run, write: Write) -> None:
    directory = write("teams/base.yaml", HEAD).parent
    write("teams/web.yaml", RULES)
    assert run("test", directory, write("t.yaml", _tests(f"{ALICE}, expect: allow"))).status == 0


def test_a_policy_with_errors_is_reported_as_by_check(run: Run, write: Write) -> None:
    policy = write("p.yaml", HEAD.replace("version: 1", "version: 2"))
    ran = run("test", policy, write("t.yaml", _tests(f"{ALICE}, expect: allow")))
    assert ran.status == 1
    assert ran.out.startswith(f"{policy}:1:10: error: ")


def test_a_claim_of_a_type_that_is_never_sent_is_a_warning(run: Run, write: Write, rich_policy: Path) -> None:
    tests = write("t.yaml", _tests("issuer: github, claims: {repository_id: 123456}, expect: deny"))
    ran = run("test", rich_policy, tests)
    assert ran.status == 0
    assert f"{tests}:2:60: warning: tokens of github have text in repository_id" in ran.out


def test_the_summary_names_rules_that_nothing_tests(run: Run, write: Write, rich_policy: Path) -> None:
    ran = run("test", rich_policy, write("t.yaml", _tests(f"{ALICE}, expect: allow")))
    assert "No test has anything granted by patterns-only, until-summer.\n1 passed, 0 failed\n" in ran.out


def test_text_lists_every_test_and_where_it_failed(run: Run, write: Write, rich_policy: Path) -> None:
    tests = write("t.yaml", _tests(f"{ALICE}, expect: allow", f"{ALICE}, expect: deny"))
    lines = run("test", rich_policy, tests).out.splitlines()
    assert lines[0].startswith(f"{tests}:3:5: error: test 1: expected deny, got allow: ")
    assert lines[1:4] == ["outcome  expected  test", "passed   allow     test 0", "FAILED   deny      test 1"]
    assert lines[-1] == "1 passed, 1 failed"


def test_github_gets_an_annotation_for_each_failure(run: Run, write: Write, rich_policy: Path) -> None:
    tests = write("t.yaml", _tests(f"{ALICE}, expect: allow", f"{ALICE}, expect: deny"))
    annotations = [
        line for line in run("test", rich_policy, tests, "--format", "github").out.splitlines() if ",line=" in line
    ]
    assert [annotation.partition("::test")[0] for annotation in annotations] == [
        f"::error file={tests},line=3,col=5,title=test_failed"
    ]


def test_the_format_in_the_help_is_a_test_that_runs(run: Run, write: Write, policy: Path) -> None:
    text = run("test", "--help").out
    start, end = text.index("tests:\n"), text.index("A test may also")
    assert run("test", policy, write("t.yaml", textwrap.dedent(text[start:end]))).status == 0
