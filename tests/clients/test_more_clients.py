"""helm, cosign, podman, buildx and BuildKit, driven as the everyday clients are, on a shared configuration."""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .engine import Engine
from .live import Live
from .real import Commands, Place, container_storage, crane, docker_archive, policy_of
from .test_real_clients import refused, succeeded
from .test_shared_configuration import CONFIGURATIONS, FOREIGN, Shared
from .tools import debian, go_clients

pytestmark = pytest.mark.e2e


def helm(place: Place, image: str) -> Commands:
    """Push and pull a chart with helm, which names the repository after the chart."""
    program = str(go_clients("helm") / "helm")
    repository, _, tag = image.rpartition(":")
    chart = place.directory / "chart"
    chart.mkdir(exist_ok=True)
    name = repository.rpartition("/")[2]
    version = f"1.0.0-{tag}"
    (chart / "Chart.yaml").write_text(f"apiVersion: v2\nname: {name}\nversion: {version}\n")
    return [
        [program, "package", str(chart), "--destination", str(place.directory)],
        [
            program,
            "push",
            f"{place.directory}/{name}-{version}.tgz",
            f"oci://{repository.rpartition('/')[0]}",
            "--plain-http",
        ],
        [program, "pull", f"oci://{repository}", "--version", version, "--plain-http", "--destination", str(chart)],
    ]


def podman(place: Place, image: str) -> Commands:
    """Push and pull with podman."""
    root = debian("podman", "podman", "conmon", "golang-github-containers-common", "libsubid4")
    libraries = f"LD_LIBRARY_PATH={root}/usr/lib/x86_64-linux-gnu"
    program = container_storage(place, root / "usr/bin/podman")
    runtime = ["--conmon", f"{root}/usr/bin/conmon", "--runtime", f"{place.containers}/usr/sbin/runc"]
    base = ["env", libraries, *program, *runtime, "--cgroup-manager", "cgroupfs"]
    flags = policy_of(place)
    archive = docker_archive(place.directory / "podman.tar", image)
    return [
        [*base, "load", "--quiet", "--signature-policy", flags[-1], "--input", str(archive)],
        [*base, "push", "--tls-verify=false", "localhost/made:latest", f"docker://{image}"],
        [*base, "pull", *flags, image],
    ]


def cosign(place: Place, image: str) -> Commands:
    """Sign an image with a key of our own, and verify the signature, which lies in the same repository."""
    program = str(go_clients("cosign") / "cosign")
    plain = ["--allow-insecure-registry", "--allow-http-registry"]
    key = place.directory / "cosign"
    push = crane(place, image)[0]
    return [
        push,
        [program, "generate-key-pair", "--output-key-prefix", str(key)],
        [
            program,
            "sign",
            "--key",
            f"{key}.key",
            "--yes",
            "--tlog-upload=false",
            "--use-signing-config=false",
            *plain,
            image,
        ],
        [program, "verify", "--key", f"{key}.pub", "--insecure-ignore-tlog=true", *plain, image],
    ]


@pytest.fixture(scope="module")
def buildkitd(live: Live, container_programs: Path) -> Iterator[str]:
    """Start BuildKit's daemon, and return its address."""
    programs = go_clients("buildkit")
    with tempfile.TemporaryDirectory(prefix="bk-") as directory:
        settings = Path(directory, "buildkitd.toml")
        settings.write_text(f'[registry."{live.registry}"]\nhttp = true\n')
        address = f"unix://{directory}/sock"
        environment = {
            **os.environ,
            "PATH": f"{container_programs}/usr/sbin:{container_programs}/usr/bin:{os.environ['PATH']}",
        }
        command = [str(programs / "buildkitd"), "--addr", address, "--root", f"{directory}/root"]
        command += ["--config", str(settings)]
        worker = ["--oci-worker=true", "--containerd-worker=false", "--oci-worker-snapshotter=native"]
        with Path(directory, "log").open("w") as log:
            process = subprocess.Popen([*command, *worker], env=environment, stdout=log, stderr=log)
        try:
            for _ in range(300):
                probe = [str(programs / "buildctl"), "--addr", address, "debug", "workers"]
                if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
                    break
                assert process.poll() is None, Path(directory, "log").read_text()
                time.sleep(0.2)
            yield address
        finally:
            process.terminate()
            process.wait(60)


