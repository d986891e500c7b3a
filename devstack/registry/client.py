"""A small registry client over httpx that pushes and pulls one-layer images with a bearer token; for demo and tests."""

from dataclasses import dataclass
from typing import Any

import httpx

from devstack import plain
from devstack.registry.images import MANIFEST_TYPE, Image, digest_of


class RegistryRefused(Exception):
    """The registry answered with an error status; the text is its own."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self.challenge = response.headers.get("WWW-Authenticate", "")
        try:
            first: dict[str, Any] = response.json()["errors"][0]
        except (ValueError, KeyError, IndexError):
            first = {}
        self.code = str(first.get("code", ""))
        super().__init__(
            f"{self.status} {self.code or response.reason_phrase}: {first.get('message', '')}".rstrip(": ")
        )


@dataclass(frozen=True)
class RegistryClient:
    """Speaks the OCI distribution API to `url`."""

    url: str
    token: str

    def push(self, repository: str, tag: str, image: Image) -> str:
        """Push an image; return its digest. Raise RegistryRefused."""
        with self._http() as http:
            for content in (image.layer, image.config):
                self._push_blob(http, repository, content)
            headers = {"Content-Type": MANIFEST_TYPE}
            answer = http.put(f"/v2/{repository}/manifests/{tag}", content=image.manifest, headers=headers)
            return str(_checked(answer).headers["Docker-Content-Digest"])

    def _push_blob(self, http: httpx.Client, repository: str, content: bytes) -> None:
        digest = digest_of(content)
        if http.head(f"/v2/{repository}/blobs/{digest}").status_code == 200:
            return
        upload = _checked(http.post(f"/v2/{repository}/blobs/uploads/")).headers["Location"]
        location = httpx.URL(upload)
        _checked(http.put(location.copy_add_param("digest", digest), content=content))

    def pull(self, repository: str, reference: str) -> Image:
        """Pull an image made by `devstack.registry.images`. Raise RegistryRefused."""
        with self._http() as http:
            answer = http.get(f"/v2/{repository}/manifests/{reference}", headers={"Accept": MANIFEST_TYPE})
            manifest = _checked(answer).json()
            layer, config = (
                _checked(http.get(f"/v2/{repository}/blobs/{part['digest']}")).content
                for part in (manifest["layers"][0], manifest["config"])
            )
            return Image(layer, config)

    def tags(self, repository: str) -> list[str]:
        """List a repository's tags. Raise RegistryRefused."""
        with self._http() as http:
            return sorted(_checked(http.get(f"/v2/{repository}/tags/list")).json()["tags"])

    def delete(self, repository: str, digest: str) -> None:
        """Delete a manifest. Raise RegistryRefused."""
        with self._http() as http:
            _checked(http.delete(f"/v2/{repository}/manifests/{digest}"))

    def catalog(self) -> list[str]:
        """List the repositories. Raise RegistryRefused."""
        with self._http() as http:
            return sorted(_checked(http.get("/v2/_catalog")).json()["repositories"])

    def _http(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.token}"}
        return plain.Client(base_url=self.url, headers=headers)


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_error:
        raise RegistryRefused(response)
    return response
