"""GitHub Actions: github.com, an enterprise's own issuer, ghe.com and GitHub Enterprise Server."""

from __future__ import annotations

import datetime
import re
from typing import Final

from vending.policy.providers.forms import BOOLEAN_TEXT, COMMIT, NAME, NUMBER, REF, REF_TYPE, SOME, WORD, form, one_of
from vending.policy.providers.preset import (
    MINUTE,
    Address,
    BeginsWith,
    ClaimType,
    Follows,
    Gate,
    Preset,
    Sample,
    frozen,
    named,
    samples,
    varied,
)

_PAGE: Final = "https://docs.github.com/actions/reference/security/oidc"
_URL: Final = "https://token.actions.githubusercontent.com"

_WORKFLOW: Final = form(
    r"[^/]+/[^/]+/.+@.+", "is <owner>/<repository>/<path>@<ref>", "contoso/web/.github/workflows/ci.yml@refs/heads/main"
)

# Every value is a string, ids and booleans included. Custom properties of the repository come as repo_property_<name>.
_CLAIMS = frozen(
    named("actor", always=True),
    named("actor_id", always=True, form=NUMBER),
    named("event_name", always=True, form=WORD),
    named("base_ref head_ref run_attempt run_id run_number workflow", always=True),
    named("job_workflow_ref workflow_ref", always=True, form=_WORKFLOW),
    named("job_workflow_sha workflow_sha sha", always=True, form=COMMIT),
    named("ref", always=True, form=REF),
    named("ref_protected", always=True, form=BOOLEAN_TEXT),
    named("ref_type", always=True, form=REF_TYPE),
    named(
        "repository",
        always=True,
        form=form(r"[^/]+/[^/]+", "is <owner>/<name>", "contoso/web"),
        instead="repository_id",
    ),
    named("repository_owner", always=True, form=NAME, instead="repository_owner_id"),
    named("repository_id repository_owner_id", always=True, form=NUMBER),
    named("repository_visibility", always=True, form=one_of("public", "private", "internal")),
    named("runner_environment", always=True, form=one_of("github-hosted", "self-hosted")),
    named(
        "sub",
        always=True,
        form=form(r".+:.+", "is repo:<owner>/<name>:<context>", "repo:contoso/web:ref:refs/heads/main"),
    ),
    named("nbf", ClaimType.INTEGER, always=True),
    named("jti", always=True),
    named("check_run_id", since="2025-11"),
    named("enterprise"),
    named("enterprise_id", form=NUMBER),
    named("environment", form=SOME),
    named("environment_node_id"),
)

_DEFAULT = Sample(
    "a push to the main branch of contoso/web",
    {
        "jti": "8b2f5c9e-3b6f-4d57-9c0e-6a7a51d1c0de",
        "sub": "repo:contoso/web:ref:refs/heads/main",
        "aud": "https://github.com/contoso",
        "iss": _URL,
        "ref": "refs/heads/main",
        "sha": "0b5c1a9d5d1c4f5e8a9e2b7c3d4e5f60718293a4",
        "repository": "contoso/web",
        "repository_id": "123456",
        "repository_owner": "contoso",
        "repository_owner_id": "9919",
        "repository_visibility": "private",
        "run_id": "7042500123",
        "run_number": "41",
        "run_attempt": "1",
        "runner_environment": "github-hosted",
        "actor": "octocat",
        "actor_id": "583231",
        "workflow": "release",
        "workflow_ref": "contoso/web/.github/workflows/release.yml@refs/heads/main",
        "workflow_sha": "0b5c1a9d5d1c4f5e8a9e2b7c3d4e5f60718293a4",
        "job_workflow_ref": "contoso/web/.github/workflows/release.yml@refs/heads/main",
        "job_workflow_sha": "0b5c1a9d5d1c4f5e8a9e2b7c3d4e5f60718293a4",
        "check_run_id": "40275118230",
        "head_ref": "",
        "base_ref": "",
        "event_name": "push",
        "ref_protected": "true",
        "ref_type": "branch",
        "nbf": 1795859700,
        "exp": 1795860600,
        "iat": 1795860300,
    },
    "repo:{repository}:ref:{ref}",
)

_PULL_REQUEST = varied(
    _DEFAULT,
    "a pull request of contoso/web",
    {
        "sub": "repo:contoso/web:pull_request",
        "event_name": "pull_request",
        "ref": "refs/pull/7/merge",
        "head_ref": "add-cache",
        "base_ref": "main",
        "ref_protected": "false",
        "workflow_ref": "contoso/web/.github/workflows/release.yml@refs/pull/7/merge",
        "job_workflow_ref": "contoso/web/.github/workflows/release.yml@refs/pull/7/merge",
    },
    subject="repo:{repository}:pull_request",
)

