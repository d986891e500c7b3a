"""HCP Terraform (workspaces and stacks) and Terraform Enterprise."""

from __future__ import annotations

import datetime
import re
from typing import Final

from vending.policy.providers.forms import form, one_of
from vending.policy.providers.preset import (
    HOUR,
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

_PAGE: Final = (
    "https://developer.hashicorp.com/terraform/cloud-docs/dynamic-provider-credentials/workload-identity-tokens"
)
_STACKS: Final = "https://developer.hashicorp.com/terraform/language/block/stack/tfdeploy/identity_token"
_URL: Final = "https://app.terraform.io"
_EUROPE: Final = "https://app.eu.terraform.io"

# A workspace's token has a workspace and a run phase; a stack's has a stack and an operation, and neither of those.
_CLAIMS = frozen(
    named("terraform_organization_id", always=True, form=form(r"org-.+", "begins with org-", "org-1", "org-")),
    named("terraform_organization_name", always=True, instead="terraform_organization_id"),
    named("terraform_project_id", always=True, form=form(r"prj-.+", "begins with prj-", "prj-1", "prj-")),
    named("terraform_project_name", always=True),
    named("terraform_workspace_id", form=form(r"ws-.+", "begins with ws-", "ws-1", "ws-")),
    named("terraform_workspace_name", instead="terraform_workspace_id"),
    named("terraform_full_workspace terraform_run_id"),
    named("terraform_run_phase", form=one_of("plan", "apply")),
    named("terraform_stack_id", page=_STACKS),
    named("terraform_stack_name", instead="terraform_stack_id", page=_STACKS),
    named("terraform_stack_deployment_name terraform_plan_id", page=_STACKS),
    named("terraform_operation", form=one_of("plan", "apply"), page=_STACKS),
    named("nbf", ClaimType.INTEGER, always=True),
    named("jti", always=True),
)

_APPLY = Sample(
    "the apply of a run of the workspace web",
    {
        "jti": "1192426d-b525-4fde-9d42-f238be437bbd",
        "iss": _URL,
        "aud": "https://vend.contoso.example",
        "iat": 1795860300,
        "nbf": 1795860295,
        "exp": 1795867500,
        "sub": "organization:contoso:project:platform:workspace:web:run_phase:apply",
        "terraform_organization_id": "org-GRNbCjYNpBB6NEBH",
        "terraform_organization_name": "contoso",
        "terraform_project_id": "prj-vegSA59s1XPwMr2t",
        "terraform_project_name": "platform",
        "terraform_workspace_id": "ws-mbsd5E3Ktt5Rg2Xm",
        "terraform_workspace_name": "web",
        "terraform_full_workspace": "organization:contoso:project:platform:workspace:web",
        "terraform_run_id": "run-X3n1AUXNGWbfECsJ",
        "terraform_run_phase": "apply",
    },
    "organization:{terraform_organization_name}:project:{terraform_project_name}"
    ":workspace:{terraform_workspace_name}:run_phase:{terraform_run_phase}",
)

PRESET: Final = Preset(
    name="terraform-cloud",
    as_of=datetime.date(2026, 11, 28),
    page=_PAGE,
    default_issuer=_URL,
    shared_issuers=(_URL, _EUROPE),
    issuer_form=f"{_EUROPE} or the URL of your Terraform Enterprise",
    addresses=(Address(re.compile(r"https://[^/]+")),),
    multi_tenant=True,
    identity=(
        "terraform_organization_id",
        "terraform_workspace_id",
        "terraform_stack_id",
        "terraform_organization_name",
        "terraform_workspace_name",
        "terraform_stack_name",
    ),
    immutable=("terraform_organization_id", "terraform_workspace_id", "terraform_stack_id"),
    pins=(
        "terraform_organization_id",
        "terraform_workspace_id",
        "terraform_stack_id",
        "terraform_organization_name",
    ),
    callers=(("terraform_workspace_id",), ("terraform_stack_id",)),
    replay="reuse",
    lifetime=25 * HOUR,
    job=("terraform_run_id", "terraform_run_phase", "terraform_plan_id", "terraform_operation"),
    claims=_CLAIMS,
    units=frozenset(
        {"terraform_workspace_id", "terraform_workspace_name", "terraform_stack_id", "terraform_stack_name"}
    ),
    gates={"terraform_run_phase": Gate.TRIGGER, "terraform_operation": Gate.TRIGGER},
    unreviewed=(("terraform_run_phase", "plan"), ("terraform_operation", "plan")),
    samples=samples(
        default=_APPLY,
        plan=varied(
            _APPLY,
            "the plan of a run of the workspace web",
            {
                "sub": "organization:contoso:project:platform:workspace:web:run_phase:plan",
                "terraform_run_phase": "plan",
            },
        ),
        stack=varied(
            _APPLY,
            "the apply of the deployment production of the stack web",
            {
                "aud": ["https://vend.contoso.example"],
                "sub": "organization:contoso:project:platform:stack:web:deployment:production:operation:apply",
                "terraform_stack_id": "st-3FJqZKVsYdFdJ8mE",
                "terraform_stack_name": "web",
                "terraform_stack_deployment_name": "production",
                "terraform_operation": "apply",
                "terraform_plan_id": "sdp-7Qb1p2Kc4N9vXwYz",
            },
            without=(
                "terraform_workspace_id",
                "terraform_workspace_name",
                "terraform_full_workspace",
                "terraform_run_id",
                "terraform_run_phase",
            ),
            subject="organization:{terraform_organization_name}:project:{terraform_project_name}"
            ":stack:{terraform_stack_name}:deployment:{terraform_stack_deployment_name}"
            ":operation:{terraform_operation}",
        ),
    ),
)
