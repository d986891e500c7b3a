"""The cost of refusing: every hostile kind of token beside a good one, garbage of the largest size, and whole requests.

Tokens are those of the attack suite, `tests/oidc/test_attacks.py`. Nothing is fetched while they are measured.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

from bench.report import Chart, Effort, Report, Row, cpu_microseconds, median, most
from bench.rig import Rig, all_granted, drive, form
from devstack.issuer import claims as shapes
from devstack.keys import SigningKey, b64url, encode
from tests.oidc import test_attacks as suite
from tests.oidc.forge import Forge, Hands, Keys, Site, published
from vending.clock import Clock
from vending.errors import Refusal
from vending.http_client import Http
from vending.oidc.token import MAX_TOKEN_LENGTH, peek
from vending.oidc.types import Issuer, RawToken
from vending.oidc.verify import Verifier

_URL: Final = "https://idp.example"
_AUDIENCE: Final = "https://vend.contoso.example"
_NOW: Final = 1_800_000_000
_REQUESTS: Final = (600, 100)
_SENTENCE: Final = "a refusal is an exception with a sentence for the caller, and an audit event"
_KINDS: Final = {
    "shape": suite.SHAPE,
    "encoding": suite.DECODING,
    "header": suite.HEADER,
    "algorithm": suite.ALGORITHM,
    "key": suite.KEY,
    "signature": suite.SIGNATURE,
    "claims": suite.CLAIMS,
    "issuer": suite.ISSUER,
}


def run(effort: Effort) -> Report:
    """Measure tokens alone, then whole requests of the service."""
    seconds = 0.02 if effort.quick else 0.1
    kinds = _attacks(seconds=0.003 if effort.quick else 0.01)
    rows, charts = _alone(seconds)
    for name, costs in kinds.items():
        rows.append(Row(f"refuse {name}, each of {len(costs)} attacks", costs, "µs"))
    return Report([*rows, *_whole(effort)], charts)


def _alone(seconds: float) -> tuple[list[Row], list[Chart]]:
    """Measure a good token and the largest garbage, in turns."""
    key = SigningKey.generate("RS256")
    verify = _verifier(key)
    good = encode(shapes.github(_URL, _AUDIENCE, at=_NOW), key)
    accept = median(cpu_microseconds(lambda: verify(good), seconds=seconds))
    rows = [Row("accept a good token, RS256", [accept], "µs")]
    for name, token in _bad_tokens(good).items():
        value = median(cpu_microseconds(lambda token=token: verify(token), seconds=seconds))  # type: ignore[misc]
        rows.append(Row(f"refuse {name}", [value], "µs", most(accept, _SENTENCE)))
    labels = [row.what.removeprefix("refuse ") for row in rows]
    chart = Chart(
        "refuse", "CPU of a refusal beside an acceptance", "µs", labels, {"CPU": [r.value for r in rows]}, "lying"
    )
    return rows, [chart]


def _attacks(seconds: float) -> dict[str, list[float]]:
    """Measure every attack of the suite with the issuer's keys at hand."""
    costs: dict[str, list[float]] = {}
    keys = Keys()
    logging.getLogger("vending.operations").setLevel(logging.CRITICAL)  # The issuer's bad keys are there on purpose.
    with Site(jwks=published(keys)) as site, Site() as trap:
        forge = Forge(keys, site, trap)
        loop = asyncio.new_event_loop()
        http = Http()
        verifier = Verifier(http, Hands().clock, allow_loopback=True)
        loop.run_until_complete(verifier.verify(peek(RawToken(forge.token())), forge.issuer()))
        for kind, attacks in _KINDS.items():
            costs[kind] = []
            for attack in attacks:
                token, issuer = attack.token(forge), forge.issuer(**attack.policy)

                async def refuse(times: int, token: str = token, issuer: Issuer = issuer) -> float:
                    start = time.process_time()
                    for _ in range(times):
                        with suppress(Refusal):
                            await verifier.verify(peek(RawToken(token)), issuer)
                            raise AssertionError("an attack was accepted")
                    return (time.process_time() - start) / times * 1e6

                first = loop.run_until_complete(refuse(1))  # What an unknown key costs the first time is not repeated.
                costs[kind].append(loop.run_until_complete(refuse(max(5, int(seconds * 1e6 / max(first, 20))))))
        loop.run_until_complete(http.aclose())
        loop.close()
    return costs


