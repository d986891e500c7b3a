"""What each endpoint answers. Knows nothing of azure.functions, and makes the bodies of all answers.

Imported with the first request: an import here is one that a cold start does not wait for.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final

from vending import __version__, request, responses
from vending.acr.scope import render
from vending.clock import timestamp
from vending.errors import Refusal

if TYPE_CHECKING:
    from vending.audit import Trail
    from vending.audit_event import Kind
    from vending.service import Service
    from vending.settings import Settings
    from vending.vendor import Explanation, Vended

USERNAME: Final = "00000000-0000-0000-0000-000000000000"
"""The user name that ACR expects beside a token used as a password (Azure's page on registry authentication)."""


@dataclass(frozen=True, slots=True)
class Call:
    """Hold one request: its parts, what names it (the caller's id, the platform's invocation and span), and the app.

    The names in `headers` are compared without case. `service` builds the service where it is not there yet.
    """

    request_id: str
    invocation_id: str
    trace_parent: str
    query: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    settings: Settings = field(repr=False)
    service: Callable[[], Service] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """Hold an answer. `body` is one of the shapes of `vending.responses`, or a document."""

    status: int
    body: object = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)


async def answer(name: str, call: Call) -> Reply:
    """Answer a request of the endpoint `name`. Raises `Refusal` for what precedes its audit event."""
    return await _HANDLERS[name](call)


def refused(refusal: Refusal, request_id: str, docs_url: str | None, *, token_in_header: bool = False) -> Reply:
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
        return Reply(401, body, headers)
    return Reply(entry.status, body, headers)


def _retry_after(refusal: Refusal) -> dict[str, str]:
    return {} if refusal.retry_after is None else {"Retry-After": str(max(1, math.ceil(refusal.retry_after)))}


async def _token(call: Call) -> Reply:
    parsed, trail = _parse("token", call)
    try:
        vended = await call.service().vendor.token(parsed, trail)
    except Refusal as refusal:
        return refused(refusal, call.request_id, call.settings.docs_url, token_in_header=parsed.token_in_header)
    return Reply(200, _vended(vended, call.request_id, call.service().clock.now()))


async def _explain(call: Call) -> Reply:
    parsed, trail = _parse("explain", call)
    try:
        explanation = await call.service().vendor.explain(parsed, trail)
    except Refusal as refusal:
        return refused(refusal, call.request_id, call.settings.docs_url, token_in_header=parsed.token_in_header)
    return Reply(200, _explained(explanation, parsed, call.request_id))


def _parse(kind: Kind, call: Call) -> tuple[request.TokenRequest, Trail]:
    from vending.audit import client_address

    parsed = request.parse(
        query=call.query,
        content_type=call.headers.get("Content-Type"),
        body=call.body,
        authorization=call.headers.get("Authorization"),
    )
    trail = call.service().recorder.trail(kind, call.request_id)
    trail.invocation_id = call.invocation_id
    trail.trace_parent = call.trace_parent
    trail.client_address = client_address(call.headers.get("X-Forwarded-For", ""))
    trail.user_agent = call.headers.get("User-Agent", "")
    trail.asked(parsed.scopes)
    return parsed, trail


def _vended(vended: Vended, request_id: str, now: float) -> responses.Token:
    token, registry, decision = vended.token, vended.case.registry, vended.case.decision
    return responses.Token(
        access_token=token.secret,
        issued_token_type=request.ACCESS_TOKEN_TYPE,
        token_type="Bearer",
        expires_in=max(0, int(token.expires_at - now)),
        expires_at=timestamp(token.expires_at),
        scope=render(decision.granted),
        registry=registry.login_server,
        hosts=list(registry.all_hosts),
        username=USERNAME,
        rules=list(decision.rules),
        token_id=token.token_id,
        request_id=request_id,
    )


def _explained(explanation: Explanation, parsed: request.TokenRequest, request_id: str) -> responses.Explanation:
    from vending.oidc.claim_path import read

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


async def _metadata(call: Call) -> Reply:
    """Answer with RFC 8414 metadata, and the audience that callers ask their CI for."""
    policy = await call.service().policy()
    url = call.settings.public_url
    return Reply(200, responses.Metadata(url, f"{url}/token", policy.audience))


async def _openapi(call: Call) -> Reply:
    from vending.openapi import document

    return Reply(200, document(call.settings.public_url, __version__))


async def _healthz(call: Call) -> Reply:
    return Reply(200, responses.Health())


async def _readyz(call: Call) -> Reply:
    refusal: Refusal | None = None
    try:
        await call.service().policy()
    except Refusal as unready:
        refusal = unready
    state = call.service().state()
    ready = responses.Readiness(
        sha256=state.policy_sha256,
        version=__version__,
        age_seconds=state.policy_age_seconds,
        source=state.policy_source,
        replay_store=call.settings.replay_store,
        issuers_in_trouble=state.issuers_in_trouble,
        reload_failure=state.reload_failure,
    )
    if refusal is None:
        return Reply(200, ready)
    unready_body = responses.Unreadiness(**asdict(ready), reason=refusal.reason.value, error=refusal.entry.error)
    return Reply(refusal.entry.status, unready_body, _retry_after(refusal))


_HANDLERS: Final[Mapping[str, Callable[[Call], Awaitable[Reply]]]] = {
    "explain": _explain,
    "healthz": _healthz,
    "metadata": _metadata,
    "openapi": _openapi,
    "readyz": _readyz,
    "token": _token,
}
"""By the names in `vending.http.ENDPOINTS`."""
