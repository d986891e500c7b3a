"""CPU time of one POST through the HTTP client, beside httpx's own transport and aiohttp alone, in the same run.

CPU rather than wall time, so that a busy machine does not count; the server is a process of its own. Each figure is the
median of several runs.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import aiohttp
import httpx

from bench.report import Row, median
from vending.http_client import Http

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

_REQUESTS: Final = 256
_RUNS: Final = 3
_CONCURRENCY: Final = (1, 16, 64)
_FORM: Final = {"grant_type": "refresh_token", "service": "contoso.azurecr.io", "refresh_token": "x" * 1000}
_BODY: Final = b'{"access_token":"' + b"x" * 1200 + b'"}'

Call: TypeAlias = Callable[[], Awaitable[object]]


def run() -> list[Row]:
    """Measure each client at each concurrency."""
    ports: Queue[int] = multiprocessing.Queue()
    server = multiprocessing.Process(target=_serve, args=(ports,), daemon=True)
    server.start()
    try:
        url = f"http://127.0.0.1:{ports.get(timeout=30)}/oauth2/token"
        return [
            Row(f"POST through {name}, {at_once} at once", _measure(make, url, at_once), "ms CPU")
            for at_once in _CONCURRENCY
            for name, make in (("aiohttp alone", _bare), ("the app's client", _ours), ("httpx's transport", _httpx))
        ]
    finally:
        server.kill()
        server.join()


def _measure(make: Callable[[AsyncExitStack, str], Awaitable[Call]], url: str, at_once: int) -> float:
    return median(sorted(asyncio.run(_once(make, url, at_once)) for _ in range(_RUNS)))


async def _once(make: Callable[[AsyncExitStack, str], Awaitable[Call]], url: str, at_once: int) -> float:
    async with AsyncExitStack() as stack:
        call = await make(stack, url)

        async def work(requests: int) -> None:
            for _ in range(requests):
                await call()

        await asyncio.gather(*(work(2) for _ in range(at_once)))  # Connections are open from here on.
        each = _REQUESTS // at_once
        start = time.process_time()
        await asyncio.gather(*(work(each) for _ in range(at_once)))
        return (time.process_time() - start) * 1000 / (each * at_once)


async def _ours(stack: AsyncExitStack, url: str) -> Call:
    http = await stack.enter_async_context(Http())
    return lambda: http.request("POST", url, form=_FORM, max_bytes=65536, timeout_seconds=60)


async def _httpx(stack: AsyncExitStack, url: str) -> Call:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=60, limits=limits))
    return lambda: client.post(url, data=_FORM)


async def _bare(stack: AsyncExitStack, url: str) -> Call:
    session = await stack.enter_async_context(aiohttp.ClientSession())

    async def call() -> bytes:
        async with session.post(url, data=_FORM) as response:
            return await response.read()

    return call


def _serve(ports: Queue[int]) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY))
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.close()

    async def main() -> None:
        server: Any = await asyncio.start_server(answer, "127.0.0.1", 0)
        ports.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())
