"""Fixtures for all tests: the local stack over real sockets, and a guard that keeps tests on this machine.

`upstreams`  what the service talks to: `.issuers`, `.identity`, `.registry`, `.authority` (TLS), `.ca`, `.tenant`
`issuers`    OIDC issuers: `issuers.github.token(repository="contoso/web")`, `.rotate()`, `.board` for faults and counts
`identity`   the managed-identity endpoint; `identity.env` are its variables
`registry`   the emulated ACR in front of docker-registry; `registry.tokens` holds its rights and oddities
`stack`      the whole: the service with the stack's policy at `stack.url`
`http`       the app's HTTP client, for one test's event loop

They live for the session; after each test every fault and oddity is removed (`Upstreams.heal`). A test that needs a
policy or settings of its own starts another service on the same upstreams: `with Stack(upstreams, policy=…) as own:`.
"""

import ipaddress
import sys
from collections.abc import AsyncIterator, Iterator

import pytest

from devstack.entra.identity import IdentityEndpoint
from devstack.issuer.server import IssuerServer
from devstack.registry.server import Registry
from devstack.stack import Stack, Upstreams
from vending.http_client import Http

pytest_plugins = ["tests.support.collection", "tests.support.recorder"]


class BlockedConnection(RuntimeError):
    """A test tried to leave this machine."""


def _is_local(host: object) -> bool:
    if host is None or host in ("", "localhost", b"localhost"):
        return True
    try:
        return ipaddress.ip_address(str(host).partition("%")[0]).is_loopback
    except ValueError:
        return False


def _guard(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.connect" and isinstance(arguments[1], tuple) and not _is_local(arguments[1][0]):
        raise BlockedConnection(f"a test connects to {arguments[1][0]!r}; only this machine is allowed")
    if event == "socket.getaddrinfo" and not _is_local(arguments[0]):
        raise BlockedConnection(f"a test looks up {arguments[0]!r}; only this machine is allowed")


def pytest_configure() -> None:
    """Set the guard for the whole run; subprocesses are on their own."""
    sys.addaudithook(_guard)


@pytest.fixture(scope="session")
def any_loops_http() -> Http:
    """Return what loads the public authorities once, for the loops of all tests."""
    return Http()


@pytest.fixture
async def http(any_loops_http: Http) -> AsyncIterator[Http]:
    """Give a test the app's HTTP client, and close what it opened."""
    async with any_loops_http as made:
        yield made


@pytest.fixture(scope="session")
def upstreams() -> Iterator[Upstreams]:
    """Start what the service talks to."""
    with Upstreams() as started:
        yield started


@pytest.fixture(scope="session")
def issuers(upstreams: Upstreams) -> IssuerServer:
    """Return the OIDC issuers."""
    return upstreams.issuers


@pytest.fixture(scope="session")
def identity(upstreams: Upstreams) -> IdentityEndpoint:
    """Return the managed-identity endpoint."""
    return upstreams.identity


@pytest.fixture(scope="session")
def registry(upstreams: Upstreams) -> Registry:
    """Return the emulated ACR."""
    return upstreams.registry


@pytest.fixture(scope="session")
def stack(upstreams: Upstreams) -> Iterator[Stack]:
    """Start the service with the stack's own policy."""
    with Stack(upstreams) as started:
        yield started


@pytest.fixture(autouse=True)
def _healed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leave no fault behind for the next test."""
    yield
    if "upstreams" in request.fixturenames:
        request.getfixturevalue("upstreams").heal()
