"""The JavaScript action, run by node as the runner runs it: what it hands on, what it says, when it tries again."""

import base64
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from .every import github_environment
from .platforms import GitHubJob, Result, released
from .servers import USERNAME, Answer, Server, claims_of, granted, platform, refusal, vendor

ACTION = "contoso/acr-token-vending/clients/github-action@v1"
TOKEN = "header.payload-of-the-vended-token.signature"


def use(job: GitHubJob, service: Server, **inputs: str) -> Result:
    """Run the action."""
    return job.uses(ACTION, {"url": service.url, **inputs})


def test_outputs_are_the_token_its_user_its_registry_and_its_end(ci: Server, tmp_path: Path) -> None:
    body = granted(TOKEN, expires_at="2026-11-21T13:00:00Z")
    with vendor(Answer(body=body)) as service:
        result = use(GitHubJob(tmp_path, github_environment(ci)), service)
    assert result.exit_code == 0
    assert result.outputs == {
        "password": TOKEN,
        "username": USERNAME,
        "registry": "contoso.azurecr.io",
        "expires-at": "2026-11-21T13:00:00Z",
        "scope": "repository:web/api:pull,push",
        "request-id": "req-1",
    }


def test_success_is_said_in_the_log_and_in_the_summary(ci: Server, tmp_path: Path) -> None:
    job = GitHubJob(tmp_path, github_environment(ci))
    with vendor(Answer(body=granted(TOKEN, expires_at="2026-11-21T13:00:00Z"))) as service:
        result = use(job, service)
    until = "repository:web/api:pull,push until 2026-11-21T13:00:00Z (request req-1)"
    assert result.log == f"acr-token: contoso.azurecr.io: {until}\n"
    assert job.summary == (
        "**ACR token**: `contoso.azurecr.io` grants `repository:web/api:pull,push` "
        "until 2026-11-21T13:00:00Z (request `req-1`).\n\n"
    )


def test_inputs_arrive_as_parameters_and_empty_ones_do_not(ci: Server, tmp_path: Path) -> None:
    scope = "repository:web/api:pull,push repository:web/ui:pull"
    with vendor() as service:
        use(GitHubJob(tmp_path / "full", github_environment(ci)), service, scope=scope, registry="prod")
        use(GitHubJob(tmp_path / "bare", github_environment(ci)), service)
        full, bare = (request.form for request in service.seen if request.path == "/token")
    assert (full["scope"], full["audience"]) == (scope, "prod")
    assert set(bare) == {"grant_type", "subject_token", "subject_token_type", "requested_token_type"}


def test_the_first_thing_that_is_said_masks_the_token(ci: Server, tmp_path: Path) -> None:
    with vendor(Answer(body=granted(TOKEN))) as service:
        result = use(GitHubJob(tmp_path, github_environment(ci)), service)
    assert result.raw.splitlines()[0] == f"::add-mask::{TOKEN}"
    assert TOKEN not in result.log
    basic = json.loads((docker_config(tmp_path) / "config.json").read_text())["auths"]["contoso.azurecr.io"]["auth"]
    assert basic in result.masks


def docker_config(directory: Path) -> Path:
    """Return the directory of the runner's docker configuration."""
    return directory / "home" / ".docker"


def holding(directory: Path, *tokens: str) -> list[Path]:
    """Return the files that hold a vended token, in either form."""
    forms = [form for token in tokens for form in (token, base64.b64encode(f"{USERNAME}:{token}".encode()).decode())]
    files = [path for path in directory.rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in files if any(form in path.read_text() for form in forms)]


def test_login_writes_credentials_for_every_host_as_docker_login_does(ci: Server, tmp_path: Path) -> None:
    job = GitHubJob(tmp_path, github_environment(ci))
    with vendor(Answer(body=granted(TOKEN))) as service:
        use(job, service)
    config = docker_config(tmp_path)
    assert job.environment["DOCKER_CONFIG"] == str(config)
    assert stat.S_IMODE(config.stat().st_mode) == 0o700
    assert stat.S_IMODE((config / "config.json").stat().st_mode) == 0o600
    auths = json.loads((config / "config.json").read_text())["auths"]
    assert set(auths) == {"contoso.azurecr.io", "contoso.eastus.geo.azurecr.io"}
    assert all(entry["registrytoken"] == TOKEN for entry in auths.values())


