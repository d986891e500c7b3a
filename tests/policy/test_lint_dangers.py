"""Plausible dangerous policies are warned about, each by its danger; the sane ones beside them are not.

The sane rules of every provider's page, of `policy.yaml` and of `examples/` are linted in tests/docs.
"""

from __future__ import annotations

import datetime
import json
from typing import TYPE_CHECKING, Any

import pytest

from vending.policy import Environment, load_with_source
from vending.policy.lint import Lint, lint

if TYPE_CHECKING:
    from pathlib import Path

    from vending.policy import Problem

NOW = datetime.datetime(2026, 11, 28, 12, tzinfo=datetime.UTC).timestamp()
GUID = "00000000-0000-4000-8000-000000000001"
PROJECT = "oidc.circleci.com/project-id"
ISSUERS: dict[str, dict[str, Any]] = {
    "github": {"preset": "github"},
    "gitlab": {"preset": "gitlab", "issuer": "https://gitlab.contoso.example"},
    "ado": {
        "preset": "azure-devops",
        "issuer": f"https://vstoken.dev.azure.com/{GUID}",
        "audience": "api://AzureADTokenExchange",
        "accept": {"shared_audience": "there is no other"},
    },
    "circleci": {"preset": "circleci", "issuer": f"https://oidc.circleci.com/org/{GUID}"},
    "bitbucket": {
        "preset": "bitbucket",
        "issuer": "https://api.bitbucket.org/2.0/workspaces/contoso/pipelines-config/identity/oidc",
    },
    "buildkite": {"preset": "buildkite"},
    "terraform": {"preset": "terraform-cloud"},
    "cluster": {"preset": "kubernetes", "issuer": "https://oidc.example/cluster-1"},
    "google": {"preset": "google"},
    "entra": {"preset": "entra", "issuer": f"https://sts.windows.net/{GUID}/"},
    "spacelift": {
        "preset": "spacelift",
        "issuer": "https://contoso.app.spacelift.io",
        "audience": "contoso.app.spacelift.io",
    },
    "other": {"preset": "generic", "issuer": "https://idp.example"},
    "vercel": {"preset": "generic", "issuer": "https://oidc.vercel.com"},
}
PUSH = ["pull", "push", "metadata_read"]
PULL = ["pull", "metadata_read"]


def problems(directory: Path, *rules: dict[str, Any], **sections: Any) -> tuple[Problem, ...]:
    """Lint a policy of these rules, with the issuers that they name."""
    entries = [*rules, *sections.get("deny", [])]
    named = {name for entry in entries for name in _listed(entry.get("issuer", "github"))}
    document = {
        "version": 1,
        "audience": "https://vend.contoso.example",
        "registries": {"prod": {"login_server": "contoso.azurecr.io"}},
        "issuers": {name: ISSUERS[name] for name in ISSUERS if name in named} or {"github": ISSUERS["github"]},
        "rules": list(rules),
    } | sections
    path = directory / "policy.json"
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return lint(load_with_source(path, Environment()), NOW)


def _listed(value: str | list[str]) -> list[str]:
    return value if isinstance(value, list) else [value]


def rule(when: dict[str, Any], repositories: Any = "web/api", actions: Any = PUSH, **more: Any) -> dict[str, Any]:
    """Return a rule that grants one entry."""
    grant = {"registry": "prod", "repositories": _listed(repositories), "actions": actions}
    return {"name": "r", "issuer": "github", "when": when, "grant": [grant]} | more


WEB = {"repository_id": "123456"}
MAIN = WEB | {"ref": "refs/heads/main"}
OWNER = {"repository_owner_id": "9919"}

