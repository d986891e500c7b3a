"""HTTP in and out: the only module that knows azure.functions. Decides nothing; every answer leaves through `_respond`.

The Functions host tries routes in the alphabetical order of function names and answers a wrong method with an empty
404 of its own. So every function takes every method, each checks its own path, and the catch-all is named to sort last.
"""

from __future__ import annotations

import json
import logging
import math
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

import azure.functions as func

from vending import __version__, operations_log, request, responses, telemetry
from vending.acr.scope import render
from vending.audit import Trail, client_address
from vending.audit_event import Kind
from vending.clock import Clock
from vending.errors import Reason, Refusal
from vending.oidc.claim_path import read
from vending.openapi import document
from vending.operations_log import note_bug
from vending.refusal_log import RefusalLog
from vending.service import Service
from vending.settings import Settings
from vending.vendor import Explanation, Vended
from vending.wiring import announce, build

USERNAME: Final = "00000000-0000-0000-0000-000000000000"
"""The user name that ACR expects beside a token used as a password (Azure's page on registry authentication)."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",  # RFC 6749 section 5.1
    "Pragma": "no-cache",
    "X-Content-Type-Options": "nosniff",
}
_QUIET_LOGGERS: Final = ("azure", "msal", "httpx", "httpcore", "opentelemetry", "urllib3", "asyncio")
"""Libraries that write URLs, headers or error bodies into their logs."""


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    body: object = field(repr=False)
    """One of the shapes of `vending.responses`, or a document."""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Call:
    """Hold what names one request: the caller's id for it, and the platform's invocation and span."""

    request_id: str
    invocation_id: str
    trace_parent: str


Handler = Callable[["App", func.HttpRequest, _Call], Awaitable[_Reply]]


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """Tie a function's name and route to the methods it answers and to its handler."""

    name: str
    route: str
    methods: tuple[str, ...]
    handler: Handler


