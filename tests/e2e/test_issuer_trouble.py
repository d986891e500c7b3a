"""An issuer whose keys cannot be read: its callers are told to come back, others notice nothing, operators see it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from devstack import plain
from devstack.faults import Fault
from devstack.stack import Stack, Upstreams
from tests.support.caller import GRANT_TYPE, exchange, reason, vend

pytestmark = pytest.mark.e2e

PULL = "repository:api/server:pull"
PUSH = "repository:web/api:pull,push"


@pytest.fixture
def fresh(upstreams: Upstreams) -> Iterator[Stack]:
    """A service that has fetched no keys yet."""
    with Stack(upstreams) as own:
        yield own


def in_trouble(stack: Stack) -> int:
    answer = plain.get(f"{stack.url}/readyz")
    assert answer.status_code == 200, "an issuer's trouble is not the service's"
    count: int = answer.json()["issuers_in_trouble"]
    return count


def operations(stack: Stack) -> list[dict[str, Any]]:
    """Return the operations log's events about issuers."""
    events = []
    for line in stack.host.log.splitlines():
        start = line.find('{"event": "issuer_')
        if start >= 0:
            events.append(json.loads(line[start:]))
    return events


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not happen within a minute"
        time.sleep(0.2)


def test_trouble_is_told_to_callers_and_operators_until_it_is_over(fresh: Stack) -> None:
    gitlab = fresh.issuers.gitlab
    assert in_trouble(fresh) == 0
    gitlab.board.set("jwks", Fault(status=404))

    refused = exchange(fresh.url, gitlab.token(), scope=PULL)

    assert (refused.status_code, reason(refused)) == (503, "issuer_keys_unavailable")
    assert 1 <= int(refused.headers["Retry-After"]) <= 5
    assert in_trouble(fresh) == 1
    vend(fresh.url, fresh.issuers.github.token(), scope=PUSH)

    gitlab.board.clear()
    until(lambda: exchange(fresh.url, gitlab.token(), scope=PULL).status_code == 200)

    assert in_trouble(fresh) == 0
    until(lambda: len(operations(fresh)) == 2)
    assert [(event["event"], event["issuer"], event.get("failure")) for event in operations(fresh)] == [
        ("issuer_trouble", "gitlab", "bad_status"),
        ("issuer_recovered", "gitlab", None),
    ]


async def test_issuer_that_hangs_does_not_slow_others(fresh: Stack) -> None:
    """Its callers wait for their own deadline; another issuer's are served before that one has answered."""
    fresh.issuers.gitlab.board.set("discovery", Fault(delay=60))
    async with plain.AsyncClient(base_url=fresh.url) as client:

        async def ask(token: str, scope: str) -> tuple[int, float]:
            form = {"grant_type": GRANT_TYPE, "subject_token": token, "scope": scope}
            answer = await client.post("/token", data=form)
            return answer.status_code, time.monotonic()

        stuck = [asyncio.create_task(ask(fresh.issuers.gitlab.token(), PULL)) for _ in range(20)]
        served = [asyncio.create_task(ask(fresh.issuers.github.token(), PUSH)) for _ in range(5)]
        stuck_answers, served_answers = await asyncio.gather(asyncio.gather(*stuck), asyncio.gather(*served))

    assert {status for status, _ in stuck_answers} == {503}
    assert {status for status, _ in served_answers} == {200}
    assert max(when for _, when in served_answers) < min(when for _, when in stuck_answers)


ROTATING = """\
version: 1
audience: {audience}
registries:
  prod: {{login_server: "{login_server}"}}
issuers:
  other: {{preset: generic, issuer: "{issuer}", algorithms: [ES256]}}
rules:
  - name: any
    issuer: other
    when: {{sub: someone}}
    grant:
      - {{registry: prod, repositories: [api/server], actions: [pull]}}
"""


def test_rotated_key_is_honoured_at_once_and_the_old_one_no_longer(upstreams: Upstreams) -> None:
    """The issuer is one that no other test's service trusts: they would have to wait for its new key."""
    other = upstreams.issuers.other
    policy = ROTATING.format(
        audience=upstreams.audience, login_server=upstreams.registry.login_server, issuer=other.url
    )
    with Stack(upstreams, policy=policy) as stack:
        old = other.key
        assert vend(stack.url, other.token(sub="someone"), scope=PULL)
        other.rotate()
        assert vend(stack.url, other.token(sub="someone"), scope=PULL)
        withdrawn = exchange(stack.url, other.token(sub="someone", key=old), scope=PULL)
    assert (withdrawn.status_code, reason(withdrawn)) == (503, "issuer_keys_unavailable"), "asked just now; come back"