# name → code, what the message must show, rule, sections
DANGERS: dict[str, tuple[Lint, str, dict[str, Any], dict[str, Any]]] = {
    "push from any branch": (Lint.UNGATED_WRITE, "any branch", rule(WEB), {}),
    "delete from any branch": (Lint.UNGATED_WRITE, "ref", rule(WEB, actions=["delete"]), {}),
    "GitLab pushes from any branch": (Lint.UNGATED_WRITE, "ref_path", rule({"project_id": "1"}, issuer="gitlab"), {}),
    "Bitbucket pushes from any branch": (
        Lint.UNGATED_WRITE,
        "branchName",
        rule({"repositoryUuid": f"{{{GUID}}}"}, issuer="bitbucket"),
        {},
    ),
    "CircleCI pushes from any branch": (
        Lint.UNGATED_WRITE,
        "oidc.circleci.com/vcs-ref",
        rule({PROJECT: GUID}, issuer="circleci"),
        {},
    ),
    "Azure Pipelines push from any branch": (
        Lint.UNGATED_WRITE,
        "rpo_ref",
        rule({"prj_id": GUID, "def_id": "1"}, issuer="ado"),
        {},
    ),
    "Spacelift writes in any run": (
        Lint.UNGATED_WRITE,
        "scope",
        rule({"spaceId": "s", "callerId": "c"}, issuer="spacelift"),
        {},
    ),
    "a whole owner pushes": (
        Lint.BROAD_WRITE,
        "repository_owner_id 9919",
        rule(OWNER | {"ref": "refs/heads/main"}, "web/**"),
        {},
    ),
    "a whole group pushes": (
        Lint.BROAD_WRITE,
        "namespace_id 7",
        rule({"namespace_id": "7", "ref_protected": "true"}, issuer="gitlab"),
        {},
    ),
    "a whole namespace pushes": (
        Lint.BROAD_WRITE,
        "/kubernetes.io/namespace web",
        rule({"/kubernetes.io/namespace": "web"}, issuer="cluster"),
        {},
    ),
    "a whole tenant pushes": (Lint.BROAD_WRITE, f"tid {GUID}", rule({"tid": GUID}, issuer="entra"), {}),
    "a whole organisation of Terraform pushes": (
        Lint.BROAD_WRITE,
        "org-1",
        rule({"terraform_organization_id": "org-1", "terraform_run_phase": "apply"}, issuer="terraform"),
        {},
    ),
    "a template by branch under a whole owner": (
        Lint.BROAD_WRITE,
        "web/{environment|lower}",
        rule(OWNER | {"environment": ["staging", "production"]}, "web/{environment|lower}"),
        {},
    ),
    "pull requests push": (
        Lint.WRITE_BEFORE_REVIEW,
        "'pull_request'",
        rule(WEB | {"event_name": ["push", "pull_request"]}),
        {},
    ),
    "refs of pull requests push": (Lint.WRITE_BEFORE_REVIEW, "'refs/pull/**'", rule(WEB | {"ref": "refs/pull/**"}), {}),
    "any ref pushes": (Lint.WRITE_BEFORE_REVIEW, "'refs/**'", rule(WEB | {"ref": "refs/**"}), {}),
    "merge requests push": (
        Lint.WRITE_BEFORE_REVIEW,
        "'merge_request_event'",
        rule({"project_id": "1", "pipeline_source": "merge_request_event"}, issuer="gitlab"),
        {},
    ),
    "plans push": (
        Lint.WRITE_BEFORE_REVIEW,
        "'plan'",
        rule({"terraform_workspace_id": "ws-1", "terraform_run_phase": ["plan", "apply"]}, issuer="terraform"),
        {},
    ),
    "proposed runs push": (
        Lint.WRITE_BEFORE_REVIEW,
        "'read'",
        rule({"spaceId": "s", "callerId": "c", "scope": "read"}, issuer="spacelift"),
        {},
    ),
    "the gate is a person": (Lint.WEAK_GATE, "actor", rule(WEB | {"actor": "mona"}), {}),
    "the gate is a workflow's name": (Lint.WEAK_GATE, "workflow", rule(WEB | {"workflow": "release"}), {}),
    "the gate is any environment": (Lint.WEAK_GATE, "'*'", rule(WEB | {"environment": "*"}), {}),
    "the gate is environments of a name": (Lint.WEAK_GATE, "'prod*'", rule(WEB | {"environment": "prod*"}), {}),
    "the gate is a reusable workflow at any ref": (
        Lint.WEAK_GATE,
        "'contoso/workflows/.github/workflows/build.yml@**'",
        rule(WEB | {"job_workflow_ref": "contoso/workflows/.github/workflows/build.yml@**"}),
        {},
    ),
    "the gate is a star behind main": (
        Lint.WEAK_GATE,
        "'refs/heads/main*'",
        rule(WEB | {"ref": "refs/heads/main*"}),
        {},
    ),
    "the gate is any branch": (Lint.WEAK_GATE, "'refs/heads/**'", rule(WEB | {"ref": "refs/heads/**"}), {}),
    "the gate is a list with a weak value": (
        Lint.WEAK_GATE,
        "'refs/heads/main*'",
        rule(WEB | {"ref": ["refs/heads/main", "refs/heads/main*"]}),
        {},
    ),
    "the gate is that it is a tag": (Lint.WEAK_GATE, "tag", rule(WEB | {"ref_type": "tag"}), {}),
    "GitLab's ref may be a tag": (
        Lint.WEAK_GATE,
        "'main'",
        rule({"project_id": "1", "ref": "main"}, issuer="gitlab"),
        {},
    ),
    "Buildkite's branch by a star": (
        Lint.WEAK_GATE,
        "'main*'",
        rule({"pipeline_id": GUID, "build_branch": "main*"}, issuer="buildkite"),
        {},
    ),
    "one alternative has no gate": (
        Lint.UNGATED_WRITE,
        "any branch",
        rule(WEB, when_any=[{"ref": "refs/heads/main"}, {"runner_environment": "self-hosted"}]),
        {},
    ),
    "a star that stops at a slash in unless": (
        Lint.STAR_MISSES,
        "'refs/pull/7/merge'",
        rule(WEB, actions=PULL, unless={"ref": "refs/pull/*"}),
        {},
    ),
    "a star that stops at a slash in a deny": (
        Lint.STAR_MISSES,
        "'refs/heads/dev/x'",
        rule(MAIN),
        {
            "deny": [
                {"name": "d", "issuer": "github", "repositories": ["web/**"], "actions": ["push"]}
                | {"when": {"ref": "refs/heads/*"}}
            ]
        },
    ),
    "a pull request's ref by one star in when": (
        Lint.STAR_MISSES,
        "'refs/pull/**'",
        rule(WEB | {"ref": "refs/pull/*"}, actions=PULL),
        {},
    ),
    "another spelling escapes unless": (
        Lint.CASE_ESCAPE,
        "'contoso/old/**'",
        rule(MAIN, unless={"job_workflow_ref": "contoso/old/**"}),
        {},
    ),
    "another spelling escapes a deny": (
        Lint.CASE_ESCAPE,
        "'contoso/old/**'",
        rule(MAIN),
        {
            "deny": [
                {"name": "d", "issuer": "github", "repositories": ["web/**"], "actions": ["push"]}
                | {"when": {"workflow_ref": "contoso/old/**"}}
            ]
        },
    ),
    "letters that are not folded": (
        Lint.CASE_ESCAPE,
        "'Größe'",
        rule(MAIN),
        {
            "deny": [
                {"name": "d", "issuer": "github", "repositories": ["web/**"], "actions": ["push"]}
                | {"when": {"environment": "Größe"}}
            ]
        },
    ),
    "unless on a claim that tokens lack": (
        Lint.UNLESS_ABSENT,
        "environment",
        rule(MAIN, unless={"environment": "staging"}),
        {},
    ),
    "a name that is never sent": (
        Lint.IMPOSSIBLE_VALUE,
        "'pull-request'",
        rule(WEB | {"event_name": "pull-request"}, actions=PULL),
        {},
    ),
    "an empty environment": (Lint.IMPOSSIBLE_VALUE, "''", rule(MAIN | {"environment": ""}), {}),
    "a class of characters": (
        Lint.LOOKS_LIKE_REGEX,
        "'refs/tags/v[0-9]*'",
        rule(WEB | {"ref": "refs/tags/v[0-9]*"}),
        {},
    ),
    "alternatives in parentheses": (
        Lint.LOOKS_LIKE_REGEX,
        "'refs/heads/(main|develop)'",
        rule(WEB | {"ref": "refs/heads/(main|develop)"}),
        {},
    ),
    "a regular expression's dot and star": (
        Lint.LOOKS_LIKE_REGEX,
        "'refs/heads/.*'",
        rule(WEB | {"ref": "refs/heads/.*"}),
        {},
    ),
    "an image reference as a repository": (
        Lint.IMAGE_REFERENCE,
        "'web/api'",
        rule(MAIN, "northwind.azurecr.io/web/api"),
        {},
    ),
    "the audience as the only condition": (
        Lint.REGISTERED_ONLY,
        "aud",
        rule({"aud": "https://vend.contoso.example"}, actions=PULL, issuer="other"),
        {},
    ),
    "one rule for two providers": (
        Lint.MIXED_ISSUERS,
        "other",
        rule(WEB, actions=PULL, issuer=["github", "other"]),
        {},
    ),
    "a shared issuer under generic": (
        Lint.SHARED_ISSUER,
        "owner_id",
        rule({"project_id": "p"}, actions=PULL, issuer="vercel"),
        {},
    ),
    "patterns that together grant nearly everything": (
        Lint.GRANT_NEARLY_EVERYTHING,
        "a",
        rule(WEB, [f"{letter}**" for letter in "abcdefghijklmnoprstuvw"], PULL),
        {},
    ),
    "a folded claim as it comes": (
        Lint.CASE_IN_TEMPLATE,
        "lower",
        rule(MAIN | {"repository": "contoso/web"}, "ci/{repository|path}"),
        {},
    ),
    "a branch that is to be a tag": (
        Lint.UNREACHABLE_RULE,
        "'refs/heads/main'",
        rule(MAIN | {"ref_type": "tag"}),
        {},
    ),
    "a repository of another owner": (
        Lint.UNREACHABLE_RULE,
        "'contoso/web'",
        rule(MAIN | {"repository": "contoso/web", "repository_owner": "fabrikam"}),
        {},
    ),
    "two refs at once": (
        Lint.UNREACHABLE_RULE,
        "'refs/heads/dev'",
        rule(MAIN, use="dev"),
        {"conditions": {"dev": {"when": {"ref": "refs/heads/dev"}}}},
    ),
    "the absence of what is always there": (
        Lint.UNREACHABLE_RULE,
        "event_name",
        rule(MAIN | {"event_name": {"absent": True}}),
        {},
    ),
    "a never that misses": (
        Lint.STAR_MISSES,
        "'refs/pull/**'",
        rule(MAIN),
        {
            "never": [
                {"name": "n", "issuer": "github", "repositories": ["old/**"], "actions": ["push"]}
                | {"when": {"ref": "refs/pull/*"}}
            ]
        },
    ),
    "a never about a claim that is misspelled": (
        Lint.UNKNOWN_CLAIM,
        "did you mean ref?",
        rule(MAIN),
        {
            "never": [
                {"name": "n", "issuer": "github", "repositories": ["old/**"], "actions": ["push"]}
                | {"when": {"reff": "refs/pull/**"}}
            ]
        },
    ),
    "a list that nothing uses": (Lint.UNUSED, "'pay'", rule(MAIN), {"lists": {"pay": ["1"]}}),
    "a condition that nothing uses": (
        Lint.UNUSED,
        "'people'",
        rule(MAIN),
        {"conditions": {"people": {"unless": {"actor": "*[bot]"}}}},
    ),
    "a gate in a list": (
        Lint.WEAK_GATE,
        "'refs/heads/main*'",
        rule(WEB | {"ref": {"in": "branches"}}),
        {"lists": {"branches": ["refs/heads/main", "refs/heads/main*"]}},
    ),
    "an exclusion in what is used": (
        Lint.STAR_MISSES,
        "'refs/pull/**'",
        rule(WEB, actions=PULL, use="reviewed"),
        {"conditions": {"reviewed": {"unless": {"ref": "refs/pull/*"}}}},
    ),
    "an audit claim that nobody sends": (Lint.AUDIT_CLAIM, "'acter'", rule(MAIN), {"audit": {"claims": ["acter"]}}),
    "a map that nothing uses": (Lint.UNUSED, "'images'", rule(MAIN), {"maps": {"images": {"1": "web"}}}),
}


