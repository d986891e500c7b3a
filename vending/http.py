"""HTTP in and out: the only module that knows azure.functions. Decides nothing; every answer leaves through `_respond`.

The Functions host tries routes in the alphabetical order of function names and answers a wrong method with an empty
404 of its own. So every function takes every method, each checks its own path, and the catch-all is named to sort last.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import azure.functions as func

from vending import operations_log, startup, telemetry
from vending.clock import Clock
from vending.errors import Reason, Refusal
from vending.operations_log import note, note_bug
from vending.refusal_log import RefusalLog
from vending.settings import Settings

if TYPE_CHECKING:
    from vending.endpoints import Reply
    from vending.service import Service

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",  # RFC 6749 section 5.1
    "Pragma": "no-cache",
    "X-Content-Type-Options": "nosniff",
}
_QUIET_LOGGERS: Final = ("azure", "msal", "httpx", "httpcore", "opentelemetry", "urllib3", "asyncio")
"""Libraries that write URLs, headers or error bodies into their logs."""

_BEHIND_AN_ANSWER_SECONDS: Final = 0.05
"""Enough for an answer to leave before something that takes long begins."""


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """Tie a function's name and route to the methods it answers; `vending.endpoints` has its handler."""

    name: str
    route: str
    methods: tuple[str, ...]


class App:
    """Answer HTTP requests, building the service on the first one that needs it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._service: Service | None = None
        self._refusals = RefusalLog(Clock())
        self._answered = False
        self._vended = False

    def service(self) -> Service:
        """Return the service, built on the first call."""
        if self._service is None:
            from vending.wiring import build

            self._service = build(self.settings)
        return self._service

    async def answer(self, endpoint: _Endpoint, req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
        """Answer one request; nothing gets past this but a response."""
        with operations_log.request():
            answer = await self._answer(endpoint, req, context)
        if not self._answered:
            self._answered = True
            asyncio.get_running_loop().call_later(_BEHIND_AN_ANSWER_SECONDS, startup.begin_imports)
        if not self._vended and endpoint.name == "token" and answer.status_code == 200:
            self._vended = True
            asyncio.get_running_loop().call_later(_BEHIND_AN_ANSWER_SECONDS, startup.settle)
        return answer

    async def _answer(self, endpoint: _Endpoint, req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
        from vending import endpoints

        given = req.headers.get("X-Request-Id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())
        method = (req.method or "").upper()
        try:
            url = urlsplit(req.url)
            _check_route(endpoint, method, url.path)
            call = endpoints.Call(
                request_id=request_id,
                invocation_id=context.invocation_id,
                trace_parent=_trace_parent(context),
                query=url.query,
                headers=req.headers,
                body=req.get_body(),
                settings=self.settings,
                service=self.service,
            )
            reply = await endpoints.answer(endpoint.name, call)
        except Refusal as refusal:
            if self._service is not None:
                self._service.recorder.count(endpoint.name, refusal)
            self._refusals.add(endpoint.name, refusal.reason)
            reply = endpoints.refused(refusal, request_id, self.settings.docs_url)
        except ImportError as error:  # A package that is there and cannot be imported: the start looks for them only.
            note(logging.ERROR, "misconfigured", error=f"{type(error).__name__}: {error}")
            reply = endpoints.refused(Refusal(Reason.MISCONFIGURED), request_id, self.settings.docs_url)
        except Exception as error:  # noqa: BLE001 - the platform would answer a bare 500 and log the text.
            note_bug(error)
            reply = endpoints.refused(Refusal(Reason.INTERNAL_ERROR), request_id, self.settings.docs_url)
        return _respond(reply, request_id, allow=endpoint.methods)


def _trace_parent(context: func.Context) -> str:
    """Read the platform's span; workers before Python 3.13 spell the attribute in a way of their own."""
    trace = getattr(context, "trace_context", None)
    return str(getattr(trace, "trace_parent", None) or getattr(trace, "Traceparent", None) or "")


def _check_route(endpoint: _Endpoint, method: str, path: str) -> None:
    # The host compares paths without case and ignores a trailing slash; there is one path for each thing here.
    if not endpoint.methods or path != f"/{endpoint.route}":
        raise Refusal(Reason.NOT_FOUND)
    if method not in endpoint.methods:
        raise Refusal(Reason.METHOD_NOT_ALLOWED)


def _respond(reply: Reply, request_id: str, *, allow: tuple[str, ...]) -> func.HttpResponse:
    """Make the response. HEAD gets that of GET, with its length (RFC 9110 section 9.3.2): the server drops the body."""
    from vending import responses

    headers = {**_HEADERS, "X-Request-Id": request_id, **reply.headers}
    if reply.status == 405:
        headers["Allow"] = ", ".join(allow)
    shape = reply.body if isinstance(reply.body, dict) else responses.written(reply.body)
    body = json.dumps(shape, separators=(",", ":")).encode()
    return func.HttpResponse(body, status_code=reply.status, headers=headers, mimetype="application/json")


_GET: Final = ("GET", "HEAD")
_POST: Final = ("POST",)

ENDPOINTS: Final = (
    _Endpoint("explain", "explain", _POST),
    _Endpoint("healthz", "healthz", _GET),
    _Endpoint("metadata", ".well-known/oauth-authorization-server", _GET),
    _Endpoint("openapi", "openapi.json", _GET),
    _Endpoint("readyz", "readyz", _GET),
    _Endpoint("token", "token", _POST),
    _Endpoint("zz_fallback", "{*path}", ()),
)
"""In the order in which the host tries them."""


def blueprint(environment: Mapping[str, str]) -> func.Blueprint:
    """Register every endpoint as a function. Raises `SettingsError`; opens and reads nothing else."""
    for name in _QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    settings = Settings.from_environment(environment)
    telemetry.check(settings)
    startup.check_packages()
    operations_log.deliver_by_requests()
    startup.announce(settings)
    app = App(settings)
    functions = func.Blueprint()  # type: ignore[no-untyped-call]
    for endpoint in ENDPOINTS:
        _register(functions, app, endpoint)
    startup.import_ahead()
    return functions


def _register(functions: func.Blueprint, app: App, endpoint: _Endpoint) -> None:
    async def handle(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
        return await app.answer(endpoint, req, context)

    # Registered without `methods`: the host would answer a wrong one with an empty 404 of its own.
    routed = functions.route(route=endpoint.route, auth_level=func.AuthLevel.ANONYMOUS)(handle)
    functions.function_name(endpoint.name)(routed)
