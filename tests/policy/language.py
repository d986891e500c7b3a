"""Policies in a few lines: what every test of the language starts from."""

from __future__ import annotations

import copy
import json
from typing import Any

from vending.policy import Environment, Policy, load_bytes

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
