"""Real clients push and pull with vended tokens: through the real service, the emulated ACR and a real registry server.

docs/clients.md publishes what is found here as a table; its rows are this file's tests.
"""

import contextlib
import hashlib
import io
import json
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from devstack import plain, tools

from .engine import Engine
from .live import Live
from .platforms import CLIENTS, GitHubJob
from .tools import python_clients

pytestmark = pytest.mark.e2e

ACTION = "contoso/acr-token-vending/clients/github-action@v1"
USERNAME = "00000000-0000-0000-0000-000000000000"


class Pipeline:
    """A job on GitHub that has used the action, with programs that then need its credentials."""

    def __init__(
        self,
        directory: Path,
        live: Live,
        login: str = "true",
        scope: str = "repository:web/api:pull,push",
        prepare: Callable[[GitHubJob], None] = lambda _job: None,
    ) -> None:
        self.live = live
        self.directory = directory
        self.patience = 300.0
        """How many seconds a program may take."""
        job = live.stack.issuers.github.job()
        self.job = GitHubJob(directory, {**job.github_env, **live.trust})
        prepare(self.job)
        result = self.job.uses(ACTION, {"url": live.url, "scope": scope, "login": login})
        assert result.exit_code == 0, result.raw
        self.token = result.outputs["password"]
        self.username = result.outputs["username"]

    @property
    def config(self) -> Path:
        """The docker configuration file that the action has made."""
        return Path(self.job.environment["DOCKER_CONFIG"]) / "config.json"

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """Return the job's environment with more on top, and both PATHs."""
        return {**self.job.environment, **more, "PATH": f"{self.job.environment['PATH']}:{more.get('PATH', '')}"}

    def run(self, *command: str | Path, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a program in the job."""
        return subprocess.run(
            [str(word) for word in command],
            env=self.environment(environment),
            cwd=self.directory,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=self.patience,
            check=False,
        )

    def image(self, tag: str, repository: str = "web/api") -> str:
        """Return a name in the live registry."""
        return f"{self.live.registry}/{repository}:{tag}"


def succeeded(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a program printed, or fail with all that it said."""
    assert done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def refused(done: subprocess.CompletedProcess[str]) -> None:
    """Check that a program was refused by the registry, not by an accident."""
    text = (done.stdout + done.stderr).lower()
    assert done.returncode != 0
    assert any(word in text for word in ("denied", "unauthorized", "authentication required", "forbidden")), text


def tar_of(**files: str) -> bytes:
    """Return a tar archive with these files: an image's only layer."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


# --- the Docker engine ---


class Docker:
    """Docker's command in a pipeline."""

    def __init__(self, pipeline: Pipeline, running: Engine) -> None:
        self.pipeline = pipeline
        self.running = running

    def __call__(self, *arguments: str, stdin: bytes | None = None, **more: str) -> subprocess.CompletedProcess[str]:
        environment = {**self.pipeline.environment(self.running.environment), **more}
        return self.running.docker(*arguments, environment=environment, stdin=stdin)

    def make(self, image: str, content: str) -> None:
        """Make an image without a registry."""
        succeeded(self("import", "-", image, stdin=tar_of(content=content)))

    def round_trip(self, tag: str) -> None:
        """Push an image, forget it and pull it again."""
        image = self.pipeline.image(tag)
        self.make(image, tag)
        succeeded(self("push", image))
        succeeded(self("rmi", image))
        succeeded(self("pull", image))


@pytest.mark.parametrize("login", ["true", "helper"])
def test_docker_pushes_and_pulls_after_the_action(live: Live, dockerd: Engine, tmp_path: Path, login: str) -> None:
    docker = Docker(Pipeline(tmp_path, live, login), dockerd)
    docker.round_trip(f"docker-{login}")
    other = docker.pipeline.image("x", "web/ui")
    docker.make(other, "other")
    refused(docker("push", other))
    refused(docker("pull", other))


@pytest.mark.parametrize("form", ["auth", "registrytoken"])
def test_docker_takes_each_form_of_the_credential_alone(live: Live, dockerd: Engine, tmp_path: Path, form: str) -> None:
    docker = Docker(Pipeline(tmp_path, live), dockerd)
    config = json.loads(docker.pipeline.config.read_text())
    entry = config["auths"][live.registry]
    config["auths"][live.registry] = {form: entry[form]}
    docker.pipeline.config.write_text(json.dumps(config))
    docker.round_trip(f"docker-form-{form}")


def test_docker_login_takes_the_outputs(live: Live, dockerd: Engine, tmp_path: Path) -> None:
    docker = Docker(Pipeline(tmp_path, live, login="false"), dockerd)
    pipeline = docker.pipeline
    pipeline.job.environment["DOCKER_CONFIG"] = str(tmp_path / "own")
    login = ("login", "--username", pipeline.username, "--password-stdin", live.registry)
    assert "Login Succeeded" in succeeded(docker(*login, stdin=pipeline.token.encode()))
    docker.round_trip("docker-login")


def test_a_pull_token_does_not_push(live: Live, dockerd: Engine, tmp_path: Path) -> None:
    Docker(Pipeline(tmp_path / "push", live), dockerd).round_trip("pull-only")
    docker = Docker(Pipeline(tmp_path / "pull", live, scope="repository:web/api:pull"), dockerd)
    succeeded(docker("pull", docker.pipeline.image("pull-only")))
    docker.make(docker.pipeline.image("new"), "a layer that the registry has not seen")
    refused(docker("push", docker.pipeline.image("new")))


@pytest.mark.parametrize("login", ["true", "helper"])
@pytest.mark.parametrize("builder", ["buildkit", "classic"])
def test_a_build_pulls_its_base_and_pushes_its_result(
    live: Live, dockerd: Engine, tmp_path: Path, builder: str, login: str
) -> None:
    docker = Docker(Pipeline(tmp_path, live, login), dockerd)
    base = docker.pipeline.image(f"base-{builder}-{login}")
    docker.make(base, f"base of {builder} {login}")
    succeeded(docker("push", base))
    succeeded(docker("rmi", base))
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(f"FROM {base}\nCOPY Dockerfile /built\n")
    result = docker.pipeline.image(f"result-{builder}-{login}")
    kit = "1" if builder == "buildkit" else "0"
    succeeded(docker("build", "--pull", "--tag", result, str(context), DOCKER_BUILDKIT=kit))
    succeeded(docker("push", result))


def test_containerd_pulls_with_the_kubelets_form_of_the_credential(live: Live, dockerd: Engine, tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path, live)
    Docker(pipeline, dockerd).round_trip("containerd")
    ctr = (dockerd.programs / "usr/bin/ctr", "--address", dockerd.containerd, "--namespace", "test", "images", "pull")
    user = f"{pipeline.username}:{pipeline.token}"
    options = ("--plain-http", "--snapshotter", "native", "--user", user)
    succeeded(pipeline.run(*ctr, *options, pipeline.image("containerd")))
    refused_pull = pipeline.run(*ctr, *options, pipeline.image("x", "web/ui"))
    assert refused_pull.returncode != 0


# --- a build that outlives its token ---


@contextlib.contextmanager
def short_lived_tokens(live: Live) -> Iterator[None]:
    """Have the registry give out tokens of a few seconds until the block ends."""
    tokens = live.stack.registry.tokens
    lifetime = 5

    def shortened(claims: dict[str, object]) -> dict[str, object]:
        return {**claims, "exp": int(time.time()) + lifetime}

    tokens.tamper = shortened
    try:
        yield
    finally:
        tokens.tamper = None


@pytest.fixture
def short_lived(live: Live) -> Iterator[Callable[[], None]]:
    """Have the registry give out tokens of a few seconds; call the fixture's value to end that."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(short_lived_tokens(live))
        yield stack.close


def wait_until_refused(live: Live, token: str) -> None:
    """Wait until the registry no longer takes a token."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        answer = plain.get(
            f"http://{live.registry}/v2/web/api/manifests/none", headers={"Authorization": f"Bearer {token}"}
        )
        if answer.status_code == 401:
            return
        time.sleep(0.2)
    raise AssertionError("the token does not expire")


