"""Make tiny container images from nothing: an OCI layout on disk, or its parts in memory. It talks to no registry."""

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


def digest_of(content: bytes) -> str:
    """Compute the digest under which a registry keeps content."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Image:
    """An image of one layer that holds one file."""

    layer: bytes
    config: bytes

    @classmethod
    def containing(cls, text: str) -> "Image":
        """Make an image whose only file, `/message`, holds `text`."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            entry = tarfile.TarInfo("message")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
        unpacked = buffer.getvalue()
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(unpacked)]},
        }
        return cls(gzip.compress(unpacked, mtime=0), json.dumps(config).encode())

    @property
    def manifest(self) -> bytes:
        """The image manifest (OCI image specification 1.1)."""
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": _descriptor("application/vnd.oci.image.config.v1+json", self.config),
            "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar+gzip", self.layer)],
        }
        return json.dumps(document, separators=(",", ":")).encode()

    @property
    def digest(self) -> str:
        """The digest of the manifest."""
        return digest_of(self.manifest)

    def write_layout(self, directory: Path) -> str:
        """Write an OCI layout and return how skopeo names it."""
        blobs = directory / "blobs" / "sha256"
        blobs.mkdir(parents=True, exist_ok=True)
        for content in (self.layer, self.config, self.manifest):
            (blobs / hashlib.sha256(content).hexdigest()).write_bytes(content)
        name = {"org.opencontainers.image.ref.name": "latest"}
        index = {"schemaVersion": 2, "manifests": [_descriptor(MANIFEST_TYPE, self.manifest) | {"annotations": name}]}
        (directory / "index.json").write_text(json.dumps(index))
        (directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        return f"oci:{directory}:latest"


def _descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}
