"""The Azure Functions host on 127.0.0.1: loads an app's decorators and serves its HTTP functions over uvicorn.

It copies what the platform does around the app, for better and worse: functions are tried in alphabetical order of
their names and the first match wins; a wrong method or an unknown path is an empty 404, an unhandled exception an empty
500, too large a body an empty 413; headers arrive in lower case and leave through a dictionary. It checks no keys.
"""

import asyncio
import contextlib
import importlib.util
import inspect
import json
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
from types import ModuleType, SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qsl, quote

import azure.functions as func
import uvicorn
from azure.functions.http import HttpRequest, HttpResponseConverter

from devstack import recording
from devstack.host.routes import Template, decode_path
from devstack.serving import LOOPBACK, bind

LOG = logging.getLogger("devstack.host.server")

DEFAULT_BODY_LIMIT = 104_857_600
"""The platform's own limit in bytes where FUNCTIONS_REQUEST_BODY_SIZE_LIMIT is not set."""
_DRAIN = 8 * 1024 * 1024
"""How much of a refused body is still read, so that its sender gets to see the 413."""
_KEEP_ALIVE = 130
"""Seconds that the platform's server (Kestrel) keeps an idle connection."""
_GRACE = 3
"""Seconds that running requests get when the host is told to end."""
_HEADER_LIMIT = 64 * 1024
_UNENCODED = "/:@!$&'()*+,;=~%"
"""Characters that stay as they are in the path of the URL that a function sees."""
_HOMEPAGE = b"<!DOCTYPE html><title>Functions</title><p>Your Functions 4.0 app is up and running</p>"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Any]
Send = Callable[[MutableMapping[str, Any]], Any]


class AppError(Exception):
    """The app cannot be loaded; the text says why."""


@dataclass(frozen=True)
class HttpFunction:
    """An indexed HTTP function: where it answers and how it is called."""

    name: str
    template: Template
    methods: frozenset[str] | None
    """None is every method."""
    call: Callable[..., Any]
    request_parameter: str
    wants_context: bool

    @property
    def is_async(self) -> bool:
        """Say whether it runs on the event loop instead of in a thread."""
        return inspect.iscoroutinefunction(self.call)


@dataclass(frozen=True)
class Invocation:
    """What a function sees as `context`."""

    function_name: str
    function_directory: str
    invocation_id: str
    trace_context: SimpleNamespace
    thread_local_storage: SimpleNamespace = field(default_factory=SimpleNamespace)
    retry_context: SimpleNamespace | None = None