def test_nothing_is_left_when_the_job_has_ended(ci: Server, tmp_path: Path) -> None:
    job = GitHubJob(tmp_path, github_environment(ci))
    with vendor(Answer(body=granted(TOKEN))) as service:
        use(job, service)
    assert {path.parent for path in holding(tmp_path, TOKEN)} == {docker_config(tmp_path)}
    (post,) = job.finish()
    assert post.exit_code == 0
    assert holding(tmp_path, TOKEN) == []
    assert not docker_config(tmp_path).exists()
    assert list(job.temp.glob("acr-vending*")) == []


def prepared_home(job: GitHubJob, config: dict[str, object] | str) -> Path:
    """Give the runner's user a docker configuration."""
    docker = job.home / ".docker"
    docker.mkdir()
    (docker / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return docker


BEFORE: dict[str, object] = {
    "auths": {"ghcr.io": {"auth": "a2VwdA=="}, "https://index.docker.io/v1/": {}},
    "credHelpers": {"eu.gcr.io": "gcloud"},
    "currentContext": "rootless",
    "HttpHeaders": {"X-Meta": 'quote " backslash \\ é \u2028'},
    "proxies": {"default": {"noProxy": ["a", 1, 2.5e3, True, None, {}]}},
}


def test_what_others_wrote_is_unchanged_and_comes_back(ci: Server, tmp_path: Path) -> None:
    job = GitHubJob(tmp_path, github_environment(ci))
    docker = prepared_home(job, BEFORE)
    with vendor() as service:
        assert use(job, service).exit_code == 0
    after = json.loads((docker / "config.json").read_text())
    ours = {host: after["auths"].pop(host) for host in ("contoso.azurecr.io", "contoso.eastus.geo.azurecr.io")}
    assert after == BEFORE
    assert all(ours.values())
    job.finish()
    assert json.loads((docker / "config.json").read_text()) == BEFORE
    assert [path.name for path in docker.iterdir()] == ["config.json"]


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_another_actions_logout_still_cleans_the_original(ci: Server, tmp_path: Path, first: str) -> None:
    """As docker/login-action does at the end of a job; a switch to a copy would lead it astray."""
    job = GitHubJob(tmp_path, github_environment(ci))
    docker = prepared_home(job, {"auths": {"kept.example": {"auth": "a2VwdA=="}}})
    file = '"${DOCKER_CONFIG:-$HOME/.docker}/config.json"'
    edit = "import json, sys; d = json.load(open(sys.argv[1])); {}; json.dump(d, open(sys.argv[1], 'w'), indent=9)"
    log_in = edit.format("d['auths']['ghcr.io'] = {'auth': 'b3RoZXI='}")
    log_out = edit.format("del d['auths']['ghcr.io']")

    def theirs() -> None:
        assert job.run(f'python3 -c "{log_in}" {file}').exit_code == 0
        job.another_action_ends_by(f'python3 -c "{log_out}" {file}')

    with vendor(Answer(body=granted(TOKEN))) as service:
        if first == "theirs":
            theirs()
        assert use(job, service).exit_code == 0
        if first == "ours":
            theirs()
    assert [post.exit_code for post in job.finish()] == [0, 0]
    assert json.loads((docker / "config.json").read_text()) == {"auths": {"kept.example": {"auth": "a2VwdA=="}}}
    assert holding(tmp_path, TOKEN) == []


@pytest.mark.parametrize(
    "before",
    [
        {"credHelpers": {"contoso.azurecr.io": "ecr-login", "other": "x"}},
        {"credsStore": "desktop", "credHelpers": {"other": "x"}},
        {"credsStore": ""},
        {"auths": {"https://contoso.azurecr.io": {"auth": "b2xk"}, "contoso.azurecr.io/v1/": {}}},
        {"auths": {"contoso.azurecr.io": {"auth": "b2xk", "email": "x"}}},
        {"auths": None, "credHelpers": None},
        {"auths": {}},
        {},
    ],
    ids=["helper", "store", "empty-store", "other-spellings", "old-auth", "nulls", "no-auths", "empty-object"],
)
def test_only_entries_of_our_hosts_are_added(ci: Server, tmp_path: Path, before: dict[str, Any]) -> None:
    job = GitHubJob(tmp_path, github_environment(ci))
    docker = prepared_home(job, before)
    with vendor() as service:
        assert use(job, service).exit_code == 0
    after = json.loads((docker / "config.json").read_text())
    assert set(after) == set(before) | {"auths"}
    others = {name: value for name, value in after.items() if name != "auths"}
    assert others == {name: value for name, value in before.items() if name != "auths"}
    hosts = {"contoso.azurecr.io", "contoso.eastus.geo.azurecr.io"}
    assert set(after["auths"]) == set(before.get("auths") or {}) | hosts
    job.finish()
    left = json.loads((docker / "config.json").read_text())
    assert left == {name: value for name, value in before.items() if value is not None or name != "auths"}


@pytest.mark.parametrize("before", ["", "  {}\n"])
def test_an_empty_configuration_is_no_mistake(ci: Server, tmp_path: Path, before: str) -> None:
    job = GitHubJob(tmp_path, github_environment(ci))
    prepared_home(job, before)
    with vendor() as service:
        assert use(job, service).exit_code == 0


@pytest.mark.parametrize("broken", ["{", '{"auths": []}', '{"auths": {}} x', '{"a": 1, "a": 2}', "[]", '{"a": 01}'])
def test_a_broken_configuration_is_not_thrown_away_in_silence(ci: Server, tmp_path: Path, broken: str) -> None:
    job = GitHubJob(tmp_path, github_environment(ci))
    prepared_home(job, broken)
    with vendor() as service:
        result = use(job, service)
    assert result.exit_code == 1
    assert "is not the JSON that docker would write" in result.errors[0]


def test_several_registries_are_logged_in_to_at_once(ci: Server, tmp_path: Path) -> None:
    job = GitHubJob(tmp_path, github_environment(ci))
    second = granted("second.vended.token", registry="other.azurecr.io", hosts=["other.azurecr.io"])
    with vendor(Answer(body=granted("first.vended.token")), Answer(body=second)) as service:
        lines = "prod repository:web/api:pull,push  repository:web/ui:pull\n\n  other.azurecr.io\n"
        result = use(job, service, registries=lines)
        forms = [request.form for request in service.seen if request.path == "/token"]
    assert [(form["audience"], form.get("scope")) for form in forms] == [
        ("prod", "repository:web/api:pull,push repository:web/ui:pull"),
        ("other.azurecr.io", None),
    ]
    assert result.outputs["password"] == "first.vended.token"
    assert {"first.vended.token", "second.vended.token"} <= set(result.masks)
    auths = json.loads((docker_config(tmp_path) / "config.json").read_text())["auths"]
    assert auths["contoso.azurecr.io"]["registrytoken"] == "first.vended.token"
    assert auths["other.azurecr.io"]["registrytoken"] == "second.vended.token"
    assert job.summary.count("**ACR token**") == 2
    job.finish()
    assert holding(tmp_path, "first.vended.token", "second.vended.token") == []


def test_one_refused_registry_of_several_fails_the_step_and_is_cleaned_up(ci: Server, tmp_path: Path) -> None:
    job = GitHubJob(tmp_path, github_environment(ci))
    with vendor(Answer(body=granted(TOKEN)), refusal(400, "unknown_registry", "No.")) as service:
        result = use(job, service, registries="prod\nother")
    assert result.exit_code == 1
    assert "unknown_registry" in result.errors[0]
    job.finish()
    assert holding(tmp_path, TOKEN) == []


def test_registries_and_registry_exclude_each_other(ci: Server, tmp_path: Path) -> None:
    with vendor() as service:
        result = use(GitHubJob(tmp_path, github_environment(ci)), service, registries="prod", scope="x")
    assert (result.exit_code, service.seen) == (1, [])


def test_the_action_works_from_a_repository_of_its_own(ci: Server, tmp_path: Path) -> None:
    job = GitHubJob(tmp_path, github_environment(ci))
    with vendor(Answer(body=granted(TOKEN))) as service:
        assert job.uses(ACTION, {"url": service.url}, root=released()).outputs["password"] == TOKEN
        assert job.uses(ACTION, {"url": service.url, "login": "helper"}, root=released()).exit_code == 0
        asked = job.run("echo contoso.azurecr.io | docker-credential-acr-vending get")
        assert json.loads(asked.log)["Secret"] == TOKEN
    job.finish()
    assert not docker_config(tmp_path).exists()


def test_without_login_only_outputs_are_made(ci: Server, tmp_path: Path) -> None:
    job = GitHubJob(tmp_path, github_environment(ci))
    with vendor() as service:
        result = use(job, service, login="false")
    assert result.outputs["password"]
    assert "DOCKER_CONFIG" not in job.environment
    assert list(job.temp.glob("acr-vending*")) == []


def test_login_by_helper_leaves_no_token_and_renews(ci: Server, tmp_path: Path) -> None:
    job = GitHubJob(tmp_path, github_environment(ci))
    prepared_home(job, {"auths": {"contoso.azurecr.io": {"auth": "b2xk"}}})
    answers = [granted(f"token-{number}", expires_in=0) for number in range(3)]
    with vendor(*(Answer(body=body) for body in answers)) as service:
        use(job, service, login="helper", scope="repository:web/api:pull,push")
        config = json.loads((Path(job.environment["DOCKER_CONFIG"]) / "config.json").read_text())
        assert config["auths"] == {"contoso.azurecr.io": {"auth": "b2xk"}}
        assert config["credHelpers"]["contoso.azurecr.io"] == "acr-vending"
        secrets = [
            json.loads(job.run("echo contoso.azurecr.io | docker-credential-acr-vending get").log)["Secret"]
            for _ in range(2)
        ]
        assert secrets == ["token-1", "token-2"]
        forms = [request.form for request in service.seen if request.path == "/token"]
    assert [form["scope"] for form in forms] == ["repository:web/api:pull,push"] * 3
    assert forms[1]["audience"] == "contoso.azurecr.io"
    job.finish()
    left = json.loads((job.home / ".docker" / "config.json").read_text())
    assert left == {"auths": {"contoso.azurecr.io": {"auth": "b2xk"}}}
    assert [path.name for path in (job.home / ".docker").iterdir()] == ["config.json"]


def test_an_unknown_login_is_refused(ci: Server, tmp_path: Path) -> None:
    with vendor() as service:
        result = use(GitHubJob(tmp_path, github_environment(ci)), service, login="maybe")
    assert (result.exit_code, service.seen) == (1, [])
    assert "login must be true or false" in result.errors[0]


# --- what it says when it fails ---


@pytest.mark.parametrize(
    ("description", "shown"),
    [
        ("Ask for less.", "Ask for less."),
        ("100% sure", "100% sure"),
        ("%0A is no line end", "%0A is no line end"),
        ("one\r\ntwo\n::error::three", "one\r\ntwo\n::error::three"),
        ('a "quote", a \\ and a / and \u00e9\U0001f600', 'a "quote", a \\ and a / and \u00e9\U0001f600'),
        ("::stop-commands::x", "::stop-commands::x"),
        ("bell \x07 escape \x1b[31m delete \x7f", "bell  escape [31m delete "),
        ("ends with a line end\n", "ends with a line end\n"),
    ],
    ids=["plain", "percent", "encoded", "line-ends", "escapes", "command", "control", "trailing"],
)
def test_the_services_description_is_shown_as_one_annotation(
    ci: Server, tmp_path: Path, description: str, shown: str
) -> None:
    with vendor(refusal(400, "no_matching_rule", description)) as service:
        result = use(GitHubJob(tmp_path, github_environment(ci)), service)
    assert result.exit_code == 1
    assert result.errors == [f"{service.url} answered HTTP 400, no_matching_rule: {shown} (request req-9)"]
    assert result.log == ""


def test_a_raw_annotation_escapes_percent_and_line_ends(ci: Server, tmp_path: Path) -> None:
    with vendor(refusal(400, "r", "50%\r\nx")) as service:
        result = use(GitHubJob(tmp_path, github_environment(ci)), service)
    (line,) = result.raw.splitlines()
    assert line.startswith("::error title=ACR token::")
    assert "50%25%0D%0Ax" in line


def test_a_missing_permission_is_explained(tmp_path: Path) -> None:
    with vendor() as service:
        result = use(GitHubJob(tmp_path), service)
    assert result.exit_code == 1
    assert "permissions: {id-token: write" in result.errors[0]
    assert "/token" not in service.paths()


@pytest.mark.parametrize(
    "answer",
    [
        Answer(body="<html>"),
        Answer(body={}),
        Answer(body=granted("")),
        Answer(body=granted("two\nlines")),
        Answer(body=granted("token\n::set-env name=PATH::/tmp")),
        Answer(body=granted('quote"')),
        Answer(body=granted(username="user\nPATH=/tmp")),
        Answer(body=granted(registry="contoso.azurecr.io\nx=y")),
        Answer(body=granted(hosts=["contoso.azurecr.io", 'x": {}, "y'])),
        Answer(body=granted(hosts="not a list")),
        Answer(body=granted(hosts=[1])),
        Answer(body=granted(hosts=[""])),
        Answer(body=granted(expires_at="soon")),
        Answer(body=granted(expires_at=None)),
    ],
    ids=[
        "html", "empty", "no-token", "two-lines", "command", "quote", "username", "registry", "host", "hosts-text",
        "hosts-number", "hosts-empty", "expires", "no-expires",
    ],
)  # fmt: skip
def test_an_answer_that_is_no_registry_token_gets_nowhere(ci: Server, tmp_path: Path, answer: Answer) -> None:
    job = GitHubJob(tmp_path, github_environment(ci))
    before = dict(job.environment)
    with vendor(answer) as service:
        result = use(job, service)
    assert result.exit_code == 1
    assert "no registry token" in result.errors[0]
    assert result.outputs == {}
    assert job.environment == before
    assert all(len(mask.splitlines()) == 1 for mask in result.masks)


# --- when it tries again ---

UNAVAILABLE = refusal(503, "registry_unavailable", "The registry does not answer.", Retry_After="0")


@pytest.mark.parametrize(
    "failure",
    [
        UNAVAILABLE,
        refusal(429, "rate_limited", "Slow down.", Retry_After="1"),
        refusal(504, "deadline_exceeded", "Too slow."),
        Answer(hang_up=True),
        Answer(503, "<html>"),
        Answer(500, ""),
        Answer(502, "<html><title>Bad Gateway</title>"),
        Answer(500, {"error": "somebody else's"}),
    ],
    ids=["503", "429", "504", "hang-up", "503-html", "500-empty", "502-html", "500-json"],
)
def test_passing_failures_are_tried_again_with_a_fresh_oidc_token(ci: Server, tmp_path: Path, failure: Answer) -> None:
    with vendor(failure, failure, Answer(body=granted(TOKEN))) as service:
        result = use(GitHubJob(tmp_path, github_environment(ci)), service)
        sent = [claims_of(request.form["subject_token"])["jti"] for request in service.seen if request.method == "POST"]
    assert result.exit_code == 0
    assert result.outputs["password"] == TOKEN
    assert len(result.warnings) == 2
    assert len(sent) == len(set(sent)) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 500, 501, 502])
