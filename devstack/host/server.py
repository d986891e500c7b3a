"""The Azure Functions host on 127.0.0.1: loads an app's decorators and serves its HTTP functions over uvicorn.

It copies what the platform does around the app, for better and worse, rule by rule beside its source: what the web
server refuses (`kestrel`), which paths the host keeps (`platform_routes`), which records it forwards (`forwarding`).
Functions are tried in alphabetical order of their names and the first match wins; a wrong method or an unknown path is
an empty 404, an unhandled exception an empty 500, too large a body an empty 500 before anything else; a chunked body
never arrives; headers arrive in lower case and leave through a dictionary. It checks no keys.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qsl, quote

import uvicorn
from azure.functions.http import HttpRequest, HttpResponseConverter

from devstack import recording
from devstack.host import platform_routes
from devstack.host.app import AppError, HttpFunction, import_app, index, route_prefix
from devstack.host.forwarding import Forwarding
from devstack.host.kestrel import KestrelProtocol, decode_path
from devstack.host.platform_routes import Reply
from devstack.serving import LOOPBACK, bind

LOG = logging.getLogger("devstack.host.server")

DEFAULT_BODY_LIMIT = 104_857_600
"""The platform's own limit in bytes where FUNCTIONS_REQUEST_BODY_SIZE_LIMIT is not set (`ScriptConstants`)."""
_KEEP_ALIVE = 130
"""Seconds that the platform's server (Kestrel) keeps an idle connection."""
_GRACE = 3
"""Seconds that running requests get when the host is told to end."""
_UNENCODED = "/:@!$&'()*+,;=~%"
"""Characters that stay as they are in the path of the URL that a function sees."""
_HOMEPAGE = b"<!DOCTYPE html><title>Functions</title><p>Your Functions 4.0 app is up and running</p>"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Any]
Send = Callable[[MutableMapping[str, Any]], Any]


@dataclass(frozen=True)
class Invocation:
    """What a function sees as `context`."""

    function_name: str
    function_directory: str
    invocation_id: str
    trace_context: SimpleNamespace
    thread_local_storage: SimpleNamespace = field(default_factory=SimpleNamespace)
    retry_context: SimpleNamespace | None = None


class FunctionHost:
    """An ASGI application in the place of the platform."""

    def __init__(
        self,
        directory: Path,
        functions: list[HttpFunction],
        environment: Mapping[str, str],
        forwarding: Forwarding,
    ) -> None:
        self._directory = directory
        self._functions = functions
        self._forwarding = forwarding
        self._homepage = environment.get("AzureWebJobsDisableHomepage", "").lower() != "true"
        self._body_limit = int(environment.get("FUNCTIONS_REQUEST_BODY_SIZE_LIMIT", DEFAULT_BODY_LIMIT))
        threads = environment.get("PYTHON_THREADPOOL_THREAD_COUNT")
        self._threads = ThreadPoolExecutor(int(threads) if threads else None, "function")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        if scope["type"] != "http":
            raise RuntimeError(f"the host does not speak {scope['type']}")
        reply = await self._reply(scope, receive)
        if (reply.status, scope["path"]) != (200, "/token"):  # Everything but what is meant to hold a secret.
            recording.answer(reply.status, reply.headers, reply.body)
        await _write(scope["method"], reply, send)

    async def _reply(self, scope: Scope, receive: Receive) -> Reply:
        path = decode_path(scope["raw_path"])
        if path is None:
            return Reply(400)
        length = _body_length(scope)
        if length > self._body_limit:
            # HttpRequestBodySizeMiddleware sets Kestrel's limit; what Kestrel throws becomes ExceptionMiddleware's 500.
            LOG.error("An unhandled host error has occurred. Request body too large.")
            return Reply(500)
        if (own := platform_routes.answer(scope["method"], path)) is not None:
            return own
        matched = self._match(scope["method"].upper(), path)
        if matched is None:
            return self._unmatched(path)
        function, route_values = matched
        body = await _read_body(receive) if length else b""
        return await self._invoke(function, _request(scope, path, route_values, body))

    def _unmatched(self, path: str) -> Reply:
        """Answer what no function answers; HomepageMiddleware comes after the functions."""
        if path != "/":
            return Reply(404)
        return Reply(200, {"Content-Type": "text/html"}, _HOMEPAGE) if self._homepage else Reply(204)

    def _match(self, method: str, path: str) -> tuple[HttpFunction, dict[str, str]] | None:
        for function in self._functions:
            if function.methods is not None and method not in function.methods:
                continue
            values = function.template.match(path)
            if values is not None:
                return function, values
        return None

    async def _invoke(self, function: HttpFunction, request: HttpRequest) -> Reply:
        invocation_id = str(uuid.uuid4())
        arguments: dict[str, Any] = {function.request_parameter: request}
        if function.wants_context:
            arguments["context"] = self._context(function, request, invocation_id)
        try:
            if function.is_async:
                with self._forwarding.invocation(invocation_id):
                    result = await function.call(**arguments)
            else:
                loop = asyncio.get_running_loop()
                result = await loop.run_in_executor(self._threads, self._call, function, invocation_id, arguments)
            return _encode(result)
        except Exception:
            LOG.exception("Executed 'Functions.%s' (Failed)", function.name)
            return Reply(500)

    def _call(self, function: HttpFunction, invocation_id: str, arguments: Mapping[str, Any]) -> Any:
        with self._forwarding.invocation(invocation_id):
            return function.call(**arguments)

    def _context(self, function: HttpFunction, request: HttpRequest, invocation_id: str) -> Invocation:
        trace = SimpleNamespace(
            Traceparent=request.headers.get("traceparent", f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-00"),
            Tracestate=request.headers.get("tracestate", ""),
            Attributes={},
        )
        return Invocation(function.name, str(self._directory), invocation_id, trace)


def _request(scope: Scope, path: str, route_values: dict[str, str], body: bytes) -> HttpRequest:
    headers = _headers(scope)
    query = scope["query_string"].decode("latin-1")
    encoded = quote(path, safe=_UNENCODED)
    url = f"{scope['scheme']}://{headers.get('host', '')}{encoded}"
    params: dict[str, str] = {}
    for name, value in parse_qsl(query):
        params[name] = f"{params[name]},{value}" if name in params else value
    return HttpRequest(
        method=scope["method"],
        url=url + (f"?{query}" if query else ""),
        headers=headers,
        params=params,
        route_params=route_values,
        body_type="bytes",
        body=body,
    )


def _headers(scope: Scope) -> dict[str, str]:
    """Return the request's headers as the worker gets them: lower case, repeated ones joined by a comma."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("ascii").lower(), raw_value.decode()  # checked by `kestrel`
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    if scope["client"]:
        client = f"{scope['client'][0]}:{scope['client'][1]}"
        headers["x-forwarded-for"] = (
            f"{headers['x-forwarded-for']}, {client}" if "x-forwarded-for" in headers else client
        )
    return headers


def _body_length(scope: Scope) -> int:
    """Return how many bytes of the body reach the app.

    The host reads a body only where `Content-Length` is above zero (`GrpcMessageConversionExtensions`), and of two
    framings the chunked one counts (RFC 9112 section 6.3): a chunked body never arrives.
    """
    headers = dict(scope["headers"])
    return 0 if b"transfer-encoding" in headers else int(headers.get(b"content-length", b"0"))


async def _read_body(receive: Receive) -> bytes:
    chunks: list[bytes] = []
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(chunks)


def _encode(result: Any) -> Reply:
    """Turn what a function returned into a response, through the worker's own converter."""
    datum = HttpResponseConverter.encode(result, expected_type=None)
    if datum.type == "string":
        return Reply(200, {"Content-Type": "text/plain; charset=utf-8"}, str(datum.value).encode())
    value = cast("Mapping[str, Any]", datum.value)
    headers = {name: str(header.value) for name, header in value["headers"].items()}
    return Reply(int(value["status_code"].value), headers, value["body"].value)


async def _write(method: str, reply: Reply, send: Send) -> None:
    skipped = ("content-length", "transfer-encoding")
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in reply.headers.items()
        if name.lower() not in skipped
    ]
    headers.append((b"server", b"Kestrel"))
    if not reply.body and reply.status not in (204, 304):
        headers.append((b"content-length", b"0"))  # With a body there is no length: Kestrel sends it chunked.
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else reply.body})


