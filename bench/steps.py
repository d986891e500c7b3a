"""CPU of one vend by step, each measured alone: where the time of a request goes that no network takes."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final

from bench.report import Chart, Effort, Report, Row, cpu_microseconds
from bench.rig import SCOPE, Rig, form
from vending import responses
from vending.acr import access
from vending.acr.exchange import Minter
from vending.acr.scope import parse
from vending.acr.target import Target
from vending.audit import Trail
from vending.clock import Clock
from vending.http_client import Http
from vending.oidc.claims import check_claims
from vending.oidc.keys import parse_key_set
from vending.oidc.signature import check_signature
from vending.oidc.token import peek
from vending.oidc.types import Issuer, RawToken, VerifiedClaims
from vending.policy import Environment, decide, load_bytes
from vending.replay.guard import ReplayGuard
from vending.replay.store import MemoryStore
from vending.request import ACCESS_TOKEN_TYPE
from vending.request import parse as parse_request

if TYPE_CHECKING:
    from collections.abc import Callable

_MINTS: Final = 1280
_AT_ONCE: Final = 64


def run(effort: Effort) -> Report:
    """Measure each step on what the step before it makes of one good request."""
    with Rig() as rig:
        steps = _steps(rig)
        measured = {name: cpu_microseconds(step, seconds=0.05 if effort.quick else 0.3) for name, step in steps.items()}
        mints = [asyncio.run(_mint(rig, effort.choose(_MINTS, 256))) for _ in range(effort.choose(3, 1))]
    check = sorted(measured["check"])[len(measured["check"]) // 2]
    measured["mint"] = [mint - check for mint in mints]
    order = ["shape", "token", "signature", "claims", "decision", "claim", "mint", "check", "record", "answer"]
    rows = [Row(f"{name}: {_WHAT[name]}", _middle(measured[name]), "µs") for name in order]
    chart = Chart("steps", "CPU of one vend by step", "µs", order, {"CPU": [row.value for row in rows]}, "lying")
    return Report(rows, [chart])


_WHAT: Final = {
    "shape": "the form is parsed, scopes too",
    "token": "the token is taken apart",
    "signature": "one RS256 signature is verified",
    "claims": "issuer, audience, dates and id are checked",
    "decision": "100 rules, one of them about the caller",
    "claim": "the token's id is claimed in memory",
    "mint": "one POST to the registry, 64 at once",
    "check": "the registry's token is compared with the decision",
    "record": "the audit event is gathered and written to a file",
    "answer": "the body is made and written",
}


def _middle(values: list[float]) -> list[float]:
    """Leave the outer quarters of many batches out: they tell of the machine."""
    ordered = sorted(values)
    quarter = len(ordered) // 4
    return ordered[quarter : len(ordered) - quarter]


def _steps(rig: Rig) -> dict[str, Callable[[], object]]:
    token = rig.token()
    body = form(token).encode()
    now = time.time()
    scopes = parse(SCOPE)
    text = rig.policy().encode()
    loaded = load_bytes(text, name="policy.json", environment=Environment(allow_loopback=True), directory=None)
    issuer = loaded.issuers[f"{rig.origin}/github"]
    peeked = peek(RawToken(token))
    key = parse_key_set({"keys": [rig.key.jwk()]}).keys[0]
    claims = VerifiedClaims("github", peeked.unverified_claims)
    vended = registry_token(rig)
    guard = ReplayGuard(MemoryStore(Clock()), Clock())
    return {
        "shape": lambda: parse_request(
            query="", content_type="application/x-www-form-urlencoded", body=body, authorization=None
        ),
        "token": lambda: peek(RawToken(token)),
        "signature": lambda: check_signature(peeked, "RS256", key),
        "claims": lambda: check_claims(peeked.unverified_claims, issuer.verification, now),
        "decision": lambda: decide(loaded, claims, "prod", scopes, now),
        "claim": _claiming(guard, issuer.verification, peeked.unverified_claims),
        "check": lambda: access.check(vended, scopes=scopes, audiences=(rig.login_server,), now=time.time()),
        "record": _recording(RawToken(token), claims, loaded, rig.login_server),
        "answer": lambda: json.dumps(responses.written(_answer(vended)), separators=(",", ":")).encode(),
    }


def _claiming(guard: ReplayGuard, issuer: Issuer, claims: Any) -> Callable[[], object]:
    numbers = iter(range(1_000_000_000))
    loop = asyncio.new_event_loop()

    async def claim() -> None:
        fresh = VerifiedClaims("github", {**claims, "jti": str(next(numbers))})
        async with guard.claimed(issuer, fresh, nullcontext()):
            pass

    return lambda: loop.run_until_complete(claim())


def _recording(token: RawToken, claims: VerifiedClaims, loaded: Any, login_server: str) -> Callable[[], object]:
    log = logging.getLogger("vending.audit")
    log.addHandler(logging.FileHandler(os.devnull, encoding="utf-8"))
    log.propagate = False
    issuer = next(iter(loaded.issuers.values()))
    scopes = parse(SCOPE)
    now = time.time()
    decision = decide(loaded, claims, "prod", scopes, now)

    def record() -> None:
        trail = Trail(kind="token", clock=Clock(), request_id="0123456789abcdef")
        trail.asked(scopes)
        trail.policy_sha256 = loaded.sha256
        trail.subject(token)
        trail.issuer = issuer.name
        trail.identify(issuer.preset, claims.claims, loaded.audit_claims)
        trail.registry = login_server
        trail.weigh(claims.claims, loaded.rules[issuer.name].reads, loaded.audit_claims, now)
        trail.decided(decision)
        for step in ("policy", "verify", "decide", "claim", "mint"):
            with trail.step(step):
                pass
        trail.vended("id", now + 3600)
        trail.write(None)

    return record


def _answer(secret: str) -> responses.Token:
    return responses.Token(
        access_token=secret,
        issued_token_type=ACCESS_TOKEN_TYPE,
        token_type="Bearer",
        expires_in=3599,
        expires_at="2026-11-21T13:00:00Z",
        scope=SCOPE,
        registry="contoso.azurecr.io",
        hosts=["contoso.azurecr.io"],
        username="00000000-0000-0000-0000-000000000000",
        rules=["rule-7"],
        token_id="id",
        request_id="0123456789abcdef",
    )


def registry_token(rig: Rig) -> str:
    """Get one token from the rig's registry."""

    async def get() -> str:
        async with Http() as http:
            fields = {"grant_type": "refresh_token", "service": rig.login_server, "scope": SCOPE, "refresh_token": "x"}
            url = f"{rig.origin}/oauth2/token"
            answer = await http.request("POST", url, form=fields, max_bytes=65536, timeout_seconds=10)
            return str(answer.json_object()["access_token"])

    return asyncio.run(get())


async def _mint(rig: Rig, count: int) -> float:
    """Mint tokens, many at once; return the CPU time of each in microseconds."""
    async with Http() as http:
        minter = Minter(http, Clock(), budget_seconds=60)
        target = Target(rig.origin, rig.login_server, None, "bench")
        scopes = parse(SCOPE)

        async def entra_token() -> str:
            return "token"

        async def work(times: int) -> None:
            for _ in range(times):
                await minter.mint(target, entra_token, scopes)

        await asyncio.gather(*(work(1) for _ in range(_AT_ONCE)))
        start = time.process_time()
        await asyncio.gather(*(work(count // _AT_ONCE) for _ in range(_AT_ONCE)))
        return (time.process_time() - start) * 1e6 / (count // _AT_ONCE * _AT_ONCE)
