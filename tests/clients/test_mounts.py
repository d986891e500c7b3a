"""Layers of another repository are mounted where a client asks for that, as seen in what arrived at the registry."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from .engine import Engine
from .live import Live
from .real import EVERYDAY, Commands, Place
from .test_real_clients import ACTION, succeeded
from .test_shared_configuration import FOREIGN, Shared

pytestmark = pytest.mark.e2e

BOTH = "repository:web/api:pull,push repository:web/base:pull,push"
ONE = "repository:web/api:pull,push"


def mounts(live: Live, target: str = "web/api") -> list[tuple[str, int]]:
    """Return the source and the answer's status of each mount into a repository that the registry was asked for."""
    form = re.compile(rf"POST /v2/{target}/blobs/uploads/\?(?=.*\bmount=sha256)(?:.*&)?from=([\w%/]+).*")
    found = [(form.fullmatch(line), status) for line, status in live.stack.registry.recent]
    return [(match[1].replace("%2F", "/"), status) for match, status in found if match]


def docker(place: Place, first: str, second: str) -> Commands:
    """Return a push to one repository, and one of the same image to another."""
    *load, push, _forget, _pull = EVERYDAY["docker"](place, first)
    program = push[0]
    return [*load, push, [program, "tag", first, second], [program, "push", second]]


def copying(client: str) -> Callable[[Place, str, str], Commands]:
    """Return a push to one repository, and a copy of it into another."""

    def commands(place: Place, first: str, second: str) -> Commands:
        push, *_between, copy = EVERYDAY[client](place, first)
        return [push, [word.replace(f"{first}-copy", second) for word in copy]]

    return commands


MOUNTING: Final[dict[str, Callable[[Place, str, str], Commands]]] = {
    "docker": docker,
    **{name: copying(name) for name in ("skopeo", "crane", "oras", "regctl") if name in EVERYDAY},
}


def shared(live: Live, dockerd: Engine, containers: Path, directory: Path) -> Shared:
    """Return a job whose login is good for both repositories."""
    job = Shared(directory, live, dockerd, containers, FOREIGN, "true")
    assert job.pipeline.job.uses(ACTION, {"url": live.url, "scope": BOTH}).exit_code == 0
    live.stack.registry.recent.clear()
    return job


@pytest.mark.parametrize("client", MOUNTING)
def test_a_copy_between_repositories_mounts(
    live: Live, dockerd: Engine, container_programs: Path, tmp_path: Path, client: str
) -> None:
    job = shared(live, dockerd, container_programs, tmp_path)
    place = job.place
    first, second = place.image(f"mounted-{client}", "web/base"), place.image(f"mounted-{client}")
    for done in job.each(MOUNTING[client](place, first, second)):
        succeeded(done)
    assert mounts(live)
    assert set(mounts(live)) == {("web/base", 201)}


def test_docker_uploads_where_the_token_has_no_pull_on_the_source(
    live: Live, dockerd: Engine, container_programs: Path, tmp_path: Path
) -> None:
    job = shared(live, dockerd, container_programs, tmp_path)
    place = job.place
    first, second = place.image("unmounted", "web/base"), place.image("unmounted")
    *before, push = docker(place, first, second)
    for done in job.each(before):
        succeeded(done)
    assert job.pipeline.job.uses(ACTION, {"url": live.url, "scope": ONE}).exit_code == 0
    succeeded(job.pipeline.run(*push))
    assert ("web/base", 401) in mounts(live)


@pytest.mark.parametrize("client", [name for name in MOUNTING if name != "docker"])
def test_a_copy_needs_pull_on_its_source(
    live: Live, dockerd: Engine, container_programs: Path, tmp_path: Path, client: str
) -> None:
    job = shared(live, dockerd, container_programs, tmp_path)
    place = job.place
    first, second = place.image(f"copied-{client}", "web/base"), place.image(f"copied-{client}")
    push, copy = MOUNTING[client](place, first, second)
    succeeded(job.pipeline.run(*push))
    assert job.pipeline.job.uses(ACTION, {"url": live.url, "scope": ONE}).exit_code == 0
    assert job.pipeline.run(*copy).returncode != 0
    assert mounts(live) == []
