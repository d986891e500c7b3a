"""Any other issuer: nothing is known of its tokens but what the policy says."""

from __future__ import annotations

import datetime
from typing import Final

from vending.policy.providers.preset import MINUTE, Preset, Sample, samples

PRESET: Final = Preset(
    name="generic",
    as_of=datetime.date(2026, 11, 28),
    page="https://openid.net/specs/openid-connect-core-1_0.html#StandardClaims",
    issuer_form="the issuer's URL, exactly as its tokens carry it in `iss`",
    # Services without a preset whose one issuer signs for all of their customers.
    shared_hosts={
        "https://oidc.vercel.com": ("owner_id",),
        "https://oidc.codefresh.io": ("account_id",),
    },
    multi_tenant=False,
    identity=("sub",),
    immutable=(),
    callers=(("sub",),),
    replay="reuse",
    lifetime=65 * MINUTE,
    # OpenID Connect Core 1.0 section 5.1, and what other providers call the same.
    personal=frozenset(
        {
            "email",
            "family_name",
            "given_name",
            "middle_name",
            "name",
            "nickname",
            "phone_number",
            "picture",
            "preferred_username",
            "profile",
            "username",
        }
    ),
    samples=samples(
        default=Sample(
            "some workload",
            {
                "iss": "https://idp.example",
                "aud": "https://vend.contoso.example",
                "iat": 1795860300,
                "nbf": 1795860300,
                "exp": 1795863900,
                "jti": "6f1c2d3e-4b5a-4c6d-8e7f-90a1b2c3d4e5",
                "sub": "workload:builder",
            },
        )
    ),
)
