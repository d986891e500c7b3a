"""Real registry clients, each as a few commands in a job that has logged in: push, pull, copy and attach.

Every client is its own source of truth about credentials: they look for them in different places, in different orders.
"""

import atexit
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from devstack import tools

from .engine import Engine
from .tools import go_clients, has_go

Run = Callable[..., subprocess.CompletedProcess[str]]
"""Run a program in the job: its words, and more environment by name."""


def layer(**files: str) -> bytes:
    """Return a tar archive with these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def docker_archive(path: Path, content: str) -> Path:
    """Write an image as `docker save` does, its only layer with this content."""
    data = layer(content=content)
    diff = f"sha256:{hashlib.sha256(data).hexdigest()}"
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [diff]}}
    manifest = [{"Config": "config.json", "RepoTags": ["made:latest"], "Layers": ["layer.tar"]}]
    with tarfile.open(path, "w") as archive:
        for name, body in {
            "layer.tar": data,
            "config.json": json.dumps(config).encode(),
            "manifest.json": json.dumps(manifest).encode(),
        }.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            archive.addfile(entry, io.BytesIO(body))
    return path


@dataclass(frozen=True)
class Place:
    """Hold what a client needs: the job's directory, how to run in it, and the programs that tests share."""

    directory: Path
    registry: str
    run: Run
    engine: Engine
    containers: Path

    def image(self, tag: str, repository: str = "web/api") -> str:
        """Return a name in the registry."""
        return f"{self.registry}/{repository}:{tag}"


Commands = list[list[str]]


def docker(place: Place, image: str) -> Commands:
    """Push and pull with Docker's command and engine."""
    program = str(place.engine.programs / "usr/bin/docker")
    archive = docker_archive(place.directory / "docker.tar", image)
    load = [program, "load", "--quiet", "--input", str(archive)]
    tag = [program, "tag", "made:latest", image]
    return [load, tag, [program, "push", image], [program, "rmi", image], [program, "pull", image]]


def skopeo(place: Place, image: str) -> Commands:
    """Push, pull and copy with skopeo."""
    copy = [str(tools.ensure(tools.SKOPEO)), "--insecure-policy", "copy"]
    archive = f"docker-archive:{docker_archive(place.directory / 'skopeo.tar', image)}"
    back = f"dir:{place.directory}/skopeo-pulled"
    return [
        [*copy, "--dest-tls-verify=false", archive, f"docker://{image}"],
        [*copy, "--src-tls-verify=false", f"docker://{image}", back],
        [*copy, "--src-tls-verify=false", "--dest-tls-verify=false", f"docker://{image}", f"docker://{image}-copy"],
    ]


def container_storage(place: Place, program: Path) -> list[str]:
    """Return a program of the containers family with a storage of its own."""
    storage = place.directory / f"{program.name}-storage"
    short = tempfile.mkdtemp(prefix="run-")  # podman allows 50 characters
    atexit.register(shutil.rmtree, short, ignore_errors=True)
    return [str(program), "--storage-driver", "vfs", "--root", f"{storage}/data", "--runroot", short]


def policy_of(place: Place) -> list[str]:
    """Return the options by which buildah and podman take unsigned images over plain http."""
    policy = place.directory / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    return ["--tls-verify=false", "--signature-policy", str(policy)]


def buildah(place: Place, image: str) -> Commands:
    """Push and pull with buildah."""
    base = container_storage(place, place.containers / "usr/bin/buildah")
    flags = policy_of(place)
    archive = f"docker-archive:{docker_archive(place.directory / 'buildah.tar', image)}"
    return [
        [*base, "pull", *flags, archive],
        [*base, "push", *flags, "localhost/made:latest", f"docker://{image}"],
        [*base, "pull", *flags, image],
    ]


def crane(place: Place, image: str) -> Commands:
    """Push, pull and copy with crane."""
    program = [str(go_clients("everyday") / "crane"), "--insecure"]
    archive = docker_archive(place.directory / "crane.tar", image)
    return [
        [*program, "push", str(archive), image],
        [*program, "pull", image, str(place.directory / "crane-pulled.tar")],
        [*program, "copy", image, f"{image}-copy"],
    ]


def oras(place: Place, image: str) -> Commands:
    """Push, pull, attach to and copy an artifact with oras."""
    program = str(go_clients("everyday") / "oras")
    file = place.directory / "artifact.txt"
    file.write_text(image)
    plain = "--plain-http"
    return [
        [program, "push", plain, "--disable-path-validation", image, str(file)],
        [program, "pull", plain, "--allow-path-traversal", image],
        [program, "attach", plain, "--disable-path-validation", "--artifact-type", "text/x", image, str(file)],
        [program, "cp", "--from-plain-http", "--to-plain-http", image, f"{image}-copy"],
    ]


def regctl(place: Place, image: str) -> Commands:
    """Push, pull, attach to and copy with regctl."""
    program = [str(go_clients("everyday") / "regctl"), "--host", f"reg={place.registry},tls=disabled"]
    archive = docker_archive(place.directory / "regctl.tar", image)
    return [
        [*program, "image", "import", image, str(archive)],
        [*program, "image", "export", image, str(place.directory / "regctl-pulled.tar")],
        [*program, "artifact", "put", "--artifact-type", "text/x", "--file", str(archive), "--subject", image],
        [*program, "image", "copy", image, f"{image}-copy"],
    ]


GO: Final[dict[str, Callable[[Place, str], Commands]]] = {"crane": crane, "oras": oras, "regctl": regctl}

EVERYDAY: Final[dict[str, Callable[[Place, str], Commands]]] = {
    "docker": docker,
    "skopeo": skopeo,
    "buildah": buildah,
    **(GO if has_go() else {}),
}
"""What every run of the tests drives; without Go 1.26 and their modules, what Debian has."""