@pytest.mark.parametrize("name", DANGERS)
def test_a_dangerous_policy_is_warned_about(tmp_path: Path, name: str) -> None:
    code, shows, dangerous, sections = DANGERS[name]
    found = [problem for problem in problems(tmp_path, dangerous, **sections) if problem.code == code]
    assert [problem.severity for problem in found] == ["warning"], found
    [problem] = found
    assert shows in problem.message
    assert ";" in problem.message, "the danger, and what to write instead"
    assert not problem.message.endswith(".")
    assert problem.line > 1


def test_there_are_more_dangers_than_the_two_dozen_that_were_once_fine() -> None:
    assert len(DANGERS) >= 24


SANE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "main": (rule(MAIN), {}),
    "main, by name too": (rule(MAIN | {"repository": "contoso/web", "repository_owner": "contoso"}), {}),
    "main and release tags": (rule(WEB | {"ref": ["refs/heads/main", "refs/tags/v*"]}), {}),
    "release branches": (rule(WEB | {"ref": "refs/heads/release/*"}), {}),
    "protected refs": (rule(WEB | {"ref_protected": "true"}), {}),
    "an environment": (rule(WEB | {"environment": "production"}), {}),
    "an environment on any branch": (rule(WEB | {"environment": "production", "ref": "refs/heads/**"}), {}),
    "a person and main": (rule(MAIN | {"actor": "mona", "workflow": "release"}), {}),
    "a trigger": (rule(WEB | {"event_name": ["push", "workflow_dispatch"]}), {}),
    "a trigger and any ref": (rule(WEB | {"event_name": "push", "ref": "refs/**"}), {}),
    "any ref but pull requests": (
        rule(WEB | {"ref": "refs/**", "environment": "production"}, unless={"ref": "refs/pull/**"}),
        {},
    ),
    "a reusable workflow at a tag, for a whole owner": (
        rule(OWNER | {"job_workflow_ref": "contoso/workflows/.github/workflows/build.yml@refs/tags/v3"}, "signed/**"),
        {},
    ),
    "a place of its own for each repository": (
        rule(OWNER | {"event_name": "push"}, "ci/{repository_id}"),
        {},
    ),
    "a place of its own by a map": (
        rule(OWNER | {"ref": "refs/heads/main"}, "{repository_id|images}"),
        {"maps": {"images": {"1": "web"}}},
    ),
    "a whole owner pulls": (rule(OWNER, "base/**", PULL), {}),
    "pull requests pull": (rule(WEB | {"event_name": "pull_request"}, actions=PULL), {}),
    "any branch pulls": (rule(WEB | {"ref": "refs/heads/*"}, actions=PULL), {}),
    "bots excluded": (rule(MAIN, unless={"actor": "*[bot]"}), {}),
    "an environment that is required and narrowed": (
        rule(MAIN | {"environment": ["production", "staging"]}, unless={"environment": "staging"}),
        {},
    ),
    "names with brackets and dots": (rule(WEB | {"ref": ["refs/tags/v1.2.0", "refs/heads/feature(x)"]}), {}),
    "every alternative is gated": (
        rule(WEB, when_any=[{"ref": "refs/heads/main"}, {"environment": "production"}]),
        {},
    ),
    "one of two pins is in the alternatives": (
        rule({"ref": "refs/heads/main"}, when_any=[{"repository_id": "1"}, {"repository_id": "2"}]),
        {},
    ),
    "a branch that is a branch": (rule(MAIN | {"ref_type": "branch"}), {}),
    "an owner and its repository": (
        rule(MAIN | {"repository": "Contoso/web", "repository_owner": ["contoso", "fabrikam"]}),
        {},
    ),
    "an absence that may be": (rule(MAIN | {"environment": {"absent": True}}), {}),
    "two conditions on one claim": (
        rule(WEB | {"ref": "refs/heads/**"}, use="release"),
        {"conditions": {"release": {"when": {"ref": ["refs/heads/main", "refs/heads/release/*"]}}}},
    ),
    "a gate and a pin in what is used": (
        rule({"repository_id": {"in": "pay"}}, use=["release"]),
        {
            "conditions": {"release": {"when": {"ref_protected": "true", "environment": "production"}}},
            "lists": {"pay": ["640000001", "640000002"]},
        },
    ),
    "GitLab by path": (rule({"project_id": "1", "ref_path": "refs/heads/main"}, issuer="gitlab"), {}),
    "GitLab by ref and type": (rule({"project_id": "1", "ref": "main", "ref_type": "branch"}, issuer="gitlab"), {}),
    "GitLab by ref, protected": (
        rule({"project_id": "1", "ref": "main", "ref_protected": "true"}, issuer="gitlab"),
        {},
    ),
    "Azure Pipelines on main": (rule({"def_id": "1", "prj_id": GUID, "rpo_ref": "refs/heads/main"}, issuer="ado"), {}),
    "a service connection": (rule({"sub": "sc://contoso/web/registry"}, issuer="ado"), {}),
    "CircleCI on main": (rule({PROJECT: GUID, "oidc.circleci.com/vcs-ref": "refs/heads/main"}, issuer="circleci"), {}),
    "Bitbucket's branch": (rule({"repositoryUuid": f"{{{GUID}}}", "branchName": "main"}, issuer="bitbucket"), {}),
    "Terraform applies": (
        rule({"terraform_workspace_id": "ws-1", "terraform_run_phase": "apply"}, issuer="terraform"),
        {},
    ),
    "a stack applies": (rule({"terraform_stack_id": "st-1", "terraform_operation": "apply"}, issuer="terraform"), {}),
    "a service account": (rule({"/kubernetes.io/serviceaccount/uid": GUID}, issuer="cluster"), {}),
    "a Google account": (rule({"sub": "1"}, issuer="google"), {}),
    "an Entra identity": (rule({"oid": GUID}, issuer="entra"), {}),
    "Spacelift writes": (rule({"spaceId": "s", "callerId": "c", "scope": "write"}, issuer="spacelift"), {}),
    "some other workload": (rule({"sub": "workload:builder"}, issuer="other"), {}),
    "a deny of pull requests": (
        rule(MAIN),
        {
            "deny": [
                {"name": "d", "issuer": "github", "repositories": ["web/**"], "actions": ["push"]}
                | {"when": {"ref": "refs/pull/**"}}
            ]
        },
    ),
    "a deny by id": (
        rule(MAIN),
        {
            "deny": [
                {"name": "d", "issuer": "github", "repositories": ["web/**"], "actions": ["push"]}
                | {"when": {"repository_id": "7"}}
            ]
        },
    ),
    "a few prefixes": (rule(WEB, ["web/**", "base/**", "tools/**"], PULL), {}),
    "a repository with dots": (rule(MAIN, "tools.internal/api"), {}),
    "a folded claim in lower case": (
        rule(MAIN | {"repository": "contoso/web"}, "ci/{repository|lower|path}"),
        {},
    ),
    "an audit claim": (rule(MAIN), {"audit": {"claims": ["actor", "repo_property_team"]}}),
}


