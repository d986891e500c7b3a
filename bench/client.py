"""The client that drives load, in a process of its own: `python -m bench.client`. Sends what it is told and times it.

Standard input has one line of JSON: `urls` (one request is sent to each of them in turn), `at_once`, `count`; then one
form body a line, which are used in turn. With `library` an ordinary client library (aiohttp) sends them, which costs
more than the bare sockets used otherwise. Standard output gets one line of JSON: `seconds`, `milliseconds` of each
request, `statuses`, `reasons`, `failed` (the places of the refused bodies); with `tokens`, the `token_ids` too.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter, deque
from typing import Any
from urllib.parse import urlsplit

from bench.processes import cores


class _Load:
    """Hold the requests that are still to be sent, and what came of the others."""

    def __init__(self, config: dict[str, Any], bodies: list[bytes]) -> None:
        heads = [_head(url) for url in config["urls"]]
        self.requests: list[deque[tuple[int, bytes]]] = [deque() for _ in heads]
        for number in range(config["count"]):
            body = bodies[number % len(bodies)]
            place = number % len(heads)
            self.requests[place].append((number % len(bodies), heads[place] % len(body) + body))
        self.wants_tokens = config.get("tokens", False)
        self.milliseconds: list[float] = []
        self.statuses: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.token_ids: list[str] = []
        self.failed: list[int] = []
        self.done = asyncio.get_running_loop().create_future()
        self.open = 0

    def ended(self, place: int, seconds: float, answer: bytes) -> None:
        """Count one answer."""
        self.milliseconds.append(seconds * 1000)
        status = answer[9:12].decode()
        self.statuses[status] += 1
        if status != "200" or self.wants_tokens:
            body = _body(answer)
            if status == "200":
                self.token_ids.append(body["token_id"])
            else:
                self.reasons[str(body.get("reason"))] += 1
                self.failed.append(place)


class _Connection(asyncio.Protocol):
    """Send one request after another on one connection, as long as there are any for its server."""

    def __init__(self, load: _Load, place: int) -> None:
        self._load = load
        self._requests = load.requests[place]
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        self._transport: Any = transport
        self._load.open += 1

    def send(self) -> None:
        """Send the next request, or hang up where there is none."""
        if not self._requests:
            self._transport.close()
            return
        self._answer = b""
        self._started = time.perf_counter()
        self._place, request = self._requests.popleft()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Take the answer; when it is complete, send the next request."""
        self._answer += data
        if _is_complete(self._answer):
            self._load.ended(self._place, time.perf_counter() - self._started, self._answer)
            self.send()

    def connection_lost(self, error: Exception | None) -> None:
        """End the run when the last connection has ended."""
        self._load.open -= 1
        if self._load.open == 0 and not self._load.done.done():
            self._load.done.set_result(None)


def _head(url: str) -> bytes:
    parts = urlsplit(url)
    return (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    ).encode() + b"Content-Length: %d\r\n\r\n"


def _is_complete(answer: bytes) -> bool:
    head, found, body = answer.partition(b"\r\n\r\n")
    if not found:
        return False
    head = head.lower()
    if b"transfer-encoding: chunked" in head:
        return body.endswith(b"0\r\n\r\n")
    return len(body) >= int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])


def _body(answer: bytes) -> dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    whole = b""
    if b"transfer-encoding: chunked" in head.lower():
        while body and (size := int(body.partition(b"\r\n")[0], 16)):
            start = body.index(b"\r\n") + 2
            whole += body[start : start + size]
            body = body[start + size + 2 :]
    document: dict[str, Any] = json.loads(whole or body or b"{}")
    return document


async def _through_a_library(config: dict[str, Any], bodies: list[bytes]) -> dict[str, Any]:
    import aiohttp

    milliseconds: list[float] = []
    statuses: Counter[str] = Counter()
    numbers = iter(range(config["count"]))
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers) as session:

        async def work() -> None:
            for number in numbers:
                started = time.perf_counter()
                async with session.post(config["urls"][0], data=bodies[number % len(bodies)]) as answer:
                    await answer.read()
                milliseconds.append((time.perf_counter() - started) * 1000)
                statuses[str(answer.status)] += 1

        start = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(config["at_once"])))
        seconds = time.perf_counter() - start
    counts = {"statuses": statuses, "reasons": {}, "token_ids": [], "failed": []}
    return {"seconds": seconds, "milliseconds": sorted(milliseconds), **counts}


async def _main() -> None:
    os.sched_setaffinity(0, cores()[1])
    config = json.loads(sys.stdin.readline())
    bodies = [line.rstrip("\n").encode() for line in sys.stdin]
    if config.get("library"):
        print(json.dumps(await _through_a_library(config, bodies)))
        return
    load = _Load(config, bodies)
    loop = asyncio.get_running_loop()
    connections = []
    for number in range(config["at_once"]):
        place = number % len(config["urls"])
        parts = urlsplit(config["urls"][place])
        connection = _Connection(load, place)
        await loop.create_connection(lambda connection=connection: connection, parts.hostname, parts.port)  # type: ignore[misc]
        connections.append(connection)
    start = time.perf_counter()
    for connection in connections:
        connection.send()
    await load.done
    print(
        json.dumps(
            {
                "seconds": time.perf_counter() - start,
                "milliseconds": sorted(load.milliseconds),
                "statuses": load.statuses,
                "reasons": load.reasons,
                "token_ids": load.token_ids,
                "failed": load.failed,
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(_main())
