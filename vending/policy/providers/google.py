"""Google Cloud service accounts: metadata servers and the IAM credentials API."""

from __future__ import annotations

import datetime
import re
from typing import Final

from vending.policy.providers.forms import EMAIL, NUMBER
from vending.policy.providers.preset import (
    MINUTE,
    Address,
    ClaimType,
    Preset,
    Sample,
    frozen,
    named,
    samples,
    varied,
)

_PAGE: Final = "https://cloud.google.com/docs/authentication/token-types#id"
_METADATA: Final = "https://cloud.google.com/compute/docs/instances/verifying-instance-identity"
_URL: Final = "https://accounts.google.com"

# The numeric `sub` is never used again; an e-mail address can be.
_CLAIMS = frozen(
    named("sub", always=True, form=NUMBER),
    named("azp", always=True, instead="sub"),
    named(
        "email",
        form=EMAIL,
        instead="sub",
        obtain="ask the metadata server with format=full, or generateIdToken with includeEmail",
    ),
    named("email_verified", ClaimType.BOOLEAN),
    named("hd"),
    named(
        "/google/compute_engine/project_id /google/compute_engine/zone /google/compute_engine/instance_id "
        "/google/compute_engine/instance_name",
        page=_METADATA,
    ),
    named(
        "/google/compute_engine/project_number /google/compute_engine/instance_creation_timestamp",
        ClaimType.INTEGER,
        page=_METADATA,
    ),
)

_DEFAULT = Sample(
    "a virtual machine's service account, from the metadata server",
    {
        "aud": "https://vend.contoso.example",
        "azp": "113774264463038321964",
        "exp": 1795863900,
        "iat": 1795860300,
        "iss": _URL,
        "sub": "113774264463038321964",
    },
)

PRESET: Final = Preset(
    name="google",
    as_of=datetime.date(2026, 11, 28),
    page=_PAGE,
    default_issuer=_URL,
    shared_issuers=(_URL,),
    issuer_form=_URL,
    addresses=(Address(re.compile(re.escape(_URL))),),
    multi_tenant=True,
    identity=("sub", "email", "azp"),
    immutable=("sub",),
    pins=("sub", "email", "azp"),
    callers=(("sub",),),
    replay="reuse",
    lifetime=65 * MINUTE,
    personal=frozenset({"email", "name", "given_name", "family_name", "picture"}),
    job=("/google/compute_engine/instance_id", "/google/compute_engine/instance_name"),
    claims=_CLAIMS,
    units=frozenset({"sub", "email", "azp"}),
    samples=samples(
        default=_DEFAULT,
        full=varied(
            _DEFAULT,
            "the same, with format=full",
            {
                "email": "builder@contoso-prod.iam.gserviceaccount.com",
                "email_verified": True,
                "google": {
                    "compute_engine": {
                        "instance_creation_timestamp": 1795774000,
                        "instance_id": "152986662232938449",
                        "instance_name": "builder-1",
                        "project_id": "contoso-prod",
                        "project_number": 739419398126,
                        "zone": "europe-west1-b",
                    }
                },
            },
        ),
        iam=varied(
            _DEFAULT,
            "generateIdToken with includeEmail",
            {"email": "builder@contoso-prod.iam.gserviceaccount.com", "email_verified": True},
        ),
    ),
)
