"""Call the service as CI jobs do, at a steady rate, and check every answer. Knows no trouble of the upstreams."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx
import jwt

from devstack.issuer.server import Issuer
from devstack.stack import Upstreams
from tests.support.caller import GRANT_TYPE
from vending.errors import CATALOGUE, Reason

_MOST_PROBLEMS = 20
_KEPT_FOR_RETRY = 20
_AT_A_TIME = 50
"""More calls under way than this are held back: a machine that is too busy is not what is tested."""
_UPSTREAM_TROUBLE = frozenset({502, 503, 504})


@dataclass(frozen=True)
class Call:
    """A request and the statuses and reasons that are right for it when all upstreams are well."""

    name: str
    issuer: Callable[[Upstreams], Issuer]
    scope: str
    expected: str | None = None
    """The reason that must refuse it; None where it must succeed."""
    path: str = "/token"
    age: float = 0.0
    """Seconds since the token was issued."""
    weight: int = 1
    claims: Mapping[str, Any] = field(default_factory=dict)
    """What differs from a push to main."""

    def token(self, upstreams: Upstreams) -> str:
        return self.issuer(upstreams).token(at=time.time() - self.age, claims=self.claims)


_BY_HAND = {"event_name": "workflow_dispatch"}
_PULL_REQUEST = {"event_name": "pull_request", "ref": "refs/pull/7/merge"}
"""Of the sample's repository; GitHub's own form of these tokens has another `sub`, which no rule looks at."""


CALLS = (
    Call("github", lambda up: up.issuers.github, "repository:web/api:pull,push repository:web/ui:pull", weight=6),
    Call("gitlab", lambda up: up.issuers.gitlab, "repository:api/server:pull,push", weight=3),
    Call("kubernetes", lambda up: up.issuers.cluster, "repository:web/api:pull", weight=3),
    Call("explain", lambda up: up.issuers.github, "repository:web/api:pull", path="/explain", weight=2),
    Call("too much", lambda up: up.issuers.github, "repository:web/api:delete", expected="scope_not_granted"),
    Call("not granted", lambda up: up.issuers.gitlab, "repository:web/api:pull", expected="scope_not_granted"),
    Call("by hand", lambda up: up.issuers.github, "repository:web/tools:pull,push", claims=_BY_HAND),
    Call("pull request", lambda up: up.issuers.github, "repository:web/api:pull", claims=_PULL_REQUEST),
    Call(
        "push of a pull request",
        lambda up: up.issuers.github,
        "repository:web/api:push",
        expected="scope_not_granted",
        claims=_PULL_REQUEST,
    ),
    Call("audit mode", lambda up: up.issuers.github, "repository:web/next:pull", expected="scope_not_granted"),
    Call("expired", lambda up: up.issuers.github, "repository:web/api:pull", expected="token_expired", age=7200),
)


@dataclass(frozen=True)
class Answered:
    """What came back for one call, as its caller saw it."""

    call: Call
    job: str
    """The `jti` of the caller's token."""
    status: int
    reason: str | None
    request_id: str
    token_id: str | None


