"""Real clients on a docker configuration that others use too: before a login, after it, and when everybody has left."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .engine import Engine
from .live import Live
from .platforms import GitHubJob
from .real import EVERYDAY, GO, Commands, Place
from .test_login import STORE
from .test_real_clients import ACTION, Pipeline, refused, succeeded

pytestmark = pytest.mark.e2e

FOREIGN: dict[str, object] = {"auths": {"ghcr.io": {"auth": "b3RoZXJzOnNlY3JldA=="}}, "psFormat": "table"}
CONFIGURATIONS: dict[str, dict[str, object]] = {
    "plain": FOREIGN,
    "store": {**FOREIGN, "credsStore": "keychain"},
    "store-and-helpers": {**FOREIGN, "credsStore": "keychain", "credHelpers": {"eu.gcr.io": "gcloud"}},
}


def prepared(config: dict[str, object]) -> Callable[[GitHubJob], None]:
    """Return what gives a job's user this configuration, and the credential store that it names."""

    def prepare(job: GitHubJob) -> None:
        (job.home / ".docker").mkdir()
        (job.home / ".docker" / "config.json").write_text(json.dumps(config))
        program = job.home / "bin" / "docker-credential-keychain"
        program.parent.mkdir()
        program.write_text(STORE.replace("LIMIT", "9000"))
        program.chmod(0o755)
        job.environment["PATH"] = f"{program.parent}:{job.environment['PATH']}"

    return prepare


class Shared:
    """A job on a shared configuration, with a client's commands."""

    def __init__(
        self, directory: Path, live: Live, dockerd: Engine, containers: Path, config: dict[str, object], login: str
    ) -> None:
        self.config = config
        self.pipeline = Pipeline(directory, live, login, prepare=prepared(config))
        self.engine = dockerd
        environment = {"DOCKER_HOST": f"unix://{dockerd.socket}", "CONTAINERS_REGISTRIES_CONF": "/dev/null"}
        self.pipeline.job.environment |= environment
        self.place = Place(directory, live.registry, self.pipeline.run, dockerd, containers)

    def each(self, commands: Commands) -> list[subprocess.CompletedProcess[str]]:
        """Run the commands, in the order in which they are written."""
        return [self.pipeline.run(*command) for command in commands]

    def configuration(self) -> object:
        """Return the docker configuration in force."""
        return json.loads((self.pipeline.job.home / ".docker" / "config.json").read_text())


@pytest.mark.parametrize("client", EVERYDAY)
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_client_works_with_what_others_have_configured(
    live: Live, dockerd: Engine, container_programs: Path, tmp_path: Path, name: str, client: str
) -> None:
    shared = Shared(tmp_path, live, dockerd, container_programs, CONFIGURATIONS[name], "true")
    commands = EVERYDAY[client](shared.place, shared.place.image(f"shared-{client}-{name}"))
    for done in shared.each(commands):
        succeeded(done)
    job = shared.pipeline.job
    docker = dockerd.programs / "usr/bin/docker"
    job.another_action_ends_by(f"{docker} logout ghcr.io")
    assert [post.exit_code for post in job.finish()] == [0, 0]
    left = shared.configuration()
    expected = {**CONFIGURATIONS[name], "auths": {}}
    assert left == expected or left == {key: value for key, value in expected.items() if key != "auths"}
    store = job.home / "bin" / "docker-credential-keychain.json"
    assert not store.exists() or json.loads(store.read_text()) == {}
    # And nothing else let it in: after the logout the same commands are refused.
    again = [done for done in shared.each(commands) if done.returncode]
    assert again
    refused(again[0])


@pytest.mark.parametrize("client", EVERYDAY)
def test_every_client_works_with_the_credential_helper(
    live: Live, dockerd: Engine, container_programs: Path, tmp_path: Path, client: str
) -> None:
    shared = Shared(tmp_path, live, dockerd, container_programs, CONFIGURATIONS["store"], "helper")
    for done in shared.each(EVERYDAY[client](shared.place, shared.place.image(f"helper-{client}"))):
        succeeded(done)
    shared.pipeline.job.finish()
    assert shared.configuration() == CONFIGURATIONS["store"]