class _Server(uvicorn.Server):
    """uvicorn that says when it listens and treats a signal as an ordinary end."""

    def __init__(self, config: uvicorn.Config, url: str) -> None:
        super().__init__(config)
        self._url = url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        print(f"listening on {self._url}", flush=True)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        signals = (signal.SIGINT, signal.SIGTERM)
        for number in signals:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)


async def _serve(directory: Path, sock: socket.socket, forwarding: Forwarding) -> None:
    app = import_app(directory)  # inside the running loop, as in the worker
    functions = index(app, route_prefix(directory))
    host = FunctionHost(directory, functions, os.environ, forwarding)
    config = uvicorn.Config(
        cast("Any", host),
        log_config=None,
        access_log=False,
        lifespan="off",
        loop="asyncio",
        http=KestrelProtocol,
        ws="none",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_GRACE,
    )
    server = _Server(config, f"http://{LOOPBACK}:{sock.getsockname()[1]}")
    await server.serve(sockets=[sock])


def run(directory: Path, port: int) -> int:
    """Serve the app in `directory` until a signal; return the exit status.

    Prints `listening on http://127.0.0.1:N` when ready; logs go to standard error.
    """
    level = os.environ.get("DEVSTACK_LOG_LEVEL", "INFO")
    logging.basicConfig(level=level, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    forwarding = Forwarding()
    for handler in logging.getLogger().handlers:
        handler.addFilter(forwarding)
    try:
        sock = bind(port)
    except OSError as error:
        print(f"devstack host: port {port} cannot be used: {error.strerror}", file=sys.stderr)
        return 1
    _prepare_environment(f"{LOOPBACK}:{sock.getsockname()[1]}")
    try:
        asyncio.run(_serve(directory.resolve(), sock, forwarding))
    except SystemExit as error:
        if error.code:
            print(f"devstack host: {error.code}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    except Exception as error:
        if not _is_for_the_operator(error):
            raise
        print(f"devstack host: {error}", file=sys.stderr)
        return 1
    return 0


def _is_for_the_operator(error: Exception) -> bool:
    """Return whether the message alone says what to fix, without a traceback."""
    return isinstance(error, AppError) or type(error).__name__ == "SettingsError"


def _prepare_environment(address: str) -> None:
    """Set what the platform would have set."""
    loopback = os.environ.get("VENDING_ALLOW_LOOPBACK") == "1"
    if loopback and "VENDING_PUBLIC_URL" not in os.environ and "WEBSITE_HOSTNAME" not in os.environ:
        os.environ["VENDING_PUBLIC_URL"] = f"http://{address}"
    os.environ.setdefault("WEBSITE_HOSTNAME", address)
    os.environ.setdefault("AzureWebJobsDisableHomepage", "true")
    os.environ.setdefault("FUNCTIONS_WORKER_RUNTIME", "python")
