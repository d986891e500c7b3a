"""The policy: which callers get which registry tokens. Loads a policy file and decides; fetches nothing by itself.

The names below are this package's interface. They are imported when first used, so that importing the package costs
nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from vending.oidc.claim_path import lookup, parse_key
    from vending.policy.compiler.load import Loaded, load, load_bytes, load_bytes_with_source, load_with_source
    from vending.policy.engine.decide import Decision, decide
    from vending.policy.engine.hints import RuleHint, hints
    from vending.policy.engine.policy import (
        Environment,
        Limits,
        Policy,
        PolicyIssuer,
        Registry,
    )
    from vending.policy.engine.trace import Trace, trace
    from vending.policy.language.problems import PolicyError, Problem
    from vending.policy.providers.preset import Preset
    from vending.policy.providers.presets import PRESETS

_HOME: Final = {
    name: module
    for module, names in {
        "vending.oidc.claim_path": "lookup parse_key",
        "vending.policy.engine.decide": "Decision decide",
        "vending.policy.engine.hints": "RuleHint hints",
        "vending.policy.compiler.load": "Loaded load load_bytes load_bytes_with_source load_with_source",
        "vending.policy.engine.policy": "Environment Limits Policy PolicyIssuer Registry",
        "vending.policy.providers.preset": "Preset",
        "vending.policy.providers.presets": "PRESETS",
        "vending.policy.language.problems": "PolicyError Problem",
        "vending.policy.engine.trace": "Trace trace",
    }.items()
    for name in names.split()
}

__all__ = [
    "PRESETS",
    "Decision",
    "Environment",
    "Limits",
    "Loaded",
    "Policy",
    "PolicyError",
    "PolicyIssuer",
    "Preset",
    "Problem",
    "Registry",
    "RuleHint",
    "Trace",
    "decide",
    "hints",
    "load",
    "load_bytes",
    "load_bytes_with_source",
    "load_with_source",
    "lookup",
    "parse_key",
    "trace",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