class App:
    """Answer HTTP requests, building the service on the first one that needs it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._service: Service | None = None
        self._refusals = RefusalLog(Clock())

    @property
    def service(self) -> Service:
        if self._service is None:
            self._service = build(self.settings)
        return self._service

    async def answer(self, endpoint: _Endpoint, req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
        """Answer one request; nothing gets past this but a response."""
        with operations_log.request():
            return await self._answer(endpoint, req, context)

    async def _answer(self, endpoint: _Endpoint, req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
        given = req.headers.get("X-Request-Id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())
        method = (req.method or "").upper()
        try:
            _check_route(endpoint, method, urlsplit(req.url).path)
            call = _Call(request_id, context.invocation_id, _trace_parent(context))
            reply = await endpoint.handler(self, req, call)
        except Refusal as refusal:
            if self._service is not None:
                self._service.recorder.count(endpoint.name, refusal)
            self._refusals.add(endpoint.name, refusal.reason)
            reply = _refused(refusal, request_id, self.settings.docs_url)
        except Exception as error:  # noqa: BLE001 - the platform would answer a bare 500 and log the text.
            note_bug(error)
            reply = _refused(Refusal(Reason.INTERNAL_ERROR), request_id, self.settings.docs_url)
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


def _respond(reply: _Reply, request_id: str, *, allow: tuple[str, ...]) -> func.HttpResponse:
    """Make the response. HEAD gets that of GET, with its length (RFC 9110 section 9.3.2): the server drops the body."""
    headers = {**_HEADERS, "X-Request-Id": request_id, **reply.headers}
    if reply.status == 405:
        headers["Allow"] = ", ".join(allow)
    shape = reply.body if isinstance(reply.body, dict) else responses.written(reply.body)
    body = json.dumps(shape, separators=(",", ":")).encode()
    return func.HttpResponse(body, status_code=reply.status, headers=headers, mimetype="application/json")


def _refused(refusal: Refusal, request_id: str, docs_url: str | None, *, token_in_header: bool = False) -> _Reply:
    """Render a refusal: the one place where errors become answers."""
    entry = refusal.entry
    body = responses.Error(
        error=entry.error,
        error_description=refusal.description,
        reason=refusal.reason.value,
        request_id=request_id,
        error_uri=None if docs_url is None else f"{docs_url}#{refusal.reason.value}",  # RFC 6749 section 5.2
        missing=None if refusal.missing is None else list(refusal.missing),
    )
    headers = _retry_after(refusal)
    if entry.about_token and token_in_header:  # RFC 6750 section 3
        headers["WWW-Authenticate"] = f'Bearer error="invalid_token", error_description="{refusal.description}"'
        return _Reply(401, body, headers)
    return _Reply(entry.status, body, headers)


def _retry_after(refusal: Refusal) -> dict[str, str]:
    return {} if refusal.retry_after is None else {"Retry-After": str(max(1, math.ceil(refusal.retry_after)))}


async def _token(app: App, req: func.HttpRequest, call: _Call) -> _Reply:
    parsed, trail = _parse(app, "token", req, call)
    try:
        vended = await app.service.vendor.token(parsed, trail)
    except Refusal as refusal:
        return _refused(refusal, call.request_id, app.settings.docs_url, token_in_header=parsed.token_in_header)
    return _Reply(200, _vended(vended, call.request_id, app.service.clock.now()))


async def _explain(app: App, req: func.HttpRequest, call: _Call) -> _Reply:
    parsed, trail = _parse(app, "explain", req, call)
    try:
        explanation = await app.service.vendor.explain(parsed, trail)
    except Refusal as refusal:
        return _refused(refusal, call.request_id, app.settings.docs_url, token_in_header=parsed.token_in_header)
    return _Reply(200, _explained(explanation, parsed, call.request_id))


def _parse(app: App, kind: Kind, req: func.HttpRequest, call: _Call) -> tuple[request.TokenRequest, Trail]:
    parsed = request.parse(
        query=urlsplit(req.url).query,
        content_type=req.headers.get("Content-Type"),
        body=req.get_body(),
        authorization=req.headers.get("Authorization"),
    )
    trail = app.service.recorder.trail(kind, call.request_id)
    trail.invocation_id = call.invocation_id
    trail.trace_parent = call.trace_parent
    trail.client_address = client_address(req.headers.get("X-Forwarded-For", ""))
    trail.user_agent = req.headers.get("User-Agent", "")
    trail.asked(parsed.scopes)
    return parsed, trail


def _vended(vended: Vended, request_id: str, now: float) -> responses.Token:
    token, registry, decision = vended.token, vended.case.registry, vended.case.decision
    expires_at = datetime.fromtimestamp(int(token.expires_at), UTC)
    return responses.Token(
        access_token=token.secret,
        issued_token_type=request.ACCESS_TOKEN_TYPE,
        token_type="Bearer",
        expires_in=max(0, int(token.expires_at - now)),
        expires_at=expires_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        scope=render(decision.granted),
        registry=registry.login_server,
        hosts=list(registry.all_hosts),
        username=USERNAME,
        rules=list(decision.rules),
        token_id=token.token_id,
        request_id=request_id,
    )


def _explained(explanation: Explanation, parsed: request.TokenRequest, request_id: str) -> responses.Explanation:
    case, decision = explanation.case, explanation.case.decision
    preset = case.issuer.preset
    known = {name: read(case.claims.claims, name) for name in (*preset.claims, *preset.identity)}
    return responses.Explanation(
        allowed=decision.allowed,
        registry=case.registry.login_server,
        scope=render(decision.granted if parsed.scopes is None else parsed.scopes),
        granted=[str(scope) for scope in decision.granted],
        missing=[str(scope) for scope in decision.missing],
        reason=None if decision.reason is None else decision.reason.value,
        error_description=None if decision.allowed else decision.description,
        rules=[
            responses.ExplainedRule(rule.name, rule.matched, list(rule.failed_claims)) for rule in explanation.rules
        ],
        claims={name: value for name, value in known.items() if value is not None},
        request_id=request_id,
    )


async def _metadata(app: App, req: func.HttpRequest, call: _Call) -> _Reply:
    """Answer with RFC 8414 metadata, and the audience that callers ask their CI for."""
    policy = await app.service.policy()
    url = app.settings.public_url
    return _Reply(200, responses.Metadata(url, f"{url}/token", policy.audience))


async def _openapi(app: App, req: func.HttpRequest, call: _Call) -> _Reply:
    return _Reply(200, document(app.settings.public_url, __version__))


async def _healthz(app: App, req: func.HttpRequest, call: _Call) -> _Reply:
    return _Reply(200, responses.Health())


async def _readyz(app: App, req: func.HttpRequest, call: _Call) -> _Reply:
    refusal: Refusal | None = None
    try:
        await app.service.policy()
    except Refusal as unready:
        refusal = unready
    state = app.service.state()
    ready = responses.Readiness(
        sha256=state.policy_sha256,
        version=__version__,
        age_seconds=state.policy_age_seconds,
        source=state.policy_source,
        replay_store=app.settings.replay_store,
        issuers_in_trouble=state.issuers_in_trouble,
        reload_failure=state.reload_failure,
    )
    if refusal is None:
        return _Reply(200, ready)
    unready_body = responses.Unreadiness(**asdict(ready), reason=refusal.reason.value, error=refusal.entry.error)
    return _Reply(refusal.entry.status, unready_body, _retry_after(refusal))


async def _fallback(app: App, req: func.HttpRequest, call: _Call) -> _Reply:
    raise Refusal(Reason.NOT_FOUND)


_GET: Final = ("GET", "HEAD")
_POST: Final = ("POST",)

ENDPOINTS: Final = (
    _Endpoint("explain", "explain", _POST, _explain),
    _Endpoint("healthz", "healthz", _GET, _healthz),
    _Endpoint("metadata", ".well-known/oauth-authorization-server", _GET, _metadata),
    _Endpoint("openapi", "openapi.json", _GET, _openapi),
    _Endpoint("readyz", "readyz", _GET, _readyz),
    _Endpoint("token", "token", _POST, _token),
    _Endpoint("zz_fallback", "{*path}", (), _fallback),
)
"""In the order in which the host tries them."""


def blueprint(environment: Mapping[str, str]) -> func.Blueprint:
    """Register every endpoint as a function. Raises `SettingsError`; opens and reads nothing else."""
    for name in _QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    settings = Settings.from_environment(environment)
    telemetry.check(settings)
    operations_log.deliver_by_requests()
    announce(settings)
    app = App(settings)
    functions = func.Blueprint()  # type: ignore[no-untyped-call]
    for endpoint in ENDPOINTS:
        _register(functions, app, endpoint)
    return functions


def _register(functions: func.Blueprint, app: App, endpoint: _Endpoint) -> None:
    async def handle(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
        return await app.answer(endpoint, req, context)

    # Registered without `methods`: the host would answer a wrong one with an empty 404 of its own.
    routed = functions.route(route=endpoint.route, auth_level=func.AuthLevel.ANONYMOUS)(handle)
    functions.function_name(endpoint.name)(routed)
