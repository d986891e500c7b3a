"""Run small aiohttp servers on 127.0.0.1 in a background thread; says nothing about what they serve."""

import asyncio
import contextlib
import socket
import ssl
import threading
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from aiohttp import web

T = TypeVar("T")

LOOPBACK = "127.0.0.1"


def bind(port: int = 0) -> socket.socket:
    """Bind a TCP socket on 127.0.0.1; port 0 lets the system choose. Raise OSError when the port is taken."""
    # The protocol is named because asyncio switches Nagle's algorithm off only then; with it, each answer takes 40 ms.
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((LOOPBACK, port))
    except OSError:
        sock.close()
        raise
    return sock


class LoopThread:
    """An event loop in a thread of its own, for servers that live beside synchronous code."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="devstack", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], timeout: float = 60) -> T:
        """Run a coroutine on the loop and wait for its result, at most `timeout` seconds."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)

    def close(self) -> None:
        """Cancel what still runs and stop the loop."""
        if self._loop.is_closed():
            return
        with contextlib.suppress(TimeoutError):
            self.run(_cancel_others(), timeout=10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


async def _cancel_others() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()
    for _ in range(3):  # A connection that was just closed lets go of its socket in one of the next rounds.
        await asyncio.sleep(0)


async def _clean_up(runner: web.AppRunner, listening: list[socket.socket]) -> None:
    """Stop a server that a client may call at any moment.

    Accepting ends some rounds of the loop before the server closes: asyncio accepts in one round and attaches in the
    next, and a connection between the two would be left open for ever.
    """
    loop = asyncio.get_running_loop()
    for sock in listening:
        loop.remove_reader(sock)
    for _ in range(3):
        await asyncio.sleep(0)
    await runner.cleanup()


class LocalServer(ABC):
    """A server on 127.0.0.1. Its sockets are bound at once, so addresses are known before it starts.

    With `tls` it listens a second time, with TLS, on another port. The same object may serve both.
    """

    def __init__(self, *, port: int = 0, plain: bool = True, tls: ssl.SSLContext | None = None) -> None:
        self._tls_context = tls
        self._plain_socket = bind(port) if plain else None
        self._tls_socket = bind(port if not plain else 0) if tls else None
        self._loop: LoopThread | None = None
        self._own_loop = False
        self._runner: web.AppRunner | None = None

    @property
    def port(self) -> int:
        """The port of the plain listener."""
        if self._plain_socket is None:
            raise RuntimeError("this server speaks TLS only")
        return int(self._plain_socket.getsockname()[1])

    @property
    def tls_port(self) -> int:
        """The port of the TLS listener."""
        if self._tls_socket is None:
            raise RuntimeError("this server has no TLS listener")
        return int(self._tls_socket.getsockname()[1])

    @property
    def url(self) -> str:
        """Where the plain listener answers, without a trailing slash."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def tls_url(self) -> str:
        """Where the TLS listener answers; by name, because its certificate is for `localhost` too."""
        return f"https://localhost:{self.tls_port}"

    @abstractmethod
    def application(self) -> web.Application:
        """Build the aiohttp application to serve."""

    def start(self, loop: LoopThread | None = None) -> Self:
        """Serve from `loop`, or from a thread of its own; return when connections are accepted."""
        self._own_loop = loop is None
        self._loop = loop or LoopThread()
        self._loop.run(self._serve())
        return self

    async def _serve(self) -> None:
        self._runner = web.AppRunner(self.application(), access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        if self._plain_socket:
            await web.SockSite(self._runner, self._plain_socket, backlog=512).start()
        if self._tls_socket:
            await web.SockSite(self._runner, self._tls_socket, ssl_context=self._tls_context, backlog=512).start()

    def stop(self) -> None:
        """Stop serving and close the sockets; a second call does nothing."""
        sockets = [sock for sock in (self._plain_socket, self._tls_socket) if sock]
        if self._loop and self._runner:
            self._loop.run(_clean_up(self._runner, sockets))
        self._runner = None
        for sock in sockets:
            sock.close()
        if self._loop and self._own_loop:
            self._loop.close()

    def __enter__(self) -> Self:
        return self if self._runner else self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()