def _whole(effort: Effort) -> list[Row]:
    """Measure what a whole request costs the service: one that is granted, and others that are refused."""
    count = effort.choose(*_REQUESTS)
    with Rig() as rig:
        service = rig.service()
        url = f"{service.url}/token"
        all_granted(drive([url], rig.forms(100), at_once=16))
        forged = rig.token().rsplit(".", 1)[0] + "." + rig.token(jti="other").rsplit(".", 1)[1]
        hostile = {
            "a forged signature": form(forged),
            "a token that is over": form(rig.token(exp=1_700_000_000, iat=1_699_999_900, nbf=1_699_999_900)),
            "a used token": (used := rig.forms(1)[0]),
            "a scope that is not granted": form(rig.token(), "repository:other/app:pull"),
            "16 KiB without dots": form("A" * MAX_TOKEN_LENGTH),
        }
        all_granted(drive([url], [used], at_once=1))
        rounds: dict[str, list[float]] = {name: [] for name in hostile}
        granted = []
        for _ in range(effort.choose(3, 1)):
            load = all_granted(drive([url], rig.forms(count), at_once=16, pid=service.pid))
            granted.append(load.cpu_milliseconds)
            for name, body in hostile.items():
                refused = drive([url], [body], at_once=16, count=count, pid=service.pid)
                if "200" in refused.statuses:
                    raise AssertionError(f"{name} was accepted")
                rounds[name].append(refused.cpu_milliseconds)
    rows = [Row("a whole request that is granted, 16 at once", granted, "ms CPU")]
    goal = most(median(granted), _SENTENCE)
    return rows + [
        Row(f"a whole request with {name}, refused", values, "ms CPU", goal) for name, values in rounds.items()
    ]


def _bad_tokens(good: str) -> dict[str, str]:
    header, payload, signature = good.split(".")
    room = MAX_TOKEN_LENGTH - len(header) - len(signature) - 2
    fill = room * 3 // 4
    letters = b64url(os.urandom(MAX_TOKEN_LENGTH))[: MAX_TOKEN_LENGTH // 4 * 4]
    third = MAX_TOKEN_LENGTH // 12 * 4
    many = json.dumps({f"c{number}": number for number in range(1000)}, separators=(",", ":")).encode()
    name, unsigned = b'{"a":', b'{"alg":"none"}'
    return {
        "16 KiB without dots": letters,
        "16 KiB of garbage in three parts": f"{letters[:third]}.{letters[third : 2 * third]}.{letters[:16]}",
        "16 KiB of garbage as payload": f"{header}.{letters[: room // 4 * 4]}.{signature}",
        "16 KiB of garbage as signature": f"{header}.{payload}.{letters}"[:MAX_TOKEN_LENGTH],
        "a megabyte": letters * 64,
        "16 KiB of dots": "." * MAX_TOKEN_LENGTH,
        "16 KiB of nested lists": f"{header}.{b64url(b'[' * fill)}.{signature}",
        "16 KiB of nested lists in an object": f"{header}.{b64url((name + b'[' * fill)[:fill])}.{signature}",
        "16 KiB of nested objects": f"{header}.{b64url((name * fill)[:fill])}.{signature}",
        "1,000 claims": f"{header}.{b64url(many)}.{signature}",
        "alg none": f"{b64url(unsigned)}.{payload}.",
    }


def _verifier(key: SigningKey) -> Callable[[str], None]:
    """Return a function that verifies a token and swallows the refusal."""
    issuer = Issuer(
        name="github",
        url=_URL,
        audience=_AUDIENCE,
        algorithms=frozenset({"RS256"}),
        max_token_lifetime=900,
        replay="once",
        static_keys={"keys": [key.jwk()]},
    )
    verifier = Verifier(Http(), Clock(now=lambda: _NOW, monotonic=lambda: 0.0), allow_loopback=False)

    def verify(token: str) -> None:
        with suppress(Refusal):
            _finish(verifier.verify(peek(RawToken(token)), issuer))

    return verify


def _finish(work: Coroutine[Any, Any, object]) -> None:
    with suppress(StopIteration):  # With static keys a verification never waits.
        work.send(None)
        raise AssertionError("verification waits for something")
