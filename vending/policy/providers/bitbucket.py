"""Bitbucket Pipelines, by the issuer of a workspace."""

from __future__ import annotations

import datetime
import re
from typing import Final

from vending.oidc.types import AppendedAudience
from vending.policy.providers.forms import BRACED_GUID, GUID
from vending.policy.providers.preset import (
    HOUR,
    Address,
    Gate,
    Preset,
    Sample,
    frozen,
    named,
    samples,
    varied,
)

_PAGE: Final = (
    "https://support.atlassian.com/bitbucket-cloud/docs/integrate-pipelines-with-resource-servers-using-oidc/"
)
_WORKSPACE: Final = "a1b2c3d4-0001-4000-8000-00000000000a"
_REPOSITORY: Final = "{b2c3d4e5-0002-4000-8000-00000000000b}"
_STEP: Final = "{c3d4e5f6-0003-4000-8000-00000000000c}"
_AUDIENCE: Final = f"ari:cloud:bitbucket::workspace/{_WORKSPACE}"

# Identifiers keep their braces.
_CLAIMS = frozen(
    named("repositoryUuid workspaceUuid", always=True, form=BRACED_GUID),
    named("pipelineUuid pipelineRunUuid stepUuid deploymentEnvironmentUuid", form=BRACED_GUID),
    named("branchName"),
)

_DEFAULT = Sample(
    "a step of a pipeline of contoso/web on main",
    {
        "sub": f"{_REPOSITORY}:{_STEP}",
        "aud": _AUDIENCE,
        "stepUuid": _STEP,
        "iss": "https://api.bitbucket.org/2.0/workspaces/contoso/pipelines-config/identity/oidc",
        "repositoryUuid": _REPOSITORY,
        "branchName": "main",
        "exp": 1795863900,
        "iat": 1795860300,
        "pipelineUuid": "{d4e5f6a7-0004-4000-8000-00000000000d}",
        "workspaceUuid": f"{{{_WORKSPACE}}}",
        "jti": "e5f6a7b8-0005-4000-8000-00000000000e",
    },
    "{repositoryUuid}:{stepUuid}",
)

PRESET: Final = Preset(
    name="bitbucket",
    as_of=datetime.date(2026, 11, 28),
    page=_PAGE,
    issuer_form="https://api.bitbucket.org/2.0/workspaces/<workspace>/pipelines-config/identity/oidc",
    addresses=(
        Address(re.compile(r"https://api\.bitbucket\.org/2\.0/workspaces/[^/]+/pipelines-config/identity/oidc")),
    ),
    multi_tenant=False,
    identity=("repositoryUuid", "workspaceUuid"),
    immutable=("repositoryUuid", "workspaceUuid"),
    callers=(("repositoryUuid",),),
    replay="reuse",
    lifetime=25 * HOUR,
    job=("pipelineUuid", "pipelineRunUuid", "stepUuid", "branchName"),
    claims=_CLAIMS,
    # https://www.atlassian.com/blog/bitbucket/bitbucket-pipelines-oidc-now-supports-multiple-audiences
    extra_audience=AppendedAudience(
        re.compile(rf"ari:cloud:bitbucket::workspace/(?P<tenant>{GUID.pattern.pattern})"), "workspaceUuid"
    ),
    units=frozenset({"repositoryUuid"}),
    gates={"branchName": Gate.BRANCH, "deploymentEnvironmentUuid": Gate.ENVIRONMENT},
    deep=frozenset({"branchName"}),
    samples=samples(
        default=_DEFAULT,
        custom_audience=varied(
            _DEFAULT,
            "a step that asks for an audience of its own",
            {"aud": ["https://vend.contoso.example", _AUDIENCE]},
        ),
        deployment=varied(
            _DEFAULT,
            "a step that deploys to an environment",
            {"deploymentEnvironmentUuid": "{f6a7b8c9-0006-4000-8000-00000000000f}"},
        ),
    ),
)
