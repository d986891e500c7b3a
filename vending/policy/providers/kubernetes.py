"""Kubernetes service accounts, by the issuer of a cluster: AKS, EKS, GKE and self-managed."""

from __future__ import annotations

import datetime
from typing import Final

from vending.policy.providers.forms import GUID, form
from vending.policy.providers.preset import (
    MINUTE,
    ClaimType,
    Preset,
    Sample,
    frozen,
    named,
    samples,
    varied,
)

_PAGE: Final = (
    "https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens"
)
_UID: Final = "/kubernetes.io/serviceaccount/uid"

_CLAIMS = frozen(
    named(
        "sub",
        always=True,
        form=form(
            r"system:serviceaccount:[^:]+:[^:]+",
            "is system:serviceaccount:<namespace>:<name>",
            "system:serviceaccount:web:deployer",
            "system:serviceaccount:",
        ),
        instead=_UID,
    ),
    named("aud", always=True, many=True),
    named("/kubernetes.io/namespace", always=True),
    named("/kubernetes.io/serviceaccount/name", always=True, instead=_UID),
    named(_UID, always=True, form=GUID),
    named("/kubernetes.io/pod/name /kubernetes.io/pod/uid"),
    named("/kubernetes.io/node/name /kubernetes.io/node/uid", since="1.32"),
    named("/kubernetes.io/warnafter", ClaimType.INTEGER),
    named("nbf", ClaimType.INTEGER, always=True),
    named("jti", since="1.32"),
)

_ACCOUNT: Final = {"name": "deployer", "uid": "8a2f6a2e-5f0f-4c5e-9d3b-0c1f7a0f1b11"}

_DEFAULT = Sample(
    "a pod of the service account deployer, by a projected volume",
    {
        "aud": ["https://vend.contoso.example"],
        "exp": 1795863900,
        "iat": 1795860300,
        "iss": "https://oidc.example/cluster-1",
        "jti": "ed21f8b5-3c2c-4bd4-8b50-4e1e2a0ab8a5",
        "kubernetes.io": {
            "namespace": "production",
            "node": {"name": "node-1", "uid": "2b8e1c70-9c1e-4b5a-8b51-6f8e7e5a7a01"},
            "pod": {"name": "deployer-7d9c8b6f5-x2x7k", "uid": "5fd2b1d4-0c5f-4c39-9a55-2b7b0a7f8b02"},
            "serviceaccount": _ACCOUNT,
            "warnafter": 1795863907,
        },
        "nbf": 1795860300,
        "sub": "system:serviceaccount:production:deployer",
    },
    "system:serviceaccount:{/kubernetes.io/namespace}:{/kubernetes.io/serviceaccount/name}",
)

PRESET: Final = Preset(
    name="kubernetes",
    as_of=datetime.date(2026, 11, 28),
    page=_PAGE,
    issuer_form="the cluster's issuer, as `kubectl get --raw /.well-known/openid-configuration` shows it",
    multi_tenant=False,
    identity=("sub", "/kubernetes.io/namespace", "/kubernetes.io/serviceaccount/name", _UID),
    immutable=(_UID,),
    callers=(("sub",),),
    replay="reuse",
    lifetime=65 * MINUTE,
    job=("/kubernetes.io/pod/name", "/kubernetes.io/pod/uid", "/kubernetes.io/node/name"),
    claims=_CLAIMS,
    units=frozenset({"sub", "/kubernetes.io/serviceaccount/name", _UID}),
    samples=samples(
        default=_DEFAULT,
        token_request=varied(
            _DEFAULT,
            "kubectl create token, which is bound to no pod",
            {"kubernetes.io": {"namespace": "production", "serviceaccount": _ACCOUNT}},
        ),
        before_1_32=varied(
            _DEFAULT,
            "a pod of a cluster before 1.32",
            {
                "kubernetes.io": {
                    "namespace": "production",
                    "pod": {"name": "deployer-7d9c8b6f5-x2x7k", "uid": "5fd2b1d4-0c5f-4c39-9a55-2b7b0a7f8b02"},
                    "serviceaccount": _ACCOUNT,
                }
            },
            without=("jti",),
        ),
    ),
)
