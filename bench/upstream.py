"""Everything that the service talks to, as quick as it can be, in a process of its own: `python -m bench.upstream`.

An issuer's documents, an identity endpoint and a registry, over plain HTTP on one inherited socket. It verifies nothing
and signs nothing: the registry's signatures are not checked by the service, because ACR publishes no keys. It answers
after a delay where that is asked for, throttles as ACR does (429 with a `Retry-After` that counts down), and tells what
it was asked.

Standard input has one line of JSON: `socket` (a file descriptor), `login_server`, `documents` (path to body),
`delay_seconds`, and `per_second` (token requests, 0 for no limit).
"""

from __future__ import annotations

import asyncio
import base64
import json
import math
import os
import socket
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs

from bench.processes import cores

CONTROL: Final = "/bench/calls"
"""GET tells what was asked since the last time; the service never asks for this."""
THROTTLE: Final = "/bench/throttle"
"""POST makes the registry throttle everybody for so many seconds, as if others had used up its limit."""
_BURST_SECONDS: Final = 0.1
"""The bucket of the rate limit holds so much of a second; ACR's own is counted by the minute."""
_SIGNATURE: Final = base64.urlsafe_b64encode(bytes(range(256))).rstrip(b"=").decode()
_DAY: Final = 86_400
_ENTRA: Final = "https://sts.windows.net/00000000-0000-0000-0000-00000000c0de/"


@dataclass
class Upstream:
    """Hold the answers and the counts. One for the process."""

    login_server: str
    documents: dict[str, Any]
    delay_seconds: float
    per_second: float
    calls: list[tuple[float, float, str, int]] = field(default_factory=list)
    """Arrival and answer (monotonic seconds), path, and status of every call."""
    _room: float = field(init=False)
    _at: float = field(init=False)
    _number: int = 0

    def __post_init__(self) -> None:
        self._room, self._at = self.per_second * _BURST_SECONDS, time.monotonic()
        self._throttled_until = 0.0
        self._routes = {
            "/msi/token": self._identity,
            "/oauth2/exchange": self._exchange,
            "/oauth2/token": self._access,
        }

    def answer(self, path: str, body: bytes) -> tuple[int, bytes, str]:
        """Return status, body and further headers."""
        if path == CONTROL:
            calls, self.calls = self.calls, []
            return 200, json.dumps(calls).encode(), ""
        if path == THROTTLE:
            self._throttled_until = time.monotonic() + float(body)
            return 200, b"{}", ""
        if path in self.documents:
            return 200, json.dumps(self.documents[path]).encode(), ""
        route = self._routes.get(path)
        return (404, b"{}", "") if route is None else route(body)

    def _identity(self, _body: bytes) -> tuple[int, bytes, str]:
        now = int(time.time())
        claims = {"iss": _ENTRA, "aud": "https://storage.azure.com", "iat": now, "nbf": now, "exp": now + _DAY}
        answer = {
            "access_token": _jwt(claims),  # In the shape that Azurite wants; a registry takes any.
            "expires_on": str(now + _DAY),
            "resource": "https://containerregistry.azure.net",
            "token_type": "Bearer",
        }
        return 200, json.dumps(answer).encode(), ""

    def _exchange(self, _body: bytes) -> tuple[int, bytes, str]:
        token = _jwt({"exp": int(time.time()) + 10_800, "jti": "refresh", "grant_type": "refresh_token"})
        return 200, json.dumps({"refresh_token": token}).encode(), ""

    def _access(self, body: bytes) -> tuple[int, bytes, str]:
        wait = self._throttled()
        if wait:
            error = {"errors": [{"code": "TOOMANYREQUESTS", "message": "too many requests"}]}
            return 429, json.dumps(error).encode(), f"Retry-After: {wait}\r\n"
        access = []
        for scope in parse_qs(body.decode())["scope"][0].split(" "):
            kind, name, actions = scope.split(":")
            access.append({"Type": kind, "Name": name, "Actions": actions.split(",")})
        now = int(time.time())
        self._number += 1
        claims = {
            "jti": f"{os.getpid()}-{self._number}",
            "sub": "9f3c1d5e-7b2a-4c60-8e1f-0d2b4a6c8e10",
            "nbf": now - 900,
            "exp": now + 3600,
            "iat": now - 900,
            "iss": "Azure Container Registry",
            "aud": self.login_server,
            "version": "1.0",
            "rid": "9f3c1d5e7b2a4c608e1f0d2b4a6c8e10",
            "access": access,
            "roles": [],
            "grant_type": "access_token",
        }
        return 200, json.dumps({"access_token": _jwt(claims)}).encode(), ""

    def _throttled(self) -> int:
        """Take one call from a bucket that fills at the limit; return the seconds to wait where it is empty."""
        now = time.monotonic()
        if now < self._throttled_until:
            return max(1, math.ceil(self._throttled_until - now))
        if not self.per_second:
            return 0
        self._room = min(self.per_second * _BURST_SECONDS, self._room + (now - self._at) * self.per_second)
        self._at = now
        if self._room < 1:
            return max(1, math.ceil((1 - self._room) / self.per_second))
        self._room -= 1
        return 0


def _jwt(claims: dict[str, Any]) -> str:
    return f"{_encoded({'alg': 'RS256', 'typ': 'JWT', 'kid': 'bench'})}.{_encoded(claims)}.{_SIGNATURE}"


def _encoded(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


class _Connection(asyncio.Protocol):
    """Speak as much HTTP/1.1 as one well-behaved client needs: a length before every body, one request at a time."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer once a request is complete."""
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        if not found:
            return
        length = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
        if len(body) < int(length or 0):
            return
        self._data = b""
        arrived = time.monotonic()
        path = head.split(b" ", 2)[1].partition(b"?")[0].decode()
        if self._upstream.delay_seconds and not path.startswith("/bench/"):
            loop = asyncio.get_running_loop()
            loop.call_later(self._upstream.delay_seconds, self._answer, path, body, arrived)
        else:
            self._answer(path, body, arrived)

    def _answer(self, path: str, body: bytes, arrived: float) -> None:
        status, content, headers = self._upstream.answer(path, body)
        if not path.startswith("/bench/"):
            self._upstream.calls.append((arrived, time.monotonic(), path, status))
        head = (
            f"HTTP/1.1 {status} Told\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n{headers}"
        )
        if isinstance(self._transport, asyncio.Transport) and not self._transport.is_closing():
            self._transport.write(head.encode() + b"\r\n" + content)


def counted(calls: list[tuple[float, float, str, int]]) -> Counter[str]:
    """Count calls by path."""
    return Counter(path for _, _, path, _ in calls)


def in_a_row(calls: list[tuple[float, float, str, int]]) -> int:
    """Return the length of the longest chain of calls each of which arrived after the one before was answered."""
    longest: list[tuple[float, int]] = []
    for arrived, answered, _, _ in sorted(calls):
        longest.append((answered, 1 + max((depth for end, depth in longest if end <= arrived), default=0)))
    return max((depth for _, depth in longest), default=0)


async def _main() -> None:
    os.sched_setaffinity(0, cores()[1])
    config = json.loads(sys.stdin.readline())
    sock = socket.socket(fileno=config.pop("socket"))
    upstream = Upstream(**config)
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(upstream), sock=sock, backlog=1024)
    print("listening", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main())
