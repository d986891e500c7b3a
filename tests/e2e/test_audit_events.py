"""One audit event for each request that has a sound shape, no more and no fewer, whatever happens to it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import socket
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import httpx
import jwt
import pytest

from devstack import plain
from devstack.faults import Fault
from devstack.keys import OMIT
from devstack.policy import policy_text
from devstack.stack import Stack
from tests.support.caller import GRANT_TYPE, exchange, reason, vend
from tests.support.recorder import events
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from devstack.host.processes import HostProcess
    from devstack.issuer.server import IssuerServer
    from devstack.registry.server import Registry
    from devstack.stack import Upstreams

pytestmark = pytest.mark.e2e

PULL = "repository:web/api:pull"


@pytest.fixture
def own(upstreams: Upstreams) -> Iterator[Stack]:
    """A service of the test's own, which it may load and end."""
    with Stack(upstreams) as started:
        yield started


@pytest.fixture(scope="module")
def shared(upstreams: Upstreams) -> Iterator[Stack]:
    with Stack(upstreams) as started:
        yield started


@dataclass(frozen=True)
class Since:
    """A service that others have asked before, and its log from then on."""

    url: str
    host: HostProcess
    length: int

    @property
    def log(self) -> str:
        return self.host.log[self.length :]


@pytest.fixture
def service(shared: Stack) -> Since:
    """The service that tests share, with a log that holds this test's events alone."""
    return Since(shared.url, shared.host, len(shared.host.log))


def written(source: HostProcess | Since) -> list[dict[str, Any]]:
    return list(events([source.log]))


def last(source: HostProcess | Since) -> dict[str, Any]:
    return written(source)[-1]


def test_an_event_leads_from_the_vended_token_to_the_job_and_back(service: Since, issuers: IssuerServer) -> None:
    token = issuers.github.token(jti="job-1")
    request_id = str(uuid.uuid4())
    form = {"grant_type": GRANT_TYPE, "subject_token": token, "scope": PULL}
    headers = {"X-Request-Id": request_id, "User-Agent": "ci/1.0", "X-Forwarded-For": "203.0.113.1, 198.51.100.7"}
    body = plain.post(f"{service.url}/token", data=form, headers=headers).json()
    event = last(service)
    assert event["kind"] == "token"
    assert (event["outcome"], event["reason"]) == ("allow", None)
    assert event["request_id"] == request_id == body["request_id"]
    assert str(uuid.UUID(event["invocation_id"])) == event["invocation_id"]
    assert event["issuer"] == "github"
    caller = {pair["name"]: pair["value"] for pair in event["caller"]}
    assert (caller["repository_id"], caller["repository_owner_id"]) == ("123456", "9919")
    assert event["subject_token_sha256"] == hashlib.sha256(token.encode()).hexdigest()
    assert event["subject_token_id"] == "job-1"
    assert event["registry"] == body["registry"]
    assert event["scope"] == event["granted"] == [PULL]
    assert event["missing"] == []
    assert event["rules"] == ["web-release"]
    claims = jwt.decode(token, options={"verify_signature": False})
    names = ("run_id", "run_attempt", "ref", "sha", "workflow_ref", "environment")
    assert event["job"] == {name: claims[name] for name in names if name in claims}
    assert event["decided_on"]["repository_id"] == claims["repository_id"]
    assert all(claims[name] == value for name, value in event["decided_on"].items())
    assert not set(event["absent"]) & set(claims)
    assert event["policy_sha256"] == plain.get(f"{service.url}/readyz", timeout=30).json()["sha256"]
    assert event["token_id"] == body["token_id"]
    assert event["token_expires_at"] == body["expires_at"]
    assert set(event["durations_ms"]) == {"policy", "verify", "decide", "claim", "mint", "total"}
    steps = {name: value for name, value in event["durations_ms"].items() if name != "total"}
    assert 0 < sum(steps.values()) <= event["durations_ms"]["total"]
    assert event["client_address"] == "127.0.0.1"
    assert event["user_agent"] == "ci/1.0"


def test_an_explanation_is_an_event_of_its_own_kind(service: Since, issuers: IssuerServer) -> None:
    assert exchange(service.url, issuers.github.token(), path="/explain", scope=PULL).status_code == 200
    event = last(service)
    assert (event["kind"], event["outcome"], event["token_id"]) == ("explain", "allow", None)
    answer = exchange(service.url, issuers.github.token(), path="/explain", scope="repository:other:pull")
    assert answer.json()["allowed"] is False
    event = last(service)
    assert (event["outcome"], event["reason"]) == ("deny", "scope_not_granted")
    assert event["missing"] == ["repository:other:pull"]