@dataclass
class Load:
    """Send calls and judge the answers."""

    upstreams: Upstreams
    client: httpx.AsyncClient
    random: Random
    sent: int = 0
    held_back: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    answered: list[Answered] = field(default_factory=list)
    failed: deque[tuple[Call, str]] = field(default_factory=lambda: deque(maxlen=_KEPT_FOR_RETRY))
    """Calls that ended in an upstream's trouble, with their tokens: each must succeed when tried again."""
    _running: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self, rate: float) -> None:
        """Send `rate` calls a second until cancelled, whatever becomes of those before, as long as they are few."""
        weights = [call.weight for call in CALLS]
        due = time.monotonic()
        while True:
            due += 1 / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if len(self._running) >= _AT_A_TIME:
                self.held_back += 1
                continue
            [call] = self.random.choices(CALLS, weights)
            task = asyncio.create_task(self._call(call, call.token(self.upstreams)))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def drain(self) -> None:
        """Wait until every call has its answer."""
        while self._running:
            await asyncio.wait(self._running)

    async def _call(self, call: Call, token: str) -> None:
        started = time.monotonic()
        answer = await self.send(call, token)
        if answer is None:
            return
        self.latencies.append(time.monotonic() - started)
        self.answers[_name(answer)] += 1
        problem = judge(call, answer)
        if problem:
            self.complain(f"{call.name}: {problem}")
        if answer.status_code in _UPSTREAM_TROUBLE and call.expected is None:
            self.failed.append((call, token))

    async def send(self, call: Call, token: str) -> httpx.Response | None:
        """Send one call; an answer that does not come is a problem."""
        form = {"grant_type": GRANT_TYPE, "subject_token": token, "scope": call.scope}
        self.sent += 1
        try:
            answer = await self.client.post(call.path, data=form)
        except httpx.HTTPError as error:
            self.complain(f"{call.name}: no answer: {error!r}")
            return None
        self.answered.append(_answered(call, token, answer))
        return answer

    def complain(self, problem: str) -> None:
        """Note a problem; the first ones tell enough."""
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(problem)

    async def settle(self, seconds: float) -> None:
        """Now that all is well: every kind of call comes out as it should, and what failed before succeeds."""
        deadline = time.monotonic() + seconds
        for call in CALLS:
            await self._until_right(call, lambda call=call: call.token(self.upstreams), deadline)  # type: ignore[misc]
        for call, token in list(self.failed):
            if self._is_good(call, token):
                await self._until_right(call, lambda token=token: token, deadline)  # type: ignore[misc]

    def _is_good(self, call: Call, token: str) -> bool:
        """Return whether a token is still worth trying: not over, and its key not withdrawn meanwhile."""
        published = {key.kid for key in call.issuer(self.upstreams).keys}
        over = jwt.decode(token, options={"verify_signature": False})["exp"] < time.time() + 60
        return not over and jwt.get_unverified_header(token)["kid"] in published

    async def _until_right(self, call: Call, token: Callable[[], str], deadline: float) -> None:
        while True:
            answer = await self.send(call, token())
            if answer is None:
                return
            problem = judge(call, answer)
            if problem:
                self.complain(f"{call.name}, after the storm: {problem}")
                return
            if answer.status_code not in _UPSTREAM_TROUBLE:
                return
            if time.monotonic() > deadline:
                self.complain(f"{call.name}, long after the storm: {_name(answer)}")
                return
            await asyncio.sleep(1)


def judge(call: Call, answer: httpx.Response) -> str | None:
    """Say what is wrong with an answer; None where it is right, or a documented trouble of an upstream."""
    try:
        body: dict[str, Any] = answer.json()
    except ValueError:
        return f"HTTP {answer.status_code} without JSON"
    if answer.status_code == 200:
        return _wrong_success(call, body)
    reason = body.get("reason")
    if reason not in set(Reason) or CATALOGUE[Reason(reason)].status != answer.status_code:
        return f"HTTP {answer.status_code} with the reason {reason!r} is not documented"
    if reason == call.expected or reason == "key_unknown" or answer.status_code in _UPSTREAM_TROUBLE:
        return None  # A key that was withdrawn between issuing and asking is nobody's fault.
    return f"HTTP {answer.status_code} {reason}: {body.get('error_description')}"


def _wrong_success(call: Call, body: dict[str, Any]) -> str | None:
    if call.expected is not None:
        return f"was granted, but should have been {call.expected}"
    if call.path == "/explain":
        return None if body["allowed"] and "access_token" not in body else "was explained wrongly"
    claims = jwt.decode(body["access_token"], options={"verify_signature": False})
    granted = {f"{e['type']}:{e['name']}:{','.join(e['actions'])}" for e in claims["access"]}
    return None if granted == set(call.scope.split(" ")) else f"got {granted}"


def _answered(call: Call, token: str, answer: httpx.Response) -> Answered:
    try:
        body: dict[str, Any] = answer.json()
    except ValueError:
        body = {}
    return Answered(
        call=call,
        job=jwt.decode(token, options={"verify_signature": False})["jti"],
        status=answer.status_code,
        reason=body.get("reason"),
        request_id=answer.headers["X-Request-Id"],
        token_id=body.get("token_id"),
    )


def _name(answer: httpx.Response) -> str:
    try:
        return f"{answer.status_code} {answer.json().get('reason') or ''}".strip()
    except ValueError:
        return str(answer.status_code)
