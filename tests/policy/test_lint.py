"""Lint: each warning where it is due, with its place, and silence where it is not."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.examples import examples
from vending.acr.scope import repository
from vending.oidc.types import VerifiedClaims
from vending.policy import Environment, decide, load_with_source
from vending.policy.engine.containment import contains
from vending.policy.engine.globs import compile_glob, is_literal
from vending.policy.language.fields import as_list
from vending.policy.lint import INFORMATION, Lint, lint

if TYPE_CHECKING:
    from vending.policy import Problem

NOW = datetime.datetime(2026, 11, 22, 12, tzinfo=datetime.UTC).timestamp()

GUID = "00000000-0000-0000-0000-000000000001"
ISSUERS: dict[str, dict[str, Any]] = {
    "github": {"preset": "github"},
    "gitlab": {"preset": "gitlab", "issuer": "https://gitlab.contoso.example"},
    "ado": {
        "preset": "azure-devops",
        "issuer": "https://vstoken.dev.azure.com/00000000-0000-0000-0000-000000000001",
        "audience": "api://AzureADTokenExchange",
    },
    "circleci": {
        "preset": "circleci",
        "issuer": "https://oidc.circleci.com/org/00000000-0000-0000-0000-000000000001",
    },
    "bitbucket": {
        "preset": "bitbucket",
        "issuer": "https://api.bitbucket.org/2.0/workspaces/contoso/pipelines-config/identity/oidc",
    },
    "buildkite": {"preset": "buildkite"},
    "terraform": {"preset": "terraform-cloud"},
    "kubernetes": {"preset": "kubernetes", "issuer": "https://oidc.example/cluster-1"},
    "google": {"preset": "google"},
    "entra": {"preset": "entra", "issuer": f"https://sts.windows.net/{GUID}/"},
    "spacelift": {
        "preset": "spacelift",
        "issuer": "https://contoso.app.spacelift.io",
        "audience": "contoso.app.spacelift.io",
    },
    "generic": {"preset": "generic", "issuer": "https://idp.example"},
}
HEAD: dict[str, Any] = {
    "version": 1,
    "audience": "https://vend.contoso.example",
    "registries": {
        "prod": {"login_server": "contoso.azurecr.io"},
        "dev": {"login_server": "contosodev.azurecr.io"},
    },
    "issuers": {"github": ISSUERS["github"]},
}
MAPS: dict[str, Any] = {
    "images": {"123456": "web/api", "123457": "web/ui"},
    "mixed": {"a": "x/y", "b": "z"},
    "large": {str(n): f"n{n}" for n in range(1000)},
}
GRANT: dict[str, Any] = {
    "registry": "prod",
    "repositories": ["web/api"],
    "actions": ["pull", "push", "metadata_read"],
}
PINNED: dict[str, Any] = {"repository_id": "123456", "ref": "refs/heads/main"}


def _rule(**changes: Any) -> dict[str, Any]:
    return {"name": "web", "issuer": "github", "when": PINNED, "grant": [GRANT]} | changes


def _deny(**changes: Any) -> dict[str, Any]:
    return {"name": "no", "repositories": ["**"], "actions": ["delete"]} | changes


def _when(issuer: str, **claims: Any) -> dict[str, Any]:
    return _rule(issuer=issuer, when=claims)


def _granting(*grants: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return _rule(grant=[GRANT | grant for grant in grants], **changes)


def _template(text: str, **changes: Any) -> dict[str, Any]:
    return _granting({"repositories": [text]}, **changes)


class Linter:
    """Lint policies written as data."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "policy.json"

    def problems(self, rules: list[Any], deny: list[Any] | None = None, **head: Any) -> tuple[Problem, ...]:
        """Return everything that is found, in a file with one entry on each line.

        The file has the issuers and maps that its rules and denies name, and no other.
        """
        issuers = head.pop("issuers", ISSUERS)
        named = {name for entry in [*rules, *(deny or [])] for name in as_list(entry.get("issuer", []))}
        used = {"issuers": {name: issuers[name] for name in issuers if name in named or issuers is not ISSUERS}}
        written = json.dumps(rules)
        maps = {name: table for name, table in MAPS.items() if f"|{name}" in written}
        content = (
            HEAD
            | (used if used["issuers"] else {})
            | ({"maps": maps} if maps else {})
            | head
            | {"rules": rules, "deny": deny or []}
        )
        self._path.write_text(json.dumps(content, indent=1), "utf-8")
        return lint(load_with_source(self._path, Environment()), NOW)

    def codes(self, *rules: Any, deny: list[Any] | None = None, **head: Any) -> set[str]:
        """Return the codes of what is found."""
        return {str(problem.code) for problem in self.problems(list(rules), deny, **head)}


