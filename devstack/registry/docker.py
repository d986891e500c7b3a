"""The real docker-registry server (Debian package docker-registry) behind the emulated ACR: its process and a proxy.

It checks every token itself as well, against the certificate of the emulated ACR's signing key.
"""

import asyncio
import contextlib
import json
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import aiohttp
from aiohttp import web
from cryptography.hazmat.primitives.serialization import Encoding
from multidict import CIMultiDict

from devstack.certs import self_signed
from devstack.registry.distribution import CATALOG, Scope, Target, covers, parse_access, repository
from devstack.registry.tokens import ISSUER, TokenService
from devstack.serving import LOOPBACK

_START_TIMEOUT = 30.0
_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "proxy-authorization", "host"}
)
"""Headers that concern one connection only (RFC 9110 section 7.6.1)."""
_MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, "
    "application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json"
)


class DockerRegistry:
    """A docker-registry process with token authentication, and the way to it."""

    description = "the real docker-registry server"

    def __init__(self, binary: Path, tokens: TokenService, *, realm: str) -> None:
        self._binary = binary
        self._tokens = tokens
        self._realm = realm
        self._process: asyncio.subprocess.Process | None = None
        self._session: aiohttp.ClientSession | None = None
        self._stack = contextlib.AsyncExitStack()
        self._url = ""

    async def start(self) -> None:
        """Start the process in a directory of its own and wait until it answers."""
        directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="docker-registry-")))
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            address = f"{LOOPBACK}:{probe.getsockname()[1]}"
        self._url = f"http://{address}"
        log = self._stack.enter_context((directory / "log").open("wb"))
        self._process = await asyncio.create_subprocess_exec(
            self._binary, "serve", self._write_config(directory, address), stdout=log, stderr=log
        )
        self._session = aiohttp.ClientSession(auto_decompress=False, timeout=aiohttp.ClientTimeout(total=300))
        try:
            await self._ready()
        except TimeoutError:
            message = (directory / "log").read_text(errors="replace")[-2000:]
            await self.stop()
            raise RuntimeError(f"docker-registry did not start:\n{message}") from None

    def _write_config(self, directory: Path, address: str) -> Path:
        bundle = directory / "signing.crt"
        bundle.write_bytes(self_signed(self._tokens.key.private, ISSUER).public_bytes(Encoding.PEM))
        config = {
            "version": "0.1",
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(directory / "data")}, "delete": {"enabled": True}},
            "http": {"addr": address, "relativeurls": True, "secret": "shared-by-nobody"},
            "auth": {
                "token": {
                    "realm": self._realm,
                    "service": self._tokens.service,
                    "issuer": ISSUER,
                    "rootcertbundle": str(bundle),
                }
            },
        }
        path = directory / "config.yml"
        path.write_text(json.dumps(config, indent=1))  # JSON is YAML too
        return path

    async def _ready(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT
        while time.monotonic() < deadline:
            if self._process is not None and self._process.returncode is not None:
                break
            with contextlib.suppress(aiohttp.ClientError, OSError):
                async with self._client.get(f"{self._url}/v2/") as answer:
                    await answer.read()
                    return
            await asyncio.sleep(0.02)
        raise TimeoutError

    async def stop(self) -> None:
        """End the process and remove its files."""
        if self._session:
            await self._session.close()
        if self._process and self._process.returncode is None:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), 5)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        await self._stack.aclose()

    @property
    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("docker-registry has not been started")
        return self._session

    async def handle(self, request: web.Request, target: Target, bearer: str) -> web.StreamResponse:
        """Pass a `/v2/` request on and stream the answer back; every header value is kept, repeated ones too."""
        headers = CIMultiDict((k, v) for k, v in request.headers.items() if k.lower() not in _HOP_BY_HOP)
        headers["Authorization"] = f"Bearer {self._acceptable(bearer, target)}"
        async with self._client.request(
            request.method,
            self._url + request.raw_path,
            headers=headers,
            data=request.content if request.can_read_body else None,
            allow_redirects=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        ) as answer:
            response = web.StreamResponse(status=answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    response.headers.add(
                        name, value.replace(self._realm, f"{request.scheme}://{request.host}/oauth2/token")
                    )
            await response.prepare(request)
            if request.method != "HEAD":
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
            await response.write_eof()
            return response

    def _acceptable(self, bearer: str, target: Target) -> str:
        """Return the caller's token, or one that says the same where docker-registry would not understand it.

        It knows no `metadata_read` (it lists tags for `pull`) and takes the name `*` literally.
        """
        if not target.name:
            return bearer
        granted = parse_access(self._tokens.verify_access(bearer)["access"])
        if target.kind == "tags":
            return self._tokens.internal_token(repository(target.name, "pull"))
        if any(scope.name == "*" for scope in granted):
            actions = tuple(a for a in ("pull", "push", "delete") if covers(granted, repository(target.name, a)))
            return self._tokens.internal_token(repository(target.name, *actions))
        return bearer

    async def repositories(self) -> list[str]:
        """Return the names of all repositories."""
        answer = await self._json("/v2/_catalog?n=1000", CATALOG)
        names = (answer or {}).get("repositories")
        return [str(name) for name in names] if isinstance(names, list) else []

    async def tags(self, name: str) -> dict[str, str] | None:
        """Return the digest of each tag, or None when there is no such repository."""
        answer = await self._json(f"/v2/{name}/tags/list", repository(name, "pull"))
        if answer is None:
            return None
        found: dict[str, str] = {}
        names = answer.get("tags")
        for tag in sorted(names) if isinstance(names, list) else []:
            async with self._internal("HEAD", f"/v2/{name}/manifests/{tag}", repository(name, "pull")) as head:
                if head.status == 200:
                    found[str(tag)] = head.headers["Docker-Content-Digest"]
        return found or None

    async def delete_repository(self, name: str) -> None:
        """Delete what the repository's tags point to; docker-registry cannot delete a name."""
        for digest in set((await self.tags(name) or {}).values()):
            async with self._internal("DELETE", f"/v2/{name}/manifests/{digest}", repository(name, "delete")):
                pass

    async def _json(self, path: str, scope: Scope) -> Mapping[str, object] | None:
        async with self._internal("GET", path, scope) as answer:
            if answer.status != 200:
                return None
            found: Mapping[str, object] = await answer.json(content_type=None)
            return found

    @contextlib.asynccontextmanager
    async def _internal(self, method: str, path: str, scope: Scope) -> AsyncIterator[aiohttp.ClientResponse]:
        token = self._tokens.internal_token(scope)
        headers = {"Authorization": f"Bearer {token}", "Accept": _MANIFEST_TYPES}
        async with self._client.request(method, self._url + path, headers=headers) as answer:
            yield answer
