"""Spacelift, by the issuer of an account."""

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

_PAGE: Final = "https://docs.spacelift.io/integrations/cloud-providers/oidc/#standard-claims"

_CLAIMS = frozen(
    named("spaceId callerId runId", always=True),
    named("callerType", always=True, form=one_of("stack", "module")),
    named("runType", always=True, form=form(r"[A-Z_]+", "is written in capitals", "TRACKED")),
    named("scope", always=True, form=one_of("read", "write")),
    named("nbf", ClaimType.INTEGER),
)

_DEFAULT = Sample(
    "a tracked run of the stack web",
    {
        "aud": "contoso.app.spacelift.io",
        "callerId": "web",
        "callerType": "stack",
        "exp": 1795863900,
        "iat": 1795860300,
        "iss": "https://contoso.app.spacelift.io",
        "jti": "01J3Y6Z8A1B2C3D4E5F6G7H8J9",
        "runId": "01J3Y6Z8A1RUN000000000000",
        "runType": "TRACKED",
        "scope": "write",
        "spaceId": "platform-01HZX1",
        "sub": "space:platform-01HZX1:stack:web:run_type:TRACKED:scope:write",
    },
    "space:{spaceId}:{callerType}:{callerId}:run_type:{runType}:scope:{scope}",
)

PRESET: Final = Preset(
    name="spacelift",
    as_of=datetime.date(2026, 11, 28),
    page=_PAGE,
    issuer_form="https://<account>.app.spacelift.io",
    addresses=(
        Address(
            re.compile(r"https://[a-z0-9-]+\.app\.(us\.)?spacelift\.io"),
            audience=form(r"[a-z0-9.-]+", "is the account's host", "contoso.app.spacelift.io"),
        ),
    ),
    multi_tenant=False,
    identity=("spaceId", "callerId"),
    immutable=("spaceId", "callerId"),
    callers=(("spaceId",),),
    replay="reuse",
    lifetime=25 * HOUR,
    job=("runId", "runType"),
    claims=_CLAIMS,
    units=frozenset({"callerId"}),
    gates={"scope": Gate.TRIGGER, "runType": Gate.TRIGGER},
    unreviewed=(("scope", "read"), ("runType", "PROPOSED")),
    samples=samples(
        default=_DEFAULT,
        proposed=varied(
            _DEFAULT,
            "a proposed run of the stack web, before review",
            {
                "runType": "PROPOSED",
                "scope": "read",
                "sub": "space:platform-01HZX1:stack:web:run_type:PROPOSED:scope:read",
            },
        ),
    ),
)