@pytest.fixture
def linter(tmp_path: Path) -> Linter:
    """Lint policies written as data."""
    return Linter(tmp_path)


def test_a_good_policy_gives_no_warning(linter: Linter) -> None:
    assert linter.problems([_rule()], [_deny()]) == ()


K8S_UID = "/kubernetes.io/serviceaccount/uid"

IDS: list[tuple[str, dict[str, Any], bool]] = [
    ("github", {"repository_id": "1"}, False),
    ("github", {"repository_owner_id": "1"}, False),
    ("github", {"enterprise_id": "1"}, False),
    ("github", {"/repository_id": "1"}, False),
    ("github", {"repository": "a/b"}, True),
    ("github", {"repository_owner": "a", "ref": "refs/heads/main"}, True),
    ("github", {"repository": "a/b", "repository_id": "12*"}, True),
    ("github", {"repository": "a/b", "repository_id": ["1", "12*"]}, True),
    ("github", {"repository": "a/b", "actor_id": "1"}, True),
    ("gitlab", {"project_id": "1"}, False),
    ("gitlab", {"project_path": "a/b"}, True),
    ("ado", {"prj_id": GUID}, False),
    ("ado", {"rpo_ref": "refs/heads/main"}, True),
    ("circleci", {"oidc.circleci.com/project-id": GUID}, False),
    ("circleci", {"oidc.circleci.com/vcs-origin": "github.com/a/b"}, True),
    ("bitbucket", {"workspaceUuid": f"{{{GUID}}}"}, False),
    ("bitbucket", {"branchName": "main"}, True),
    ("buildkite", {"pipeline_id": GUID}, False),
    ("buildkite", {"organization_slug": "a", "pipeline_slug": "b"}, True),
    ("terraform", {"terraform_workspace_id": "ws-1"}, False),
    ("terraform", {"terraform_organization_name": "a"}, True),
    ("kubernetes", {K8S_UID: GUID}, False),
    ("kubernetes", {"sub": "system:serviceaccount:a:b"}, True),
    ("google", {"sub": "1"}, False),
    ("google", {"email": "a@b.example"}, True),
    ("entra", {"oid": GUID}, False),
    ("entra", {"roles": "push"}, True),
    ("spacelift", {"spaceId": "a"}, False),
    ("spacelift", {"runType": "TRACKED"}, True),
    ("generic", {"sub": "a"}, False),
]


@pytest.mark.parametrize(("issuer", "when", "warned"), IDS, ids=[f"{i}-{','.join(w)}-{x}" for i, w, x in IDS])
def test_a_rule_should_name_an_immutable_id_where_the_preset_has_one(
    linter: Linter, issuer: str, when: dict[str, Any], warned: bool
) -> None:
    assert (Lint.NO_IMMUTABLE_ID in linter.codes(_rule(issuer=issuer, when=when))) is warned


def test_each_issuer_of_a_rule_needs_its_own_id(linter: Linter) -> None:
    both = _rule(issuer=["kubernetes", "generic"], when={"sub": "system:serviceaccount:a:b"})
    assert Lint.NO_IMMUTABLE_ID in linter.codes(both)


SENT: list[tuple[str, str, str | None]] = [
    ("github", "branch", "info"),
    ("github", "runid", "warning"),
    ("github", "Repository_Id", "warning"),
    ("github", "repositry_id", "warning"),
    ("github", "rpeository_id", "warning"),
    ("github", "job_workflow_reff", "warning"),
    ("github", "workflow_reference", "info"),
    ("github", "repo_property_team", None),
    ("github", "/ref", None),
    ("github", "/ref/x", None),
    ("gitlab", "groups_direct", None),
    ("gitlab", "/groups_direct/0", None),
    ("gitlab", "project", "info"),
    ("gitlab", "projekt_id", "warning"),
    ("circleci", "/oidc.circleci.com/project-id", "warning"),
    ("circleci", "project-id", "warning"),
    ("circleci", "oidc.circleci.com/org-id", None),
    ("circleci", "oidc.circleci.com/vcs-sha", None),
    ("circleci", "oidc.circleci.com/tomorrow", "info"),
    ("terraform", "terraform_stack_id", None),
    ("terraform", "terraform_operation", None),
    ("kubernetes", "/kubernetes.io/pod/name", None),
    ("kubernetes", "/kubernetes.io/pod", None),
    ("kubernetes", "/kubernetes.io/cluster", "info"),
    ("kubernetes", "namespace", "warning"),
    ("buildkite", "agent_tag:queue", None),
    ("generic", "anything", None),
]


