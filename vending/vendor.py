"""The story of a request in one screen: verify → decide → claim → mint → check → record.

The only module that knows all the others. What comes in has passed step 1, the shape (`vending.request`); what goes
out is a token that allows exactly what the policy granted, or a `Refusal`.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from vending import audit
from vending.acr.access import GrantWider
from vending.acr.exchange import Minter
from vending.acr.scope import render
from vending.acr.target import Target, origin
from vending.errors import Reason, Refusal, quote
from vending.oidc.claims import SKEW_SECONDS
from vending.oidc.token import peek
from vending.oidc.verify import Verifier, replay_key
from vending.operations_log import note, note_bug
from vending.policy import decide, hints, lookup, parse_key
from vending.replay.store import new_owner
from vending.telemetry import Ages, Outcome

if TYPE_CHECKING:
    from vending.acr.access import VendedToken
    from vending.clock import Clock
    from vending.entra.credentials import EntraTokens
    from vending.oidc.types import Claims, JsonValue, VerifiedClaims
    from vending.policy import Decision, Policy, PolicyIssuer, Registry, RuleHint
    from vending.policy_store import PolicyStore
    from vending.rate_limit import RateLimiter
    from vending.replay.store import ReplayStore
    from vending.request import TokenRequest
    from vending.settings import Settings
    from vending.telemetry import Telemetry

T = TypeVar("T")

_GIVE_BACK_SECONDS: Final = 3.0
"""How long an answer waits for its claim to be given back; the giving goes on behind it if that takes longer."""


@dataclass(frozen=True, slots=True)
class Vended:
    """Hold what a successful request gets."""

    token: VendedToken = field(repr=False)
    scope: str
    registry: Registry
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Hold what a caller may know about the decision on its own token."""

    decision: Decision
    registry: Registry
    rules: tuple[RuleHint, ...]
    claims: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Case:
    """Hold what steps 2 to 5 found out: who asks, under which policy, for what, and what was decided."""

    policy: Policy
    issuer: PolicyIssuer
    claims: VerifiedClaims
    registry: Registry
    decision: Decision


@dataclass(frozen=True, slots=True)
class State:
    """Hold what `/readyz` shows. `policy_age_seconds` is None where there is no policy."""

    policy_sha256: str | None
    policy_age_seconds: float | None
    policy_source: str
    issuers_in_trouble: int


