"""The service as its endpoints see it: the vendor, and what can be told without a token."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vending.errors import Reason, Refusal
from vending.telemetry import Ages

if TYPE_CHECKING:
    from vending.clock import Clock
    from vending.http_client import Http
    from vending.oidc.verify import Verifier
    from vending.policy import Policy
    from vending.policy_store import PolicyStore, ReloadFailure
    from vending.recorder import Recorder
    from vending.settings import Settings
    from vending.vendor import Vendor


@dataclass(frozen=True, slots=True)
class State:
    """Hold what `/readyz` shows. `policy_age_seconds` is None where there is no policy."""

    policy_sha256: str | None
    policy_age_seconds: float | None
    policy_source: Literal["file", "blob"]
    reload_failure: ReloadFailure | None
    issuers_in_trouble: int


@dataclass(frozen=True, slots=True)
class Service:
    """Hold the parts that endpoints need. One for the life of the app."""

    settings: Settings
    clock: Clock
    http: Http
    policies: PolicyStore
    verifier: Verifier
    recorder: Recorder
    vendor: Vendor

    async def policy(self) -> Policy:
        """Return the policy in force, waiting for it within the deadline. Raises `Refusal`: `policy_unavailable`."""
        try:
            async with asyncio.timeout(self.settings.deadline_seconds):
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
            reload_failure=self.policies.reload_failure,
            issuers_in_trouble=len(self.verifier.in_trouble(issuers)),
        )

    def ages(self) -> Ages:
        """Tell how old the policy and each issuer's keys are; calls nobody."""
        policy = self.policies.in_force
        if policy is None:
            return Ages(policy=None, keys={})
        issuers = [issuer.verification for issuer in policy.issuers.values()]
        return Ages(policy=self.policies.age_seconds(), keys=self.verifier.key_ages(issuers))