@pytest.mark.parametrize("where", ["when", "unless", "deny-when", "deny-unless"])
@pytest.mark.parametrize(("issuer", "claim", "severity"), SENT, ids=[f"{i}-{c}" for i, c, _ in SENT])
def test_a_claim_that_the_issuer_is_not_known_to_send_is_named(
    linter: Linter, issuer: str, claim: str, severity: str | None, where: str
) -> None:
    anchor: dict[str, Any] = {
        "github": {"repository_id": "1"},
        "buildkite": {"pipeline_id": GUID},
        "terraform": {"terraform_organization_id": "org-1"},
    }.get(issuer, {})
    whole: dict[str, Any] = {"sub": "x", **anchor} | ({claim: "x"} if where == "when" else {})
    rule = _rule(issuer=issuer, when=whole, **({"unless": {claim: "x"}} if where == "unless" else {}))
    deny = [_deny(issuer=issuer, **{where[5:]: {claim: "x"}})] if where.startswith("deny") else []
    problems = [p for p in linter.problems([rule], deny) if p.code == Lint.UNKNOWN_CLAIM]
    assert [problem.severity for problem in problems] == ([severity] if severity else [])
    assert all(repr(claim) in problem.message for problem in problems)
    assert all(("did you mean" in p.message) == (severity == "warning") for p in problems)
    assert all(("not known to this version (as of 20" in p.message) == (severity == "info") for p in problems)


@pytest.mark.parametrize(
    ("key", "value", "where"),
    [
        ("mode", "audit", "indent it like"),
        ("issuer", "github", "indent it like"),
        ("description", "builds", "indent it like"),
        ("use", "people", "indent it like"),
        ("registry", "prod", "it belongs in an entry of grant"),
        ("repositories", ["web/api"], "it belongs in an entry of grant"),
        ("actions", ["pull"], "it belongs in an entry of grant"),
    ],
)
@pytest.mark.parametrize("among", ["when", "unless"])
def test_a_key_of_the_language_among_conditions_is_misplaced(
    linter: Linter, key: str, value: object, where: str, among: str
) -> None:
    rule = _rule(**{"when": PINNED, among: (PINNED if among == "when" else {}) | {key: value}})
    [problem] = [p for p in linter.problems([rule]) if p.code == Lint.UNKNOWN_CLAIM]
    assert problem.severity == "warning"
    assert problem.message.startswith(f"{key} is inside {among}, where it names a claim; {where}")


def test_a_generic_issuer_may_have_claims_that_are_called_like_keys_of_the_language(linter: Linter) -> None:
    rule = _rule(issuer="generic", when={"sub": "x", "mode": "audit", "enabled": True, "name": "x"})
    assert Lint.UNKNOWN_CLAIM not in linter.codes(rule)


def test_a_slip_gets_the_right_name_suggested(linter: Linter) -> None:
    (problem,) = linter.problems([_rule(when=PINNED | {"job_workflow_reff": "x"})])
    assert problem.message.endswith("did you mean job_workflow_ref?")


@pytest.mark.parametrize(("issuer", "warned"), [("github", True), ("gitlab", False), ("kubernetes", False)])
@pytest.mark.parametrize("where", ["when", "unless"])
def test_sub_is_not_for_comparing_where_its_form_changes(linter: Linter, issuer: str, warned: bool, where: str) -> None:
    when = {"repository_id": "1"} if issuer == "github" else {"iss": "x"}
    rule = _rule(issuer=issuer, **{"when": when, where: (when if where == "when" else {}) | {"sub": "a:b:c:d"}})
    assert (Lint.SUBJECT_MATCH in linter.codes(rule)) is warned