@pytest.mark.parametrize("client", EVERYDAY)
def test_no_client_reaches_another_repository(
    live: Live, dockerd: Engine, container_programs: Path, tmp_path: Path, client: str
) -> None:
    shared = Shared(tmp_path, live, dockerd, container_programs, FOREIGN, "true")
    failed = [
        done
        for done in shared.each(EVERYDAY[client](shared.place, shared.place.image("x", "web/ui")))
        if done.returncode
    ]
    refused(failed[0])


def test_a_second_use_of_the_action_serves_two_scopes_at_once(
    live: Live, dockerd: Engine, container_programs: Path, tmp_path: Path
) -> None:
    """A copy between two repositories needs a token that has both, which one login asks for."""
    shared = Shared(tmp_path, live, dockerd, container_programs, FOREIGN, "true")
    scope = "repository:web/api:pull,push repository:web/base:pull,push"
    result = shared.pipeline.job.uses(ACTION, {"url": live.url, "scope": scope})
    assert result.exit_code == 0
    assert result.warnings == []
    for client in {"skopeo", *GO} & EVERYDAY.keys():
        first = shared.place.image(f"mount-{client}", "web/base")
        commands = EVERYDAY[client](shared.place, first)
        for done in shared.each(commands):
            succeeded(done)
        copy = [word.replace(f"{first}-copy", shared.place.image(f"mount-{client}")) for word in commands[-1]]
        live.stack.registry.board.clear()
        succeeded(shared.pipeline.run(*copy))


OLD = {"auth": "b2xkOndyb25n"}  # old:wrong


def in_front(name: str, shared: Shared) -> None:
    """Put an old entry of the registry's host where a client looks before it reads docker's configuration."""
    directory, host = shared.place.directory, shared.place.registry
    environment = shared.pipeline.job.environment
    entry = json.dumps({"auths": {host: OLD}})
    if name == "environment":
        environment["DOCKER_AUTH_CONFIG"] = entry
    elif name == "authfile":
        (directory / "auth.json").write_text(entry)
        environment["REGISTRY_AUTH_FILE"] = str(directory / "auth.json")
    elif name.startswith("runtime"):
        if name.endswith("alone"):
            del environment["DOCKER_CONFIG"]
        (directory / "run" / "containers").mkdir(parents=True)
        (directory / "run" / "containers" / "auth.json").write_text(entry)
        environment["XDG_RUNTIME_DIR"] = str(directory / "run")
    elif name == "repository":
        file = shared.pipeline.config
        config = json.loads(file.read_text())
        file.write_text(json.dumps({**config, "auths": {**config["auths"], f"{host}/web/api": OLD}}))
    else:
        file = shared.pipeline.job.home / ".regctl" / "config.json"
        file.parent.mkdir()
        login = {"tls": "disabled", "hostname": host, "user": "old", "pass": "wrong"}
        file.write_text(json.dumps({"hosts": {host: login}}))


WINNERS = [
    ("environment", "crane"),
    ("authfile", "skopeo"),
    ("authfile", "buildah"),
    ("runtime", "skopeo"),
    ("runtime-alone", "buildah"),
    ("repository", "crane"),
    ("repository", "skopeo"),
    ("regctl", "regctl"),
]
"""What docs/clients.md says of who prefers what, where the client of this version was driven."""


@pytest.mark.parametrize(("name", "client"), [pair for pair in WINNERS if pair[1] in EVERYDAY])
def test_what_the_login_warns_of_does_win(
    live: Live, dockerd: Engine, container_programs: Path, tmp_path: Path, name: str, client: str
) -> None:
    shared = Shared(tmp_path, live, dockerd, container_programs, FOREIGN, "true")
    commands = EVERYDAY[client](shared.place, shared.place.image(f"winner-{client}-{name}"))
    in_front(name, shared)
    refused(next(done for done in shared.each(commands) if done.returncode))


@pytest.mark.parametrize("name", ["environment", "runtime"])
def test_who_does_not_look_there_is_not_troubled(
    live: Live, dockerd: Engine, container_programs: Path, tmp_path: Path, name: str
) -> None:
    """Docker 20.10 does not know the variable; with DOCKER_CONFIG, which login exports, buildah skips podman's file."""
    shared = Shared(tmp_path, live, dockerd, container_programs, FOREIGN, "true")
    in_front(name, shared)
    for client in {"docker"} if name == "environment" else {"docker", "crane", "buildah"} & EVERYDAY.keys():
        for done in shared.each(EVERYDAY[client](shared.place, shared.place.image(f"no-winner-{client}-{name}"))):
            succeeded(done)
