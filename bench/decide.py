"""The policy at any size: time of a decision, time and memory to load, at 10, 1,000 and 100,000 rules."""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from statistics import median
from typing import Any, Final

from bench import rig
from bench.processes import mebibytes
from bench.report import Chart, Effort, Report, Row, cpu_microseconds, most
from vending.acr.names import ACTIONS
from vending.acr.scope import parse
from vending.oidc.types import VerifiedClaims
from vending.policy import Environment, Policy, decide, load_bytes
from vending.policy.compiler.cost import MAX_DENIES, MAX_RULES

_SIZES: Final = (10, 1_000, 100_000)
_NOW: Final = 1_800_000_000.0
_SCOPES: Final = "every scope is held against every pattern that its name may match"


def run(effort: Effort) -> Report:
    """Measure decisions for the same caller among ever more rules, and loading in a process of its own."""
    rows = []
    sizes = _SIZES[:2] if effort.quick else _SIZES
    for size in sizes:
        policy = load(size)
        rows.append(
            Row(f"decide, granted, {size:,} rules", _decision(policy, size, "pull,push"), "µs", most(20, _SCOPES))
        )
        rows.append(Row(f"decide, refused, {size:,} rules", _decision(policy, size, "delete"), "µs"))
        del policy
        gc.collect()
    rows += [
        Row(f"decide, 32 scopes, {what}", _worst(some), "ms", most(5, _SCOPES)) for what, some in _worst_policies()
    ]
    seconds, used = _load_apart(sizes[-1])
    rows.append(Row(f"load {sizes[-1]:,} rules from JSON", [seconds], "s CPU"))
    rows.append(Row(f"memory of {sizes[-1]:,} rules, loaded", [used], "MiB"))
    series = {
        kind: [row.value for row in rows if row.what.startswith(f"decide, {kind}")] for kind in ("granted", "refused")
    }
    labels = [f"{size:,} rules" for size in sizes]
    return Report(rows, [Chart("decide", "CPU of a decision by the policy's size", "µs", labels, series)])


def load(size: int) -> Policy:
    """Load a policy of `size` rules."""
    return _load(rig.policy(size))


def _load(text: str) -> Policy:
    return load_bytes(text.encode(), name="policy.json", environment=Environment(), directory=None)


def _decision(policy: Policy, size: int, actions: str) -> list[float]:
    number = size // 2
    claims = VerifiedClaims(
        issuer="github",
        claims={
            "repository_id": str(number),
            "repository_owner_id": "9919",
            "repository": "contoso/app",
            "repository_owner": "contoso",
            "ref": "refs/heads/main",
            "event_name": "push",
            "actor": "someone",
        },
    )
    scopes = parse(f"repository:team/app-{number}:{actions}")
    return cpu_microseconds(lambda: decide(policy, claims, "prod", scopes, _NOW))


def _worst_policies() -> list[tuple[str, dict[str, Any]]]:
    """Return what costs most of all that loads: as many rules, conditions or patterns as the compiler lets pass."""
    everything = {"registry": "prod", "repositories": ["**"], "actions": list(ACTIONS)}
    letters = ["a**" + "*".join("ab"[number >> bit & 1] for bit in range(9)) for number in range(500)]
    return [
        ("100 denies of **/x/**", _denying([f"**/x{number}/**" for number in range(100)])),
        ("1,000 denies of **/x/**", _denying([f"**/x{number}/**" for number in range(1000)])),
        ("1,000 denies of **a*b**", _denying([f"**a*b{number}**" for number in range(1000)])),
        ("1,000 denies of *a*/**", _denying([f"*a*c{number}/**" for number in range(1000)])),
        ("500 denies that nothing tells apart", _denying(letters)),
        (f"{MAX_DENIES:,} denies of all, on several actions", _denying(["**"] * MAX_DENIES)),
        ("a grant of 100,000 patterns", _rules([_grant(*[f"team-{number}/**" for number in range(100_000)], "**")])),
        (f"{MAX_RULES:,} rules of one caller that grant all", _rules([everything] * MAX_RULES)),
        (f"{MAX_RULES:,} rules of one caller that grant nothing", _rules([_grant("x/y")] * MAX_RULES)),
        (
            f"{MAX_RULES // 2:,} conditions that all fail at their end",
            _rules([everything] * (MAX_RULES // 2), ref=_MIXED),
        ),
        ("400 conditions on a list of 3,000", _rules([everything] * 400, groups="none-of-them")),
    ]


_MIXED: Final = "refs/**/a*b"


def _grant(*repositories: str) -> dict[str, Any]:
    return {"registry": "prod", "repositories": list(repositories), "actions": list(ACTIONS)}


def _rules(grants: list[dict[str, Any]], **when: str) -> dict[str, Any]:
    return {
        "rules": [
            {"name": f"r{number}", "issuer": "github", "when": {"repository_id": "1", **when}, "grant": [grant]}
            for number, grant in enumerate(grants)
        ]
    }


def _denying(patterns: list[str]) -> dict[str, Any]:
    denies = [
        {"name": f"d{number}", "repositories": [text], "actions": list(ACTIONS)[: 1 + number % len(ACTIONS)]}
        for number, text in enumerate(patterns)
    ]
    return {**_rules([_grant("**")]), "deny": denies}


def _worst(sections: dict[str, Any]) -> list[float]:
    """Measure as many and as long names as one request may hold, all actions on each, in milliseconds of CPU.

    The token is as long as one may be, and the names hold what most of the patterns look for.
    """
    loaded = _load(rig.policy(**sections))
    ref = "refs/" + "a/b/" * 2900
    groups = [f"{number:x}" for number in range(3000)]
    claims: dict[str, Any] = {"repository_id": "1", "event_name": "push", "ref": ref, "groups": groups}
    actions = ",".join(ACTIONS)
    worst: list[float] = []
    for body in ("a/b" * 40 + "/" + "x" * 131, "ab" * 126, "aab" * 84):
        scopes = parse(" ".join(f"repository:{body}{number:03}:{actions}" for number in range(32)))
        caller = VerifiedClaims(issuer="github", claims=claims)
        taken = cpu_microseconds(lambda: decide(loaded, caller, "prod", scopes, _NOW))  # noqa: B023
        worst = max(worst, taken, key=lambda values: median(values) if values else 0.0)
    return [value / 1000 for value in worst]


def _load_apart(size: int) -> tuple[float, float]:
    code = f"from bench.decide import measure_load; measure_load({size})"
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    seconds, mebibytes = output.split()
    return float(seconds), float(mebibytes)


def measure_load(size: int) -> None:
    """Load once and print seconds and the growth of the peak memory; called in a fresh process."""
    text = rig.policy(size)
    before = mebibytes()
    start = time.process_time()
    policy = _load(text)
    seconds = time.process_time() - start
    gc.collect()
    print(seconds, mebibytes() - before if policy.sha256 else 0.0)