VALUES: list[tuple[str, str, str, bool]] = [
    ("github", "ref", "refs/heads/main", False),
    ("github", "ref", "refs/**", False),
    ("github", "ref", "*/main", False),
    ("github", "ref", "**", False),
    ("github", "ref", "", False),
    ("github", "ref", "main", True),
    ("github", "ref", "release/*", True),
    ("github", "ref_protected", "yes", True),
    ("github", "ref_type", "tag", False),
    ("github", "repository", "web", True),
    ("github", "repository", "Contoso/Web", False),
    ("github", "repository_owner", "contoso/web", True),
    ("github", "repository_owner_id", "contoso", True),
    ("github", "job_workflow_ref", "contoso/web/.github/workflows/a.yml", True),
    ("github", "job_workflow_ref", "contoso/web/.github/workflows/a.yml@refs/heads/main", False),
    ("github", "environment", "anything at all", False),
    ("github", "ref", "refs/head/main", True),
    ("github", "ref", "refs/tag/v*", True),
    ("github", "ref", "refs/heads/main/", True),
    ("github", "ref", "refs/heads/release/*", False),
    ("github", "ref", "${{ github.ref }}", True),
    ("github", "environment", "${{ inputs.environment }}", True),
    ("github", "environment", "$ENVIRONMENT", True),
    ("github", "environment", "a $ sign", False),
    ("generic", "sub", "$(Build.SourceBranch)", True),
    ("gitlab", "ref", "refs/heads/main", True),
    ("gitlab", "ref", "main", False),
    ("gitlab", "ref_path", "main", True),
    ("gitlab", "project_path", "web", True),
    ("gitlab", "project_path", "a/b/c", False),
    ("circleci", "oidc.circleci.com/project-id", "web", True),
    ("bitbucket", "repositoryUuid", GUID, True),
    ("bitbucket", "repositoryUuid", f"{{{GUID}}}", False),
    ("buildkite", "organization_id", "contoso", True),
    ("terraform", "terraform_run_phase", "Apply", True),
    ("terraform", "terraform_workspace_id", "web", True),
    ("kubernetes", "sub", "web:deployer", True),
    ("kubernetes", "sub", "system:serviceaccount:web:*", False),
    ("kubernetes", K8S_UID, "web", True),
    ("google", "sub", "a@b.example", True),
    ("google", "email", "a", True),
    ("entra", "oid", "a", True),
    ("spacelift", "scope", "push", True),
    ("generic", "sub", "anything", False),
]


@pytest.mark.parametrize(("issuer", "claim", "value", "warned"), VALUES, ids=[f"{i}-{c}={v}" for i, c, v, _ in VALUES])
def test_a_value_that_no_token_has_is_named(linter: Linter, issuer: str, claim: str, value: str, warned: bool) -> None:
    anchor = {
        "github": {"enterprise_id": "1"},
        "buildkite": {"pipeline_id": GUID},
        "terraform": {"terraform_organization_id": "org-1"},
        "google": {"azp": "1"},
    }.get(issuer, {"jti": "x"})
    problems = linter.problems([_rule(issuer=issuer, when=anchor | {claim: [value, value]})])
    found = [problem for problem in problems if problem.code == Lint.IMPOSSIBLE_VALUE]
    assert len(found) == 2 * int(warned)
    assert len({problem.line for problem in found}) == len(found), "each value has its own place"


def test_a_value_that_one_of_the_issuers_sends_is_possible(linter: Linter) -> None:
    rule = _rule(issuer=["gitlab", "generic"], when={"project_id": "1", "ref": "refs/heads/main", "sub": "x"})
    assert Lint.IMPOSSIBLE_VALUE not in linter.codes(rule)


def test_impossible_values_of_deny_entries_are_named_too(linter: Linter) -> None:
    assert Lint.IMPOSSIBLE_VALUE in linter.codes(_rule(), deny=[_deny(issuer="github", when={"ref": "main"})])


