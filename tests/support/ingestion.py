"""What Application Insights' ingestion endpoint is to an exporter: takes JSON over TLS, with an Entra token or none."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import jwt
from aiohttp import web

from devstack import recording
from devstack.serving import LocalServer

if TYPE_CHECKING:
    from devstack.certs import TestAuthority

INSTRUMENTATION_KEY = "00000000-0000-0000-0000-0000000000aa"


class Ingestion(LocalServer):
    """Keep every item that was sent: `items` as they came, `audiences` of the tokens that came with them."""

    def __init__(self, ca: TestAuthority) -> None:
        super().__init__(plain=False, tls=ca.server_context())
        self.items: list[dict[str, Any]] = []
        self.audiences: list[str] = []

    @property
    def connection_string(self) -> str:
        """The connection string of the Application Insights component that this is."""
        return f"InstrumentationKey={INSTRUMENTATION_KEY};IngestionEndpoint={self.tls_url}/"

    def application(self) -> web.Application:
        """Build the application."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/{version:v2[.0-9]*|/v2[.0-9]*}/track", self._track)  # The exporter may double a slash.
        return app

    async def _track(self, request: web.Request) -> web.Response:
        body = await request.read()
        if body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        if (path := recording.output("telemetry")) is not None:
            path.write_bytes(body)
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme:
            self.audiences.append(str(jwt.decode(token, options={"verify_signature": False})["aud"]))
        text = body.decode()
        items = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines() if line]
        self.items += items
        return web.json_response({"itemsReceived": len(items), "itemsAccepted": len(items), "errors": []})

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the data of every item of a kind: `RemoteDependencyData`, `RequestData`, `MetricData`, …"""
        return [item["data"]["baseData"] for item in list(self.items) if item["data"]["baseType"] == kind]