@pytest.mark.parametrize("login", ["helper", "true"])
def test_only_the_helper_carries_a_build_past_the_end_of_its_first_token(
    live: Live, dockerd: Engine, tmp_path: Path, short_lived: Callable[[], None], login: str
) -> None:
    docker = Docker(Pipeline(tmp_path, live, login), dockerd)
    image = docker.pipeline.image(f"long-{login}")
    docker.make(image, f"a long build with {login}")
    first = docker.pipeline.token
    if login == "helper":  # it keeps its first token, as it would after the build has pulled its base
        asked = docker.pipeline.run("docker-credential-acr-vending", "get", stdin=live.registry)
        first = json.loads(succeeded(asked))["Secret"]
    short_lived()
    wait_until_refused(live, first)
    before = live.vended()
    done = docker("push", image)
    if login == "helper":
        succeeded(done)
        assert live.vended() == before + 1
    else:
        assert done.returncode != 0
        # Using the action again brings the same configuration up to date.
        again = docker.pipeline.job.uses(ACTION, {"url": live.url, "scope": "repository:web/api:pull,push"})
        assert again.exit_code == 0
        succeeded(docker("push", image))


# --- skopeo and buildah ---


@pytest.fixture
def layout(tmp_path: Path) -> str:
    """Return an image as skopeo reads it, from an archive that docker would have saved."""
    layer = tar_of(hello="world")
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": []}}
    config["rootfs"]["diff_ids"] = [f"sha256:{hashlib.sha256(layer).hexdigest()}"]  # type: ignore[index]
    manifest = [{"Config": "config.json", "RepoTags": ["hello:latest"], "Layers": ["layer.tar"]}]
    path = tmp_path / "image.tar"
    with tarfile.open(path, "w") as archive:
        for name, data in {
            "layer.tar": layer,
            "config.json": json.dumps(config).encode(),
            "manifest.json": json.dumps(manifest).encode(),
        }.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return f"docker-archive:{path}"