TEMPLATES: list[tuple[str, dict[str, Any], str | None]] = [
    ("ci/{repository_id}", _when("github", repository_owner_id="1"), None),
    ("{repository_id|images}", _when("github", repository_owner_id="1"), None),
    ("ci/{repository|lower|path}", _when("github", repository_owner_id="1"), "mutable_template"),
    ("ci/{repository_owner}", _when("github", repository_owner_id="1"), "mutable_template"),
    ("{repository|images}", _when("github", repository_owner_id="1"), "mutable_template"),
    ("ci/{repository|path}", _when("github", repository_id="1", repository="a/b"), None),
    ("ci/{repository|path}", _when("github", repository_id="1", repository="a/*"), "mutable_template"),
    ("ci/{repository}", _when("github", repository_owner_id="1"), "empty_template"),
    ("ci/{ref}", _when("github", repository_id="1"), "empty_template"),
    ("ci/{ref|path}", _when("github", repository_id="1"), "unpinned_template"),
    ("ci/{ref|path}", _when("github", repository_id="1", ref="refs/heads/*"), "unpinned_template"),
    ("ci/{ref|path}", _when("github", repository_id="1", ref="refs/heads/main"), None),
    ("ci/{environment}", _when("github", repository_id="1"), "unpinned_template"),
    ("ci/{environment}", _when("github", repository_id="1", environment=["a", "b"]), None),
    ("ci/{environment|images}", _when("github", repository_id="1"), None),
    ("ci/{job_workflow_ref|path}", _when("github", repository_id="1"), "empty_template"),
    ("ci/{branch}", _when("github", repository_id="1"), "unknown_claim"),
    ("ci/{project_path|lower|path}", _when("gitlab", project_id=["1", "2"]), "mutable_template"),
    ("ci/{project_id}", _when("gitlab", namespace_id="1"), None),
    ("ci/{pipeline_slug}", _when("buildkite", organization_id=GUID), "mutable_template"),
    ("ci/{terraform_workspace_name}", _when("terraform", terraform_organization_id="org-1"), "mutable_template"),
    ("ci/{repositoryUuid}", _when("bitbucket", workspaceUuid=f"{{{GUID}}}"), "empty_template"),
    ("ci/{repositoryUuid|images}", _when("bitbucket", workspaceUuid=f"{{{GUID}}}"), None),
    ("ci/{sub}", _rule(issuer="kubernetes", when={K8S_UID: [GUID]}), "empty_template"),
    ("ci/{/kubernetes.io/namespace}", _rule(issuer="kubernetes", when={K8S_UID: [GUID]}), None),
    ("ci/{/kubernetes.io/serviceaccount/name}", _rule(issuer="kubernetes", when={K8S_UID: [GUID]}), "mutable_template"),
    ("ci/{/kubernetes.io/pod/name}", _rule(issuer="kubernetes", when={K8S_UID: [GUID]}), "unpinned_template"),
    ("ci/{email}", _when("google", sub="1"), "empty_template"),
    ("ci/{sub}", _when("generic", sub="a*"), None),
    ("ci/{team}", _when("generic", sub="a*"), "unpinned_template"),
]


@pytest.mark.parametrize(
    ("text", "rule", "code"), TEMPLATES, ids=[f"{t}-{c}-{n}" for n, (t, _, c) in enumerate(TEMPLATES)]
)
def test_a_template_inserts_what_belongs_to_the_caller(
    linter: Linter, text: str, rule: dict[str, Any], code: str | None
) -> None:
    about_templates = {"mutable_template", "unpinned_template", "empty_template", "unknown_claim"}
    found = linter.codes(rule | {"grant": [GRANT | {"repositories": [text]}]}) & about_templates
    assert found == ({code} if code else set())


UNREACHABLE: list[tuple[Any, Any, bool]] = [
    ("a", "a", True),
    ("a", ["b", "a"], True),
    (["a", "b"], ["b", "a"], True),
    (["a", "b"], "a", False),
    ("a", "b", False),
    ("a", "*", True),
    ("a/b", "*", False),
    ("a*", "**", True),
    ("a*", "a**", True),
    ("a**", "a*", False),
    ("A", "a", True),
    ("Stage-*", "stage*", True),
]


@pytest.mark.parametrize(("when", "unless", "warned"), UNREACHABLE, ids=[f"{w}-{u}" for w, u, _ in UNREACHABLE])
def test_a_rule_whose_unless_takes_back_its_when_is_unreachable(
    linter: Linter, when: Any, unless: Any, warned: bool
) -> None:
    rule = _rule(when=PINNED | {"environment": when}, unless={"environment": unless})
    assert (Lint.UNREACHABLE_RULE in linter.codes(rule)) is warned


DUPLICATES: list[tuple[dict[str, Any], bool]] = [
    ({}, True),
    ({"description": "again"}, True),
    ({"issuer": ["github"]}, True),
    ({"when": {"/repository_id": ["123456"], "ref": "refs/heads/main"}}, True),
    ({"expires": "2030-01-01"}, True),
    ({"when": {"repository_id": "123457"}}, False),
    ({"unless": {"actor": "x"}}, False),
    ({"mode": "audit"}, False),
    ({"enabled": False}, False),
    ({"grant": [GRANT | {"registry": "dev"}]}, False),
    ({"grant": [GRANT | {"catalog": True}]}, False),
    ({"grant": [GRANT | {"actions": ["metadata_read", "push", "pull"]}]}, True),
]


@pytest.mark.parametrize(("change", "warned"), DUPLICATES, ids=[str(c) for c, _ in DUPLICATES])
def test_two_rules_that_say_the_same_are_one_too_many(linter: Linter, change: dict[str, Any], warned: bool) -> None:
    problems = linter.problems([_rule(), _rule(name="again") | change])
    found = [problem for problem in problems if problem.code == Lint.DUPLICATE_RULE]
    assert len(found) == int(warned)
    assert all("'web'" in problem.message for problem in found)