PRESET: Final = Preset(
    name="github",
    as_of=datetime.date(2026, 11, 28),
    page=_PAGE,
    default_issuer=_URL,
    shared_issuers=(_URL,),
    issuer_form=f"{_URL}/<enterprise>, https://token.actions.<name>.ghe.com or https://<host>/_services/token",
    addresses=(
        Address(re.compile(rf"{re.escape(_URL)}(/[A-Za-z0-9-]+)?")),
        Address(re.compile(r"https://token\.actions\.[a-z0-9-]+\.ghe\.com")),
        Address(re.compile(r"https://[^/]+/_services/token")),
    ),
    multi_tenant=True,
    identity=("repository_id", "repository_owner_id", "repository", "repository_owner", "enterprise_id"),
    immutable=("repository_id", "repository_owner_id", "enterprise_id"),
    pins=("repository_id", "repository_owner_id", "repository", "repository_owner", "enterprise_id"),
    callers=(("repository_id",),),
    replay="once",
    lifetime=15 * MINUTE,
    # GitHub compares names of owners, repositories, people and environments without case.
    folded=frozenset({"environment", "repository", "repository_owner", "actor"}),
    prefix_free=frozenset({"repository"}),
    # The first two run with the base repository's rights on another's code:
    # https://securitylab.github.com/resources/github-actions-preventing-pwn-requests/
    # Anybody with an account can start the others on the default branch, by a comment or a click.
    refused=tuple(
        ("event_name", trigger)
        for trigger in (
            "pull_request_target",
            "workflow_run",
            "issue_comment",
            "issues",
            "discussion",
            "discussion_comment",
            "watch",
            "fork",
            "gollum",
        )
    ),
    personal=frozenset({"actor", "actor_id"}),
    job=("run_id", "run_attempt", "ref", "sha", "workflow_ref", "environment"),
    claims=_CLAIMS,
    prefixes=("repo_property_",),
    other=ClaimType.TEXT,
    relations=(
        BeginsWith("repository", "repository_owner"),
        Follows("ref", "refs/heads/**", "ref_type", "branch"),
        Follows("ref", "refs/tags/**", "ref_type", "tag"),
    ),
    units=frozenset({"repository_id", "repository"}),
    gates={
        "ref": Gate.REF,
        "ref_protected": Gate.FLAG,
        "ref_type": Gate.KIND,
        "environment": Gate.ENVIRONMENT,
        "event_name": Gate.TRIGGER,
        "job_workflow_ref": Gate.WORKFLOW,
        "workflow_ref": Gate.WORKFLOW,
        "job_workflow_sha": Gate.FLAG,
        "workflow_sha": Gate.FLAG,
        "sha": Gate.FLAG,
        "actor": Gate.CHOSEN,
        "actor_id": Gate.CHOSEN,
        "workflow": Gate.CHOSEN,
        "head_ref": Gate.CHOSEN,
        "base_ref": Gate.CHOSEN,
    },
    unreviewed=(("event_name", "pull_request"), ("ref", "refs/pull/**")),
    deep=frozenset({"ref", "head_ref", "base_ref", "environment", "job_workflow_ref", "workflow_ref"}),
    subject_varies=True,
    composed=frozenset({"job_workflow_ref", "workflow_ref"}),
    samples=samples(
        default=_DEFAULT,
        pull_request=_PULL_REQUEST,
        tag=varied(
            _DEFAULT,
            "a push of the tag v1.2.0 of contoso/web",
            {
                "sub": "repo:contoso/web:ref:refs/tags/v1.2.0",
                "ref": "refs/tags/v1.2.0",
                "ref_type": "tag",
                "workflow_ref": "contoso/web/.github/workflows/release.yml@refs/tags/v1.2.0",
                "job_workflow_ref": "contoso/web/.github/workflows/release.yml@refs/tags/v1.2.0",
            },
        ),
        environment=varied(
            _DEFAULT,
            "a job of contoso/web in the environment production",
            {
                "sub": "repo:contoso/web:environment:production",
                "environment": "production",
                "environment_node_id": "EN_kwDOAAHiQM8AAAABF0V5tw",
            },
            subject="repo:{repository}:environment:{environment}",
        ),
        reusable_workflow=varied(
            _DEFAULT,
            "a push to main of contoso/web whose job is a reusable workflow of contoso/workflows",
            {
                "job_workflow_ref": "contoso/workflows/.github/workflows/build.yml@refs/tags/v3",
                "job_workflow_sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
            },
        ),
        immutable_subject=varied(
            _DEFAULT,
            "a push to main of a repository whose subject has ids",
            {"sub": "repo:contoso@9919/web@123456:ref:refs/heads/main"},
            subject="repo:contoso@{repository_owner_id}/web@{repository_id}:ref:{ref}",
        ),
        enterprise=varied(
            _DEFAULT,
            "a push to main of contoso/web in an enterprise with an issuer of its own",
            {"iss": f"{_URL}/contoso-group", "enterprise": "contoso-group", "enterprise_id": "4711"},
        ),
    ),
)
