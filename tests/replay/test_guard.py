"""The guard before the store: how long a claim holds, whom it holds up, and that only a good end keeps it."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from tests.support.replay import Time
from vending.errors import Reason, Refusal
from vending.oidc.claims import SKEW_SECONDS
from vending.oidc.types import Issuer, VerifiedClaims
from vending.oidc.verify import replay_key
from vending.replay.guard import ReplayGuard
from vending.replay.store import ReplayStore

ONCE = Issuer("github", "https://issuer.example", "https://vend.example", frozenset({"RS256"}), 900, "once")
REUSE = Issuer("gitlab", "https://issuer.example", "https://vend.example", frozenset({"RS256"}), 900, "reuse")
KEY = replay_key(ONCE.url, "j-1")


def token(clock: Time, lives: float = 300.0) -> VerifiedClaims:
    return VerifiedClaims("github", {"jti": "j-1", "exp": clock.now() + lives})


async def use(guard: ReplayGuard, claims: VerifiedClaims, issuer: Issuer = ONCE) -> None:
    async with guard.claimed(issuer, claims, nullcontext()):
        pass


async def refused(guard: ReplayGuard, claims: VerifiedClaims) -> Reason:
    with pytest.raises(Refusal) as caught:
        await use(guard, claims)
    return caught.value.reason


async def test_claim_outlives_the_token_by_twice_the_skew(store: ReplayStore, clock: Time) -> None:
    await use(ReplayGuard(store, clock.clock), token(clock))
    clock.ahead += 300 + 2 * SKEW_SECONDS - 10
    assert await store.is_claimed(KEY)
    clock.ahead += 12
    assert not await store.is_claimed(KEY)


@pytest.mark.parametrize("behind", [0, 30, SKEW_SECONDS])
async def test_instance_whose_clock_is_behind_meets_the_claim_for_as_long_as_it_takes_the_token(
    store: ReplayStore, clock: Time, behind: float
) -> None:
    """The store's instance is right; the other one still takes the token when its exp and the skew are over here."""
    claims = token(clock)
    await use(ReplayGuard(store, clock.clock), claims)
    clock.ahead += 300 + SKEW_SECONDS + behind - 10
    late = Time()
    late.ahead = clock.ahead - behind
    assert late.now() < claims.expires_at + SKEW_SECONDS  # It would verify.
    assert await refused(ReplayGuard(store, late.clock), claims) is Reason.TOKEN_REPLAYED


async def test_token_that_ran_out_while_it_was_claimed_is_expired_and_not_vended(
    store: ReplayStore, clock: Time
) -> None:
    claims = token(clock)
    clock.ahead += 300 + SKEW_SECONDS
    assert await refused(ReplayGuard(store, clock.clock), claims) is Reason.TOKEN_EXPIRED


async def test_token_that_may_be_used_again_is_not_claimed(store: ReplayStore, clock: Time) -> None:
    guard = ReplayGuard(store, clock.clock)
    for _ in range(2):
        await use(guard, token(clock), REUSE)
    assert not await store.is_claimed(KEY)


async def test_claim_goes_back_when_the_work_fails_and_stays_when_it_does_not(store: ReplayStore, clock: Time) -> None:
    guard, claims = ReplayGuard(store, clock.clock), token(clock)
    with pytest.raises(ValueError, match="no"):
        async with guard.claimed(ONCE, claims, nullcontext()):
            raise ValueError("no")
    await guard.refuse_used(ONCE, claims)
    await use(guard, claims)
    assert await refused(guard, claims) is Reason.TOKEN_REPLAYED
    with pytest.raises(Refusal):
        await guard.refuse_used(ONCE, claims)


async def test_token_of_a_once_issuer_without_an_id_gets_nowhere(store: ReplayStore, clock: Time) -> None:
    guard = ReplayGuard(store, clock.clock)
    assert await refused(guard, VerifiedClaims("github", {"exp": clock.now() + 300})) is Reason.CLAIM_MISSING