def test_one_and_true_are_two_conditions(linter: Linter) -> None:
    one, true = (_rule(name=f"r{v}", issuer="generic", when={"sub": "a", "x": v}) for v in (1, True))
    assert Lint.DUPLICATE_RULE not in linter.codes(one, true)


@pytest.mark.parametrize(
    ("expires", "enabled", "warned"),
    [
        ("2026-11-21", True, True),
        ("2026-11-22", True, False),
        ("2026-11-23", True, False),
        ("2026-11-21", False, False),
    ],
)
def test_an_expired_rule_is_named_from_the_day_after(linter: Linter, expires: str, enabled: bool, warned: bool) -> None:
    assert (Lint.EXPIRED_RULE in linter.codes(_rule(expires=expires, enabled=enabled))) is warned


DENIED: list[tuple[str, dict[str, Any], dict[str, Any], bool]] = [
    ("all", {"actions": ["pull"]}, {"actions": ["pull", "delete"]}, True),
    ("one action", {"actions": ["pull", "delete"]}, {}, True),
    ("one entry", {"repositories": ["a", "b/c"]}, {"repositories": ["a"], "actions": GRANT["actions"]}, True),
    ("a part of a pattern", {"repositories": ["web/*"]}, {"repositories": ["web/a"], "actions": ["push"]}, False),
    ("a pattern", {"repositories": ["web/*"]}, {"repositories": ["web/**"], "actions": ["push"]}, True),
    ("a template", {"repositories": ["ci/{repository_id}"]}, {"repositories": ["ci/*"], "actions": ["push"]}, True),
    ("a path", {"repositories": ["ci/{ref|path}"]}, {"repositories": ["ci/*"], "actions": ["push"]}, False),
    ("a map", {"repositories": ["{repository_id|images}"]}, {"repositories": ["web/*"], "actions": ["push"]}, True),
    (
        "half a map",
        {"repositories": ["{repository_id|images}"]},
        {"repositories": ["web/api"], "actions": ["push"]},
        False,
    ),
    ("mixed map", {"repositories": ["c/{ref|mixed}"]}, {"repositories": ["c/*", "c/*/*"], "actions": ["push"]}, True),
    ("another action", {"actions": ["pull"]}, {}, False),
    ("another registry", {"actions": ["delete"]}, {"registry": "dev"}, False),
    ("this registry", {"actions": ["delete"]}, {"registry": "prod"}, True),
    ("a disabled entry", {"actions": ["delete"]}, {"enabled": False}, False),
    ("another issuer", {"actions": ["delete"]}, {"issuer": "gitlab"}, False),
    ("this issuer", {"actions": ["delete"]}, {"issuer": ["gitlab", "github"]}, True),
    ("a condition that holds", {"actions": ["delete"]}, {"issuer": "github", "when": {"repository_id": "1234*"}}, True),
    ("one that may not", {"actions": ["delete"]}, {"issuer": "github", "when": {"event_name": "push"}}, False),
    ("one that does not", {"actions": ["delete"]}, {"issuer": "github", "when": {"repository_id": "1"}}, False),
    ("an exemption", {"actions": ["delete"]}, {"issuer": "github", "unless": {"repository_id": "123456"}}, False),
    ("one for others", {"actions": ["delete"]}, {"issuer": "github", "unless": {"repository_id": "1"}}, True),
    ("the catalog", {"catalog": True}, {"catalog": True}, True),
    ("no catalog", {"catalog": True}, {}, False),
    (
        "more names than are looked at",
        {"repositories": ["c/{ref|large}/{ref|large}"]},
        {"repositories": ["c/**"], "actions": ["push"]},
        True,
    ),
]


@pytest.mark.parametrize(("grant", "deny", "warned"), [row[1:] for row in DENIED], ids=[row[0] for row in DENIED])
def test_a_grant_that_a_deny_takes_away_is_named(
    linter: Linter, grant: dict[str, Any], deny: dict[str, Any], warned: bool
) -> None:
    assert (Lint.DENIED_GRANT in linter.codes(_granting(grant), deny=[_deny(**deny)])) is warned


def test_a_deny_for_one_issuer_leaves_a_rule_of_two_alone(linter: Linter) -> None:
    rule = _granting(
        {"actions": ["delete"]}, issuer=["github", "gitlab"], when={"repository_id": "1", "project_id": "1"}
    )
    assert Lint.DENIED_GRANT not in linter.codes(rule, deny=[_deny(issuer="github")])
    assert Lint.DENIED_GRANT in linter.codes(rule, deny=[_deny(issuer="github"), _deny(name="b", issuer="gitlab")])