def test_a_denial_tells_the_operator_which_rule_failed_on_which_claim(service: Since, issuers: IssuerServer) -> None:
    token = issuers.github.token(ref="refs/heads/feature", event_name="push")
    assert reason(exchange(service.url, token, scope=PULL)) == "no_matching_rule"
    event = last(service)
    assert {"name": "web-release", "claims": ["ref"]} in event["failed_rules"]


def test_a_deny_entry_and_an_audit_rule_are_named(upstreams: Upstreams, issuers: IssuerServer) -> None:
    audit_rule = """
  - name: web-next
    issuer: github
    mode: audit
    when: {repository_id: "123456", repository_owner_id: "9919"}
    grant: [{registry: prod, repositories: [web/next], actions: [pull]}]

deny:"""
    deletes = policy_text(upstreams).replace("\ndeny:", audit_rule, 1).replace("pull, push]", "pull, push, delete]")
    with Stack(upstreams, policy=deletes) as stack:
        answer = exchange(stack.url, issuers.github.token(), scope="repository:web/cache/x:delete")
        assert reason(answer) == "denied_by_rule"
        assert last(stack.host)["denies"] == ["nothing-is-deleted"]
        assert reason(exchange(stack.url, issuers.github.token(), scope="repository:web/next:pull")) == (
            "scope_not_granted"
        )
        assert last(stack.host)["audit_rules"] == ["web-next"]


def test_a_person_is_named_only_where_the_policy_asks_for_it(
    service: Since, upstreams: Upstreams, issuers: IssuerServer
) -> None:
    exchange(service.url, issuers.github.token(actor="mona-lisa"), scope=PULL)
    assert "mona-lisa" not in service.log
    with Stack(upstreams, policy=policy_text(upstreams) + "\naudit:\n  claims: [actor, ref]\n") as listing:
        exchange(listing.url, issuers.github.token(actor="mona-lisa"), scope=PULL)
        assert last(listing.host)["claims"] == [
            {"name": "actor", "value": "mona-lisa"},
            {"name": "ref", "value": "refs/heads/main"},
        ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"exp": 1}, "token_expired", id="expired"),
        pytest.param({"aud": "https://other.example"}, "audience_mismatch", id="another audience"),
        pytest.param({"iss": "https://unknown.example"}, "issuer_unknown", id="an unknown issuer"),
        pytest.param({"jti": OMIT}, "claim_missing", id="no id"),
    ],
)
def test_a_token_that_is_refused_is_named_by_its_digest_and_by_nothing_that_it_says(
    service: Since, issuers: IssuerServer, changes: dict[str, Any], expected: str
) -> None:
    token = issuers.github.token(claims=changes, repository="contoso/not-verified")
    assert reason(exchange(service.url, token, scope=PULL)) == expected
    event = last(service)
    assert event["reason"] == expected
    assert event["subject_token_sha256"] == hashlib.sha256(token.encode()).hexdigest()
    assert (event["caller"], event["subject_token_id"]) == ([], None) or expected == "claim_missing"


def test_a_request_without_a_sound_shape_writes_no_event(service: Since, issuers: IssuerServer) -> None:
    token = issuers.github.token()
    assert exchange(service.url, token, scope="not a scope").status_code == 400
    assert exchange(service.url, token, scope="repository:*:pull").status_code == 400
    assert plain.post(f"{service.url}/token", data={"grant_type": "x"}, timeout=30).status_code == 400
    assert plain.get(f"{service.url}/token", timeout=30).status_code == 405
    assert plain.post(f"{service.url}/nothing", timeout=30).status_code == 404
    assert written(service) == []


async def test_under_load_and_faults_events_and_answers_are_the_same_set(
    own: Stack, issuers: IssuerServer, registry: Registry
) -> None:
    """Every answer has its event, with the same reason; nothing else is written."""
    vend(own.url, issuers.github.token(), scope=PULL)
    tokens = [issuers.github.token() for _ in range(150)]
    tokens += [*tokens[:30], "a.b.c", issuers.other.token(), issuers.github.token(exp=1)] + [tokens[40]] * 10
    random.Random(6).shuffle(tokens)
    answers: dict[str, str | None] = {}
    limits = httpx.Limits(max_connections=40)
    async with plain.AsyncClient(timeout=120, limits=limits) as client:

        async def ask(number: int, token: str) -> None:
            request_id = f"load-{number}"
            path = "/explain" if number % 5 == 0 else "/token"
            form = {"grant_type": GRANT_TYPE, "subject_token": token, "scope": PULL}
            answer = await client.post(own.url + path, data=form, headers={"X-Request-Id": request_id})
            answers[request_id] = answer.json().get("reason")

        async def spoil() -> None:
            faults = (Fault(status=500), Fault(reset=True), Fault(status=401), Fault(truncate=True), Fault(delay=0.3))
            for fault in faults * 3:
                registry.board.set("token", fault, times=8)
                await asyncio.sleep(0.1)

        await asyncio.gather(spoil(), *(ask(number, token) for number, token in enumerate(tokens)))
    of_load = [event for event in written(own.host) if event["request_id"].startswith("load-")]
    assert Counter(event["request_id"] for event in of_load) == Counter(answers.keys())
    assert {event["request_id"]: event["reason"] for event in of_load} == answers
    assert len(set(answers.values())) > 4


