"""Minting against the emulated registry: what is cached, what is asked anew, and what is never handed out."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

import jwt
import pytest

from devstack.entra.tenant import ACR_AUDIENCE, Tenant
from devstack.faults import Fault
from devstack.registry.server import Registry
from devstack.registry.tokens import Rights
from devstack.serving import LoopThread
from tests.support.hands import RunningHands
from vending.acr.access import VendedToken
from vending.acr.exchange import Minter, RegistryFailure
from vending.acr.scope import parse
from vending.acr.target import Target
from vending.credential_cache import REFUSALS_IN_A_ROW
from vending.errors import Reason, Refusal
from vending.http_client import Http

PUSH = "repository:web/api:pull,push"
OBJECT_ID = "11111111-2222-3333-4444-555555555555"


@pytest.fixture(scope="module")
def loop_thread() -> Iterator[LoopThread]:
    thread = LoopThread()
    yield thread
    thread.close()


@pytest.fixture(scope="module")
def tenant() -> Tenant:
    return Tenant()


@pytest.fixture(scope="module")
def started(loop_thread: LoopThread, tenant: Tenant) -> Iterator[Registry]:
    with Registry(tenant).start(loop_thread) as registry:
        yield registry


@pytest.fixture
def acr(started: Registry) -> Iterator[Registry]:
    """The registry, with all rights for our identity, and nobody's calls counted."""
    started.allow(OBJECT_ID)
    started.board.requests.clear()
    yield started
    started.heal()


@dataclass
class Mint:
    """A minter with all it needs, and the time in the test's hands."""

    registry: Registry
    http: Http
    tenant: Tenant
    hands: RunningHands = field(default_factory=RunningHands)
    entra_calls: int = 0

    def __post_init__(self) -> None:
        self.minter = Minter(self.http, self.hands.clock, budget_seconds=20)

    def target(self, *, service: str | None = None, identity: str = "default") -> Target:
        return Target(
            origin=self.registry.url, login_server=self.registry.login_server, service=service, identity=identity
        )

    async def entra_token(self) -> str:
        self.entra_calls += 1
        return self.tenant.token(OBJECT_ID, "app", ACR_AUDIENCE)

    async def __call__(self, scope: str = PUSH, **target: str) -> VendedToken:
        return await self.minter.mint(self.target(**target), self.entra_token, parse(scope))

    async def refused(self, scope: str = PUSH, **target: str) -> Refusal:
        with pytest.raises(Refusal) as caught:
            await self(scope, **target)
        return caught.value

    def calls(self) -> tuple[int, int]:
        """How often the exchange and the token endpoint were called."""
        return self.registry.board.requests["exchange"], self.registry.board.requests["token"]


@pytest.fixture
def mint(acr: Registry, http: Http, tenant: Tenant) -> Mint:
    return Mint(acr, http, tenant)


async def test_token_allows_exactly_what_was_asked_for(mint: Mint) -> None:
    vended = await mint("repository:web/api:pull,push repository:web/ui:pull registry:catalog:*")
    claims = mint.registry.tokens.verify_access(vended.secret)
    assert claims["access"] == [
        {"type": "repository", "name": "web/api", "actions": ["pull", "push"]},
        {"type": "repository", "name": "web/ui", "actions": ["pull"]},
        {"type": "registry", "name": "catalog", "actions": ["*"]},
    ]
    assert (vended.token_id, vended.expires_at) == (claims["jti"], claims["exp"])


async def test_refresh_token_is_shared_and_the_vended_one_never(mint: Mint) -> None:
    vended = await asyncio.gather(*(mint() for _ in range(20)))
    assert mint.calls() == (1, 20)
    assert mint.entra_calls == 1
    assert len({token.secret for token in vended}) == 20


async def test_identities_do_not_share_refresh_tokens(mint: Mint) -> None:
    await mint(identity="one")
    await mint(identity="two")
    assert mint.calls() == (2, 2)


async def test_refresh_token_is_renewed_before_it_ends_and_nobody_waits(mint: Mint) -> None:
    await mint()
    mint.registry.tokens.tamper = lambda claims: {**claims, "exp": claims["exp"] + 91 * 60}  # whose clock stands still
    mint.hands.turn(91 * 60)
    mint.registry.board.set("exchange", Fault(delay=0.3))
    await mint()
    assert mint.calls()[1] == 2
    for _ in range(200):
        if mint.calls()[0] == 2:
            break
        await asyncio.sleep(0.05)
    assert mint.calls()[0] == 2


