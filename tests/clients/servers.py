"""Small real HTTP servers that the clients talk to: a vending service that can be told to misbehave, and a CI platform.

They know the wire, not the policy: whether a token is deserved is tested elsewhere, with the whole stack.
"""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import socketserver
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

GOOGLE = "/computeMetadata/v1/instance/service-accounts/default/identity"
ENTRA = "/metadata/identity/oauth2/token"
"""Where the metadata servers of Google's and Microsoft's clouds issue tokens."""

USERNAME = "00000000-0000-0000-0000-000000000000"


def unsigned_jwt(**claims: object) -> str:
    """Make a token of the right shape; clients read its `aud` and leave the signature to the service."""

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return ".".join(
        [part({"alg": "RS256", "typ": "JWT"}), part(claims), base64.urlsafe_b64encode(b"signature").decode()]
    )


@dataclass(frozen=True)
class Seen:
    """Hold one request as it arrived."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        """Return the fields of a form body, none of them twice."""
        return dict(urllib.parse.parse_qsl(self.body.decode(), strict_parsing=True)) if self.body else {}


@dataclass(frozen=True)
class Answer:
    """Hold a response; `hang_up` closes the connection without one."""

    status: int = 200
    body: bytes | str | dict[str, object] = b""
    headers: dict[str, str] = field(default_factory=dict)
    hang_up: bool = False


Handle = Callable[[Seen], Answer]


@dataclass
class Server:
    """Hold a running server and what it has seen; as a CI platform, also the audience that Azure Pipelines fixes."""

    url: str
    seen: list[Seen] = field(default_factory=list)
    azure_audience: str = "api://AzureADTokenExchange"

    def paths(self) -> list[str]:
        """Return the path of every request, in order."""
        return [request.path for request in self.seen]


@contextlib.contextmanager
def serve(handle: Callable[[Server], Handle], *, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Serve on a free loopback port until the block ends; with `tls`, as https://localhost."""
    server = Server(url="")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            parsed = urllib.parse.urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            seen = Seen(self.command, parsed.path, urllib.parse.parse_qs(parsed.query), headers, body)
            server.seen.append(seen)
            reply = respond(seen)
            if reply.hang_up:
                self.close_connection = True
                return
            data = json.dumps(reply.body).encode() if isinstance(reply.body, dict) else reply.body
            data = data.encode() if isinstance(data, str) else data
            self.send_response(reply.status)
            for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_PUT = do_HEAD = do_DELETE = answer  # noqa: N815 - the library's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

    class Listener(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """Say nothing of clients that hang up, as those must that do not trust us."""

    listener = Listener(("127.0.0.1", 0), Handler)
    listener.daemon_threads = True
    port = listener.server_address[1]
    server.url = f"http://127.0.0.1:{port}"
    if tls:
        # The handshake belongs into the thread of its connection: a client that gives up must not stop the listener.
        listener.socket = tls.wrap_socket(listener.socket, server_side=True, do_handshake_on_connect=False)
        server.url = f"https://localhost:{port}"
    respond = handle(server)
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()


@contextlib.contextmanager
def speaking(speak: Callable[[socket.socket], None]) -> Iterator[str]:
    """Let `speak` talk to every connection, once it has sent something, until the client goes; return the address."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            with contextlib.suppress(OSError):
                speak(self.request)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def granted(token: str = "vended.registry.token", **changes: object) -> dict[str, object]:
    """Return the body of a successful exchange."""
    return {
        "access_token": token,
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "token_type": "Bearer",
        "expires_in": 3600,
        "expires_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600)),
        "scope": "repository:web/api:pull,push",
        "registry": "contoso.azurecr.io",
        "hosts": ["contoso.azurecr.io", "contoso.eastus.geo.azurecr.io"],
        "username": USERNAME,
        "rules": ["web-release"],
        "token_id": "1",
        "request_id": "req-1",
        **changes,
    }


def refusal(status: int, reason: str, description: str, **headers: str) -> Answer:
    """Return an error as the service words it."""
    body: dict[str, object] = {
        "error": "invalid_request",
        "error_description": description,
        "reason": reason,
        "request_id": "req-9",
    }
    return Answer(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


@contextlib.contextmanager
def vendor(
    *answers: Answer,
    audience: str | None = None,
    issuer: str | None = None,
    metadata: Answer | None = None,
    tls: ssl.SSLContext | None = None,
) -> Iterator[Server]:
    """Serve a vending service that gives these answers to `/token`, the last of them for ever.

    `audience` and `issuer` default to the server's own URL, as an honest service has it.
    """
    script = list(answers) or [Answer(body=granted())]

    def handle(server: Server) -> Handle:
        def respond(request: Seen) -> Answer:
            if request.path == "/.well-known/oauth-authorization-server":
                return metadata or Answer(
                    body={
                        "issuer": issuer or server.url,
                        "audience": audience or server.url,
                        "token_endpoint": f"{server.url}/token",
                    }
                )
            if request.path in {"/token", "/explain"}:
                return script.pop(0) if len(script) > 1 else script[0]
            return Answer(404, {"error": "invalid_request", "reason": "not_found"})

        return respond

    with serve(handle, tls=tls) as server:
        yield server


@contextlib.contextmanager
def platform(*answers: Answer) -> Iterator[Server]:
    """Serve what issues OIDC tokens on platforms and in clouds: `answers` first, then tokens, each with its own jti."""
    script = list(answers)

    def handle(server: Server) -> Handle:
        def respond(request: Seen) -> Answer:
            if script:
                return script.pop(0)
            jti = str(len(server.seen))
            if request.path == "/github":
                if request.headers.get("authorization") != "bearer request-secret":
                    return Answer(401)
                return Answer(body={"count": 1, "value": unsigned_jwt(aud=request.query["audience"][0], jti=jti)})
            if request.path == "/azure" and request.method == "POST":
                if request.headers.get("authorization") != "Bearer request-secret":
                    return Answer(401)
                return Answer(body={"oidcToken": unsigned_jwt(aud=server.azure_audience, jti=jti)})
            if request.path == GOOGLE and request.headers.get("metadata-flavor") == "Google":
                return Answer(body=unsigned_jwt(aud=request.query["audience"][0], jti=jti))
            if request.path == ENTRA and request.headers.get("metadata") == "true":
                return Answer(body={"access_token": unsigned_jwt(aud=request.query["resource"][0], jti=jti)})
            return Answer(404)

        return respond

    with serve(handle) as server:
        yield server


def claims_of(token: str) -> dict[str, Any]:
    """Read the claims of a token without checking anything."""
    payload = token.split(".")[1]
    return cast("dict[str, Any]", json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))
