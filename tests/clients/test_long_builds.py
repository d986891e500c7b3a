"""Commands after the first token's end: with the credential helper they go on, otherwise after a second login."""

from pathlib import Path

import pytest

from .engine import Engine
from .live import Live
from .real import EVERYDAY
from .test_real_clients import ACTION, refused, short_lived_tokens, succeeded, wait_until_refused
from .test_shared_configuration import FOREIGN, Shared

pytestmark = pytest.mark.e2e

CLIENTS = [name for name in EVERYDAY if name != "docker"]
LOGINS = ["helper", "true"]


@pytest.fixture(scope="module")
def outlived(
    live: Live, dockerd: Engine, container_programs: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], Shared]:
    """Return a job for each client and login whose token has ended; they wait for that side by side."""
    with short_lived_tokens(live):
        jobs = {
            (client, login): Shared(tmp_path_factory.mktemp(client), live, dockerd, container_programs, FOREIGN, login)
            for client in CLIENTS
            for login in LOGINS
        }
    for job in jobs.values():
        wait_until_refused(live, job.pipeline.token)
    return jobs


@pytest.mark.parametrize("login", LOGINS)
@pytest.mark.parametrize("client", CLIENTS)
def test_the_steps_after_a_tokens_end(
    live: Live, outlived: dict[tuple[str, str], Shared], client: str, login: str
) -> None:
    shared = outlived[client, login]
    commands = EVERYDAY[client](shared.place, shared.place.image(f"long-{client}-{login}"))
    if login == "true":
        refused(next(done for done in shared.each(commands) if done.returncode))
        again = shared.pipeline.job.uses(ACTION, {"url": live.url, "scope": "repository:web/api:pull,push"})
        assert again.exit_code == 0
    for done in shared.each(commands):
        succeeded(done)
