"""An emulated Azure Container Registry on 127.0.0.1: its OAuth endpoints, and the registry behind them.

It answers as recorded and documented responses of ACR do, down to the odd ones (a GET of the exchange is 404, a token
request without a scope is an empty 400, missing rights are a 200 with fewer actions). What lies behind it is the real
docker-registry where that is installed, or a small registry in memory.
"""

import base64
import binascii
import ssl
import uuid
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Protocol

from aiohttp import web
from multidict import MultiDict, MultiDictProxy

from devstack.entra.tenant import Tenant
from devstack.faults import FaultBoard, Handler
from devstack.registry.distribution import (
    Scope,
    Target,
    covers,
    needed_for_acr,
    needed_for_v2,
    parse_access,
    parse_scopes,
    target_of,
)
from devstack.registry.docker import DockerRegistry
from devstack.registry.memory import MemoryRegistry, error
from devstack.registry.tokens import AUTHENTICATE, Refused, Rights, TokenService
from devstack.serving import LOOPBACK, LocalServer

_FIREWALL = "client with IP '{ip}' is not allowed access. Refer https://aka.ms/acr/firewall to grant access."
_ATTRIBUTES: dict[str, object] = {
    "createdTime": "2026-01-01T00:00:00.0000000Z",
    "lastUpdateTime": "2026-01-01T00:00:00.0000000Z",
    "changeableAttributes": {
        "deleteEnabled": True,
        "writeEnabled": True,
        "readEnabled": True,
        "listEnabled": True,
    },
}
"""What ACR says of every repository, tag and manifest; nobody locks anything here, and nobody looks at the times."""
_BODY_LIMIT = 64 * 1024 * 1024
"""Bytes that one upload request to the registry in memory may carry."""


class Backend(Protocol):
    """The registry behind the emulated front."""

    description: str

    async def start(self) -> None:
        """Get ready to serve."""

    async def stop(self) -> None:
        """Release everything."""

    async def handle(self, request: web.Request, target: Target, bearer: str) -> web.StreamResponse:
        """Answer a `/v2/` request whose token the front has checked."""

    async def repositories(self) -> list[str]:
        """Return the names of all repositories."""

    async def tags(self, name: str) -> dict[str, str] | None:
        """Return the digest of each tag, or None when there is no such repository."""

    async def delete_repository(self, name: str) -> None:
        """Delete a repository."""


