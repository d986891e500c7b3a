"""The snippets for CircleCI, Bitbucket and Buildkite, run with the platforms' own ways of giving out tokens."""

import base64
import json
from pathlib import Path

import pytest

from .every import FAST, token_for, token_for_list
from .platforms import SnippetJob, snippet
from .servers import USERNAME, Answer, granted, refusal, vendor

PLATFORMS = ["circleci", "bitbucket", "buildkite"]
TOKEN = "header.payload-of-the-vended-token.signature"
SHOW = 'cat "$DOCKER_CONFIG/config.json"'


def job_of(platform: str, directory: Path, url: str) -> SnippetJob:
    """Return a job whose platform gives out tokens as it does."""
    job = SnippetJob(directory, platform, token_for_list if platform == "bitbucket" else token_for, url=url)
    job.environment |= FAST
    return job


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_last_line_has_credentials(platform: str, tmp_path: Path) -> None:
    with vendor() as service:
        result = job_of(platform, tmp_path, service.url).run(snippet(platform), last=SHOW)
        assert service.seen[-1].form["scope"] == "repository:web/api:pull,push"
    assert result.exit_code == 0, result.log
    assert "contoso.azurecr.io" in json.loads(result.log)["auths"]


@pytest.mark.parametrize("platform", ["circleci", "buildkite"])
def test_the_agent_is_asked_for_the_services_audience(platform: str, tmp_path: Path) -> None:
    with vendor() as service:
        job = job_of(platform, tmp_path, service.url)
        job.run(snippet(platform), last="true")
        asked = job.asked.read_text().strip()
        expected = {
            "circleci": f'run oidc get --claims {{"aud":"{service.url}"}}',
            "buildkite": f"oidc request-token --audience {service.url} --claim organization_id,pipeline_id",
        }
        assert asked == expected[platform]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_refusal_stops_the_job(platform: str, tmp_path: Path) -> None:
    with vendor(refusal(400, "no_matching_rule", "No rule matches.")) as service:
        result = job_of(platform, tmp_path, service.url).run(snippet(platform), last="echo went on")
    assert result.exit_code != 0
    assert "No rule matches." in result.log
    assert "went on" not in result.log


@pytest.mark.parametrize("platform", ["circleci", "buildkite"])
def test_each_attempt_asks_the_agent_anew(platform: str, tmp_path: Path) -> None:
    with vendor(refusal(503, "r", "Wait."), Answer(body=granted())) as service:
        job = job_of(platform, tmp_path, service.url)
        assert job.run(snippet(platform), last="true").exit_code == 0
        assert len(job.asked.read_text().splitlines()) == 2


@pytest.mark.parametrize("platform", ["circleci", "buildkite"])
def test_an_agent_that_gives_no_token_is_quoted(platform: str, tmp_path: Path) -> None:
    with vendor() as service:
        job = job_of(platform, tmp_path, service.url)
        for program in job.programs.iterdir():
            program.write_text("#!/bin/sh\necho 'no such job' >&2\nexit 3\n")
        result = job.run(snippet(platform), last="echo went on")
    assert result.exit_code != 0
    assert "gave no OIDC token: no such job" in result.log


@pytest.mark.parametrize("platform", PLATFORMS)
def test_nothing_is_left_when_the_job_ends(platform: str, tmp_path: Path) -> None:
    with vendor(Answer(body=granted(TOKEN))) as service:
        job = job_of(platform, tmp_path, service.url)
        assert job.run(snippet(platform), last='test -f "$DOCKER_CONFIG/config.json"').exit_code == 0
    job.hidden.unlink(missing_ok=True)
    secrets = (TOKEN.encode(), base64.b64encode(f"{USERNAME}:{TOKEN}".encode()))
    assert [
        path for path in tmp_path.rglob("*") if path.is_file() and any(s in path.read_bytes() for s in secrets)
    ] == []
    assert list(Path(job.environment["TMPDIR"]).iterdir()) == []


def test_buildkite_hides_the_token_in_its_log(tmp_path: Path) -> None:
    with vendor(Answer(body=granted(TOKEN))) as service:
        job = job_of("buildkite", tmp_path, service.url)
        assert job.run(snippet("buildkite"), last="true").exit_code == 0
    basic = base64.b64encode(f"{USERNAME}:{TOKEN}".encode()).decode()
    assert job.hidden.read_text().splitlines() == [TOKEN, basic]
