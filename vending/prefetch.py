"""Begin the calls of a cold start that need not wait for the issuer's keys. Decides and refuses nothing.

What is begun here follows from policy and settings alone, never from what a caller sends, and a failure counts for
nothing (`RenewingCache.prefetch`): the request that needs the credential makes the call again, and that one is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vending import startup
from vending.acr.target import Target
from vending.errors import Reason, Refusal
from vending.policy.engine.matching import is_in_force
from vending.policy_store import STORAGE_AUDIENCE

if TYPE_CHECKING:
    import asyncio

    from vending.acr.exchange import Minter
    from vending.clock import Clock
    from vending.credential_cache import Credential
    from vending.entra.credentials import EntraTokens
    from vending.entra.identity import Identity
    from vending.policy import Policy, Registry
    from vending.settings import Settings


@dataclass(frozen=True, slots=True)
class Prefetch:
    """Fetch ahead. `replay_identity` is the identity that the replay table is used with, None without a table."""

    settings: Settings
    clock: Clock
    entra: EntraTokens
    minter: Minter
    replay_identity: Identity | None

    def begin(self, policy: Policy) -> list[asyncio.Task[Credential | None]]:
        """Begin what a token needs beside its issuer's keys, where the policy leaves no choice about it.

        With several registries nothing is fetched for any: only a verified request may choose. Nor where no rule
        grants anything now, as in a policy on trial, for then no request needs a credential. What will be needed is
        imported meanwhile, whatever the policy says. Nobody has to wait for what was begun.
        """
        startup.begin_imports()
        begun: list[asyncio.Task[Credential | None]] = []
        if not _grants_now(policy, self.clock.now()):
            return begun
        if self.replay_identity is not None:
            begun.append(self.entra.prefetch(self.replay_identity, STORAGE_AUDIENCE))
        if len(policy.registries) == 1:
            [registry] = policy.registries.values()
            begun.append(self._refresh_token(policy, registry))
        return begun

    def _refresh_token(self, policy: Policy, registry: Registry) -> asyncio.Task[Credential | None]:
        identity = policy.identity_of(registry, self.settings.client_id)
        target = Target.of(registry, identity, allow_loopback=self.settings.allow_loopback)

        async def entra_token() -> str:
            credential = await self.entra.prefetch(identity, registry.token_audience)
            if credential is None:
                raise Refusal(Reason.IDENTITY_UNAVAILABLE)
            return credential.secret

        return self.minter.prefetch(target, entra_token)


def _grants_now(policy: Policy, now: float) -> bool:
    return any(
        rule.enforced and rule.enabled and is_in_force(rule.span, now)
        for issuer in policy.issuers.values()
        if issuer.verification.enabled
        for rule in policy.rules[issuer.name].rules
    )
