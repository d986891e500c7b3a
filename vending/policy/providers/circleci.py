"""CircleCI, by the issuer of an organisation or by the root issuer that all organisations share."""

from __future__ import annotations

import datetime
import re
from typing import Final

from vending.policy.providers.forms import COMMIT, GUID, REF
from vending.policy.providers.preset import (
    MINUTE,
    Address,
    ClaimType,
    Gate,
    Preset,
    Sample,
    frozen,
    named,
    samples,
    varied,
)

_PAGE: Final = "https://circleci.com/docs/guides/permissions-authentication/openid-connect-tokens/"
_ROOT: Final = "https://oidc.circleci.com"

# The names of the claims hold dots and a slash; they are names, not pointers.
_CLAIMS = frozen(
    named("oidc.circleci.com/project-id oidc.circleci.com/org-id", always=True, form=GUID),
    named("oidc.circleci.com/context-ids", many=True, form=GUID),
    named("oidc.circleci.com/job-id oidc.circleci.com/workflow-id", form=GUID),
    named("oidc.circleci.com/pipeline-id oidc.circleci.com/pipeline-definition-id", form=GUID),
    named("oidc.circleci.com/vcs-origin"),
    named("oidc.circleci.com/vcs-ref", form=REF),
    named(
        "oidc.circleci.com/vcs-sha",
        since="2025-11",
        form=COMMIT,
        page="https://github.com/circleci/circleci-docs/pull/9725",
    ),
    named("oidc.circleci.com/ssh-rerun", ClaimType.BOOLEAN),
    named("jti"),
)

_ORGANIZATION: Final = "5d0a4f2e-8c1b-4f7a-9e63-0b1c2d3e4f50"
_PROJECT: Final = "7e3f1c2d-4b5a-4968-8776-5a4b3c2d1e0f"
_USER: Final = "9c8b7a6d-5e4f-4321-8abc-def012345678"

_DEFAULT = Sample(
    "a job of contoso/web on main, with $CIRCLE_OIDC_TOKEN",
    {
        "aud": _ORGANIZATION,
        "exp": 1795863900,
        "iat": 1795860300,
        "iss": f"{_ROOT}/org/{_ORGANIZATION}",
        "jti": "c4a6e2b8-1d3f-4e5a-8b7c-9d0e1f2a3b4c",
        "oidc.circleci.com/context-ids": ["a74579f1-2e7d-451e-b009-5c082ad2729e"],
        "oidc.circleci.com/job-id": "2f3e4d5c-6b7a-4988-8766-554433221100",
        "oidc.circleci.com/org-id": _ORGANIZATION,
        "oidc.circleci.com/pipeline-definition-id": "11d4f1a0-0b1c-4d2e-8f3a-4b5c6d7e8f90",
        "oidc.circleci.com/pipeline-id": "3a4b5c6d-7e8f-4a1b-8c2d-3e4f5a6b7c8d",
        "oidc.circleci.com/project-id": _PROJECT,
        "oidc.circleci.com/ssh-rerun": False,
        "oidc.circleci.com/vcs-origin": "github.com/contoso/web",
        "oidc.circleci.com/vcs-ref": "refs/heads/main",
        "oidc.circleci.com/vcs-sha": "0b5c1a9d5d1c4f5e8a9e2b7c3d4e5f60718293a4",
        "oidc.circleci.com/workflow-id": "4c5d6e7f-8a9b-4c0d-8e1f-2a3b4c5d6e7f",
        "sub": f"org/{_ORGANIZATION}/project/{_PROJECT}/user/{_USER}",
    },
    "org/{oidc.circleci.com/org-id}/project/{oidc.circleci.com/project-id}/user/" + _USER,
)

PRESET: Final = Preset(
    name="circleci",
    as_of=datetime.date(2026, 11, 28),
    page=_PAGE,
    shared_issuers=(_ROOT,),
    issuer_form=f"{_ROOT}/org/<organization id>",
    addresses=(
        Address(re.compile(rf"{re.escape(_ROOT)}/org/{GUID.pattern.pattern}")),
        Address(re.compile(re.escape(_ROOT))),
    ),
    multi_tenant="at_shared_issuer",
    identity=("oidc.circleci.com/org-id", "oidc.circleci.com/project-id"),
    immutable=("oidc.circleci.com/org-id", "oidc.circleci.com/project-id"),
    pins=("oidc.circleci.com/org-id", "oidc.circleci.com/project-id"),
    callers=(("oidc.circleci.com/project-id",),),
    replay="reuse",
    lifetime=65 * MINUTE,
    # Whoever may log in to a job that was rerun with SSH can use its token.
    refused=(("oidc.circleci.com/ssh-rerun", True),),
    job=(
        "oidc.circleci.com/job-id",
        "oidc.circleci.com/workflow-id",
        "oidc.circleci.com/pipeline-id",
        "oidc.circleci.com/vcs-ref",
        "oidc.circleci.com/vcs-sha",
    ),
    claims=_CLAIMS,
    units=frozenset({"oidc.circleci.com/project-id"}),
    gates={
        "oidc.circleci.com/vcs-ref": Gate.REF,
        "oidc.circleci.com/vcs-sha": Gate.FLAG,
        "oidc.circleci.com/context-ids": Gate.ENVIRONMENT,
        "oidc.circleci.com/pipeline-definition-id": Gate.CHOSEN,
    },
    deep=frozenset({"oidc.circleci.com/vcs-ref", "oidc.circleci.com/vcs-origin"}),
    samples=samples(
        default=_DEFAULT,
        v2=varied(
            _DEFAULT,
            "the same job, with $CIRCLE_OIDC_TOKEN_V2",
            {
                "sub": f"org/{_ORGANIZATION}/project/{_PROJECT}/user/{_USER}/vcs-origin/github.com/contoso/web"
                "/vcs-ref/refs/heads/main"
            },
            subject="org/{oidc.circleci.com/org-id}/project/{oidc.circleci.com/project-id}/user/"
            + _USER
            + "/vcs-origin/{oidc.circleci.com/vcs-origin}/vcs-ref/{oidc.circleci.com/vcs-ref}",
        ),
        root_issuer=varied(_DEFAULT, "the same job, with --root-issuer", {"iss": _ROOT}),
        custom_webhook=varied(
            _DEFAULT,
            "a job of a pipeline that a custom webhook started",
            {},
            without=("oidc.circleci.com/vcs-origin", "oidc.circleci.com/vcs-ref", "oidc.circleci.com/vcs-sha"),
        ),
        ssh_rerun=varied(_DEFAULT, "a job that was rerun with SSH", {"oidc.circleci.com/ssh-rerun": True}),
    ),
)