class Vendor:
    """Answer well-formed requests. One for the life of the app; holds the caches through its parts."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        policies: PolicyStore,
        verifier: Verifier,
        limiter: RateLimiter,
        replays: ReplayStore,
        entra: EntraTokens,
        minter: Minter,
        telemetry: Telemetry,
    ) -> None:
        self.policies = policies
        self.verifier = verifier
        self._settings = settings
        self._clock = clock
        self._limiter = limiter
        self._replays = replays
        self._entra = entra
        self._minter = minter
        self._telemetry = telemetry
        self._unfinished: set[asyncio.Task[None]] = set()

    async def token(self, request: TokenRequest, trail: audit.Trail) -> Vended:
        """Vend a token (steps 2 to 9). Raises `Refusal`; writes one audit event either way."""
        return await self._recorded(trail, lambda: self._vend(request, trail))

    async def explain(self, request: TokenRequest, trail: audit.Trail) -> Explanation:
        """Decide and explain, mint nothing, claim nothing. Raises `Refusal` for what precedes the decision."""
        return await self._recorded(trail, lambda: self._explain(request, trail))

    async def policy(self) -> Policy:
        """Return the policy in force, waiting for it within the deadline. Raises `Refusal`: `policy_unavailable`."""
        try:
            async with asyncio.timeout(self._settings.deadline_seconds):
                return await self.policies.get()
        except TimeoutError:
            raise Refusal(Reason.POLICY_UNAVAILABLE) from None

    def state(self) -> State:
        """Describe the policy and the issuers as they are now; calls nobody."""
        policy = self.policies.in_force
        age = self.policies.age_seconds()
        issuers = [] if policy is None else [issuer.verification for issuer in policy.issuers.values()]
        return State(
            policy_sha256=None if policy is None else policy.sha256,
            policy_age_seconds=None if policy is None else round(age, 1),
            policy_source=self.policies.source,
            issuers_in_trouble=len(self.verifier.in_trouble(issuers)),
        )

    def trail(self, kind: audit.Kind, request_id: str) -> audit.Trail:
        """Begin the audit event of one request."""
        return audit.Trail(kind=kind, clock=self._clock, request_id=request_id, telemetry=self._telemetry)

    def count(self, kind: str, refusal: Refusal) -> None:
        """Count a request that was refused before its audit event began; `kind` is the name of the endpoint."""
        self._telemetry.finished(Outcome(kind, audit.outcome(refusal), refusal.reason.value), {})

    def ages(self) -> Ages:
        """Tell how old the policy and each issuer's keys are; calls nobody."""
        policy = self.policies.in_force
        if policy is None:
            return Ages(policy=None, keys={})
        issuers = [issuer.verification for issuer in policy.issuers.values()]
        return Ages(policy=self.policies.age_seconds(), keys=self.verifier.key_ages(issuers))

    def now(self) -> float:
        """Tell the time, in seconds since the epoch."""
        return self._clock.now()

    async def _vend(self, request: TokenRequest, trail: audit.Trail) -> Vended:
        case = await self._judge(request, trail)
        if not case.decision.allowed:
            raise _denial(case.decision)
        async with self._claimed(case, trail):
            with trail.step("mint"):
                token = await self._mint(case, trail)
            trail.token_id, trail.token_expires_at = token.token_id, token.expires_at
            return Vended(token, render(case.decision.granted), case.registry, case.decision.rules)

    async def _explain(self, request: TokenRequest, trail: audit.Trail) -> Explanation:
        case = await self._judge(request, trail)
        if case.issuer.verification.replay == "once" and await self._replays.is_claimed(_claim_key(case)):
            raise Refusal(Reason.TOKEN_REPLAYED)
        trail.denial = None if case.decision.allowed else _denial(case.decision)
        preset = case.issuer.preset
        known = {name: _read(case.claims.claims, name) for name in (*preset.claims, *preset.identity)}
        return Explanation(
            decision=case.decision,
            registry=case.registry,
            rules=hints(case.policy, case.claims, self._clock.now()),
            claims={name: value for name, value in known.items() if value is not None},
        )

    async def _judge(self, request: TokenRequest, trail: audit.Trail) -> _Case:
        """Verify the token and decide (steps 2 to 5)."""
        trail.subject(request.subject_token)
        with trail.step("policy"):
            policy = await self.policies.get()
        trail.policy_sha256 = policy.sha256
        if request.scope_count > policy.limits.max_scopes:
            raise Refusal(Reason.TOO_MANY_SCOPES, f"Ask for at most {policy.limits.max_scopes} scopes in one request.")
        with trail.step("verify"):
            peeked = peek(request.subject_token)
            issuer = policy.issuer_for(peeked.issuer)
            if issuer is None:
                raise Refusal(
                    Reason.ISSUER_UNKNOWN, f"The issuer {quote(peeked.issuer)} is not one that the policy lists."
                )
            trail.issuer = issuer.name
            claims = await self.verifier.verify(peeked, issuer.verification)
        trail.identify(claims.claims, _identity_claims(issuer), policy.audit_claims, _read)
        self._limit(policy, issuer, claims)
        registry = find_registry(
            policy, request.audience, request.resource, allow_loopback=self._settings.allow_loopback
        )
        trail.registry = registry.login_server
        with trail.step("decide"):
            decision = decide(policy, claims, registry.name, request.scopes, self._clock.now())
        if decision.allowed and len(json.dumps([str(scope) for scope in decision.granted])) > audit.MAX_GRANTED:
            raise Refusal(
                Reason.TOO_MANY_SCOPES,
                "Ask for fewer repositories in one request, so that the audit log can name every one that is granted.",
            )
        _record_decision(trail, decision)
        return _Case(policy, issuer, claims, registry, decision)

    def _limit(self, policy: Policy, issuer: PolicyIssuer, claims: VerifiedClaims) -> None:
        wait = self._limiter.take((issuer.name, *_caller(issuer, claims)), policy.limits.requests_per_minute)
        if wait > 0:
            raise Refusal(Reason.RATE_LIMITED, retry_after=wait)

    @asynccontextmanager
    async def _claimed(self, case: _Case, trail: audit.Trail) -> AsyncIterator[None]:
        """Hold the claim on a `once` token; give it back, whatever happens, if the body does not end well."""
        target, entra_token = self._target(case)
        self._minter.warm(target, entra_token)  # Overlaps with the claim, and does not depend on it.
        if case.issuer.verification.replay != "once":
            yield
            return
        key, owner = _claim_key(case), new_owner()
        expires_at = case.claims.expires_at + SKEW_SECONDS
        claim = asyncio.create_task(self._replays.claim(key, owner, expires_at))
        try:
            with trail.step("claim"):
                if not await asyncio.shield(claim):
                    raise Refusal(Reason.TOKEN_REPLAYED)
            if self._clock.now() >= expires_at:
                # It ran out while it was being claimed, so this may have been the place of an expired earlier claim.
                raise Refusal(Reason.TOKEN_EXPIRED)
            yield
        except BaseException:
            await self._give_back(claim, key, owner)
            raise

    async def _give_back(self, claim: asyncio.Task[bool], key: str, owner: str) -> None:
        async def undo() -> None:
            held = True  # Where the store's answer was lost the claim may stand; only its owner can take it back.
            with suppress(Exception):
                held = await claim
            try:
                if held:
                    await self._replays.release(key, owner)
            except Exception as error:  # noqa: BLE001 - the answer is decided; the claim stays until it expires.
                note(logging.WARNING, "claim_not_given_back", error=type(error).__name__)

        undoing = asyncio.create_task(undo())
        self._unfinished.add(undoing)
        undoing.add_done_callback(self._unfinished.discard)
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(undoing), _GIVE_BACK_SECONDS)

    async def _mint(self, case: _Case, trail: audit.Trail) -> VendedToken:
        target, entra_token = self._target(case)
        try:
            return await self._minter.mint(target, entra_token, case.decision.granted)
        except GrantWider as wider:
            trail.security(
                "registry_grant_wider",
                registry=target.login_server,
                scope=render(case.decision.granted),
                excess=" ".join(wider.excess),
            )
            raise

    def _target(self, case: _Case) -> tuple[Target, Callable[[], Awaitable[str]]]:
        registry = case.registry
        identity = case.policy.identity_of(registry, self._settings.client_id)
        target = Target.of(registry, identity, allow_loopback=self._settings.allow_loopback)
        return target, lambda: self._entra.token(identity, registry.token_audience)

    async def _recorded(self, trail: audit.Trail, work: Callable[[], Awaitable[T]]) -> T:
        """Run `work` in a span of its own and under the deadline; write exactly one audit event, whatever happens."""
        with self._telemetry.request(trail.kind, trail.trace_parent):
            return await self._in_time(trail, work)

    async def _in_time(self, trail: audit.Trail, work: Callable[[], Awaitable[T]]) -> T:
        refusal: Refusal | None = Refusal(Reason.INTERNAL_ERROR)
        deadline: asyncio.Timeout | None = None
        try:
            async with asyncio.timeout(self._settings.deadline_seconds) as deadline:
                result = await work()
            refusal = trail.denial
            return result
        except Refusal as refused:
            refusal = refused
            trail.missing = list(refused.missing or trail.missing)
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, its text must not get out.
            if deadline is not None and deadline.expired():
                refusal = Refusal(Reason.DEADLINE_EXCEEDED)
                raise refusal from None
            note_bug(error)
            raise Refusal(Reason.INTERNAL_ERROR) from None
        finally:
            event = trail.write(refusal)
            ended = Outcome(trail.kind, event["outcome"], event["reason"] or "none")
            self._telemetry.finished(ended, event["durations_ms"])


