"""Audit events as the service writes them, for decisions on small tokens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.policy.language import grant, rule
from vending.audit import Trail, render
from vending.clock import Clock
from vending.errors import Refusal
from vending.oidc.types import VerifiedClaims
from vending.policy import decide

if TYPE_CHECKING:
    from vending.acr.scope import Scope
    from vending.policy import Decision, Policy

JOB = {
    "repository_id": "7",
    "repository_owner_id": "9919",
    "ref": "refs/heads/main",
    "ref_protected": "true",
    "event_name": "push",
    "environment": "production",
}
"""A job of which the rule below is not, with what that rule looks at."""
READS = {"ref": "refs/heads/x", "ref_protected": "true", "event_name": "push", "environment": "staging"}
OTHER = rule("other", grant("web/ui"), when={"repository_id": "8", "repository_owner_id": "1", **READS})


def record(
    policy: Policy, claims: dict[str, Any], scopes: tuple[Scope, ...] | None, now: float, issuer: str = "generic"
) -> tuple[dict[str, Any], Decision]:
    """Decide one request and return the event of it, read back from the log line, beside the decision."""
    decision = decide(policy, VerifiedClaims(issuer, claims), "prod", scopes, now)
    trail = Trail(kind="token", clock=Clock(), request_id="r")
    trail.issuer, trail.registry, trail.policy_sha256 = issuer, "contoso.azurecr.io", policy.sha256
    found = next(one for one in policy.issuers.values() if one.name == issuer)
    trail.identify(found.preset, claims, policy.audit_claims)
    trail.weigh(claims, policy.rules[issuer].reads, policy.audit_claims, now)
    trail.asked(scopes)
    trail.decided(decision)
    refusal = None if decision.reason is None else Refusal(decision.reason, missing=tuple(map(str, decision.missing)))
    event: dict[str, Any] = json.loads(render(trail.event(refusal)))
    return event, decision
