"""CPU time of one POST through the HTTP client, beside httpx's own transport and aiohttp alone, in the same run.

CPU rather than wall time, so that a busy machine does not count; the server is a process of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final, TypeAlias

import aiohttp
import httpx

from bench.report import Chart, Effort, Report, Row
from bench.rig import SCOPE, Rig
from vending.http_client import Http

_REQUESTS: Final = 256
_CONCURRENCY: Final = (1, 16, 64)
_FORM: Final = {
    "grant_type": "refresh_token",
    "service": "contoso.azurecr.io",
    "scope": SCOPE,
    "refresh_token": "x" * 1000,
}

Call: TypeAlias = Callable[[], Awaitable[object]]
Maker: TypeAlias = Callable[[AsyncExitStack, str], Awaitable[Call]]


def run(effort: Effort) -> Report:
    """Measure each client at each concurrency."""
    rows, series = [], {}
    makers: dict[str, Maker] = {"aiohttp alone": _bare, "the app's client": _ours, "httpx's transport": _httpx}
    with Rig() as rig:
        url = f"{rig.origin}/oauth2/token"
        for name, make in makers.items():
            for at_once in _CONCURRENCY:
                values = [_milliseconds(make, url, at_once, _REQUESTS) for _ in range(effort.choose(3, 1))]
                rows.append(Row(f"POST through {name}, {at_once} at once", values, "ms CPU"))
            series[name] = [row.value for row in rows[-len(_CONCURRENCY) :]]
    labels = [str(at_once) for at_once in _CONCURRENCY]
    return Report(rows, [Chart("transport", "CPU of one POST by requests at once", "ms", labels, series)])


def app_milliseconds(url: str, at_once: int, count: int) -> float:
    """Measure the CPU time of one POST through the app's client."""
    return _milliseconds(_ours, url, at_once, count)


def _milliseconds(make: Maker, url: str, at_once: int, count: int) -> float:
    return asyncio.run(_once(make, url, at_once, count))


async def _once(make: Maker, url: str, at_once: int, count: int) -> float:
    async with AsyncExitStack() as stack:
        call = await make(stack, url)

        async def work(requests: int) -> None:
            for _ in range(requests):
                await call()

        await asyncio.gather(*(work(2) for _ in range(at_once)))  # Connections are open from here on.
        each = max(1, count // at_once)
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
    session = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))

    async def call() -> bytes:
        async with session.post(url, data=_FORM) as response:
            return await response.read()

    return call
