"""What is fetched ahead: a token for the replay table, and the refresh token of the only registry of a policy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from devstack.policy import policy_text
from devstack.stack import Upstreams
from vending.acr.exchange import Minter
from vending.clock import Clock
from vending.entra.credentials import EntraTokens
from vending.entra.identity import Identity
from vending.http_client import Http
from vending.policy import Environment, Policy, load_bytes
from vending.policy_store import STORAGE_AUDIENCE
from vending.prefetch import Prefetch
from vending.settings import Settings

OWN = Identity("managed_identity")


@pytest.fixture(scope="module")
def own() -> Iterator[Upstreams]:
    with Upstreams(docker_registry=False) as upstreams:
        yield upstreams


@pytest.fixture
async def http(own: Upstreams, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Http]:
    for name, value in own.identity.env.items():
        monkeypatch.setenv(name, value)
    own.identity.resources.clear()
    own.registry.board.requests.clear()
    async with Http() as made:
        yield made


def load(text: str) -> Policy:
    environment = Environment(allow_loopback=True)
    return load_bytes(text.encode(), name="policy.yaml", environment=environment, directory=None)


def one(upstreams: Upstreams) -> str:
    return policy_text(upstreams)


def two(upstreams: Upstreams) -> str:
    spare = "registries:\n  spare: {login_server: spare.azurecr.io, cloud: public}\n"
    return policy_text(upstreams).replace("registries:\n", spare)


def trial(upstreams: Upstreams) -> str:
    return policy_text(upstreams).replace("    grant:\n", "    mode: audit\n    grant:\n")


def closed(upstreams: Upstreams) -> str:
    return policy_text(upstreams).replace('issuer: "', 'enabled: false, issuer: "')


@pytest.mark.parametrize(
    ("policy", "identity", "storage", "exchanges"),
    [
        (one, None, 0, 1),
        (one, OWN, 1, 1),
        (two, None, 0, 0),
        (two, OWN, 1, 0),
        (trial, OWN, 0, 0),
        (closed, OWN, 0, 0),
    ],
)
async def test_what_is_fetched_ahead(
    own: Upstreams,
    http: Http,
    policy: Callable[[Upstreams], str],
    identity: Identity | None,
    storage: int,
    exchanges: int,
) -> None:
    clock = Clock()
    settings = Settings.from_environment({"VENDING_ALLOW_LOOPBACK": "1", "WEBSITE_HOSTNAME": "localhost"})
    entra = EntraTokens(http, clock, own.identity.env, budget_seconds=20)
    prefetch = Prefetch(settings, clock, entra, Minter(http, clock, budget_seconds=20), identity)
    for task in prefetch.begin(load(policy(own))):
        assert await task is not None
    assert own.identity.resources.count(STORAGE_AUDIENCE) == storage
    assert len(own.identity.resources) == storage + exchanges
    assert own.registry.board.requests["exchange"] == exchanges
