"""The claims that CI systems put into their tokens: every provider's samples, with other values and the time of now.

Signs nothing. Every shape takes overrides and derives `sub` from the result.
"""

from __future__ import annotations

import copy
import re
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from devstack.keys import OMIT, without_omitted
from vending.oidc.claim_path import lookup, parse_key
from vending.policy.providers.presets import PRESETS

Claims = dict[str, Any]
Shape = Callable[..., Claims]

OWNER_ID = "9919"
REPOSITORY_ID = "123456"
GITLAB_PROJECT_ID = "4200"
GITLAB_NAMESPACE_ID = "77"
SERVICE_ACCOUNT_UID = "8a2f6a2e-5f0f-4c5e-9d3b-0c1f7a0f1b11"

_NAME = re.compile(r"\{([^}]*)\}")


def shape_of(preset: str, form: str = "default") -> Shape:
    """Return what mints tokens of a provider in one of its forms: `shape(issuer, audience, at=…, **overrides)`.

    Times are those of the sample, moved to `at`; `jti` is fresh where the form has one; an override of None is null,
    and one of `OMIT` leaves a claim out.
    """
    sample = PRESETS[preset].samples[form]

    def shape(issuer: str, audience: Any, *, at: float | None = None, **overrides: Any) -> Claims:
        now = int(time.time() if at is None else at)
        claims: Claims = copy.deepcopy(dict(sample.claims))
        moved = now - claims["iat"]
        for name in ("iat", "nbf", "exp"):
            if name in claims:
                claims[name] += moved
        if "jti" in claims:
            claims["jti"] = str(uuid.uuid4())
        claims |= {"iss": issuer, "aud": audience, **overrides}
        if sample.subject and "sub" not in overrides:
            claims["sub"] = filled(sample.subject, claims)
        return claims

    return shape


def filled(subject: str, claims: Mapping[str, Any]) -> str:
    """Fill the claims in braces into a subject, as providers do: a colon within a value is escaped."""

    def value(match: re.Match[str]) -> str:
        found: Any = lookup(claims, parse_key(match[1]))
        return "" if found is None or found is OMIT else str(found).replace(":", "%3A")

    return _NAME.sub(value, subject)


def github(issuer: str, audience: Any, *, at: float | None = None, **overrides: Any) -> Claims:
    """Describe a GitHub Actions job: a push to main, unless an environment or a pull request is named."""
    given = without_omitted(overrides)
    form = "environment" if "environment" in given else "default"
    if form == "default" and given.get("event_name") == "pull_request":
        form = "pull-request"
    subject = PRESETS["github"].samples[form].subject
    claims = shape_of("github")(issuer, audience, at=at, **overrides)
    return claims if "sub" in overrides else {**claims, "sub": filled(subject, claims)}


def kubernetes(issuer: str, audience: Any, *, at: float | None = None, **overrides: Any) -> Claims:
    """Describe a pod's projected service account token: production/deployer. `aud` is a list, as the API server's."""
    namespace, name = overrides.pop("namespace", "production"), overrides.pop("service_account", "deployer")
    claims = shape_of("kubernetes")(issuer, audience if isinstance(audience, list) else [audience], at=at)
    own = claims["kubernetes.io"]
    own["namespace"], own["serviceaccount"]["name"] = namespace, name
    own["pod"]["name"] = f"{name}-7d9c8b6f5-x2x7k"
    own["warnafter"] = claims["iat"] + 3607
    return {**claims, "sub": f"system:serviceaccount:{namespace}:{name}", **overrides}


gitlab = shape_of("gitlab")
azure_devops = shape_of("azure-devops")
generic = shape_of("generic")