def test_other_failures_are_final(ci: Server, tmp_path: Path, status: int) -> None:
    with vendor(refusal(status, "r", "No."), Answer(body=granted())) as service:
        result = use(GitHubJob(tmp_path, github_environment(ci)), service)
    assert result.exit_code == 1
    assert service.paths().count("/token") == 1


def test_the_first_attempts_error_is_shown_with_the_last(ci: Server, tmp_path: Path) -> None:
    replayed = refusal(400, "token_replayed", "This token was used before.")
    with vendor(UNAVAILABLE, replayed) as service:
        result = use(GitHubJob(tmp_path, github_environment(ci)), service)
    (error,) = result.errors
    assert "token_replayed" in error
    assert "the first one failed because" in error
    assert "The registry does not answer." in error
    assert "The registry does not answer." in result.warnings[0]


def test_it_gives_up_after_four_attempts(ci: Server, tmp_path: Path) -> None:
    with vendor(UNAVAILABLE) as service:
        result = use(GitHubJob(tmp_path, github_environment(ci)), service)
    assert result.exit_code == 1
    assert service.paths().count("/token") == 4
    assert "attempt 4" in result.errors[0]


def test_a_service_that_is_not_there_is_tried_again_and_then_named(ci: Server, tmp_path: Path) -> None:
    with vendor() as gone:
        pass
    result = use(GitHubJob(tmp_path, github_environment(ci)), gone)
    assert result.exit_code == 1
    assert len(result.warnings) == 3
    assert f"no answer from {gone.url}" in result.errors[0]