def find_registry(policy: Policy, audience: str | None, resource: str | None, *, allow_loopback: bool) -> Registry:
    """Find the registry that a request names, or the policy's only one.

    Raises `Refusal` with `unknown_registry`, `multiple_registries` or `registry_required`.
    """
    named: list[Registry] = []
    if audience is not None:
        named.append(_known(policy.find_registry(audience), audience))
    if resource is not None:
        named.append(_known(_by_resource(policy, resource, allow_loopback=allow_loopback), resource))
    if not named:
        if len(policy.registries) != 1:
            raise Refusal(Reason.REGISTRY_REQUIRED)
        named = list(policy.registries.values())
    if any(registry is not named[0] for registry in named):
        raise Refusal(Reason.MULTIPLE_REGISTRIES, "The audience and the resource name two registries; name one.")
    return named[0]


def _by_resource(policy: Policy, resource: str, *, allow_loopback: bool) -> Registry | None:
    for registry in policy.registries.values():
        for host in registry.all_hosts:
            local = origin(host, allow_loopback=allow_loopback)
            if resource.removesuffix("/") in {f"https://{host}", local}:
                return registry
    return None


def _known(registry: Registry | None, name: str) -> Registry:
    if registry is None:
        raise Refusal(Reason.UNKNOWN_REGISTRY, f"The policy lists no registry {quote(name)}.")
    return registry


def _read(claims: Claims, key: str) -> JsonValue:
    return lookup(claims, parse_key(key))


def _identity_claims(issuer: PolicyIssuer) -> list[str]:
    return [name for name in issuer.preset.identity if name not in issuer.preset.personal]


def _caller(issuer: PolicyIssuer, claims: VerifiedClaims) -> tuple[str, ...]:
    """Name the caller to the rate limiter; by all that identifies it where claims are missing, so that no two share."""
    preset = issuer.preset
    for names in preset.callers:
        values = [_read(claims.claims, name) for name in names]
        if None not in values:
            return tuple(f"{name}={value}" for name, value in zip(names, values, strict=True))
    known = ((name, _read(claims.claims, name)) for name in (*preset.identity, "sub"))
    return tuple(f"{name}={value}" for name, value in known if value is not None)


def _claim_key(case: _Case) -> str:
    return replay_key(case.issuer.verification.url, case.claims.token_id or "")


def _denial(decision: Decision) -> Refusal:
    return Refusal(
        decision.reason or Reason.SCOPE_NOT_GRANTED,
        decision.description,
        missing=tuple(str(scope) for scope in decision.missing),
    )


def _record_decision(trail: audit.Trail, decision: Decision) -> None:
    trail.granted = [str(scope) for scope in decision.granted]
    trail.missing = [str(scope) for scope in decision.missing]
    trail.rules = list(decision.rules)
    trail.audit_rules = list(decision.audit_rules)
    trail.denies = list(decision.denies)
    trail.failed_rules = [(hint.name, list(hint.failed_claims)) for hint in decision.hints if not hint.matched]