def test_a_caller_that_hangs_up_leaves_one_event(service: Since, issuers: IssuerServer, registry: Registry) -> None:
    vend(service.url, issuers.github.token(), scope=PULL)
    registry.board.set("token", Fault(delay=1))
    for number in range(10):
        hang_up(service.url, issuers.github.token(), f"gone-{number}")
    wait_for(lambda: len(written(service)) >= 11)
    time.sleep(1)
    gone = Counter(event["request_id"] for event in written(service) if event["request_id"].startswith("gone-"))
    assert gone == {f"gone-{number}": 1 for number in range(10)}


def hang_up(url: str, token: str, request_id: str) -> None:
    """Send a whole request, and close the connection without waiting for the answer."""
    parts = urlsplit(url)
    body = urlencode({"grant_type": GRANT_TYPE, "subject_token": token, "scope": PULL})
    head = (
        f"POST /token HTTP/1.1\r\nHost: {parts.netloc}\r\nX-Request-Id: {request_id}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=30) as connection:
        connection.sendall((head + body).encode())


def test_a_request_that_runs_out_of_time_is_an_error_with_what_was_known(
    upstreams: Upstreams, issuers: IssuerServer, registry: Registry
) -> None:
    with Stack(upstreams, settings={"VENDING_DEADLINE_SECONDS": "6"}) as stack:
        assert exchange(stack.url, issuers.github.token(), path="/explain", scope=PULL).status_code == 200
        registry.board.set("exchange", Fault(delay=20))
        registry.board.set("token", Fault(delay=20))
        answer = exchange(stack.url, issuers.github.token(), scope=PULL)
        event = last(stack.host)
        assert (event["outcome"], event["reason"]) == ("error", reason(answer))
        assert event["granted"] == [PULL]
        assert event["token_id"] is None


def test_an_instance_that_is_told_to_end_writes_the_events_of_what_it_leaves_unfinished(
    own: Stack, issuers: IssuerServer, registry: Registry
) -> None:
    vend(own.url, issuers.github.token(), scope=PULL)
    registry.board.set("token", Fault(delay=30))
    before = registry.board.requests["token"]
    hang_up(own.url, issuers.github.token(), "unfinished")
    wait_for(lambda: registry.board.requests["token"] > before)
    own.host.stop()
    unfinished = [event for event in written(own.host) if event["request_id"] == "unfinished"]
    assert [event["outcome"] for event in unfinished] == ["error"]


def test_a_grant_wider_than_asked_is_a_security_event_beside_the_requests_own(
    service: Since, issuers: IssuerServer, registry: Registry
) -> None:
    wide = [{"type": "repository", "name": "web/api", "actions": ["pull", "delete"]}]
    registry.tokens.tamper = lambda claims: {**claims, "access": wide}
    assert reason(exchange(service.url, issuers.github.token(), scope=PULL)) == "registry_grant_wider"
    security = [event for event in written(service) if event["kind"] == "security"]
    requests = [event for event in written(service) if event["kind"] == "token"]
    assert [event["event"] for event in security] == ["registry_grant_wider"]
    assert [event["reason"] for event in requests] == ["registry_grant_wider"]
    assert security[0]["request_id"] == requests[0]["request_id"]


def test_a_hostile_caller_cannot_forge_a_line(service: Since, issuers: IssuerServer) -> None:
    forged = json.dumps({"schema": 1, "kind": "token", "outcome": "allow"})
    headers = {"User-Agent": f"x\\n{forged}", "X-Forwarded-For": f'"{forged}"'}
    token = issuers.github.token(jti=f"x\nINFO vending.audit {forged}\r\n\u2028", repository=f"\n{forged}")
    form = {"grant_type": GRANT_TYPE, "subject_token": token, "scope": PULL}
    assert plain.post(f"{service.url}/token", data=form, headers=headers).status_code == 200
    (event,) = written(service)
    assert event["subject_token_id"].startswith("x\nINFO vending.audit {")
