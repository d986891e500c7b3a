"""Small HTTP servers on 127.0.0.1, each of one handler of http.server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl


class Handler(BaseHTTPRequestHandler):
    """Answers in one piece, and keeps standard error for errors; `respond` takes every method."""

    def respond(self) -> None:
        """Answer the request."""
        raise NotImplementedError

    def do_GET(self) -> None:
        self.respond()

    do_PUT = do_POST = do_DELETE = do_CONNECT = do_GET  # noqa: N815 - the names are http.server's

    def content(self) -> bytes:
        """Read the request's body."""
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def reply(self, status: int, content: bytes, media_type: str | None = None) -> None:
        """Answer."""
        self.send_response(status)
        if media_type:
            self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the name is http.server's
        """Say nothing."""


@contextmanager
def served(handler: type[Handler], tls: ssl.SSLContext | None = None, **bound: Any) -> Iterator[int]:
    """Serve a handler that has these attributes on a free port, and give the port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (handler,), bound))
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