async def test_refresh_token_that_turned_stale_is_replaced_within_the_request(mint: Mint) -> None:
    await mint()
    mint.registry.tokens.mode = "abac"  # voids every refresh token issued before
    await mint()
    assert mint.calls() == (2, 3)


async def test_stale_refresh_token_is_replaced_once_for_all_callers(mint: Mint) -> None:
    await mint()
    mint.registry.tokens.revoke_refresh_tokens()
    await asyncio.gather(*(mint() for _ in range(20)))
    assert mint.calls()[0] == 2


async def test_second_staleness_within_a_minute_is_refused_without_another_exchange(mint: Mint) -> None:
    await mint()
    mint.registry.tokens.revoke_refresh_tokens()
    await mint()
    mint.registry.tokens.revoke_refresh_tokens()
    assert {(await mint.refused()).reason for _ in range(3)} == {Reason.REGISTRY_REFUSED}
    assert mint.calls()[0] == 2
    mint.hands.turn(61)
    await mint()
    assert mint.calls()[0] == 3


async def test_missing_right_costs_one_exchange_a_minute_and_not_one_per_caller(mint: Mint) -> None:
    mint.registry.allow(OBJECT_ID, Rights([("web/*", frozenset({"pull"}))]))
    for _ in range(5):
        narrower = await mint.refused()
        assert narrower.reason is Reason.REGISTRY_GRANT_NARROWER
        assert narrower.missing == ("repository:web/api:push",)
        assert "AcrPush" in narrower.description
        assert "Container Registry Repository Writer" in narrower.description
    assert mint.calls() == (2, 6)
    await mint("repository:web/api:pull")  # what the identity may do goes on, with the token that is there
    assert mint.calls() == (2, 7)
    mint.hands.turn(61)
    await mint.refused()
    assert mint.calls()[0] == 3


async def test_right_that_one_job_lacks_leaves_everybodys_dead_refresh_token_to_be_replaced(mint: Mint) -> None:
    mint.registry.allow(OBJECT_ID, Rights([("web/*", frozenset({"pull"}))]))
    assert (await mint.refused()).reason is Reason.REGISTRY_GRANT_NARROWER
    mint.registry.tokens.revoke_refresh_tokens()
    await mint("repository:web/api:pull")
    assert mint.calls()[0] == 3


async def test_dead_refresh_token_leaves_a_right_given_meanwhile_to_be_noticed(mint: Mint) -> None:
    mint.registry.allow(OBJECT_ID, Rights([("web/*", frozenset({"pull"}))]))
    await mint("repository:web/api:pull")
    mint.registry.tokens.revoke_refresh_tokens()
    await mint("repository:web/api:pull")
    assert (await mint.refused()).reason is Reason.REGISTRY_GRANT_NARROWER
    assert mint.calls()[0] == 3
    assert (await mint.refused()).reason is Reason.REGISTRY_GRANT_NARROWER
    mint.registry.tokens.revoke_refresh_tokens()
    assert (await mint.refused("repository:web/api:pull")).reason is Reason.REGISTRY_REFUSED
    assert mint.calls()[0] == 3  # Each cause had its one exchange of this minute.


async def test_right_given_meanwhile_takes_effect_within_the_request(mint: Mint) -> None:
    mint.registry.allow(OBJECT_ID, Rights([("web/*", frozenset({"pull"}))]))
    await mint("repository:web/api:pull")
    mint.registry.tokens.revoke_refresh_tokens()
    mint.registry.allow(OBJECT_ID)
    await mint()
    assert mint.calls()[0] == 2


async def test_failed_replacement_does_not_lose_the_token_that_others_use(mint: Mint) -> None:
    mint.registry.allow(OBJECT_ID, Rights([("web/*", frozenset({"pull"}))]))
    await mint("repository:web/api:pull")
    mint.registry.board.set("exchange", Fault(status=401))
    assert (await mint.refused()).reason is Reason.REGISTRY_REFUSED
    await mint("repository:web/api:pull")
    assert mint.calls()[0] == 2