class Registry(LocalServer):
    """The emulated ACR. `tokens` holds its rights, its mode and its oddities.

    `board` counts and spoils the endpoints `exchange`, `token` (both methods), `v2` and `acr`. With `docker_registry`,
    the path of that program, the real server stores the images. With `tls` the same registry answers there as well.
    """

    def __init__(
        self,
        tenant: Tenant,
        *,
        docker_registry: Path | None = None,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(port=port, tls=tls)
        self.login_server = f"{LOOPBACK}:{self.port}"
        self.tokens = TokenService(self.login_server, tenant)
        self.board = FaultBoard()
        self.firewalled = False
        """Refuse every request as the registry's firewall does."""
        self.recent: deque[tuple[str, int]] = deque(maxlen=1000)
        """The last requests, as `POST /v2/web/api/blobs/uploads/?mount=...`, each with the status of its answer."""
        self.backend: Backend = (
            DockerRegistry(docker_registry, self.tokens, realm=f"{self.url}/oauth2/token")
            if docker_registry
            else MemoryRegistry()
        )

    def allow(self, object_id: str, rights: Rights | None = None) -> None:
        """Give a principal rights on this registry; all of them unless said otherwise."""
        self.tokens.rights[object_id] = rights or Rights.everything()

    def heal(self) -> None:
        """Remove every fault and put every oddity back to what it is at the start; rights and images stay."""
        self.board.clear()
        self.firewalled = False
        self.tokens.heal()

    def application(self) -> web.Application:
        """Build the application: OAuth, `/v2/` and `/acr/v1/`."""
        app = web.Application(client_max_size=_BODY_LIMIT)
        app.cleanup_ctx.append(self._run_backend)
        app.on_response_prepare.append(_stamp)
        app.router.add_route("*", "/oauth2/exchange", self._endpoint("exchange", self._exchange))
        app.router.add_route("*", "/oauth2/token", self._endpoint("token", self._token))
        app.router.add_route("*", "/v2", self._endpoint("v2", self._v2))
        app.router.add_route("*", "/v2/{path:.*}", self._endpoint("v2", self._v2))
        app.router.add_route("*", "/acr/v1/{path:.*}", self._endpoint("acr", self._acr))
        return app

    async def _run_backend(self, _app: web.Application) -> AsyncIterator[None]:
        await self.backend.start()
        yield
        await self.backend.stop()

    def _endpoint(self, name: str, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            if self.firewalled:
                return error(403, "DENIED", _FIREWALL.format(ip=request.remote))
            try:
                return await handler(request)
            except Refused as refusal:
                return error(refusal.status, refusal.code, refusal.message)

        async def handle(request: web.Request) -> web.StreamResponse:
            response = await self.board.answer(name, request, guarded)
            self.recent.append((f"{request.method} {request.path_qs}", response.status))
            return response

        return handle

    async def _exchange(self, request: web.Request) -> web.Response:
        if request.method != "POST":
            return web.Response(status=404)
        form = await _form(request)
        self._check_service(form)
        if form.get("grant_type") != "access_token" or not form.get("access_token"):
            return error(400, "UNSUPPORTED", "grant_type must be access_token, with an access_token")
        return web.json_response({"refresh_token": self.tokens.exchange(form["access_token"])})

    async def _token(self, request: web.Request) -> web.Response:
        if request.method == "GET":
            return self._token_for_basic(request)
        if request.method != "POST":
            return web.Response(status=404)
        form = await _form(request)
        self._check_service(form)
        if not any(form.getall("scope", [])):
            return web.Response(status=400)
        scopes = _scopes(form.getall("scope"))
        if form.get("grant_type") == "refresh_token":
            token = self.tokens.access_token(form.get("refresh_token", ""), scopes)
        elif form.get("grant_type") == "password":
            token = self.tokens.password_token(form.get("username", ""), form.get("password", ""), scopes)
        else:
            return error(400, "UNSUPPORTED", "grant_type must be refresh_token or password")
        return web.json_response({"access_token": token})

    def _token_for_basic(self, request: web.Request) -> web.Response:
        """Answer what docker clients send: the credentials in a Basic header. No scope is a login check."""
        self._check_service(request.query)
        username, password = _basic_credentials(request)
        scopes = _scopes(request.query.getall("scope", []))
        return web.json_response({"access_token": self.tokens.password_token(username, password, scopes)})

    def _check_service(self, form: Mapping[str, str]) -> None:
        service = form.get("service", "")
        hosts = {self.login_server} | ({f"localhost:{self.tls_port}"} if self._tls_socket else set())
        if service not in hosts:
            raise Refused(400, "UNSUPPORTED", "service must be the login server")

    async def _v2(self, request: web.Request) -> web.StreamResponse:
        target = target_of(request.path)
        if target is None:
            return error(404, "NAME_INVALID", "invalid repository name or path")
        needed = needed_for_v2(request.method, target, request.query)
        bearer = _bearer(request)
        if refusal := self._refusal(request, bearer, needed):
            return refusal
        return await self.backend.handle(request, target, bearer)

    async def _acr(self, request: web.Request) -> web.StreamResponse:
        target = target_of(request.path)
        if target is None:
            return error(404, "NAME_INVALID", "invalid repository name or path")
        if refusal := self._refusal(request, _bearer(request), needed_for_acr(request.method, target)):
            return refusal
        if target.kind == "catalog":
            return web.json_response({"repositories": await self.backend.repositories()})
        tags = await self.backend.tags(target.name)
        if tags is None:
            return error(404, "NAME_UNKNOWN", f'repository "{target.name}" is not found')
        return await self._acr_repository(request, target, tags)

    async def _acr_repository(self, request: web.Request, target: Target, tags: dict[str, str]) -> web.Response:
        named = {"registry": self.login_server, "imageName": target.name}
        digests = sorted(set(tags.values()))
        if request.method == "DELETE" and target.kind == "repository":
            await self.backend.delete_repository(target.name)
            return web.json_response({"manifestsDeleted": digests, "tagsDeleted": list(tags)}, status=202)
        if request.method != "GET":
            return error(405, "UNSUPPORTED", "the operation is unsupported")
        if target.kind == "tags":
            found = [{"name": tag, "digest": tags[tag], "signed": False} | _ATTRIBUTES for tag in tags]
            return web.json_response(named | {"tags": found})
        if target.kind == "manifests":
            return web.json_response(named | {"manifests": [{"digest": digest} | _ATTRIBUTES for digest in digests]})
        return web.json_response(named | {"manifestCount": len(digests), "tagCount": len(tags)} | _ATTRIBUTES)

    def _refusal(self, request: web.Request, bearer: str, needed: Iterable[Scope]) -> web.Response | None:
        """Return the 401 challenge for a token that does not suffice, or None."""
        needed = list(needed)
        if not bearer:
            return self._challenge(request, needed)
        try:
            granted = parse_access(self.tokens.verify_access(bearer)["access"])
        except Refused:
            return self._challenge(request, needed, reason="invalid_token")
        if all(covers(granted, scope) for scope in needed):
            return None
        return self._challenge(request, needed, reason="insufficient_scope")

    def _challenge(self, request: web.Request, needed: list[Scope], *, reason: str | None = None) -> web.Response:
        detail = [{"Type": s.kind, "Name": s.name, "Action": action} for s in needed for action in s.actions]
        response = error(401, "UNAUTHORIZED", AUTHENTICATE, detail or None)
        challenge = f'Bearer realm="{request.scheme}://{request.host}/oauth2/token",service="{self.login_server}"'
        if needed:
            challenge += f',scope="{" ".join(str(scope) for scope in needed)}"'
        if reason:
            challenge += f',error="{reason}"'
        response.headers["WWW-Authenticate"] = challenge
        response.headers["Docker-Distribution-Api-Version"] = "registry/2.0"
        return response


async def _stamp(request: web.Request, response: web.StreamResponse) -> None:
    """Add the headers that ACR puts on every answer."""
    response.headers["X-Ms-Correlation-Request-Id"] = str(uuid.uuid4())
    if request.path.startswith("/oauth2/"):
        response.headers["x-ms-ratelimit-remaining-calls-per-second"] = "166.65"


async def _form(request: web.Request) -> MultiDictProxy[str]:
    if request.content_type != "application/x-www-form-urlencoded":
        raise Refused(415, "UNSUPPORTED", "the content type must be application/x-www-form-urlencoded")
    posted = await request.post()
    return MultiDictProxy(MultiDict((name, str(value)) for name, value in posted.items()))


def _scopes(values: Iterable[str]) -> list[Scope]:
    try:
        return parse_scopes(values)
    except ValueError as cause:
        raise Refused(400, "UNSUPPORTED", str(cause)) from cause


def _bearer(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _basic_credentials(request: web.Request) -> tuple[str, str]:
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        username, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise Refused(401, "UNAUTHORIZED", "Invalid clientid or client secret.") from None
    return username, password
