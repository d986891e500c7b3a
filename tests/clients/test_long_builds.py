"""Commands after the first token's end: with the credential helper they go on, otherwise after a second login."""

from collections.abc import Callable
from pathlib import Path

import pytest

from .engine import Engine
from .live import Live
from .real import EVERYDAY
from .test_real_clients import ACTION, refused, short_lived, succeeded, wait_until_refused
from .test_shared_configuration import FOREIGN, Shared

pytestmark = pytest.mark.e2e

__all__ = ["short_lived"]


@pytest.mark.parametrize("login", ["helper", "true"])
@pytest.mark.parametrize("client", [name for name in EVERYDAY if name != "docker"])
def test_the_steps_after_a_tokens_end(
    live: Live,
    dockerd: Engine,
    container_programs: Path,
    tmp_path: Path,
    short_lived: Callable[[], None],
    client: str,
    login: str,
) -> None:
    shared = Shared(tmp_path, live, dockerd, container_programs, FOREIGN, login)
    short_lived()
    wait_until_refused(live, shared.pipeline.token)
    commands = EVERYDAY[client](shared.place, shared.place.image(f"long-{client}-{login}"))
    if login == "true":
        refused(next(done for done in shared.each(commands) if done.returncode))
        again = shared.pipeline.job.uses(ACTION, {"url": live.url, "scope": "repository:web/api:pull,push"})
        assert again.exit_code == 0
    for done in shared.each(commands):
        succeeded(done)