async def test_identity_without_any_role_does_not_make_every_caller_exchange_anew(mint: Mint) -> None:
    mint.registry.tokens.rights.clear()
    refusals = [await mint.refused() for _ in range(9)]
    assert {refusal.reason for refusal in refusals} == {Reason.REGISTRY_REFUSED}
    assert mint.calls() == (REFUSALS_IN_A_ROW, 0)
    mint.registry.allow(OBJECT_ID)
    mint.hands.turn(6)
    await mint()


async def test_throttling_registry_is_not_called_while_it_asks_to_wait(mint: Mint) -> None:
    await mint()
    mint.registry.board.set("token", Fault(status=429, headers={"Retry-After": "300"}))
    first = await mint.refused()
    assert (first.reason, first.retry_after) == (Reason.REGISTRY_THROTTLED, 300)
    mint.registry.board.clear()
    second = await mint.refused(identity="another")
    assert second.reason is Reason.REGISTRY_THROTTLED
    assert second.retry_after is not None
    assert mint.calls()[1] == 2
    mint.hands.turn(61)  # an hour of Retry-After does not close a registry for an hour
    await mint()


async def test_arm_token_is_refused_by_a_registry_that_does_not_take_them(mint: Mint) -> None:
    mint.registry.tokens.allow_arm_audience = False

    async def arm_token() -> str:
        return mint.tenant.token(OBJECT_ID, "app", "https://management.azure.com")

    with pytest.raises(RegistryFailure) as caught:
        await mint.minter.mint(mint.target(), arm_token, parse(PUSH))
    assert (caught.value.status, caught.value.code) == (401, "UNAUTHORIZED")
    assert caught.value.detail.startswith("token validation failed")


async def test_firewall_is_told_apart_from_missing_rights(mint: Mint) -> None:
    mint.registry.firewalled = True
    refusal = await mint.refused()
    assert isinstance(refusal, RegistryFailure)
    assert (refusal.status, refusal.code) == (403, "DENIED")
    assert "firewall" in refusal.description
    assert "127.0.0.1" in refusal.detail
    assert "127.0.0.1" not in refusal.description