class Skopeo:
    """skopeo in a pipeline; each way to hand it the credential is a list of options for source or destination."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.program = tools.ensure(tools.SKOPEO)

    def copy(self, source: str, target: str, *options: str) -> subprocess.CompletedProcess[str]:
        insecure = ("--src-tls-verify=false",) if source.startswith("docker://") else ("--dest-tls-verify=false",)
        return self.pipeline.run(self.program, "--insecure-policy", "copy", *insecure, *options, source, target)

    def round_trip(self, layout: str, tag: str, options: Callable[[str], list[str]]) -> None:
        """Push and pull, then try another repository."""
        image = f"docker://{self.pipeline.image(tag)}"
        succeeded(self.copy(layout, image, *options("dest")))
        succeeded(self.copy(image, f"dir:{self.pipeline.directory}/{tag}", *options("src")))
        refused(self.copy(layout, f"docker://{self.pipeline.image(tag, 'web/ui')}", *options("dest")))


@pytest.mark.parametrize("login", ["true", "helper"])
def test_skopeo_reads_the_actions_configuration(live: Live, tmp_path: Path, layout: str, login: str) -> None:
    pipeline = Pipeline(tmp_path / "job", live, login)
    Skopeo(pipeline).round_trip(layout, f"skopeo-{login}", lambda _side: [])


def test_skopeo_takes_the_token_as_a_bearer(live: Live, tmp_path: Path, layout: str) -> None:
    pipeline = Pipeline(tmp_path / "job", live)
    empty = tmp_path / "empty.json"
    empty.write_text("{}")
    Skopeo(pipeline).round_trip(
        layout, "skopeo-bearer", lambda side: [f"--{side}-registry-token", pipeline.token, "--authfile", str(empty)]
    )


def test_skopeo_login_takes_the_outputs(live: Live, tmp_path: Path, layout: str) -> None:
    pipeline = Pipeline(tmp_path / "job", live, login="false")
    skopeo = Skopeo(pipeline)
    file = str(tmp_path / "auth.json")
    login = ("login", "--tls-verify=false", "--authfile", file, "--username", pipeline.username, "--password-stdin")
    succeeded(pipeline.run(skopeo.program, *login, live.registry, stdin=pipeline.token))
    skopeo.round_trip(layout, "skopeo-login", lambda _side: ["--authfile", file])


def test_skopeo_ignores_a_registrytoken_in_the_file(live: Live, tmp_path: Path, layout: str) -> None:
    """Why the action writes `auth` beside `registrytoken`."""
    pipeline = Pipeline(tmp_path / "job", live)
    pipeline.config.write_text(json.dumps({"auths": {live.registry: {"registrytoken": pipeline.token}}}))
    refused(Skopeo(pipeline).copy(layout, f"docker://{pipeline.image('skopeo-registrytoken')}"))


@pytest.mark.parametrize("login", ["true", "helper"])
def test_buildah_builds_pulls_and_pushes(live: Live, container_programs: Path, tmp_path: Path, login: str) -> None:
    pipeline = Pipeline(tmp_path / "job", live, login)
    root = tmp_path / "storage"
    policy = tmp_path / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    settings = tmp_path / "registries.conf"
    settings.write_text("unqualified-search-registries = []\n")

    def buildah(*arguments: str) -> subprocess.CompletedProcess[str]:
        options = ("--storage-driver", "vfs", "--root", root / "data", "--runroot", root / "run")
        environment = {"CONTAINERS_REGISTRIES_CONF": str(settings)}
        return pipeline.run(container_programs / "usr/bin/buildah", *options, *arguments, **environment)

    container = succeeded(buildah("from", "scratch")).strip()
    (tmp_path / "file").write_text(f"buildah with {login}")
    succeeded(buildah("copy", container, str(tmp_path / "file"), "/file"))
    image = pipeline.image(f"buildah-{login}")
    succeeded(buildah("commit", "--signature-policy", str(policy), container, image))
    flags = ("--tls-verify=false", "--signature-policy", str(policy))
    succeeded(buildah("push", *flags, image))
    succeeded(buildah("rmi", "--force", image))
    succeeded(buildah("pull", *flags, image))
    refused(buildah("pull", *flags, pipeline.image("x", "web/ui")))


# --- clients from PyPI ---


def python(pipeline: Pipeline, program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program with the clients from PyPI; the token comes on standard input."""
    return pipeline.run(
        python_clients(), "-W", "error::SyntaxWarning", "-c", program, *arguments, stdin=pipeline.token, **environment
    )


