"""helm, cosign, podman, buildx and BuildKit, driven as the everyday clients are, on a shared configuration."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .engine import Engine
from .live import Live
from .real import Commands, Place, container_storage, crane, docker_archive, policy_of
from .test_mounts import BOTH, ONE, mounts
from .test_real_clients import ACTION, refused, short_lived, succeeded, wait_until_refused
from .test_shared_configuration import CONFIGURATIONS, FOREIGN, Shared
from .tools import debian, go_clients

pytestmark = pytest.mark.e2e

__all__ = ["short_lived"]


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


def ko(place: Place, image: str) -> Commands:
    """Build a Go program into an image on a base of the same registry, and push it."""
    (place.directory / "go.mod").write_text("module example.test/app\n\ngo 1.26\n")
    (place.directory / "main.go").write_text(f'package main\n\nfunc main() {{ println("{image}") }}\n')
    repository, _, tag = image.rpartition(":")
    cache = subprocess.run(["go", "env", "GOCACHE"], capture_output=True, text=True, check=True).stdout.strip()
    settings = [
        f"KO_DOCKER_REPO={repository}",
        f"KO_DEFAULTBASEIMAGE={image}-base",
        f"GOCACHE={cache}",
        "GOFLAGS=-mod=mod",
    ]
    program = ["env", *settings, str(go_clients("ko") / "ko"), "build", "--bare", "--insecure-registry", "--sbom=none"]
    base = [word if word != image else f"{image}-base" for word in crane(place, image)[0]]
    return [base, [*program, "--platform=linux/amd64", "--tags", tag, "."]]


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


SIMPLE: dict[str, Callable[[Place, str], Commands]] = {"helm": helm, "podman": podman, "cosign": cosign, "ko": ko}


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


@pytest.mark.parametrize("login", ["helper", "true"])
@pytest.mark.parametrize("name", SIMPLE)
def test_the_steps_after_a_tokens_end(
    live: Live,
    dockerd: Engine,
    container_programs: Path,
    tmp_path: Path,
    short_lived: Callable[[], None],
    name: str,
    login: str,
) -> None:
    shared = Shared(tmp_path, live, dockerd, container_programs, FOREIGN, login)
    environment_of(shared)
    short_lived()
    wait_until_refused(live, shared.pipeline.token)
    done = shared.each(SIMPLE[name](shared.place, shared.place.image(f"long-{name}-{login}")))
    if login == "helper":
        for one in done:
            succeeded(one)
    else:
        refused(next(one for one in done if one.returncode))


# --- what BuildKit does in the midst of a build ---


def context_with(place: Place, name: str, dockerfile: str) -> Path:
    """Return a build's context with a static busybox in it."""
    directory = place.directory / name
    directory.mkdir()
    shells = debian("shells", "busybox-static", "gawk", "libsigsegv2", "original-awk", "yash", "ksh93u+m", "mawk")
    shutil.copy(shells / "bin" / "busybox", directory)
    (directory / "Dockerfile").write_text(dockerfile)
    return directory


def build(address: str, context: Path, image: str) -> list[str]:
    """Return a build by buildctl that pushes."""
    local = ["--local", f"context={context}", "--local", f"dockerfile={context}"]
    program = [str(go_clients("buildkit") / "buildctl"), "--addr", address, "build", "--frontend", "dockerfile.v0"]
    return [*program, *local, "--output", f"type=image,name={image},push=true"]


@pytest.mark.parametrize("scope", [BOTH, ONE], ids=["with-pull", "without-pull"])
def test_buildkit_mounts_the_layers_of_the_base(
    live: Live, dockerd: Engine, container_programs: Path, tmp_path: Path, buildkitd: str, scope: str
) -> None:
    """Without pull on the base, which the builder has from an earlier job, the mount is refused and it uploads."""
    shared = Shared(tmp_path / "job", live, dockerd, container_programs, FOREIGN, "true")
    environment_of(shared)
    place, job = shared.place, shared.pipeline.job
    assert job.uses(ACTION, {"url": live.url, "scope": BOTH}).exit_code == 0
    name = f"kit-mount-{scope == BOTH}".lower()
    base, image = place.image(name, "web/base"), place.image(name)
    context = context_with(place, "base", f"FROM scratch\nLABEL n={name}\nCOPY busybox /{name}\n")
    succeeded(shared.pipeline.run(*build(buildkitd, context, base)))
    child = context_with(place, "child", f"FROM {base}\nCOPY Dockerfile /built\n")
    if scope == BOTH:
        live.stack.registry.recent.clear()
        succeeded(shared.pipeline.run(*build(buildkitd, child, image)))
        assert ("web/base", 201) in mounts(live)
        return
    succeeded(shared.pipeline.run(*build(buildkitd, child, f"{base}-before")))
    assert job.uses(ACTION, {"url": live.url, "scope": ONE}).exit_code == 0
    live.stack.registry.recent.clear()
    child = context_with(place, "other", f"FROM {base}\nCOPY Dockerfile /built-otherwise\n")
    succeeded(shared.pipeline.run(*build(buildkitd, child, f"{image}-after")))
    assert set(mounts(live)) == {("web/base", 401)}


BUILD_SECONDS = 330
"""Longer than buildx keeps what a credential helper said (4 min 50 s)."""


@pytest.mark.parametrize("login", ["helper", "true"])
def test_buildx_asks_the_helper_again_in_the_midst_of_a_build(
    live: Live, dockerd: Engine, container_programs: Path, tmp_path: Path, buildkitd: str, login: str
) -> None:
    """A build that ends after its first token pushes with the helper's second one; a token in a file has ended."""
    shared = Shared(tmp_path / "job", live, dockerd, container_programs, FOREIGN, "false")
    environment_of(shared)
    place, job = shared.place, shared.pipeline.job
    base, image = place.image(f"kit-base-{login}"), place.image(f"kit-long-{login}")
    scope = "repository:web/api:pull,push"
    assert job.uses(ACTION, {"url": live.url, "scope": scope}).exit_code == 0
    context = context_with(place, "base", f"FROM scratch\nLABEL login={login}\nCOPY busybox /busybox\n")
    succeeded(shared.pipeline.run(*build(buildkitd, context, base)))
    job.finish()
    tokens = live.stack.registry.tokens
    tokens.tamper = lambda claims: {**claims, "exp": int(time.time()) + BUILD_SECONDS}
    try:
        assert job.uses(ACTION, {"url": live.url, "scope": scope, "login": login}).exit_code == 0
        slow = context_with(place, "slow", f'FROM {base}\nRUN ["/busybox", "sleep", "{BUILD_SECONDS + 20}"]\n')
        buildx = str(go_clients("buildkit") / "buildx")
        succeeded(shared.pipeline.run(buildx, "create", "--name", "remote", "--driver", "remote", buildkitd))
        command = [buildx, "build", "--builder", "remote", "--push", "--tag", image, str(slow)]
        shared.pipeline.patience = BUILD_SECONDS + 600
        done = shared.pipeline.run(*command)
    finally:
        tokens.tamper = None
    if login == "helper":
        succeeded(done)
    else:
        refused(done)