@pytest.mark.parametrize("name", SANE)
def test_a_sane_policy_is_not_warned_about(tmp_path: Path, name: str) -> None:
    sane, sections = SANE[name]
    assert [str(found) for found in problems(tmp_path, sane, **sections) if found.severity == "warning"] == []


# --- Acceptances ------------------------------------------------------------------------------------------------------

ACCEPT = {"ungated_write": "a scratch registry, SEC-12"}


def test_an_accepted_warning_is_silent_for_that_entry_alone(tmp_path: Path) -> None:
    first, second = rule(WEB, accept=ACCEPT), rule({"repository_id": "7"}) | {"name": "s"}
    [problem] = problems(tmp_path, first, second)
    assert problem.code == Lint.UNGATED_WRITE
    assert problem.line > 30


@pytest.mark.parametrize(
    ("code", "why"),
    [("ungated_write", "there is no such warning here any more"), ("ungated_writ", "no warning has this code")],
)
def test_an_acceptance_that_silences_nothing_is_a_warning(tmp_path: Path, code: str, why: str) -> None:
    [problem] = problems(tmp_path, rule(MAIN, accept={code: "once"}))
    assert (problem.code, problem.severity) == (Lint.ACCEPT_UNUSED, "warning")
    assert why in problem.message


def test_an_acceptance_on_an_issuer_and_a_deny_entry_works(tmp_path: Path) -> None:
    ado = problems(tmp_path, rule({"def_id": "1", "prj_id": GUID, "rpo_ref": "refs/heads/main"}, issuer="ado"))
    assert {problem.code for problem in ado} == {Lint.ISSUER_ENDS}
    deny: dict[str, Any] = {"name": "d", "issuer": "github", "repositories": ["old/**"], "actions": ["push"]}
    deny |= {"when": {"ref": "refs/heads/*"}, "accept": {"star_misses": "branches with a slash may push"}}
    assert problems(tmp_path, rule(MAIN), deny=[deny]) == ()


