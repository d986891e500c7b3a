"""What happens outside of a request reaches the platform's log all the same, with the causes that it has in life."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from devstack import plain
from devstack.faults import Fault
from devstack.policy import policy_text
from devstack.stack import Stack
from tests.support.caller import exchange, reason, vend
from tests.support.recorder import events

if TYPE_CHECKING:
    from devstack.issuer.server import IssuerServer
    from devstack.stack import Upstreams

pytestmark = pytest.mark.e2e

PULL = "repository:web/api:pull"
DOCS = "https://docs.contoso.example/errors"
SETTINGS = {"VENDING_POLICY_REFRESH_SECONDS": "1", "VENDING_DOCS_URL": DOCS, "FUNCTIONS_WORKER_PROCESS_COUNT": "2"}


@pytest.fixture
def own(upstreams: Upstreams) -> Iterator[Stack]:
    with Stack(upstreams, settings=SETTINGS) as started:
        yield started


def records(stack: Stack) -> list[dict[str, Any]]:
    """Return the operations log as the platform got it."""
    found = []
    for line in stack.host.log.splitlines():
        start = line.find('{"event": "')
        if start >= 0:
            found.append(json.loads(line[start:]))
    return found


def names(stack: Stack) -> Counter[str]:
    return Counter(record["event"] for record in records(stack))


def ready(stack: Stack) -> dict[str, Any]:
    body: dict[str, Any] = plain.get(f"{stack.url}/readyz").json()
    return body


def until_reloaded(stack: Stack, failure: str | None) -> None:
    deadline = time.monotonic() + 60
    while ready(stack)["reload_failure"] != failure:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_first_request_of_any_kind_writes_what_the_start_had_to_say(own: Stack) -> None:
    assert names(own)["started"] == 0  # Nobody has asked yet.
    plain.get(f"{own.url}/healthz", timeout=30)
    assert names(own) == {"started": 1, "replay_store_is_per_process": 1, "loopback_allowed": 1}
    [warning] = [record for record in records(own) if record["event"] == "replay_store_is_per_process"]
    assert warning["processes"] == 2
    plain.get(f"{own.url}/healthz", timeout=30)
    assert names(own)["started"] == 1


def test_no_broken_policy_of_ten_goes_unnoticed(upstreams: Upstreams, own: Stack) -> None:
    good = policy_text(upstreams)
    ready(own)
    for number in range(10):
        own.write_policy(f"version: {number + 2}\n")
        until_reloaded(own, "invalid")
        own.write_policy(good)
        until_reloaded(own, None)
    failed = [record for record in records(own) if record["event"] == "policy_reload_failed"]
    versions = [number for number in range(10) if any(f"{number + 2}" in str(record) for record in failed)]
    assert versions == list(range(10))
    assert {record["failure"] for record in failed} == {"invalid"}
    assert all("time" in record for record in failed)


def test_identity_that_fails_in_its_thread_is_told_of_by_the_request_that_waited(
    upstreams: Upstreams, own: Stack, issuers: IssuerServer
) -> None:
    upstreams.identity.board.set("token", Fault(status=403, body=b""))
    try:
        answer = exchange(own.url, issuers.github.token(), scope=PULL)
    finally:
        upstreams.identity.board.clear()
    assert reason(answer) == "identity_unavailable"
    assert answer.json()["error_uri"] == f"{DOCS}#identity_unavailable"
    failed = [record for record in records(own) if record["event"] == "identity_failed"]
    assert [record["status"] for record in failed] == [403, 403, 403]
    vend(own.url, issuers.github.token(), scope=PULL)


def test_flood_of_misshapen_requests_is_counted_and_leaves_no_audit_event(own: Stack) -> None:
    with plain.Client(base_url=own.url, timeout=30) as client:
        answers = [client.post("/token", data={"grant_type": "x"}) for _ in range(60)]
        answers += [client.get(f"/path-{number}") for number in range(60)]
    assert Counter(answer.json()["reason"] for answer in answers) == {"unsupported_grant_type": 60, "not_found": 60}
    assert {answer.json()["error_uri"] for answer in answers} == {
        f"{DOCS}#unsupported_grant_type",
        f"{DOCS}#not_found",
    }
    refused = [record for record in records(own) if record["event"] == "request_refused"]
    assert Counter(record["reason"] for record in refused) == {"unsupported_grant_type": 10, "not_found": 10}
    assert list(events([own.host.log])) == []
