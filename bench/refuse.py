"""Time to refuse: what an attacker's token costs, beside what a good one costs. Nothing is fetched."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

from bench.report import Row, median, timed
from devstack.issuer import claims as shapes
from devstack.keys import SigningKey, b64url, encode
from vending.clock import Clock
from vending.errors import Refusal
from vending.http_client import Http
from vending.oidc.token import MAX_TOKEN_LENGTH, peek
from vending.oidc.types import Issuer, RawToken
from vending.oidc.verify import Verifier

_URL: Final = "https://idp.example"
_AUDIENCE: Final = "https://vend.contoso.example"
_NOW: Final = 1_800_000_000
_ROUNDS: Final = 8


def run() -> list[Row]:
    """Measure each token in turns, several times, and keep each one's best median: the machine has other work, too."""
    key = SigningKey.generate("RS256")
    verify = _verifier(key)
    good = encode(shapes.github(_URL, _AUDIENCE, at=_NOW), key)
    cases = {"verify a good token": good, **{f"refuse {name}": text for name, text in _bad_tokens(good).items()}}
    best = dict.fromkeys(cases, float("inf"))
    for _ in range(_ROUNDS):
        for name, token in cases.items():
            best[name] = min(best[name], median(timed(lambda token=token: verify(token), seconds=0.05)))  # type: ignore[misc]
    goal = f"under {best['verify a good token']:,.1f} µs, as a good token"
    return [Row(name, value, "µs", goal if name.startswith("refuse") else "") for name, value in best.items()]


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
