"""Fixtures for the clients' tests: a CI platform's endpoints, a Kubernetes API server, a certificate authority."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack import tools
from devstack.certs import TestAuthority
from devstack.stack import Upstreams

from . import every
from .engine import CannotStart, Engine, engine
from .live import Live, live_stack
from .servers import Answer, Handle, Seen, Server, platform, serve
from .tools import container_programs, has_go

collect_ignore = [] if os.environ.get("CLIENTS_MORE") == "1" else ["test_more_clients.py", "test_slow.py"]
"""`make clients` runs these too: their programs take minutes to build, or they wait for a minute."""


def pytest_report_header() -> str | None:
    """Say what is left out where its tool cannot be had."""
    return None if has_go() else "clients built from Go modules are left out: this machine has no Go 1.26"


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    """Return a certificate authority for https://localhost."""
    return TestAuthority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def ci() -> Iterator[Server]:
    """Serve the token endpoints of GitHub and Azure Pipelines."""
    with platform() as server:
        yield server


@pytest.fixture
def kubernetes_api(ca: TestAuthority) -> Iterator[Server]:
    """Serve as much of the Kubernetes API as an apply of a secret needs."""

    def handle(_server: Server) -> Handle:
        def respond(request: Seen) -> Answer:
            allowed = request.headers.get("authorization") == "Bearer kubernetes-api-secret"
            applied = (
                request.method == "PATCH" and request.headers.get("content-type") == "application/apply-patch+yaml"
            )
            if not allowed:
                return Answer(401)
            if not applied or request.path != "/api/v1/namespaces/web/secrets/acr-pull":
                return Answer(403)
            return Answer(201, json.loads(request.body))

        return respond

    with serve(handle, tls=ca.server_context()) as server:
        yield server


@pytest.fixture(params=[*every.EVERY, "kubernetes"])
def client(request: pytest.FixtureRequest) -> every.Client:
    """Return each client in turn."""
    if request.param != "kubernetes":
        return every.EVERY[request.param]
    return every.kubernetes(request.getfixturevalue("kubernetes_api"), request.getfixturevalue("ca").ca_file)


@pytest.fixture(scope="session")
def live(upstreams: Upstreams) -> Iterator[Live]:
    """Start the whole stack behind TLS, with the real registry server."""
    if upstreams.registry_note:
        raise tools.Unavailable(f"real clients need the real registry server: {upstreams.registry_note}")
    with live_stack(upstreams) as started:
        yield started


@pytest.fixture(scope="session", name="container_programs")
def _container_programs() -> Path:
    return container_programs()


@pytest.fixture(scope="session")
def dockerd(container_programs: Path) -> Iterator[Engine]:
    """Start a Docker engine, or say why there is none here."""
    try:
        with engine(container_programs) as running:
            yield running
    except CannotStart as reason:
        pytest.skip(str(reason))