def test_a_rule_accepts_what_is_said_of_a_condition_that_it_uses(tmp_path: Path) -> None:
    conditions = {"reviewed": {"unless": {"ref": "refs/pull/*"}}}
    first = rule(WEB, actions=PULL, use="reviewed", accept={"star_misses": "there are no pull requests"})
    assert problems(tmp_path, first, conditions=conditions) == ()
    second = rule({"repository_id": "7"}, actions=PULL, use="reviewed") | {"name": "s"}
    assert [problem.code for problem in problems(tmp_path, first, second, conditions=conditions)] == [Lint.STAR_MISSES]


def test_what_many_rules_use_is_criticised_once(tmp_path: Path) -> None:
    conditions = {"reviewed": {"unless": {"ref": "refs/pull/*"}}}
    many = [rule({"repository_id": str(n)}, actions=PULL, use="reviewed") | {"name": f"r{n}"} for n in range(9)]
    assert [problem.code for problem in problems(tmp_path, *many, conditions=conditions)] == [Lint.STAR_MISSES]


def test_an_accepted_information_is_silent_too(tmp_path: Path) -> None:
    pulls = rule(MAIN, actions=["pull"], accept={"pull_without_metadata_read": "nobody lists tags"})
    assert problems(tmp_path, pulls) == ()