def test_a_denied_part_is_pointed_at(linter: Linter) -> None:
    rule = _granting({"repositories": ["a", "b"], "actions": ["pull", "push", "metadata_read", "delete"]})
    (problem,) = linter.problems([rule], [_deny()])
    assert "takes away delete" in problem.message


COMPANIONS: list[tuple[str, list[dict[str, Any]], set[str]]] = [
    ("push", [{"actions": ["push"]}], {"push_without_pull"}),
    ("pull", [{"actions": ["pull"]}], {"pull_without_metadata_read"}),
    ("push and pull", [{"actions": ["push", "pull"]}], {"pull_without_metadata_read"}),
    ("in two grants", [{"actions": ["push"]}, {"actions": ["pull", "metadata_read"]}], set()),
    (
        "a pattern",
        [{"actions": ["push"]}, {"repositories": ["web/*"], "actions": ["pull", "metadata_read"]}],
        set(),
    ),
    (
        "elsewhere",
        [{"actions": ["push"]}, {"repositories": ["data/*"], "actions": ["pull", "metadata_read"]}],
        {"push_without_pull"},
    ),
    (
        "another registry",
        [{"actions": ["push"]}, {"registry": "dev", "actions": ["pull", "metadata_read"]}],
        {"push_without_pull"},
    ),
    ("delete", [{"actions": ["delete"]}], set()),
]


@pytest.mark.parametrize(("grants", "codes"), [row[1:] for row in COMPANIONS], ids=[row[0] for row in COMPANIONS])
def test_actions_that_need_another_say_so(linter: Linter, grants: list[dict[str, Any]], codes: set[str]) -> None:
    assert linter.codes(_granting(*grants)) == codes


@pytest.mark.parametrize(
    ("pattern", "warned"),
    [("**", True), ("*", True), ("*/**", True), ("**/*", True), ("web/**", False), ("**/cache", False), ("a*", False)],
)
def test_a_grant_on_everything_is_named(linter: Linter, pattern: str, warned: bool) -> None:
    assert (Lint.GRANT_EVERYTHING in linter.codes(_granting({"repositories": [pattern]}))) is warned


def test_a_deny_on_everything_is_what_denies_are_for(linter: Linter) -> None:
    assert linter.codes(_rule(), deny=[_deny()]) == set()


