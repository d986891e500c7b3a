"""A TLS front before Azurite that loses answers, makes up others, and notes what it was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web

from devstack.faults import Fault, FaultBoard, Handler
from devstack.serving import LocalServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from devstack.certs import TestAuthority
    from tests.support.azurite import Azurite

_HOP_BY_HOP = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding"})


class TableFront(LocalServer):
    """Forward everything to the emulator's tables, or to `endpoint`, another service of it.

    `board` spoils the endpoint `table`; `lose` drops answers after the work.
    """

    def __init__(self, azurite: Azurite, ca: TestAuthority, endpoint: str | None = None) -> None:
        super().__init__(plain=False, tls=ca.server_context())
        self.board = FaultBoard()
        self.lose = 0
        """How many answers are still to be lost, after the emulator has done what it was asked."""
        self.headers: list[tuple[str, Mapping[str, str]]] = []
        """Method and headers of each request."""
        self._endpoint = endpoint or azurite.table_endpoint
        self._trust = ca.client_context()
        self._client: aiohttp.ClientSession | None = None

    def of(self, table: str) -> str:
        """Return the URL of a table, or of a blob, through this front."""
        return table.replace(self._endpoint, f"{self.tls_url}/devstoreaccount1")

    def application(self) -> web.Application:
        """Build the application."""
        app = web.Application()
        app.cleanup_ctx.append(self._run_client)
        app.router.add_route("*", "/{path:.*}", self._answer)
        return app

    async def _run_client(self, _app: web.Application) -> AsyncIterator[None]:
        self._client = aiohttp.ClientSession(auto_decompress=False)
        yield
        await self._client.close()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.headers.append((request.method, dict(request.headers)))
        return await self.board.answer("table", request, self._forward)

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        if self._client is None:
            raise RuntimeError("the front is not running")
        origin = self._endpoint.removesuffix("/devstoreaccount1")
        async with self._client.request(
            request.method,
            origin + request.raw_path,
            data=await request.read(),
            headers={name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP},
            ssl=self._trust,
        ) as answer:
            body = await answer.read()
            headers = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP}
        if self.lose:
            self.lose -= 1
            return await _reset(request)
        return web.Response(status=answer.status, body=body, headers=headers)


async def _reset(request: web.Request) -> web.StreamResponse:
    board = FaultBoard()
    board.set("lost", Fault(reset=True))
    handler: Handler = _never
    return await board.answer("lost", request, handler)


async def _never(_request: web.Request) -> web.StreamResponse:
    raise RuntimeError("a reset connection has no answer")