def test_a_hiccup_of_the_platforms_token_endpoint_is_tried_again(tmp_path: Path) -> None:
    with platform(Answer(503), Answer(hang_up=True)) as ci, vendor() as service:
        result = use(GitHubJob(tmp_path, github_environment(ci)), service)
    assert result.exit_code == 0
    assert len(result.warnings) == 2
    assert "GitHub's OIDC token endpoint" in result.warnings[0]


def test_a_token_endpoint_that_is_not_https_is_not_told_the_runners_secret(tmp_path: Path) -> None:
    environment = {
        "ACTIONS_ID_TOKEN_REQUEST_URL": "http://runner.example/token",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "request-secret",
    }
    with vendor() as service:
        result = use(GitHubJob(tmp_path, environment), service)
    assert "is not an https URL" in result.errors[0]


# --- secrets ---


def test_no_secret_is_ever_an_argument_or_a_trace(ci: Server, tmp_path: Path) -> None:
    """Programs that the script runs are wrapped so that they write down their arguments and environment's names."""
    spy = tmp_path / "spy"
    spy.mkdir()
    for name in (
        "curl",
        "awk",
        "tr",
        "cat",
        "grep",
        "sed",
        "base64",
        "sort",
        "mv",
        "mktemp",
        "ln",
        "rm",
        "wc",
        "dirname",
    ):
        real = next(f"{place}/{name}" for place in os.environ["PATH"].split(":") if Path(place, name).exists())
        (spy / name).write_text(f'#!/bin/sh\nprintf "%s\\n" "$0 $*" >>"{spy}/log"\nexec {real} "$@"\n')
        (spy / name).chmod(0o755)
    job = GitHubJob(tmp_path / "job", github_environment(ci))
    job.environment["PATH"] = f"{spy}:{job.environment['PATH']}"
    job.environment["SHELLOPTS"] = "xtrace"
    with vendor(Answer(body=granted(TOKEN))) as service:
        result = use(job, service)
        (subject,) = [request.form["subject_token"] for request in service.seen if request.path == "/token"]
    assert result.exit_code == 0
    arguments = (spy / "log").read_text()
    assert "curl" in arguments
    for secret in (TOKEN, subject, "request-secret"):
        assert secret not in arguments
        assert secret not in result.log
        assert secret not in result.raw.replace(f"::add-mask::{TOKEN}", "")