async def test_service_is_taken_from_the_challenge_where_the_policy_names_none(
    mint: Mint, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A regional endpoint or a registry behind a name of its own: the login server is not what it calls itself.
    target = Target(origin=mint.registry.url, login_server="contoso.azurecr.io", service=None, identity="default")
    for _ in range(3):
        vended = await mint.minter.mint(target, mint.entra_token, parse(PUSH))
    assert jwt.decode(vended.secret, options={"verify_signature": False})["aud"] == mint.registry.login_server
    assert mint.registry.board.requests["v2"] == 1
    assert mint.calls() == (2, 3)


async def test_service_of_the_policy_is_used_as_it_is(mint: Mint) -> None:
    target = Target(mint.registry.url, "contoso.azurecr.io", mint.registry.login_server, "default")
    await mint.minter.mint(target, mint.entra_token, parse(PUSH))
    wrong = Target(mint.registry.url, mint.registry.login_server, "contoso.azurecr.io", "default")
    with pytest.raises(RegistryFailure) as caught:
        await mint.minter.mint(wrong, mint.entra_token, parse(PUSH))
    assert caught.value.status == 400
    assert mint.registry.board.requests["v2"] == 0


async def test_token_of_another_registry_is_not_handed_out(mint: Mint) -> None:
    mint.registry.tokens.tamper = lambda claims: {**claims, "aud": "other.azurecr.io"}
    assert (await mint.refused()).reason is Reason.REGISTRY_RESPONSE_INVALID


async def test_wider_token_is_not_handed_out(mint: Mint) -> None:
    mint.registry.tokens.tamper = lambda claims: {
        **claims,
        "access": [*claims["access"], {"type": "repository", "name": "*", "actions": ["*"]}],
    }
    assert (await mint.refused()).reason is Reason.REGISTRY_GRANT_WIDER
    assert mint.calls() == (1, 1)  # it is not asked again until it says something better


@pytest.mark.parametrize("empty", ["list", "null"])
async def test_empty_grant_is_narrower_however_it_is_written(mint: Mint, empty: str) -> None:
    mint.registry.tokens.empty_access = "null" if empty == "null" else "list"
    mint.registry.allow(OBJECT_ID, Rights([("other", frozenset({"pull"}))]))
    assert (await mint.refused()).reason is Reason.REGISTRY_GRANT_NARROWER


async def test_registry_in_abac_mode_with_capital_keys_is_understood(mint: Mint) -> None:
    mint.registry.tokens.mode = "abac"
    mint.registry.tokens.capital_keys = True
    await mint()


async def test_caller_that_goes_away_leaves_nothing_half_done(mint: Mint) -> None:
    mint.registry.board.set("exchange", Fault(delay=0.3), times=1)
    leaving = asyncio.create_task(mint())
    await asyncio.sleep(0.1)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    await mint()
    assert mint.calls() == (1, 1)


async def test_warming_overlaps_with_other_work_and_is_joined(mint: Mint) -> None:
    mint.minter.warm(mint.target(), mint.entra_token)
    await mint()
    mint.minter.warm(mint.target(), mint.entra_token)
    assert mint.calls() == (1, 1)


async def test_probe_tells_what_the_identity_may_do(mint: Mint) -> None:
    mint.registry.tokens.mode = "abac"
    mint.registry.allow(OBJECT_ID, Rights([("web/*", frozenset({"pull", "delete"}))]))
    probe = await mint.minter.probe(mint.target(), mint.entra_token, parse("repository:web/api:pull,push,delete"))
    assert probe.abac
    assert probe.service == mint.registry.login_server
    assert probe.granted == {("repository", "web/api", "pull"), ("repository", "web/api", "delete")}


async def test_no_secret_reaches_a_log_or_an_error(mint: Mint, caplog: pytest.LogCaptureFixture) -> None:
    entra = await mint.entra_token()
    echoes = json.dumps({"errors": [{"code": "UNAUTHORIZED", "message": f"bad token {entra} was sent"}]}).encode()
    mint.registry.board.set("exchange", Fault(status=401, body=echoes))
    with caplog.at_level(logging.DEBUG):
        refusal = await mint.refused()
    assert isinstance(refusal, RegistryFailure)
    assert refusal.detail == "bad token [...] was sent"
    everything = f"{caplog.text} {refusal!r} {refusal} {refusal.detail} {mint.target()!r}"
    assert entra not in everything
    assert entra.split(".")[2] not in everything


# --- Prefetching


async def test_prefetched_refresh_token_is_the_one_that_is_used(mint: Mint) -> None:
    mint.minter.prefetch(mint.target(), mint.entra_token)
    await mint()
    mint.minter.prefetch(mint.target(), mint.entra_token)
    await mint()
    assert (mint.calls(), mint.entra_calls) == ((1, 2), 1)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=400),
        Fault(status=401, body=b'{"errors": [{"code": "UNAUTHORIZED", "message": "no"}]}'),
        Fault(status=404),
        Fault(status=429, headers={"Retry-After": "50"}),
        Fault(status=503, headers={"Retry-After": "50"}),
        Fault(reset=True),
        Fault(truncate=True),
        Fault(body=b"no json"),
        Fault(body=b'{"refresh_token": ""}'),
        Fault(body=b'{"refresh_token": "no.token"}'),
        Fault(stream_bytes=300_000),
    ],
)
async def test_prefetch_that_fails_is_one_call_and_counts_for_nothing(
    mint: Mint, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    mint.registry.board.set("exchange", fault)
    with caplog.at_level(logging.DEBUG, "vending"):
        for attempt in range(1, REFUSALS_IN_A_ROW + 2):
            assert await mint.minter.prefetch(mint.target(), mint.entra_token) is None
            assert mint.calls() == (attempt, 0)
    assert not [record for record in caplog.records if record.name.startswith("vending")]
    mint.registry.board.clear()
    await mint()
    assert mint.calls() == (REFUSALS_IN_A_ROW + 2, 1)


async def test_registry_that_throttles_is_left_alone_by_a_prefetch(mint: Mint) -> None:
    mint.registry.board.set("exchange", Fault(status=429, headers={"Retry-After": "50"}))
    assert (await mint.refused()).reason is Reason.REGISTRY_THROTTLED
    assert await mint.minter.prefetch(mint.target(), mint.entra_token) is None
    assert (mint.calls(), mint.entra_calls) == ((1, 0), 1)
