"""Azure Pipelines, by the issuer of an Azure DevOps organisation."""

from __future__ import annotations

import datetime
import re
from typing import Final

from vending.policy.providers.forms import GUID, NUMBER, REF, form, one_of
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

_PAGE: Final = "https://learn.microsoft.com/azure/devops/pipelines/release/configure-workload-identity"

# A token that was asked for with a service connection has `sub: sc://…` and none of the ids.
_CLAIMS = frozen(
    named("org_id prj_id rpo_id", form=GUID),
    named("def_id run_id", form=NUMBER),
    named("rpo_uri rpo_ver"),
    named("rpo_ref", form=REF),
    named(
        "sub",
        always=True,
        form=form(
            r"(p|sc)://[^/]+/[^/]+/.+",
            "is p://<organisation>/<project>/<pipeline> or sc://<organisation>/<project>/<service connection>",
            "p://contoso/web/release",
        ),
    ),
    named("nbf", ClaimType.INTEGER, always=True),
    named("jti", always=True),
)

_DEFAULT = Sample(
    "a run of the pipeline release of contoso/web, on main",
    {
        "jti": "1b4e28ba-2fa1-41d2-883f-0016d3cca427",
        "sub": "p://contoso/web/release",
        "aud": "api://AzureADTokenExchange",
        "iss": "https://vstoken.dev.azure.com/0f1e2d3c-0001-4000-8000-000000000001",
        "nbf": 1795860300,
        "exp": 1795860900,
        "iat": 1795860300,
        "org_id": "0f1e2d3c-0001-4000-8000-000000000001",
        "prj_id": "0f1e2d3c-0002-4000-8000-000000000002",
        "def_id": "17",
        "rpo_id": "0f1e2d3c-0003-4000-8000-000000000003",
        "rpo_uri": "https://dev.azure.com/contoso/web/_git/web",
        "rpo_ver": "0b5c1a9d5d1c4f5e8a9e2b7c3d4e5f60718293a4",
        "rpo_ref": "refs/heads/main",
        "run_id": "901",
    },
)

PRESET: Final = Preset(
    name="azure-devops",
    as_of=datetime.date(2026, 11, 28),
    page=_PAGE,
    issuer_form="https://vstoken.dev.azure.com/<organization id>",
    addresses=(
        Address(
            re.compile(rf"https://vstoken\.dev\.azure\.com/{GUID.pattern.pattern}"),
            audience=one_of("api://AzureADTokenExchange"),
            # https://github.com/stackitcloud/terraform-provider-stackit/issues/1321
            ends=datetime.date(2027, 7, 1),
            instead="move the pipelines to service connections of the Entra issuer, and write one with preset: entra",
        ),
    ),
    multi_tenant=False,
    identity=("org_id", "prj_id", "def_id", "rpo_id"),
    immutable=("org_id", "prj_id", "def_id", "rpo_id"),
    callers=(("prj_id", "def_id"),),
    replay="once",
    lifetime=15 * MINUTE,
    job=("run_id", "rpo_ref", "rpo_ver"),
    claims=_CLAIMS,
    units=frozenset({"def_id", "rpo_id"}),
    gates={"rpo_ref": Gate.REF, "rpo_ver": Gate.FLAG},
    unreviewed=(("rpo_ref", "refs/pull/**"),),
    deep=frozenset({"rpo_ref"}),
    samples=samples(
        default=_DEFAULT,
        service_connection=varied(
            _DEFAULT,
            "a token that was asked for with the service connection registry of contoso/web",
            {"sub": "sc://contoso/web/registry"},
            without=("org_id", "prj_id", "def_id", "rpo_id", "rpo_uri", "rpo_ver", "rpo_ref", "run_id"),
        ),
    ),
)