@dataclass(frozen=True)
class Reply:
    """A response on its way out."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def import_app(directory: Path) -> func.FunctionApp:
    """Import `function_app.py` as the worker does and return its one FunctionApp.

    Raise AppError when there is none or several; whatever the module raises passes through.
    """
    path = directory / "function_app.py"
    if not path.is_file():
        raise AppError(f"there is no function_app.py in {directory}")
    sys.path.insert(0, str(directory))
    spec = importlib.util.spec_from_file_location("function_app", path)
    if spec is None or spec.loader is None:
        raise AppError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules["function_app"] = module
    spec.loader.exec_module(module)
    return _the_app(module)


def _the_app(module: ModuleType) -> func.FunctionApp:
    apps = {id(value): value for value in vars(module).values() if isinstance(value, func.FunctionApp)}
    if len(apps) != 1:
        raise AppError(f"function_app.py must hold one FunctionApp at its top level; it has {len(apps)}")
    return next(iter(apps.values()))


def index(app: func.FunctionApp, route_prefix: str) -> list[HttpFunction]:
    """Return the HTTP functions in the order in which the platform tries them."""
    functions = [
        _http_function(function, route_prefix) for function in app.get_functions() if function.is_http_function()
    ]
    return sorted(functions, key=lambda function: function.name.upper())  # .NET's OrdinalIgnoreCase


def _http_function(function: Any, route_prefix: str) -> HttpFunction:
    trigger = function.get_trigger()
    name = function.get_function_name()
    call = function.get_user_function()
    bound = {binding.name for binding in function.get_bindings()}
    parameters = set(inspect.signature(call).parameters)
    if unbound := parameters - bound - {"context"}:
        raise AppError(f"function {name}: no binding is named {', '.join(sorted(unbound))}")
    if trigger.name not in parameters:
        raise AppError(f"function {name}: the parameter {trigger.name} is missing")
    route = name if trigger.route is None else trigger.route
    methods = None if trigger.methods is None else frozenset(str(method) for method in trigger.methods)
    return HttpFunction(
        name=name,
        template=Template.parse("/".join(part for part in (route_prefix, route) if part)),
        methods=methods,
        call=call,
        request_parameter=trigger.name,
        wants_context="context" in parameters,
    )


def route_prefix(directory: Path) -> str:
    """Read `extensions.http.routePrefix` from host.json; `api` where it says nothing."""
    path = directory / "host.json"
    document = json.loads(path.read_text()) if path.is_file() else {}
    return str(document.get("extensions", {}).get("http", {}).get("routePrefix", "api")).strip("/")


class FunctionHost:
    """An ASGI application that stands where the platform stands."""

    def __init__(self, directory: Path, functions: list[HttpFunction], environment: Mapping[str, str]) -> None:
        self._directory = directory
        self._functions = functions
        self._homepage = environment.get("AzureWebJobsDisableHomepage", "").lower() not in ("true", "1")
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
        if (platform := self._platform_reply(path)) is not None:
            return platform
        matched = self._match(scope["method"], path)
        if matched is None:
            return Reply(204 if path == "/" else 404)
        function, route_values = matched
        body = await _read_body(scope, receive, self._body_limit)
        if body is None:
            return Reply(413, {"Connection": "close"})
        return await self._invoke(function, _request(scope, path, route_values, body))

    def _platform_reply(self, path: str) -> Reply | None:
        first = path.split("/")[1].lower() if path.startswith("/") else ""
        if first == "admin":
            return Reply(401)
        if first == "runtime":
            return Reply(404)
        if path == "/" and self._homepage:
            return Reply(200, {"Content-Type": "text/html"}, _HOMEPAGE)
        return None

    def _match(self, method: str, path: str) -> tuple[HttpFunction, dict[str, str]] | None:
        for function in self._functions:
            if function.methods is not None and method not in function.methods:
                continue
            values = function.template.match(path)
            if values is not None:
                return function, values
        return None

    async def _invoke(self, function: HttpFunction, request: HttpRequest) -> Reply:
        arguments: dict[str, Any] = {function.request_parameter: request}
        if function.wants_context:
            arguments["context"] = self._context(function, request)
        try:
            if function.is_async:
                result = await function.call(**arguments)
            else:
                loop = asyncio.get_running_loop()
                result = await loop.run_in_executor(self._threads, lambda: function.call(**arguments))
            return _encode(result)
        except Exception:
            LOG.exception("Executed 'Functions.%s' (Failed)", function.name)
            return Reply(500)

    def _context(self, function: HttpFunction, request: HttpRequest) -> Invocation:
        trace = SimpleNamespace(
            Traceparent=request.headers.get("traceparent", f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-00"),
            Tracestate=request.headers.get("tracestate", ""),
            Attributes={},
        )
        return Invocation(function.name, str(self._directory), str(uuid.uuid4()), trace)


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
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    if scope["client"]:
        client = f"{scope['client'][0]}:{scope['client'][1]}"
        headers["x-forwarded-for"] = (
            f"{headers['x-forwarded-for']}, {client}" if "x-forwarded-for" in headers else client
        )
    return headers


async def _read_body(scope: Scope, receive: Receive, limit: int) -> bytes | None:
    """Read the request's body; None when it is larger than `limit` bytes."""
    announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    chunks: list[bytes] = []
    size = 0
    refused = int(announced) > limit
    more = True
    while more and size <= limit + _DRAIN:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        chunk = message.get("body", b"")
        size += len(chunk)
        refused = refused or size > limit
        if not refused:
            chunks.append(chunk)
        more = message.get("more_body", False)
    return None if refused else b"".join(chunks)


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
    if reply.status not in (204, 304):
        headers.append((b"content-length", str(len(reply.body)).encode()))
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


async def _serve(directory: Path, sock: socket.socket) -> None:
    app = import_app(directory)  # inside the running loop, as in the worker
    functions = index(app, route_prefix(directory))
    host = FunctionHost(directory, functions, os.environ)
    config = uvicorn.Config(
        cast("Any", host),
        log_config=None,
        access_log=False,
        lifespan="off",
        loop="asyncio",
        http="h11",
        ws="none",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_GRACE,
        h11_max_incomplete_event_size=_HEADER_LIMIT,
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
    try:
        sock = bind(port)
    except OSError as error:
        print(f"devstack host: port {port} cannot be used: {error.strerror}", file=sys.stderr)
        return 1
    _prepare_environment(f"{LOOPBACK}:{sock.getsockname()[1]}")
    try:
        asyncio.run(_serve(directory.resolve(), sock))
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
    """Say whether the message alone tells what to mend, without a traceback."""
    return isinstance(error, AppError) or type(error).__name__ == "SettingsError"


def _prepare_environment(address: str) -> None:
    """Set what the platform would have set."""
    loopback = os.environ.get("VENDING_ALLOW_LOOPBACK") == "1"
    if loopback and "VENDING_PUBLIC_URL" not in os.environ and "WEBSITE_HOSTNAME" not in os.environ:
        os.environ["VENDING_PUBLIC_URL"] = f"http://{address}"
    os.environ.setdefault("WEBSITE_HOSTNAME", address)
    os.environ.setdefault("AzureWebJobsDisableHomepage", "true")
    os.environ.setdefault("FUNCTIONS_WORKER_RUNTIME", "python")
