"""The policy: which callers get which registry tokens. Loads a policy file and decides; fetches nothing by itself.

The names below are this package's interface. They are imported when first used, so that importing the package costs
nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from vending.policy.claims import lookup, parse_key
    from vending.policy.deciding import Decision, RuleHint, decide, hints
    from vending.policy.loading import Loaded, load, load_bytes, load_with_source
    from vending.policy.policy import (
        Developer,
        Environment,
        FederatedApp,
        Identity,
        Limits,
        ManagedIdentity,
        Policy,
        PolicyIssuer,
        Registry,
        ServicePrincipal,
        WorkloadIdentity,
    )
    from vending.policy.presets import PRESETS, Preset
    from vending.policy.problems import PolicyError, Problem
    from vending.policy.tracing import Trace, trace

_HOME: Final = {
    name: module
    for module, names in {
        "claims": "lookup parse_key",
        "deciding": "Decision RuleHint decide hints",
        "loading": "Loaded load load_bytes load_with_source",
        "policy": "Developer Environment FederatedApp Identity Limits ManagedIdentity Policy PolicyIssuer Registry "
        "ServicePrincipal WorkloadIdentity",
        "presets": "PRESETS Preset",
        "problems": "PolicyError Problem",
        "tracing": "Trace trace",
    }.items()
    for name in names.split()
}

__all__ = [
    "PRESETS",
    "Decision",
    "Developer",
    "Environment",
    "FederatedApp",
    "Identity",
    "Limits",
    "Loaded",
    "ManagedIdentity",
    "Policy",
    "PolicyError",
    "PolicyIssuer",
    "Preset",
    "Problem",
    "Registry",
    "RuleHint",
    "ServicePrincipal",
    "Trace",
    "WorkloadIdentity",
    "decide",
    "hints",
    "load",
    "load_bytes",
    "load_with_source",
    "lookup",
    "parse_key",
    "trace",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