# --- What the language has besides ------------------------------------------------------------------------------------

BOTH = {
    "registries": {"prod": {"login_server": "contoso.azurecr.io"}, "dev": {"login_server": "contosodev.azurecr.io"}}
}


def _deny(**more: Any) -> dict[str, Any]:
    return {"name": "d", "repositories": ["web/**"], "actions": ["push"]} | more


@pytest.mark.parametrize(
    ("deny", "denied"),
    [
        (_deny(), True),
        (_deny(registry="prod"), False),
        (_deny(expires="2027-01-01"), False),
        (_deny(not_before="2027-01-01"), False),
        (_deny(issuer="github", when={"environment": {"absent": True}}), False),
        (_deny(issuer="github", when={"ref": "refs/heads/main"}), True),
        (_deny(issuer="github", unless={"ref": {"absent": True}}), True),
    ],
)
def test_a_grant_in_several_registries_is_denied_where_all_of_it_is(
    tmp_path: Path, deny: dict[str, Any], denied: bool
) -> None:
    both = rule(MAIN)
    both["grant"][0]["registry"] = ["prod", "dev"]
    found = {problem.code for problem in problems(tmp_path, both, deny=[deny], **BOTH)}
    assert (Lint.DENIED_GRANT in found) is denied


def test_pull_in_one_registry_does_not_help_a_push_in_another(tmp_path: Path) -> None:
    both = rule(MAIN, actions=["push"])
    both["grant"][0]["registry"] = ["prod", "dev"]
    both["grant"].append({"registry": "prod", "repositories": ["web/**"], "actions": ["pull", "metadata_read"]})
    assert {problem.code for problem in problems(tmp_path, both, **BOTH)} == {Lint.PUSH_WITHOUT_PULL}
    both["grant"][1]["registry"] = ["dev", "prod"]
    assert problems(tmp_path, both, **BOTH) == ()


