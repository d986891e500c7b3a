"""Microsoft Entra: managed identities and applications of one tenant."""

from __future__ import annotations

import datetime
import re
from typing import Final

from vending.policy.providers.forms import GUID, form, one_of
from vending.policy.providers.preset import (
    HOUR,
    Address,
    ClaimType,
    Preset,
    Sample,
    frozen,
    named,
    samples,
    varied,
)

_PAGE: Final = "https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference"
_TENANT: Final = "11111111-2222-4333-8444-555555555555"
_API: Final = "99999999-aaaa-4bbb-8ccc-dddddddddddd"
_CALLER: Final = "66666666-7777-4888-8999-000000000000"

# Tokens of version 1.0 carry `appid`, those of version 2.0 `azp`; which one comes is decided by the API's registration.
_CLAIMS = frozen(
    named("tid oid", always=True, form=GUID),
    named("appid azp", form=GUID),
    named("appidacr azpacr", form=one_of("0", "1", "2")),
    named("ver", always=True, form=one_of("1.0", "2.0")),
    named("idtyp", form=one_of("app", "user", "device")),
    named("acr aio email family_name given_name idp ipaddr name preferred_username rh scp"),
    named("unique_name upn uti xms_mirid"),
    named("acrs amr groups roles wids", many=True),
    named("nbf", ClaimType.INTEGER, always=True),
)

_V1 = Sample(
    "a managed identity, for an API whose tokens have version 1.0",
    {
        "aud": "https://vend.contoso.example",
        "iss": f"https://sts.windows.net/{_TENANT}/",
        "iat": 1795860300,
        "nbf": 1795860300,
        "exp": 1795947000,
        "aio": "k2RgYPjYq2p7",
        "appid": _CALLER,
        "appidacr": "2",
        "idp": f"https://sts.windows.net/{_TENANT}/",
        "idtyp": "app",
        "oid": "33333333-4444-4555-8666-777777777777",
        "rh": "1.AQwA",
        "sub": "33333333-4444-4555-8666-777777777777",
        "tid": _TENANT,
        "uti": "n5XyZ0AbCdEfGhIj",
        "ver": "1.0",
        "xms_mirid": "/subscriptions/00000000-0000-0000-0000-000000000000/resourcegroups/build/providers/"
        "Microsoft.ManagedIdentity/userAssignedIdentities/builder",
    },
)

_NO_CHOICE: Final = form(
    GUID.pattern.pattern,
    "is the API's client id, a GUID, whatever was asked for",
    "00000000-0000-0000-0000-000000000000",
)

PRESET: Final = Preset(
    name="entra",
    as_of=datetime.date(2026, 11, 28),
    page=_PAGE,
    issuer_form="https://login.microsoftonline.com/<tenant id>/v2.0 or https://sts.windows.net/<tenant id>/",
    addresses=(
        Address(
            re.compile(
                rf"https://login\.(microsoftonline\.(com|us)|partner\.microsoftonline\.cn)/{GUID.pattern.pattern}/v2\.0"
            ),
            audience=_NO_CHOICE,
        ),
        Address(
            re.compile(rf"https://sts\.(windows\.net|microsoftonline\.us|chinacloudapi\.cn)/{GUID.pattern.pattern}/")
        ),
    ),
    multi_tenant=False,
    identity=("tid", "oid", "azp", "appid"),
    immutable=("tid", "oid", "azp", "appid"),
    callers=(("oid",),),
    replay="reuse",
    lifetime=25 * HOUR,
    personal=frozenset(
        {"email", "name", "preferred_username", "unique_name", "upn", "family_name", "given_name", "ipaddr"}
    ),
    job=("uti", "xms_mirid"),
    claims=_CLAIMS,
    units=frozenset({"oid", "azp", "appid"}),
    samples=samples(
        default=_V1,
        v2=varied(
            _V1,
            "a managed identity, for an API whose tokens have version 2.0",
            {
                "aud": _API,
                "iss": f"https://login.microsoftonline.com/{_TENANT}/v2.0",
                "azp": _CALLER,
                "azpacr": "2",
                "ver": "2.0",
            },
            without=("appid", "appidacr", "idp", "xms_mirid"),
        ),
    ),
)