ORAS_PUSH = """
import sys, time
import oras.client
time.sleep = lambda _seconds: None  # it tries a refusal again, and waits each time longer
host, repository = sys.argv[1:]
client = oras.client.OrasClient(hostname=host, insecure=True, auth_backend="token")
client.auth.set_token_auth(sys.stdin.read())
open("artifact.txt", "w").write("hello")
target = f"{host}/{repository}:oras"
answer = client.push(files=["artifact.txt"], target=target, disable_path_validation=True)
assert answer.status_code in (200, 201), answer.status_code
(pulled,) = client.pull(target=target, outdir="pulled")
assert open(pulled).read() == "hello"
print("done")
"""

ORAS_PULL = """
import os, sys, time
import oras.client
time.sleep = lambda _seconds: None
host, repository = sys.argv[1:]
client = oras.client.OrasClient(hostname=host, insecure=True, auth_backend="token")
config = os.environ["DOCKER_CONFIG"] + "/config.json"  # it would look into the home directory by itself
(pulled,) = client.pull(target=f"{host}/{repository}:oras", outdir="pulled", config_path=config)
assert open(pulled).read() == "hello"
print("done")
"""


def test_oras_from_pypi_pushes_and_pulls_with_the_token_as_a_bearer(live: Live, tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path, live)
    assert "done" in succeeded(python(pipeline, ORAS_PUSH, live.registry, "web/api"))
    assert python(pipeline, ORAS_PUSH, live.registry, "web/ui").returncode != 0


@pytest.mark.parametrize("login", ["true", "helper"])
def test_oras_from_pypi_pulls_with_the_actions_configuration(live: Live, tmp_path: Path, login: str) -> None:
    pipeline = Pipeline(tmp_path, live, login)
    assert "done" in succeeded(python(pipeline, ORAS_PUSH, live.registry, "web/api"))
    assert "done" in succeeded(python(pipeline, ORAS_PULL, live.registry, "web/api"))
    assert python(pipeline, ORAS_PULL, live.registry, "web/ui").returncode != 0


AZURE = """
import io, sys
from azure.containerregistry import ContainerRegistryClient
from azure.core.pipeline.policies import HeadersPolicy
endpoint, repository, ca = sys.argv[1:]
token = sys.stdin.read()
bearer = HeadersPolicy({"Authorization": f"Bearer {token}"})
client = ContainerRegistryClient(
    endpoint, None, audience="https://containerregistry.azure.net", connection_verify=ca, per_call_policies=[bearer]
)
digest, size = client.upload_blob(repository, io.BytesIO(b"hello"))
assert b"".join(client.download_blob(repository, digest)) == b"hello"
print([tag.name for tag in client.list_tag_properties(repository)])
print("done")
"""


def test_azures_own_library_takes_the_token_as_a_bearer(live: Live, tmp_path: Path) -> None:
    scope = "repository:web/api:pull,push,metadata_read"
    pipeline = Pipeline(tmp_path, live, scope=scope)
    endpoint = live.stack.registry.tls_url
    ca = str(live.ca_file)
    assert "done" in succeeded(python(pipeline, AZURE, endpoint, "web/api", ca))
    assert python(pipeline, AZURE, endpoint, "web/ui", ca).returncode != 0


# --- the plain commands, on the whole stack ---


def test_the_helper_explains_and_prints_tokens_for_people(live: Live, tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path, live, login="false")
    helper = CLIENTS / "docker-credential-acr-vending"
    options = ("--url", live.url, "--scope", "repository:web/api:pull,push")
    allowed = succeeded(pipeline.run(helper, "explain", *options))
    assert "allowed: repository:web/api:pull,push" in allowed
    assert "rule web-on-github: matched" in allowed
    denied = pipeline.run(helper, "explain", "--url", live.url, "--scope", "repository:web/ui:pull")
    assert denied.returncode == 1
    assert "missing: repository:web/ui:pull" in denied.stdout
    token = succeeded(pipeline.run(helper, "token", *options)).strip()
    refused_push = pipeline.run(helper, "token", "--url", live.url, "--scope", "repository:web/ui:pull")
    assert "scope_not_granted" in refused_push.stderr
    assert token.count(".") == 2
