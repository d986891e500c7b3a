"""Run a soak: start the stack, let load and chaos loose on it, and say what was lost or piled up."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import httpx

from devstack import plain
from devstack.policy import policy_text
from devstack.stack import Stack, Upstreams
from tests.soak.chaos import Chaos
from tests.soak.load import CALLS, Answered, Load
from tests.soak.watch import MOST_IDLE_SOCKETS, AuditLog, Sample, growth, sample

_DEADLINE_SECONDS = 10
_SAMPLE_SECONDS = 0.5
_REPORT_SECONDS = 10.0
_SETTLE_SECONDS = 120.0
"""An issuer that was asked for an unknown key is asked again after a minute; a registry that throttled likewise."""
_IDENTITY_LIFETIME = 320
"""Of which the last five minutes are not used, so that the identity endpoint is asked for each exchange."""
_ROTATE_SECONDS = 24.0
"""Three issuers take turns, so each changes its keys every 72 seconds."""
_RELOAD_SECONDS = 15.0
_WIDEN_SECONDS = 60.0
_RULES = """
  - name: web-by-hand
    description: people may start a build of the tools
    issuer: github
    when: {repository_id: "123456", repository_owner_id: "9919", event_name: workflow_dispatch, ref: refs/heads/main}
    unless: {actor: "*[bot]"}
    grant: [{registry: prod, repositories: [web/tools], actions: [pull, push]}]

  - name: web-next
    issuer: github
    mode: audit
    when: {repository_id: "123456", repository_owner_id: "9919", event_name: push, ref: refs/heads/main}
    grant: [{registry: prod, repositories: [web/next], actions: [pull]}]

deny:"""
"""A rule that looks at a claim which events do not tell, and one in audit mode."""


@dataclass
class Soak:
    """What came of it."""

    sent: int = 0
    problems: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    answered: list[Answered] = field(default_factory=list)
    policy: str = ""
    """By which everything was decided, whatever the comments were that the reloads changed."""
    policies: list[str] = field(default_factory=list)
    """The digests of what was in force, or would have been."""


def soak(seconds: float, rate: float, seed: int, say: Callable[[str], None], *, audit: Path | None = None) -> Soak:
    """Soak the service for `seconds` at `rate` calls a second; the same `seed` brings the same faults.

    `audit` is where the service's log, with its audit events, is kept.
    """
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)  # Upstreams say much about callers that give up.
    settings = {"VENDING_DEADLINE_SECONDS": str(_DEADLINE_SECONDS), "VENDING_POLICY_REFRESH_SECONDS": "1"}
    if audit is not None:
        audit.write_bytes(b"")
    with Upstreams(docker_registry=False) as upstreams:
        upstreams.identity.lifetime = _IDENTITY_LIFETIME
        text = policy_text(upstreams).replace("\ndeny:", _RULES, 1)
        outcome = Soak(policy=text + "\nlimits: {requests_per_minute: 1000000}\n")
        with Stack(upstreams, policy=outcome.policy, settings=settings) as stack:
            asyncio.run(_soak(stack, seconds, rate, Random(seed), say, outcome, AuditLog(stack.host.pid, audit)))
    return outcome


async def _soak(
    stack: Stack,
    seconds: float,
    rate: float,
    random: Random,
    say: Callable[[str], None],
    outcome: Soak,
    audit: AuditLog,
) -> None:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    async with plain.AsyncClient(base_url=stack.url, limits=limits) as client:
        load, chaos = Load(stack.upstreams, client, random), Chaos(stack.upstreams, random)
        for call in CALLS:  # What is imported and opened by the first requests is no growth.
            await load.send(call, call.token(stack.upstreams))
        trouble = (
            chaos.spoil(),
            chaos.rotate(min(_ROTATE_SECONDS, seconds / 4)),
            chaos.reload(stack.write_policy, outcome.policy, min(_RELOAD_SECONDS, seconds / 4)),
            chaos.widen(min(_WIDEN_SECONDS, seconds / 4)),
        )
        work = [asyncio.create_task(coroutine) for coroutine in (load.run(rate), *trouble)]
        await _watch(stack.host.pid, seconds, load, outcome, say)
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        stack.upstreams.heal()
        await load.drain()
        say("the storm is over: everything must be well again")
        await load.settle(_SETTLE_SECONDS)
        idle = sample(stack.host.pid)
    outcome.sent, outcome.answered = load.sent, load.answered
    outcome.policies = [hashlib.sha256(outcome.policy.encode()).hexdigest(), *chaos.policies]
    with contextlib.closing(audit):
        audit.read()
    say(f"faults: {dict(chaos.done.most_common())}")
    say(f"answers: {dict(load.answers.most_common())}; {load.held_back} calls held back")
    outcome.problems += [*load.problems, *audit.internal_errors[:5], *_audit_problems(load, audit)]
    outcome.problems += growth(outcome.samples)
    if idle.sockets > MOST_IDLE_SOCKETS:
        outcome.problems.append(f"{idle.sockets} sockets are open when nothing is under way")


async def _watch(pid: int, seconds: float, load: Load, outcome: Soak, say: Callable[[str], None]) -> None:
    """Take samples until the time is over, and report now and then."""
    started = time.monotonic()
    reported = started
    while (now := time.monotonic()) < started + seconds:
        outcome.samples.append(sample(pid))
        if now - reported >= _REPORT_SECONDS:
            reported = now
            say(_progress(now - started, load, outcome.samples[-1]))
        await asyncio.sleep(_SAMPLE_SECONDS)


def _progress(elapsed: float, load: Load, latest: Sample) -> str:
    ordered = sorted(load.latencies)
    p50, p99 = (ordered[int(len(ordered) * share)] * 1000 if ordered else 0.0 for share in (0.5, 0.99))
    load.latencies.clear()
    well = load.answers["200"]
    return (
        f"{elapsed:5.0f} s  {load.sent} calls, {well} granted, p50 {p50:.0f} ms, p99 {p99:.0f} ms, "
        f"{latest.memory_kib / 1024:.0f} MiB, {latest.sockets} sockets, {len(load.problems)} problems"
    )


def _audit_problems(load: Load, audit: AuditLog) -> list[str]:
    """Every call has one event, and no event comes twice."""
    events = audit.request_ids.total()
    problems = [] if events == load.sent else [f"{load.sent} calls, but {events} audit events"]
    twice = [request_id for request_id, count in audit.request_ids.items() if count > 1]
    return problems + ([f"{len(twice)} requests have more than one audit event"] if twice else [])
