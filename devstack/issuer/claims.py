"""The claims that CI systems put into their tokens, as plain data; it signs nothing.

Claim names and value types follow the vendors' documentation: GitHub "OpenID Connect reference", GitLab "ID token
payload", Kubernetes "Service account token structure". Every shape takes overrides and derives `sub` from the result.
"""

import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from devstack.keys import without_omitted

Claims = dict[str, Any]
Shape = Callable[..., Claims]

OWNER_ID = "9919"
REPOSITORY_ID = "123456"
GITLAB_PROJECT_ID = "4200"
GITLAB_NAMESPACE_ID = "77"
SERVICE_ACCOUNT_UID = "8a2f6a2e-5f0f-4c5e-9d3b-0c1f7a0f1b11"

_GITHUB_LIFETIME = 5 * 60
_GITHUB_BACKDATED = 10 * 60
"""GitHub's `nbf` lies ten minutes before its `iat`."""
_GITLAB_LIFETIME = 60 * 60
_KUBERNETES_LIFETIME = 60 * 60
_AZURE_DEVOPS_LIFETIME = 10 * 60
_GENERIC_LIFETIME = 60 * 60


def _registered(issuer: str, audience: Any, at: float, lifetime: int) -> Claims:
    issued = int(at)
    return {"iss": issuer, "aud": audience, "iat": issued, "nbf": issued, "exp": issued + lifetime}


def github(issuer: str, audience: Any, *, at: float | None = None, **overrides: Any) -> Claims:
    """Describe a GitHub Actions job: a push to main of contoso/web. All values but times are strings."""
    now = time.time() if at is None else at
    claims: Claims = {
        **_registered(issuer, audience, now, _GITHUB_LIFETIME),
        "nbf": int(now) - _GITHUB_BACKDATED,
        "jti": str(uuid.uuid4()),
        "repository": "contoso/web",
        "repository_id": REPOSITORY_ID,
        "repository_owner": "contoso",
        "repository_owner_id": OWNER_ID,
        "repository_visibility": "private",
        "ref": "refs/heads/main",
        "ref_type": "branch",
        "ref_protected": "true",
        "sha": "0b5c1a9d5d1c4f5e8a9e2b7c3d4e5f60718293a4",
        "event_name": "push",
        "head_ref": "",
        "base_ref": "",
        "actor": "octocat",
        "actor_id": "583231",
        "workflow": "release",
        "workflow_ref": "contoso/web/.github/workflows/release.yml@refs/heads/main",
        "workflow_sha": "0b5c1a9d5d1c4f5e8a9e2b7c3d4e5f60718293a4",
        "job_workflow_ref": "contoso/web/.github/workflows/release.yml@refs/heads/main",
        "job_workflow_sha": "0b5c1a9d5d1c4f5e8a9e2b7c3d4e5f60718293a4",
        "run_id": "7042500123",
        "run_number": "41",
        "run_attempt": "1",
        "runner_environment": "github-hosted",
        **overrides,
    }
    claims.setdefault("sub", f"repo:{claims['repository']}:{_github_context(without_omitted(claims))}")
    return claims


def _github_context(claims: Mapping[str, Any]) -> str:
    if "environment" in claims:
        return f"environment:{str(claims['environment']).replace(':', '%3A')}"
    if claims.get("event_name") == "pull_request":
        return "pull_request"
    return f"ref:{claims.get('ref', '')}"


def gitlab(issuer: str, audience: Any, *, at: float | None = None, **overrides: Any) -> Claims:
    """Describe a GitLab job: a push to main of contoso/api."""
    now = time.time() if at is None else at
    claims: Claims = {
        **_registered(issuer, audience, now, _GITLAB_LIFETIME),
        "nbf": int(now) - 5,
        "jti": str(uuid.uuid4()),
        "namespace_id": GITLAB_NAMESPACE_ID,
        "namespace_path": "contoso",
        "project_id": GITLAB_PROJECT_ID,
        "project_path": "contoso/api",
        "user_id": "12",
        "user_login": "sidney",
        "user_email": "sidney@contoso.example",
        "user_access_level": "maintainer",
        "pipeline_id": "1212",
        "pipeline_source": "push",
        "job_id": "1363",
        "ref": "main",
        "ref_type": "branch",
        "ref_path": "refs/heads/main",
        "ref_protected": "true",
        "runner_id": 1,
        "runner_environment": "self-hosted",
        "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
        "project_visibility": "private",
        "ci_config_ref_uri": "gitlab.contoso.example/contoso/api//.gitlab-ci.yml@refs/heads/main",
        "ci_config_sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
        **overrides,
    }
    claims.setdefault("sub", f"project_path:{claims['project_path']}:ref_type:{claims['ref_type']}:ref:{claims['ref']}")
    return claims


def kubernetes(issuer: str, audience: Any, *, at: float | None = None, **overrides: Any) -> Claims:
    """Describe a pod's projected service account token: production/deployer. `aud` is a list, as the API server's."""
    now = time.time() if at is None else at
    namespace, name = overrides.pop("namespace", "production"), overrides.pop("service_account", "deployer")
    return {
        **_registered(issuer, audience if isinstance(audience, list) else [audience], now, _KUBERNETES_LIFETIME),
        "jti": str(uuid.uuid4()),
        "kubernetes.io": {
            "namespace": namespace,
            "node": {"name": "node-1", "uid": "2b8e1c70-9c1e-4b5a-8b51-6f8e7e5a7a01"},
            "pod": {"name": f"{name}-7d9c8b6f5-x2x7k", "uid": "5fd2b1d4-0c5f-4c39-9a55-2b7b0a7f8b02"},
            "serviceaccount": {"name": name, "uid": SERVICE_ACCOUNT_UID},
            "warnafter": int(now) + _KUBERNETES_LIFETIME - 7,
        },
        "sub": f"system:serviceaccount:{namespace}:{name}",
        **overrides,
    }


def azure_devops(issuer: str, audience: Any, *, at: float | None = None, **overrides: Any) -> Claims:
    """Describe an Azure DevOps pipeline run."""
    now = time.time() if at is None else at
    return {
        **_registered(issuer, audience, now, _AZURE_DEVOPS_LIFETIME),
        "jti": str(uuid.uuid4()),
        "sub": "p://contoso/web/release",
        "org_id": "0f1e2d3c-0001-4000-8000-000000000001",
        "prj_id": "0f1e2d3c-0002-4000-8000-000000000002",
        "def_id": "17",
        "rpo_id": "0f1e2d3c-0003-4000-8000-000000000003",
        "rpo_uri": "https://dev.azure.com/contoso/web/_git/web",
        "rpo_ver": "0b5c1a9d5d1c4f5e8a9e2b7c3d4e5f60718293a4",
        "rpo_ref": "refs/heads/main",
        "run_id": "901",
        **overrides,
    }


def generic(issuer: str, audience: Any, *, at: float | None = None, **overrides: Any) -> Claims:
    """Describe some workload of an issuer that no preset knows."""
    now = time.time() if at is None else at
    return {
        **_registered(issuer, audience, now, _GENERIC_LIFETIME),
        "jti": str(uuid.uuid4()),
        "sub": "workload:builder",
        **overrides,
    }
