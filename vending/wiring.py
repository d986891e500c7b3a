"""Put the parts together, once, on the first request. Opens no connection and reads no policy by itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vending.acr.exchange import Minter
from vending.clock import Clock
from vending.entra.credentials import EntraTokens
from vending.entra.identity import Identity
from vending.http_client import Http
from vending.judge import Judge
from vending.oidc.verify import Verifier
from vending.policy import Environment
from vending.policy_store import (
    LONGEST_CHECK_SECONDS,
    STORAGE_AUDIENCE,
    BlobSource,
    FileSource,
    PolicySource,
    PolicyStore,
)
from vending.prefetch import Prefetch
from vending.rate_limit import RateLimiter
from vending.recorder import Recorder
from vending.refusal_log import Sampler
from vending.replay.guard import ReplayGuard
from vending.replay.store import MemoryStore, ReplayStore
from vending.service import Service
from vending.telemetry import start
from vending.vendor import Vendor

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from vending.policy import Policy
    from vending.settings import Settings


def build(settings: Settings) -> Service:
    """Build the service from its settings."""
    clock, http = Clock(), Http()
    entra = EntraTokens(http, clock, settings.environment, budget_seconds=settings.deadline_seconds)
    verifier = Verifier(http, clock, allow_loopback=settings.allow_loopback)

    async def storage_token() -> str:
        return await entra.token(own_identity(settings), STORAGE_AUDIENCE)

    def on_change(policy: Policy) -> None:
        verifier.keep(issuer.verification for issuer in policy.issuers.values())

    policies = PolicyStore(
        policy_source(settings, http, storage_token),
        clock,
        refresh_seconds=settings.policy_refresh_seconds,
        max_stale_seconds=settings.policy_max_stale_seconds,
        on_change=on_change,
        wait_seconds=min(LONGEST_CHECK_SECONDS, settings.deadline_seconds / 2),
    )
    recorder = Recorder(clock, start(settings), settings.deadline_seconds)
    minter = Minter(http, clock, budget_seconds=settings.deadline_seconds)
    replay_identity = None if settings.replay_table is None else own_identity(settings)
    vendor = Vendor(
        settings=settings,
        judge=Judge(policies, verifier, RateLimiter(clock), clock, settings.allow_loopback, Sampler(clock)),
        guard=ReplayGuard(replay_store(settings, http, clock, storage_token), clock),
        entra=entra,
        minter=minter,
        recorder=recorder,
        prefetch=Prefetch(settings, clock, entra, minter, replay_identity),
    )
    service = Service(settings, clock, http, policies, verifier, recorder, vendor)
    recorder.telemetry.watch(service.ages)
    return service


def own_identity(settings: Settings) -> Identity:
    """Name the app's own managed identity, which reads the policy's blob and the replay table."""
    return Identity("managed_identity", client_id=settings.client_id)


def policy_source(settings: Settings, http: Http, storage_token: Callable[[], Awaitable[str]]) -> PolicySource:
    """Choose where the policy comes from: a file, or a blob that is read with `storage_token`."""
    environment = Environment(custom_hosts=settings.custom_hosts, allow_loopback=settings.allow_loopback)
    if isinstance(settings.policy, Path):
        return FileSource(settings.policy, environment)
    return BlobSource(settings.policy, environment, http, storage_token)


def replay_store(
    settings: Settings, http: Http, clock: Clock, storage_token: Callable[[], Awaitable[str]]
) -> ReplayStore:
    """Choose where tokens that were used are kept: this process's memory, or a table."""
    if settings.replay_table is None:
        return MemoryStore(clock)
    from vending.replay.table import TableStore

    return TableStore(settings.replay_table, http, clock, storage_token, budget_seconds=settings.deadline_seconds)
