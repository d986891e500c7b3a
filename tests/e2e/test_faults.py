"""Whatever fails upstream, the caller gets the answer that docs/acr.md promises, and no token.

Each cell of the table there is played with a registry, an issuer and an identity of its own, so that nothing is
cached. The services take turns: while one is asked, the others come to their next policies.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from devstack import plain
from devstack.entra.identity import ManagedIdentity
from devstack.faults import Fault
from devstack.host.processes import HostProcess
from devstack.issuer.server import IssuerServer
from devstack.registry.server import Registry
from devstack.serving import bind
from devstack.stack import Stack, Upstreams
from tests.support.caller import exchange, reason

pytestmark = pytest.mark.e2e

DOCUMENT = Path(__file__).parents[2] / "docs" / "acr.md"
HASTY_SECONDS = "2"
"""The deadline of the service that is shown what is slow; the other one has the deadline that is the default."""
RETRY_AFTER = "7"
SCOPE = "repository:web/api:pull,push"

POLICY = """\
version: 1
audience: {audience}
registries:
  prod: {{login_server: "{login_server}", identity: minter}}
identities:
  minter: {{type: managed_identity, client_id: {client_id}}}
issuers:
  github: {{preset: github, issuer: "{issuer}"}}
rules:
  - name: web
    issuer: github
    when: {{repository_id: "123456"}}
    grant:
      - {{registry: prod, repositories: [web/api], actions: [pull, push]}}
