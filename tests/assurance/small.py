"""Random policies over alphabets so small that their rules collide, and every token that these tell apart."""

from __future__ import annotations

import copy
import random
from itertools import product
from typing import Any, Final

from tests.policy.language import NOW, compose
from vending.acr.scope import repository
from vending.oidc.types import VerifiedClaims
from vending.policy import Policy, decide

SMALL: Final[dict[str, list[Any]]] = {
    "sub": [None, "x", "y", "x/y", "xy", "X"],
    "a": [None, "x", "y", "q", True, 1, [], ["x", "y"], ["q", True], 0.5],
    "b": [None, "x", "y", "z/x", "zz"],
}
REPOSITORIES: Final = ["x", "y", "q", "x/y", "x/q", "y/x", "ci/x", "ci/y", "ci/x/y", "m/a", "m/b"]
VALUES: Final[list[Any]] = ["x", "y", "x*", "**", "*/y", "xy", "z/*", True, 1]
ENTRIES: Final = [
    *["x", "y", "x/y", "x/**", "*", "**", "{sub|names}", "{b|lists}"],
    *["ci/{sub}", "ci/{a}", "{b}", "{b|path}", "ci/{sub}/**", "ci/{sub|lower}"],
]
DENIED: Final = ["x", "x/**", "**", "ci/*", "*"]
ACTIONS: Final = ["pull", "push"]
REGISTRIES: Final = ("prod", "dev")


def conditions(rng: random.Random, keys: str = "sub a b", least: int = 0) -> dict[str, Any]:
    """Return conditions on up to two claims."""
    found: dict[str, Any] = {}
    for key in rng.sample(keys.split(), rng.randint(least, 2)):
        kind = rng.random()
        if kind < 0.12:
            found[key] = {"absent": True}
        elif kind < 0.25:
            found[key] = {"in": "few"}
        elif kind < 0.6:
            found[key] = rng.choice(VALUES)
        else:
            found[key] = rng.sample(VALUES, rng.randint(1, 3))
    return found


def a_rule(rng: random.Random, name: str) -> dict[str, Any]:
    """Return a rule that may use every construct of the language."""
    pin = rng.choice(["x", "y", ["x", "y"], "x*", ["xy", "x/*"]])
    rule: dict[str, Any] = {"name": name, "issuer": "generic", "when": {**conditions(rng, "a b"), "sub": pin}}
    if rng.random() < 0.3:
        rule["unless"] = conditions(rng, least=1)
    if rng.random() < 0.3:
        rule["when_any"] = [conditions(rng, least=1) for _ in range(2)]
    if rng.random() < 0.15:
        rule["use"] = "named"
    if rng.random() < 0.1:
        rule["mode"] = "audit"
    if rng.random() < 0.1:
        rule["expires"] = rng.choice(["2020-01-01", "2040-01-01"])
    rule["grant"] = [
        {
            "registry": rng.choice(["prod", ["prod", "dev"]]),
            "repositories": rng.sample(ENTRIES, rng.randint(1, 2)),
            "actions": rng.sample(ACTIONS, rng.randint(1, 2)),
        }
        for _ in range(rng.randint(1, 2))
    ]
    return rule


def a_deny(rng: random.Random, name: str) -> dict[str, Any]:
    """Return a deny entry, or what serves as a `never` entry."""
    deny: dict[str, Any] = {"name": name, "repositories": [rng.choice(DENIED)], "actions": [rng.choice(ACTIONS)]}
    if rng.random() < 0.7:
        deny |= {"issuer": "generic", "when": conditions(rng, least=1)}
        if rng.random() < 0.5:
            deny["unless"] = conditions(rng, least=1)
    return deny


def a_policy(rng: random.Random, **more: Any) -> dict[str, Any]:
    """Return a policy of up to three rules and two deny entries."""
    return compose(
        rules=[a_rule(rng, f"r{number}") for number in range(rng.randint(1, 3))],
        deny=[a_deny(rng, f"d{number}") for number in range(rng.randint(0, 2))],
        lists={"few": ["x", "q"]},
        conditions={"named": {"when": {"b": ["x", "y"]}}},
        maps={"names": {"x": "m/a", "y": "m/b"}, "lists": {"x": ["m/a", "x/**"], "y": "m/b"}},
        **more,
    )


def varied(rng: random.Random, policy: dict[str, Any]) -> dict[str, Any]:
    """Return a policy with a few changes, some of which change nothing."""
    new = copy.deepcopy(policy)
    for _ in range(rng.randint(0, 2)):
        kind = rng.random()
        if kind < 0.3:
            new["rules"][rng.randrange(len(new["rules"]))] = a_rule(rng, "changed")
        elif kind < 0.5:
            new["deny"] = [a_deny(rng, f"d{number}") for number in range(rng.randint(0, 2))]
        else:
            rng.shuffle(new["rules"])
    for number, rule in enumerate(new["rules"]):
        rule["name"] = f"renamed-{number}"
    return new


def a_pair(rng: random.Random) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return two policies; the second one is often a variation of the first."""
    old = a_policy(rng)
    return old, varied(rng, old) if rng.random() < 0.6 else a_policy(rng)


TOKENS: Final[list[dict[str, Any]]] = [
    {name: value for name, value in zip(SMALL, values, strict=True) if value is not None}
    for values in product(*SMALL.values())
]
SCOPES: Final = tuple(repository(name, ACTIONS) for name in REPOSITORIES)
Access = tuple[int, str, str, str]
"""The number of a token in TOKENS, a registry, a repository and an action."""


def access(policy: Policy) -> set[Access]:
    """Ask the evaluator for everything with each token, and return what it grants."""
    return {
        (number, registry, scope.name, action)
        for number, claims in enumerate(TOKENS)
        for registry in REGISTRIES
        for scope in decide(policy, VerifiedClaims("generic", claims), registry, SCOPES, NOW).granted
        for action in scope.actions
    }
