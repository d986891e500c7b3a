"""A small registry in memory: as much of the OCI distribution API as clients need to push and pull; it checks no token.

Stores the emulated ACR's images where the real docker-registry is not installed.
"""

import hashlib
import json
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

from devstack.registry.distribution import DIGEST, Target

_MANIFEST_LIMIT = 4 * 1024 * 1024
"""Bytes of a manifest (OCI distribution specification 1.1, "Pushing manifests")."""


@dataclass(frozen=True)
class _Manifest:
    media_type: str
    content: bytes


@dataclass
class _Repository:
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, _Manifest] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def error(status: int, code: str, message: str, detail: object = None) -> web.Response:
    """Build an error response of the distribution API."""
    entry = {"code": code, "message": message} | ({} if detail is None else {"detail": detail})
    return web.json_response({"errors": [entry]}, status=status)


class MemoryRegistry:
    """Repositories, blobs and manifests in dictionaries."""

    description = "the emulator's own small registry in memory"

    def __init__(self) -> None:
        self._repositories: dict[str, _Repository] = {}
        self._uploads: dict[tuple[str, str], bytearray] = {}

    async def start(self) -> None:
        """Need nothing."""

    async def stop(self) -> None:
        """Forget the uploads that nobody finished."""
        self._uploads.clear()

    async def repositories(self) -> list[str]:
        """Return the names of all repositories that hold a manifest."""
        return sorted(name for name, repository in self._repositories.items() if repository.manifests)

    async def tags(self, name: str) -> dict[str, str] | None:
        """Return the digest of each tag, or None when there is no such repository."""
        repository = self._repositories.get(name)
        return dict(sorted(repository.tags.items())) if repository and repository.manifests else None

    async def delete_repository(self, name: str) -> None:
        """Delete a repository with all that is in it."""
        self._repositories.pop(name, None)

    async def handle(self, request: web.Request, target: Target, _bearer: str) -> web.StreamResponse:
        """Answer a `/v2/` request."""
        handlers: dict[str, Callable[[web.Request, Target], Awaitable[web.StreamResponse]]] = {
            "root": self._root,
            "catalog": self._catalog,
            "tags": self._tags,
            "uploads": self._upload,
            "blobs": self._blob,
            "manifests": self._manifest,
        }
        handler = handlers.get(target.kind)
        if handler is None:
            return error(404, "UNSUPPORTED", "the operation is unsupported")
        response = await handler(request, target)
        response.headers.setdefault("Docker-Distribution-Api-Version", "registry/2.0")
        return response

    async def _root(self, _request: web.Request, _target: Target) -> web.Response:
        return web.json_response({})

    async def _catalog(self, _request: web.Request, _target: Target) -> web.Response:
        return web.json_response({"repositories": await self.repositories()})

    async def _tags(self, request: web.Request, target: Target) -> web.Response:
        tags = await self.tags(target.name)
        if tags is None:
            return error(404, "NAME_UNKNOWN", f'repository "{target.name}" is not found')
        names = [tag for tag in tags if tag > request.query.get("last", "")]
        limit = request.query.get("n", "")
        return web.json_response({"name": target.name, "tags": names[: int(limit)] if limit.isdigit() else names})

    async def _upload(self, request: web.Request, target: Target) -> web.Response:
        if request.method == "POST" and not target.reference:
            return await self._start_upload(request, target.name)
        upload = self._uploads.get((target.name, target.reference))
        if upload is None:
            return error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        if request.method == "GET":
            return self._progress(target.name, target.reference, upload, status=204)
        if request.method == "DELETE":
            del self._uploads[target.name, target.reference]
            return web.Response(status=204)
        if request.method == "PATCH":
            if not _continues(request.headers.get("Content-Range"), len(upload)):
                return self._progress(target.name, target.reference, upload, status=416)
            upload.extend(await request.read())
            return self._progress(target.name, target.reference, upload, status=202)
        if request.method == "PUT":
            content = bytes(upload) + await request.read()
            response = self._store_blob(target.name, request.query.get("digest", ""), content)
            if response.status == 201:
                del self._uploads[target.name, target.reference]
            return response
        return error(405, "UNSUPPORTED", "the operation is unsupported")

    async def _start_upload(self, request: web.Request, name: str) -> web.Response:
        mount, source = request.query.get("mount"), request.query.get("from")
        if mount and source:
            held = self._repositories.get(source, _Repository()).blobs.get(mount)
            if held is not None:
                return self._store_blob(name, mount, held)
        if "digest" in request.query:
            return self._store_blob(name, request.query["digest"], await request.read())
        reference = str(uuid.uuid4())
        upload = self._uploads[name, reference] = bytearray()
        return self._progress(name, reference, upload, status=202)

    def _progress(self, name: str, reference: str, upload: bytearray, *, status: int) -> web.Response:
        headers = {
            "Location": f"/v2/{name}/blobs/uploads/{reference}",
            "Range": f"0-{max(len(upload) - 1, 0)}",
            "Docker-Upload-UUID": reference,
        }
        return web.Response(status=status, headers=headers)

    def _store_blob(self, name: str, digest: str, content: bytes) -> web.Response:
        if not DIGEST.fullmatch(digest) or _digest(content) != digest:
            return error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        self._repositories.setdefault(name, _Repository()).blobs[digest] = content
        headers = {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest}
        return web.Response(status=201, headers=headers)

    async def _blob(self, request: web.Request, target: Target) -> web.Response:
        blobs = self._repositories.get(target.name, _Repository()).blobs
        content = blobs.get(target.reference)
        if content is None:
            return error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        if request.method == "DELETE":
            del blobs[target.reference]
            return web.Response(status=202)
        headers = {"Docker-Content-Digest": target.reference, "Content-Type": "application/octet-stream"}
        wanted = request.http_range
        if wanted.start is None and wanted.stop is None:
            return web.Response(body=content, headers=headers | {"Accept-Ranges": "bytes"})
        start, stop, _ = wanted.indices(len(content))
        if start >= stop:
            return web.Response(status=416, headers={"Content-Range": f"bytes */{len(content)}"})
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
        return web.Response(status=206, body=content[start:stop], headers=headers)

    async def _manifest(self, request: web.Request, target: Target) -> web.Response:
        if request.method == "PUT":
            return await self._put_manifest(request, target)
        repository = self._repositories.get(target.name, _Repository())
        digest = repository.tags.get(target.reference, target.reference)
        manifest = repository.manifests.get(digest)
        if manifest is None:
            return error(404, "MANIFEST_UNKNOWN", f'manifest tagged by "{target.reference}" is not found')
        if request.method == "DELETE":
            del repository.manifests[digest]
            repository.tags = {tag: held for tag, held in repository.tags.items() if held != digest}
            return web.Response(status=202)
        headers = {"Docker-Content-Digest": digest, "Content-Type": manifest.media_type, "ETag": f'"{digest}"'}
        return web.Response(body=manifest.content, headers=headers)

    async def _put_manifest(self, request: web.Request, target: Target) -> web.Response:
        content = await request.read()
        if len(content) > _MANIFEST_LIMIT:
            return error(413, "SIZE_INVALID", "the manifest is too large")
        digest = _digest(content)
        if DIGEST.fullmatch(target.reference) and target.reference != digest:
            return error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        repository = self._repositories.setdefault(target.name, _Repository())
        try:
            missing = _blobs_of(json.loads(content)) - repository.blobs.keys()
        except (ValueError, TypeError, KeyError, AttributeError):
            return error(400, "MANIFEST_INVALID", "manifest invalid")
        if missing:
            return error(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry", sorted(missing))
        media_type = request.headers.get("Content-Type", "application/vnd.oci.image.manifest.v1+json")
        repository.manifests[digest] = _Manifest(media_type, content)
        if not DIGEST.fullmatch(target.reference):
            repository.tags[target.reference] = digest
        headers = {"Location": f"/v2/{target.name}/manifests/{digest}", "Docker-Content-Digest": digest}
        return web.Response(status=201, headers=headers)


def _continues(content_range: str | None, size: int) -> bool:
    return content_range is None or content_range.removeprefix("bytes ").split("-")[0] == str(size)


def _blobs_of(manifest: dict[str, object]) -> set[str]:
    """Collect the digests of the blobs that an image manifest refers to; an index refers to none."""
    layers, config = manifest.get("layers", []), manifest.get("config")
    entries = [*(layers if isinstance(layers, list) else []), *([config] if config else [])]
    return {str(entry["digest"]) for entry in entries if not entry.get("urls")}
