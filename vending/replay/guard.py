"""Claiming a token before it is used, and giving the claim back when nothing was handed out. Stores nothing itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from vending.errors import Reason, Refusal
from vending.oidc.claims import SKEW_SECONDS
from vending.oidc.verify import replay_key
from vending.operations_log import note
from vending.replay.store import new_owner

if TYPE_CHECKING:
    from vending.clock import Clock
    from vending.oidc.types import Issuer, VerifiedClaims
    from vending.replay.store import ReplayStore

_CLAIM_OUTLIVES_SECONDS: Final = 2 * SKEW_SECONDS
"""A token is accepted until `exp` plus the skew by the clock of the instance that it meets; a claim that outlives it by
as much again holds on every instance whose clock is right to within the skew."""
_GIVE_BACK_SECONDS: Final = 3.0
"""How long an answer waits for its claim to be given back; the giving goes on behind it if that takes longer."""


class ReplayGuard:
    """Let each token of a `once` issuer through once. One for the life of the app."""

    def __init__(self, store: ReplayStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._unfinished: set[asyncio.Task[None]] = set()

    async def refuse_used(self, issuer: Issuer, claims: VerifiedClaims) -> None:
        """Raise `Refusal` with `token_replayed` for a token that was used already; takes nothing."""
        if issuer.replay == "once" and await self._store.is_claimed(_key(issuer, claims)):
            raise Refusal(Reason.TOKEN_REPLAYED)

    @asynccontextmanager
    async def claimed(
        self, issuer: Issuer, claims: VerifiedClaims, claiming: AbstractContextManager[None]
    ) -> AsyncIterator[None]:
        """Hold the claim on a `once` token; give it back, whatever happens, if the body does not end well.

        `claiming` surrounds the taking alone. Raises `Refusal` with `token_replayed`, `token_expired` or the store's
        reasons.
        """
        if issuer.replay != "once":
            yield
            return
        key, owner = _key(issuer, claims), new_owner()
        taking = asyncio.ensure_future(self._store.claim(key, owner, claims.expires_at + _CLAIM_OUTLIVES_SECONDS))
        try:
            with claiming:
                if not await asyncio.shield(taking):
                    raise Refusal(Reason.TOKEN_REPLAYED)
            if self._clock.now() >= claims.expires_at + SKEW_SECONDS:
                raise Refusal(Reason.TOKEN_EXPIRED)  # It ran out while it was being claimed.
            yield
        except BaseException:
            await self._give_back(taking, key, owner)
            raise

    async def _give_back(self, taking: asyncio.Future[bool], key: str, owner: str) -> None:
        async def undo() -> None:
            held = True  # Where the store's answer was lost the claim may exist; only its owner can take it back.
            with suppress(Exception):
                held = await taking
            try:
                if held:
                    await self._store.release(key, owner)
            except Exception as error:  # noqa: BLE001 - the answer is decided; the claim stays until it expires.
                note(logging.WARNING, "claim_not_given_back", error=type(error).__name__)

        undoing = asyncio.create_task(undo())
        self._unfinished.add(undoing)
        undoing.add_done_callback(self._unfinished.discard)
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(undoing), _GIVE_BACK_SECONDS)


def _key(issuer: Issuer, claims: VerifiedClaims) -> str:
    if not claims.token_id:  # Verification refuses such a token already; two without an id are not one token.
        raise Refusal(Reason.CLAIM_MISSING)
    return replay_key(issuer.url, claims.token_id)
