"""The GitLab template, its scripts run as the runner runs them."""

import json
from pathlib import Path

import pytest

from .every import FAST, token_for
from .platforms import BASH, GitLabJob
from .servers import Answer, granted, refusal, vendor

SHOW = 'cat "$DOCKER_CONFIG/config.json"'


@pytest.mark.parametrize("shell", [(BASH, "-eo", "pipefail"), ("sh", "-e")], ids=["bash", "sh"])
def test_the_template_gives_the_job_credentials(tmp_path: Path, shell: tuple[str, ...]) -> None:
    with vendor() as service:
        inputs = {"url": service.url, "scope": "repository:web/api:pull", "registry": "prod"}
        result = GitLabJob(tmp_path, token_for=token_for, inputs=inputs).script(SHOW, shell=shell)
        form = service.seen[-1].form
    assert result.exit_code == 0
    assert "contoso.azurecr.io" in json.loads(result.log)["auths"]
    assert (form["scope"], form["audience"]) == ("repository:web/api:pull", "prod")


def test_nothing_is_left_on_the_runner(tmp_path: Path) -> None:
    with vendor() as service:
        job = GitLabJob(tmp_path, token_for=token_for, inputs={"url": service.url})
        assert job.script("ls $DOCKER_CONFIG").exit_code == 0
    assert list(Path(job.environment["TMPDIR"]).iterdir()) == []
    assert list(job.workspace.iterdir()) == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_refusal_stops_the_job_and_says_why(tmp_path: Path) -> None:
    with vendor(refusal(400, "no_matching_rule", "No rule\r\nmatches \x1b[1m100%.")) as service:
        result = GitLabJob(tmp_path, token_for=token_for, inputs={"url": service.url}).script("echo went on")
    assert result.exit_code != 0
    (line,) = result.log.splitlines()
    assert line.startswith("acr-token: error: ")
    assert "No rule  matches [1m100%." in line


def test_a_passing_failure_is_tried_again(tmp_path: Path) -> None:
    with vendor(refusal(503, "r", "Wait."), Answer(body=granted())) as service:
        job = GitLabJob(tmp_path, token_for=token_for, inputs={"url": service.url}, variables=FAST)
        result = job.script("echo went on")
    assert result.exit_code == 0
    assert "attempt 1 failed" in result.log


def test_a_later_login_in_the_same_job_renews_the_same_configuration(tmp_path: Path) -> None:
    with vendor(Answer(body=granted("first.vended.token")), Answer(body=granted("second.vended.token"))) as service:
        job = GitLabJob(tmp_path, token_for=token_for, inputs={"url": service.url})
        again = 'before="$DOCKER_CONFIG"', *job.job["before_script"], 'test "$before" = "$DOCKER_CONFIG"', SHOW
        result = job.script(*again)
    assert result.exit_code == 0
    assert json.loads(result.log)["auths"]["contoso.azurecr.io"]["registrytoken"] == "second.vended.token"