@pytest.mark.parametrize(
    ("repositories", "denied"),
    [("{repository_id|images}", True), ("{repository_id|mixed}", False), ("web/{repository_id}/**", True)],
)
def test_maps_with_lists_and_tails_of_templates_are_looked_into(
    tmp_path: Path, repositories: str, denied: bool
) -> None:
    maps = {"images": {"1": ["web/api", "web/api/**"]}, "mixed": {"1": ["web/api", "old"]}}
    used = {name: table for name, table in maps.items() if name in repositories}
    sections: dict[str, Any] = {"deny": [_deny()]} | ({"maps": used} if used else {})
    found = problems(tmp_path, rule(MAIN, repositories), **sections)
    assert (Lint.DENIED_GRANT in {p.code for p in found if p.severity == "warning"}) is denied


@pytest.mark.parametrize(
    ("second", "same"),
    [
        (rule(MAIN), True),
        (rule({"repository_id": "123456"}, use="main"), True),
        (rule({"repository_id": {"in": "one"}, "ref": "refs/heads/main"}), True),
        (rule(WEB, use="main", unless={"actor": "mona"}), False),
        (rule(MAIN, when_any=[{"environment": "production"}]), False),
        (rule(MAIN | {"environment": {"absent": True}}), False),
        (rule(MAIN, not_before="2027-01-01"), False),
    ],
)
def test_two_rules_are_the_same_by_what_they_say(tmp_path: Path, second: dict[str, Any], same: bool) -> None:
    sections = {"conditions": {"main": {"when": {"ref": "refs/heads/main"}}}, "lists": {"one": ["123456"]}}
    found = {problem.code for problem in problems(tmp_path, rule(MAIN), second | {"name": "s"}, **sections)}
    assert (Lint.DUPLICATE_RULE in found) is same
