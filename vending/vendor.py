"""The story of a request in one screen: verify → decide → claim → mint → check → record.

Knows every step and how none of them works; `wiring` puts them together. What comes in has passed step 1, the shape
(`vending.request`); what goes out is a token that allows exactly what the policy granted, or a `Refusal`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vending.acr.target import Target
from vending.judge import denial
from vending.policy import hints

if TYPE_CHECKING:
    from vending.acr.access import VendedToken
    from vending.acr.exchange import Minter
    from vending.audit import Trail
    from vending.entra.credentials import EntraTokens
    from vending.judge import Case, Judge
    from vending.policy import RuleHint
    from vending.prefetch import Prefetch
    from vending.recorder import Recorder
    from vending.replay.guard import ReplayGuard
    from vending.request import TokenRequest
    from vending.settings import Settings


@dataclass(frozen=True, slots=True)
class Vended:
    """Hold what a successful request gets."""

    token: VendedToken = field(repr=False)
    case: Case


@dataclass(frozen=True, slots=True)
class Explanation:
    """Hold what a caller may know about the decision on its own token."""

    case: Case
    rules: tuple[RuleHint, ...]


@dataclass(frozen=True, slots=True)
class Vendor:
    """Answer well-formed requests. One for the life of the app; its parts hold the caches."""

    settings: Settings
    judge: Judge
    guard: ReplayGuard
    entra: EntraTokens
    minter: Minter
    recorder: Recorder
    prefetch: Prefetch

    async def token(self, request: TokenRequest, trail: Trail) -> Vended:
        """Vend a token (steps 2 to 9). Raises `Refusal`; writes one audit event either way."""
        async with self.recorder.recorded(trail):
            case = await self.judge.judge(request, trail, self.prefetch)
            if not case.decision.allowed:
                raise denial(case.decision)
            target, entra_token = self._target(case)
            self.minter.warm(target, entra_token)  # Overlaps with the claim, and does not depend on it.
            async with self.guard.claimed(case.issuer.verification, case.claims, trail.step("claim")):
                with trail.step("mint"):
                    token = await self.minter.mint(target, entra_token, case.decision.granted)
                trail.vended(token.token_id, token.expires_at)
                return Vended(token, case)

    async def explain(self, request: TokenRequest, trail: Trail) -> Explanation:
        """Decide and explain, mint nothing, claim nothing. Raises `Refusal` for what precedes the decision."""
        async with self.recorder.recorded(trail):
            case = await self.judge.judge(request, trail)
            await self.guard.refuse_used(case.issuer.verification, case.claims)
            if not case.decision.allowed:
                trail.denial = denial(case.decision)
            in_question = case.decision.missing or request.scopes
            told = hints(case.policy, case.claims, case.registry.name, in_question, case.decided_at)
            return Explanation(case, told)

    def _target(self, case: Case) -> tuple[Target, Callable[[], Awaitable[str]]]:
        identity = case.policy.identity_of(case.registry, self.settings.client_id)
        target = Target.of(case.registry, identity, allow_loopback=self.settings.allow_loopback)
        return target, lambda: self.entra.token(identity, case.registry.token_audience)
