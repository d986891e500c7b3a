"""Steps 2 to 5: who asks, for which registry, and what the policy in force says. Mints and claims nothing."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from vending import audit
from vending.audit_event import MAX_TEXT
from vending.errors import Reason, Refusal, quote
from vending.oidc.claim_path import read
from vending.oidc.issuer_url import near_miss
from vending.oidc.token import peek
from vending.operations_log import note
from vending.policy import decide
from vending.policy.engine.registries import find_registry

if TYPE_CHECKING:
    from vending.clock import Clock
    from vending.oidc.types import VerifiedClaims
    from vending.oidc.verify import Verifier
    from vending.policy import Decision, Policy, PolicyIssuer, Registry
    from vending.policy_store import PolicyStore
    from vending.prefetch import Prefetch
    from vending.rate_limit import RateLimiter
    from vending.refusal_log import Sampler
    from vending.request import TokenRequest


@dataclass(frozen=True, slots=True)
class Case:
    """Hold what steps 2 to 5 found out. `decided_at` is in seconds since the epoch."""

    policy: Policy
    issuer: PolicyIssuer
    claims: VerifiedClaims
    registry: Registry
    decision: Decision
    decided_at: float


@dataclass(frozen=True, slots=True)
class Judge:
    """Verify tokens and decide about them. One for the life of the app."""

    policies: PolicyStore
    verifier: Verifier
    limiter: RateLimiter
    clock: Clock
    allow_loopback: bool
    near_misses: Sampler

    async def judge(self, request: TokenRequest, trail: audit.Trail, prefetch: Prefetch | None = None) -> Case:
        """Return the case with its decision, which may be against the caller. Raises `Refusal` for what precedes it.

        Where the issuer's keys must be fetched first, `prefetch` begins what else will be needed.
        """
        trail.subject(request.subject_token)
        with trail.step("policy"):
            policy = await self.policies.get()
        trail.policy_sha256 = policy.sha256
        if request.scope_count > policy.limits.max_scopes:
            raise Refusal(Reason.TOO_MANY_SCOPES, f"Ask for at most {policy.limits.max_scopes} scopes in one request.")
        with trail.step("verify"):
            issuer, claims = await self._verify(request, policy, trail, prefetch)
        trail.identify(issuer.preset, claims.claims, policy.audit_claims)
        self._limit(policy, issuer, claims)
        registry = find_registry(policy, request.audience, request.resource, allow_loopback=self.allow_loopback)
        trail.registry = registry.login_server
        decided_at = audit.to_the_millisecond(self.clock.now())
        with trail.step("decide"):
            decision = decide(policy, claims, registry.name, request.scopes, decided_at)
        trail.weigh(claims.claims, policy.rules[issuer.name].reads, policy.audit_claims, decided_at)
        _refuse_what_no_event_holds(decision)
        trail.decided(decision)
        return Case(policy, issuer, claims, registry, decision, decided_at)

    async def _verify(
        self, request: TokenRequest, policy: Policy, trail: audit.Trail, prefetch: Prefetch | None
    ) -> tuple[PolicyIssuer, VerifiedClaims]:
        peeked = peek(request.subject_token)
        issuer = policy.issuer_for(peeked.issuer)
        if issuer is None:
            _note_near_miss(peeked.issuer, policy, self.near_misses)
            raise Refusal(Reason.ISSUER_UNKNOWN, f"The issuer {quote(peeked.issuer)} is not one that the policy lists.")
        trail.issuer = issuer.name
        begin = None if prefetch is None else partial(prefetch.begin, policy)
        return issuer, await self.verifier.verify(peeked, issuer.verification, begin)

    def _limit(self, policy: Policy, issuer: PolicyIssuer, claims: VerifiedClaims) -> None:
        wait = self.limiter.take((issuer.name, *caller_of(issuer, claims)), policy.limits.requests_per_minute)
        if wait > 0:
            raise Refusal(Reason.RATE_LIMITED, retry_after=wait)


def _note_near_miss(url: str, policy: Policy, sampler: Sampler) -> None:
    """Write down both strings where an unknown issuer misses one of the policy's by a slip."""
    near = near_miss(url, policy.issuers)
    if near is not None:
        known, how = near
        shown = url[:MAX_TEXT]
        name = policy.issuers[known].name
        if count := sampler.count(name):  # Anybody can send such a token, as often as they like.
            fields = {"issuer": name, "token": shown, "policy": known, "difference": how}
            note(logging.WARNING, "issuer_near_miss", **fields, count=count)


def caller_of(issuer: PolicyIssuer, claims: VerifiedClaims) -> tuple[str, ...]:
    """Name the caller to the rate limiter; by all that identifies it where claims are missing, so that no two share."""
    preset = issuer.preset
    for names in preset.callers:
        values = [read(claims.claims, name) for name in names]
        if all(value is not None and value != "" for value in values):
            return tuple(f"{name}={value}" for name, value in zip(names, values, strict=True))
    known = ((name, read(claims.claims, name)) for name in (*preset.identity, "sub"))
    return tuple(f"{name}={value}" for name, value in known if value is not None)


def denial(decision: Decision) -> Refusal:
    """Say why a decision is against its caller."""
    return Refusal(
        decision.reason or Reason.SCOPE_NOT_GRANTED,
        decision.description,
        missing=tuple(str(scope) for scope in decision.missing),
    )


def _refuse_what_no_event_holds(decision: Decision) -> None:
    if decision.allowed and audit.length_of(map(str, decision.granted)) > audit.MAX_GRANTED:
        raise Refusal(
            Reason.TOO_MANY_SCOPES,
            "Ask for fewer repositories in one request, so that the audit log can name every one that is granted.",
        )