"""

ENDPOINTS = ("identity", "exchange", "token", "discovery", "jwks")
SLOW = {
    "no answer": Fault(delay=60),
    "an answer that drips": Fault(drip=0.2),
}
FAULTS = {
    "connection reset": Fault(reset=True),
    "400": Fault(status=400, body=b'{"error": "invalid_request"}'),
    "401": Fault(status=401, body=b'{"errors": [{"code": "UNAUTHORIZED", "message": "no"}]}'),
    "403": Fault(status=403, body=b'{"errors": [{"code": "DENIED", "message": "firewall"}]}'),
    "404": Fault(status=404),
    "429 with Retry-After": Fault(status=429, headers={"Retry-After": RETRY_AFTER}),
    "429 without Retry-After": Fault(status=429),
    "500": Fault(status=500, body=b"oops"),
    "503 with Retry-After": Fault(status=503, headers={"Retry-After": RETRY_AFTER}),
    "a page of HTML": Fault(body=b"<!doctype html><title>Sign in</title>", headers={"Content-Type": "text/html"}),
    "an empty body": Fault(status=200, body=b""),
    "JSON cut short": Fault(body=b'{"access_token": "ey'),
    "a body cut short": Fault(truncate=True),
    "a huge body": Fault(stream_bytes=8 * 1024 * 1024),
}
WRONG_TYPES = {
    "identity": b'{"access_token": ["x"], "expires_on": "soon", "resource": 1, "token_type": null}',
    "exchange": b'{"refresh_token": 12345}',
    "token": b'{"access_token": {"secret": 1}}',
    "discovery": b'{"issuer": 1, "jwks_uri": []}',
    "jwks": b'{"keys": "none"}',
}


@dataclass(frozen=True)
class Answer:
    """One of the answers that a cell of the table allows."""

    status: int
    reason: str
    retry_after: bool


def documented() -> dict[tuple[str, str], list[Answer]]:
    """Read the table of docs/acr.md: (what happens, endpoint) → the answers it allows."""
    cells = {}
    for line in DOCUMENT.read_text().splitlines():
        columns = [column.strip() for column in line.strip("|").split("|")]
        if len(columns) == len(ENDPOINTS) + 1 and re.match(r"\d{3} `", columns[1]):
            for endpoint, text in zip(ENDPOINTS, columns[1:], strict=True):
                found = re.findall(r"(\d{3}) `(\w+)`(, Retry-After)?", text)
                cells[columns[0], endpoint] = [Answer(int(s), r, bool(retry)) for s, r, retry in found]
    return cells


CELLS = documented()


def test_every_fault_of_the_matrix_is_documented() -> None:
    happens = ("connection refused", *FAULTS, *SLOW, "values of the wrong type")
    assert set(CELLS) == {(fault, endpoint) for fault in happens for endpoint in ENDPOINTS}
    assert all(CELLS.values())


class Arena:
    """A service and what it talks to, made anew for each cell but for the process and the identity endpoint.

    The policy is written at once and comes into force within a second, or when `put_in_force` has waited for it.
    """

    def __init__(self, service: Stack) -> None:
        self.service = service
        self.upstreams = service.upstreams
        self.issuers = IssuerServer(audience=self.upstreams.audience).start(self.upstreams.loop)
        self.issuers.github.add_key(key=self.upstreams.issuers.github.key)
        self.minter = ManagedIdentity.new("minter")
        self.upstreams.identity.user_assigned.append(self.minter)
        self.registry: Registry = self.upstreams.new_registry()
        self._policy = ""
        self._write(self.registry.login_server)

    @property
    def host(self) -> HostProcess:
        return self.service.host

    def _write(self, login_server: str) -> None:
        text = POLICY.format(
            audience=self.upstreams.audience,
            login_server=login_server,
            client_id=self.minter.client_id,
            issuer=self.issuers.github.url,
        )
        if text != self._policy:
            self._policy = text
            self.service.write_policy(text)

    def put_in_force(self, login_server: str | None = None) -> None:
        self._write(login_server or self.registry.login_server)
        wanted = hashlib.sha256(self._policy.encode()).hexdigest()
        deadline = time.monotonic() + 60
        while plain.get(f"{self.host.url}/readyz").json()["sha256"] != wanted:
            assert time.monotonic() < deadline, "the policy did not come into force"
            time.sleep(0.02)

    def vend(self) -> httpx.Response:
        return exchange(self.host.url, self.issuers.github.token(), scope=SCOPE)

    def spoil(self, endpoint: str, fault: Fault) -> None:
        if endpoint == "identity":
            self.upstreams.identity.board.set("token", fault)
        elif endpoint in ("exchange", "token"):
            self.registry.board.set(endpoint, fault)
        else:
            self.issuers.github.board.set(endpoint, fault)

    def calls(self, endpoint: str) -> int:
        board = self.registry.board if endpoint in ("exchange", "token") else self.issuers.github.board
        return board.requests[endpoint]

    def events(self, request_id: str) -> list[dict[str, Any]]:
        lines = (line.partition("{")[1:] for line in self.host.log.splitlines() if request_id in line)
        return [json.loads("".join(parts)) for parts in lines]

    def audited(self, request_id: str) -> list[dict[str, Any]]:
        return [event for event in self.events(request_id) if event.get("kind") == "token"]

    def close(self) -> None:
        self.upstreams.identity.board.clear()
        self.upstreams.identity.user_assigned.remove(self.minter)
        self.issuers.stop()
        self.registry.stop()


@pytest.fixture(scope="module")
def own_upstreams() -> Iterator[Upstreams]:
    with Upstreams(docker_registry=False) as started:
        yield started


SETTINGS = {"VENDING_POLICY_REFRESH_SECONDS": "1"}


def taking_turns(upstreams: Upstreams, number: int, settings: dict[str, str]) -> Iterator[deque[Arena]]:
    """Start a number of services, each with a policy of its own that comes into force until it is its turn."""
    with contextlib.ExitStack() as cleanup:
        services = [cleanup.enter_context(Stack(upstreams, settings=settings)) for _ in range(number)]
        arenas = deque(Arena(service) for service in services)
        yield arenas
        for arena in arenas:
            arena.close()


def next_of(arenas: deque[Arena]) -> Iterator[Arena]:
    """Return whose turn it is, and afterwards send its service to the end of the queue with all else new."""
    arena = arenas.popleft()
    yield arena
    arena.close()
    arenas.append(Arena(arena.service))


@pytest.fixture(scope="module")
def arenas(own_upstreams: Upstreams) -> Iterator[deque[Arena]]:
    yield from taking_turns(own_upstreams, 4, SETTINGS)


@pytest.fixture(scope="module")
def hasty_arenas(own_upstreams: Upstreams) -> Iterator[deque[Arena]]:
    yield from taking_turns(own_upstreams, 1, {**SETTINGS, "VENDING_DEADLINE_SECONDS": HASTY_SECONDS})


@pytest.fixture
def arena(arenas: deque[Arena]) -> Iterator[Arena]:
    yield from next_of(arenas)


@pytest.fixture
def hasty_arena(hasty_arenas: deque[Arena]) -> Iterator[Arena]:
    yield from next_of(hasty_arenas)


@pytest.fixture
def closed() -> Iterator[str]:
    """A host and port of this machine where nobody listens."""
    sock: socket.socket = bind()
    yield f"127.0.0.1:{sock.getsockname()[1]}"
    sock.close()


def check(arena: Arena, answer: httpx.Response, allowed: list[Answer]) -> None:
    """Compare an answer with the cell; nothing is handed out, and the audit log says the same."""
    got = Answer(answer.status_code, reason(answer), "retry-after" in answer.headers)
    assert got in allowed, answer.text
    body = answer.json()
    assert set(body) == {"error", "error_description", "reason", "request_id"}
    assert "eyJ" not in answer.text
    [event] = arena.audited(body["request_id"])
    assert (event["outcome"], event["reason"], event["token_id"]) == ("error", got.reason, None)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("happens", FAULTS)
def test_fault_gets_its_documented_answer(arena: Arena, happens: str, endpoint: str) -> None:
    arena.put_in_force()
    arena.spoil(endpoint, FAULTS[happens])
    answer = arena.vend()
    check(arena, answer, CELLS[happens, endpoint])
    if happens.endswith("with Retry-After"):
        assert answer.headers["retry-after"] == RETRY_AFTER
    if endpoint != "token":
        assert arena.calls("token") == 0


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("happens", SLOW)
def test_slow_answer_costs_no_more_than_the_deadline(hasty_arena: Arena, happens: str, endpoint: str) -> None:
    hasty_arena.put_in_force()
    hasty_arena.spoil(endpoint, SLOW[happens])
    check(hasty_arena, hasty_arena.vend(), CELLS[happens, endpoint])


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_answer_with_values_of_the_wrong_type_gets_its_documented_answer(arena: Arena, endpoint: str) -> None:
    arena.put_in_force()
    arena.spoil(endpoint, Fault(body=WRONG_TYPES[endpoint]))
    check(arena, arena.vend(), CELLS["values of the wrong type", endpoint])


def test_refused_connection_to_the_registry_gets_its_documented_answer(arena: Arena, closed: str) -> None:
    arena.put_in_force(login_server=closed)
    check(arena, arena.vend(), CELLS["connection refused", "exchange"])


def test_registry_that_goes_away_after_the_exchange_gets_its_documented_answer(arena: Arena) -> None:
    arena.put_in_force()
    assert arena.vend().status_code == 200
    arena.registry.stop()
    check(arena, arena.vend(), CELLS["connection refused", "token"])


def test_refused_connection_for_discovery_gets_its_documented_answer(arena: Arena) -> None:
    token = arena.issuers.github.token()
    arena.put_in_force()
    arena.issuers.stop()
    check(arena, exchange(arena.host.url, token, scope=SCOPE), CELLS["connection refused", "discovery"])


def test_refused_connection_for_the_key_set_gets_its_documented_answer(arena: Arena, closed: str) -> None:
    arena.issuers.github.discovery_overrides["jwks_uri"] = f"http://{closed}/keys"
    arena.put_in_force()
    check(arena, arena.vend(), CELLS["connection refused", "jwks"])


def test_refused_connection_to_the_identity_endpoint_gets_its_documented_answer(
    own_upstreams: Upstreams, closed: str
) -> None:
    settings = {**SETTINGS, "IDENTITY_ENDPOINT": f"http://{closed}/msi/token"}
    with (
        Stack(own_upstreams, settings=settings) as own,
        contextlib.closing(Arena(own)) as arena,
    ):
        arena.put_in_force()
        check(arena, arena.vend(), CELLS["connection refused", "identity"])


@pytest.mark.parametrize("endpoint", ["identity", "exchange", "token"])
@pytest.mark.parametrize("happens", ["connection reset", "500", "429 without Retry-After", "a body cut short"])
def test_fault_that_passes_at_once_is_not_noticed(arena: Arena, happens: str, endpoint: str) -> None:
    arena.put_in_force()
    board = arena.upstreams.identity.board if endpoint == "identity" else arena.registry.board
    board.set("token" if endpoint == "identity" else endpoint, FAULTS[happens], times=1)
    assert arena.vend().status_code == 200


def test_missing_rights_do_not_make_every_caller_exchange_anew(arena: Arena) -> None:
    arena.put_in_force()
    arena.registry.tokens.rights.clear()
    answers = [arena.vend() for _ in range(9)]
    assert {reason(answer) for answer in answers} == {"registry_refused"}
    assert arena.calls("exchange") < len(answers)


def test_throttling_registry_is_left_alone_for_as_long_as_it_asks(arena: Arena) -> None:
    arena.put_in_force()
    assert arena.vend().status_code == 200
    arena.registry.board.set("token", Fault.throttled(50))
    calls = arena.calls("token")
    answers = [arena.vend() for _ in range(5)]
    assert {reason(answer) for answer in answers} == {"registry_throttled"}
    assert all(1 <= int(answer.headers["retry-after"]) <= 50 for answer in answers)
    assert arena.calls("token") == calls + 1


def test_wider_grant_is_not_handed_out_and_raises_a_security_event(arena: Arena) -> None:
    arena.registry.tokens.tamper = lambda claims: {
        **claims,
        "access": [*claims["access"], {"type": "repository", "name": "web/secret", "actions": ["pull"]}],
    }
    arena.put_in_force()
    answer = arena.vend()
    check(arena, answer, [Answer(502, "registry_grant_wider", retry_after=False)])
    assert "web/secret" not in answer.text
    [alarm] = [event for event in arena.events(answer.json()["request_id"]) if event.get("kind") == "security"]
    assert alarm["event"] == "registry_grant_wider"
    details = {detail["name"]: detail["value"] for detail in alarm["details"]}
    assert details == {
        "registry": arena.registry.login_server,
        "scope": SCOPE,
        "excess": "repository:web/secret:pull",
    }
    assert "eyJ" not in json.dumps(alarm)