@pytest.mark.parametrize(
    ("identity", "warned"),
    [
        ({"type": "managed_identity"}, False),
        ({"type": "federated_app", "tenant_id": GUID, "client_id": GUID}, False),
        (
            {
                "type": "service_principal",
                "tenant_id": GUID,
                "client_id": GUID,
                "certificate_setting": "VENDING_SECRET_A",
            },
            True,
        ),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else str(value),
)
def test_a_service_principal_is_advised_against(linter: Linter, identity: dict[str, Any], warned: bool) -> None:
    assert (Lint.SERVICE_PRINCIPAL in linter.codes(_rule(), identities={"other": identity})) is warned


@pytest.mark.parametrize(
    ("audience", "warned"),
    [
        ("api://AzureADTokenExchange", True),
        ("api://AzureADTokenExchangeUSGov", True),
        ("sts.amazonaws.com", True),
        ("sigstore", True),
        ("pypi", True),
        ("https://github.com/contoso", True),
        ("https://vend.contoso.example", False),
    ],
)
def test_an_audience_that_others_accept_is_named(linter: Linter, audience: str, warned: bool) -> None:
    issuers = ISSUERS | {"ado": ISSUERS["ado"] | {"audience": audience}}
    assert (Lint.SHARED_AUDIENCE in linter.codes(_rule(), issuers=issuers)) is warned


def test_findings_come_in_the_order_of_the_file_with_a_severity(linter: Linter) -> None:
    problems = linter.problems([_rule(name=f"r{n}", grant=[GRANT | {"actions": ["pull"]}]) for n in range(5)])
    assert list(problems) == sorted(problems)
    for problem in problems:
        assert problem.severity == ("info" if problem.code in INFORMATION else "warning")


@pytest.mark.parametrize("code", Lint)
def test_every_code_has_a_sentence(code: Lint) -> None:
    assert code.value == code.name.lower()


# --- What is called certain is certain --------------------------------------------------------------------------------

_SCALARS = st.sampled_from(["a", "b", "a/b", "a*", "**", True, 1])
_VALUES = st.lists(_SCALARS, min_size=1, max_size=2)
_NAMES = ["a", "b", "a/b", "a/b/c"]
_ENTRIES = st.lists(st.sampled_from([*_NAMES, "a/*", "*", "**", "{x|path}"]), min_size=1, max_size=2, unique=True)
_CLAIMS: list[dict[str, Any]] = [
    {"sub": "s"},
    *({"sub": "s", "x": value} for value in ("a", "b", "a/b", "ac", "", True, False, 1, 2, None)),
    *({"sub": "s", "x": value} for value in ([], ["a"], ["b", "a"], ["a", 2], [1, "b"])),
]


@st.composite
def _policies(draw: st.DrawFn) -> dict[str, Any]:
    rule = _granting({"repositories": draw(_ENTRIES), "actions": ["pull"]}, issuer="generic", when={"sub": "s"})
    rule["when"] |= draw(st.sampled_from([{}, {"x": draw(_VALUES)}]))
    rule |= draw(st.sampled_from([{}, {"unless": {"x": draw(_VALUES)}}]))
    entry = _deny(issuer="generic", actions=["pull"])
    entry["repositories"] = draw(st.lists(st.sampled_from([*_NAMES, "a/**", "**"]), min_size=1, max_size=2))
    entry |= draw(st.sampled_from([{}, {"when": {"x": draw(_VALUES)}}, {"unless": {"x": draw(_VALUES)}}]))
    return HEAD | {"issuers": ISSUERS, "maps": MAPS} | {"rules": [rule], "deny": [entry]}


@given(data=_policies())
@examples(100)
def test_no_token_gets_what_lint_calls_unreachable_or_denied(data: dict[str, Any]) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "policy.json"
        path.write_text(json.dumps(data), encoding="utf-8")
        loaded = load_with_source(path, Environment())
    problems = lint(loaded, NOW)
    exempts = "unless" in data["deny"][0]
    unreachable = any(problem.code == Lint.UNREACHABLE_RULE for problem in problems)
    nothing = any(problem.code == Lint.DENIED_GRANT and "all that" in problem.message for problem in problems)
    for claims in _CLAIMS:
        for name in _NAMES:
            asked = (repository(name, ["pull"]),)
            decision = decide(loaded.policy, VerifiedClaims("generic", claims), "prod", asked, NOW)
            assert not (unreachable and decision.rules)
            # A list may have an element that exempts beside the one that the rule wants.
            assert not (nothing and decision.allowed and not (exempts and isinstance(claims.get("x"), list)))


# --- Containment ------------------------------------------------------------------------------------------------------

CONTAINED: list[tuple[str, str, bool]] = [
    ("**", "a/b:c", True),
    ("**", "**", True),
    ("*", "**", False),
    ("*", "*", True),
    ("a", "a", True),
    ("a", "b", False),
    ("a", "*", False),
    ("a*", "a", True),
    ("a*", "ab*", True),
    ("a*", "*a", False),
    ("a/*", "a/b", True),
    ("a/*", "a/b/c", False),
    ("a/**", "a/b/*", True),
    ("a/**", "a", False),
    ("*/b", "a/b", True),
    ("**/b", "a/*/b", True),
    ("**b", "a**b", True),
    ("*a*", "*a*a*", True),
    ("a*c", "abc*", False),
]


@pytest.mark.parametrize(("outer", "inner", "expected"), CONTAINED, ids=[f"{o} {i}" for o, i, _ in CONTAINED])
def test_containment_of_patterns(outer: str, inner: str, expected: bool) -> None:
    assert contains(outer, inner) is expected


def _matches(pattern: str, value: str) -> bool:
    return pattern == value if is_literal(pattern) else compile_glob(pattern).matches(value)


_PATTERNS = (
    st.lists(st.sampled_from(["a", "b", "/", ":", "*", "**"]), max_size=6)
    .map("".join)
    .filter(lambda text: "***" not in text)
)


@given(outer=_PATTERNS, inner=_PATTERNS, value=st.text("ab/:", max_size=8))
@example(outer="*a", inner="**a", value="/a")
def test_what_is_contained_is_matched(outer: str, inner: str, value: str) -> None:
    if contains(outer, inner) and _matches(inner, value):
        assert _matches(outer, value)


@given(outer=_PATTERNS, value=st.text("ab/:", max_size=8))
def test_containing_a_value_is_matching_it(outer: str, value: str) -> None:
    assert contains(outer, value) == _matches(outer, value)
