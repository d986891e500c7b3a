"""Policies in a few lines: what every test of the language starts from."""

from __future__ import annotations

import copy
import json
from typing import Any

from vending.acr.scope import parse as parse_scopes
from vending.oidc.types import VerifiedClaims
from vending.policy import Decision, Environment, Policy, decide, load_bytes

BASE: dict[str, Any] = {
    "version": 1,
    "audience": "https://vend.contoso.example",
    "registries": {
        "prod": {"login_server": "contoso.azurecr.io"},
        "dev": {"login_server": "contosodev.azurecr.io"},
    },
    "issuers": {
        "github": {"preset": "github"},
        "gitlab": {"preset": "gitlab", "issuer": "https://gitlab.contoso.example"},
        "circleci": {
            "preset": "circleci",
            "issuer": "https://oidc.circleci.com/org/00000000-0000-0000-0000-000000000001",
        },
        "kubernetes": {"preset": "kubernetes", "issuer": "https://oidc.example/cluster-1"},
        "generic": {"preset": "generic", "issuer": "https://idp.example"},
    },
}
"""A policy without rules: two registries and five issuers."""


def compose(**changes: Any) -> dict[str, Any]:
    """Return the base policy with top-level sections replaced."""
    return {**copy.deepcopy(BASE), **changes}


def load_data(data: Any, environment: Environment | None = None) -> Policy:
    """Load a policy given as data, the way a compiled one is loaded."""
    return load_bytes(
        json.dumps(data).encode(), name="policy.json", environment=environment or Environment(), directory=None
    )


def make_policy(**changes: Any) -> Policy:
    """Build a policy from the base and changed sections."""
    return load_data(compose(**changes))


NOW = 1_800_000_000.0
"""15 January 2027, 08:00 UTC."""

GITHUB: dict[str, Any] = {
    "sub": "repo:contoso/web:ref:refs/heads/main",
    "repository": "Contoso/Web",
    "repository_id": "1",
    "repository_owner": "Contoso",
    "repository_owner_id": "9919",
    "ref": "refs/heads/main",
    "event_name": "push",
    "environment": "Production",
    "actor": "mona",
}
"""What a GitHub Actions job of contoso/web on its main branch presents."""


def grant(
    *repositories: str, actions: str = "pull push", registry: str | list[str] = "prod", **more: Any
) -> dict[str, Any]:
    """Write a grant; without repositories it has neither those nor actions."""
    named = {"repositories": list(repositories), "actions": actions.split()} if repositories else {}
    return {"registry": registry, **named, **more}


def rule(name: str = "r", *grants: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Write a rule for GitHub's repository 1; `changes` replace or add keys."""
    base = {"issuer": "github", "when": {"repository_id": "1"}, "grant": list(grants) or [grant("web/api")]}
    return {"name": name, **base, **changes}


def deny(name: str = "d", *repositories: str, actions: str = "push", **more: Any) -> dict[str, Any]:
    """Write a deny entry."""
    named = {"repositories": list(repositories), "actions": actions.split()} if repositories else {}
    return {"name": name, **named, **more}


def ask(
    policy: Policy,
    scope: str | None,
    claims: dict[str, Any],
    *,
    issuer: str = "github",
    registry: str = "prod",
    now: float = NOW,
) -> Decision:
    """Ask for scopes as written in a request."""
    scopes = None if scope is None else parse_scopes(scope)
    return decide(policy, VerifiedClaims(issuer, claims), registry, scopes, now)
