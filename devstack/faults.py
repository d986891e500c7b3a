"""Make an endpoint of the local stack misbehave on purpose, and count who called it."""

import asyncio
import math
import socket
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_CHUNK = b" " * 65536
_HOLD_POLL_SECONDS = 0.01
_HOLD_POLLS = 6000


@dataclass(frozen=True, slots=True)
class Fault:
    """What an endpoint does instead of, or on top of, its work.

    `delay` (seconds) comes first, `hold` second; then the first of `reset`, `redirect`, `stream_bytes`, and
    `status`/`body` that is set answers. With none of them the real answer follows; `truncate` and `drip` spoil
    whichever answer it is.
    """

    status: int | None = None
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0
    """Seconds to wait before anything is sent."""
    hold: Callable[[], bool] | None = None
    """Send nothing until this is true, and 503 where it is not within a minute."""
    reset: bool = False
    """Reset the TCP connection without an answer."""
    redirect: str | None = None
    """Answer 302 with this Location."""
    stream_bytes: int | None = None
    """Answer 200 with so many blanks, without Content-Length."""
    truncate: bool = False
    """Announce the whole body, send half of it and hang up."""
    drip: float = 0
    """Seconds between single bytes of the body."""
    throttled_until: float | None = None
    """Answer 429 until this time (epoch seconds) with a Retry-After that counts down; afterwards the fault is over."""

    @classmethod
    def throttled(cls, seconds: float) -> "Fault":
        """Build the fault of a rate limit that lasts `seconds` from now."""
        return cls(throttled_until=time.time() + seconds)

    @property
    def over(self) -> bool:
        """Return whether the fault has passed by itself."""
        return self.throttled_until is not None and time.time() >= self.throttled_until

    @property
    def synthetic(self) -> bool:
        """Return whether the fault brings an answer of its own."""
        return self.status is not None or self.body is not None or self.throttled_until is not None


class FaultBoard:
    """The faults and request counters of one server, by endpoint name."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        """How many requests each endpoint has had, faulty answers included."""
        self._faults: dict[str, tuple[Fault, int | None]] = {}

    def set(self, endpoint: str, fault: Fault, *, times: int | None = None) -> None:
        """Let `endpoint` fail for the next `times` requests, or until `clear`. A later call replaces an earlier one."""
        self._faults[endpoint] = (fault, times)

    def clear(self, endpoint: str | None = None) -> None:
        """Heal one endpoint, or all."""
        if endpoint is None:
            self._faults.clear()
        else:
            self._faults.pop(endpoint, None)

    def _take(self, endpoint: str) -> Fault | None:
        fault, times = self._faults.get(endpoint, (None, None))
        if fault is None or fault.over or times == 0:
            self._faults.pop(endpoint, None)
            return None
        if times is not None:
            self._faults[endpoint] = (fault, times - 1)
        return fault

    async def answer(self, endpoint: str, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count the request, then answer as the endpoint's fault says, or with `handler`."""
        self.requests[endpoint] += 1
        fault = self._take(endpoint)
        if fault is None:
            return await handler(request)
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.hold is not None and not await _becomes_true(fault.hold):
            return web.Response(status=503)
        if fault.reset:
            return _reset(request)
        if fault.redirect is not None:
            return web.Response(status=302, headers={"Location": fault.redirect})
        if fault.stream_bytes is not None:
            return await _stream_blanks(request, fault.stream_bytes)
        response = _synthesise(fault) if fault.synthetic else await handler(request)
        if fault.truncate or fault.drip:
            return await _spoil(request, response, fault)
        return response


async def _becomes_true(condition: Callable[[], bool]) -> bool:
    for _ in range(_HOLD_POLLS):
        if condition():
            return True
        await asyncio.sleep(_HOLD_POLL_SECONDS)
    return False


def _synthesise(fault: Fault) -> web.Response:
    headers = {"Content-Type": "application/json", **fault.headers}
    status = fault.status
    if fault.throttled_until is not None:
        headers.setdefault("Retry-After", str(max(1, math.ceil(fault.throttled_until - time.time()))))
        status = status or 429
    return web.Response(status=status or 200, body=fault.body or b"", headers=headers)


def _reset(request: web.Request) -> web.Response:
    if request.transport is not None:
        sock = request.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    return web.Response()


async def _stream_blanks(request: web.Request, size: int) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    try:
        while size > 0:
            await response.write(_CHUNK[:size])
            size -= len(_CHUNK)
        await response.write_eof()
    except ConnectionError:
        pass  # the client has seen enough
    return response


async def _spoil(request: web.Request, real: web.StreamResponse, fault: Fault) -> web.StreamResponse:
    body = real.body if isinstance(real, web.Response) else b""
    content = body if isinstance(body, bytes) else b""
    spoiled = web.StreamResponse(status=real.status, headers=real.headers)
    spoiled.content_length = len(content)
    await spoiled.prepare(request)
    sent = content[: len(content) // 2] if fault.truncate else content
    try:
        if fault.drip:
            for byte in sent:
                await spoiled.write(bytes([byte]))
                await asyncio.sleep(fault.drip)
        else:
            await spoiled.write(sent)
    except ConnectionError:
        return spoiled
    if fault.truncate and request.transport is not None:
        request.transport.close()
    return spoiled
