"""The snippets for CircleCI, Bitbucket and Buildkite, run with the platforms' own ways of giving out tokens."""

import json
from pathlib import Path

import pytest

from .every import FAST, token_for, token_for_list
from .platforms import SnippetJob, snippet
from .servers import Answer, granted, refusal, vendor

PLATFORMS = ["circleci", "bitbucket", "buildkite"]
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
            "buildkite": f"oidc request-token --audience {service.url}",
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


def test_buildkite_removes_the_credentials_when_the_command_ends(tmp_path: Path) -> None:
    with vendor() as service:
        job = job_of("buildkite", tmp_path, service.url)
        assert job.run(snippet("buildkite"), last='test -d "$DOCKER_CONFIG"').exit_code == 0
    assert list(Path(job.environment["TMPDIR"]).iterdir()) == []