def context_of(place: Place, base: str = "scratch") -> Path:
    """Return a build's context: one file on a base."""
    directory = place.directory / "context"
    directory.mkdir(exist_ok=True)
    (directory / "Dockerfile").write_text(f"FROM {base}\nCOPY Dockerfile /built\n")
    return directory


def buildctl(address: str) -> Callable[[Place, str], Commands]:
    """Return builds by BuildKit's own command: a base, and an image on it with a cache in the registry."""

    def commands(place: Place, image: str) -> Commands:
        program = str(go_clients("buildkit") / "buildctl")

        def build(name: str, base: str, *more: str) -> list[str]:
            context = context_of(place, base)
            own = place.directory / f"context-{name}"
            context.rename(own)
            local = ["--local", f"context={own}", "--local", f"dockerfile={own}"]
            output = ["--output", f"type=image,name={image}-{name},push=true"]
            return [program, "--addr", address, "build", "--frontend", "dockerfile.v0", *local, *output, *more]

        cache = ["--export-cache", f"type=registry,ref={image}-cache,mode=max"]
        return [
            build("base", "scratch"),
            build("child", f"{image}-base", *cache, "--import-cache", f"type=registry,ref={image}-cache"),
        ]

    return commands


def buildx(address: str) -> Callable[[Place, str], Commands]:
    """Return builds by buildx on the same daemon, with a cache in the registry, and what it says of the image."""

    def commands(place: Place, image: str) -> Commands:
        program = str(go_clients("buildkit") / "buildx")
        cache = [
            f"--cache-to=type=registry,ref={image}-cache,mode=max",
            f"--cache-from=type=registry,ref={image}-cache",
        ]
        build = [program, "build", "--builder", "remote", "--push", *cache, "--tag", image, str(context_of(place))]
        return [[program, "create", "--name", "remote", "--driver", "remote", address], build, build]

    return commands


SIMPLE: dict[str, Callable[[Place, str], Commands]] = {"helm": helm, "podman": podman, "cosign": cosign}


@pytest.fixture(params=[*SIMPLE, "buildctl", "buildx"])
def client(request: pytest.FixtureRequest) -> tuple[str, Callable[[Place, str], Commands]]:
    """Return each client in turn."""
    name = str(request.param)
    if name in SIMPLE:
        return name, SIMPLE[name]
    made = {"buildctl": buildctl, "buildx": buildx}[name]
    return name, made(request.getfixturevalue("buildkitd"))


Client = tuple[str, Callable[[Place, str], Commands]]


def environment_of(shared: Shared) -> None:
    """Set what these clients want besides: a password for cosign's key, and no place of podman's own."""
    shared.pipeline.job.environment |= {"COSIGN_PASSWORD": "x", "XDG_RUNTIME_DIR": str(shared.place.directory)}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_client_works_with_what_others_have_configured(
    live: Live, dockerd: Engine, container_programs: Path, tmp_path: Path, name: str, client: Client
) -> None:
    shared = Shared(tmp_path, live, dockerd, container_programs, CONFIGURATIONS[name], "true")
    environment_of(shared)
    commands = client[1](shared.place, shared.place.image(f"more-{client[0]}-{name}"))
    for done in shared.each(commands):
        succeeded(done)
    shared.pipeline.job.finish()
    left = shared.configuration()
    assert left == CONFIGURATIONS[name]
    again = [done for done in shared.each(commands) if done.returncode and "already exist" not in done.stderr]
    assert again
    refused(again[-1])


def test_every_client_works_with_the_credential_helper(
    live: Live, dockerd: Engine, container_programs: Path, tmp_path: Path, client: Client
) -> None:
    shared = Shared(tmp_path, live, dockerd, container_programs, CONFIGURATIONS["store"], "helper")
    environment_of(shared)
    for done in shared.each(client[1](shared.place, shared.place.image(f"helper-{client[0]}"))):
        succeeded(done)
    shared.pipeline.job.finish()
    assert shared.configuration() == CONFIGURATIONS["store"]


def test_no_client_reaches_another_repository(
    live: Live, dockerd: Engine, container_programs: Path, tmp_path: Path, client: Client
) -> None:
    shared = Shared(tmp_path, live, dockerd, container_programs, FOREIGN, "true")
    environment_of(shared)
    failed = [
        done for done in shared.each(client[1](shared.place, shared.place.image("x", "web/ui"))) if done.returncode
    ]
    refused(failed[0])
