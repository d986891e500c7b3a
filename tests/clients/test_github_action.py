"""The composite action, its steps run as they are written: what it hands on, what it says, when it tries again."""

import json
import os
import stat
from pathlib import Path

import pytest

from .every import github_environment
from .platforms import GitHubJob, Result
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
        "token": TOKEN,
        "username": USERNAME,
        "registry": "contoso.azurecr.io",
        "expires-at": "2026-11-21T13:00:00Z",
    }


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
    """Return the docker configuration that the action has made."""
    (made,) = (directory / "_temp").glob("acr-vending-docker.*")
    return made


def test_login_writes_credentials_for_every_host_into_a_private_copy(ci: Server, tmp_path: Path) -> None:
    job = GitHubJob(tmp_path, github_environment(ci))
    with vendor(Answer(body=granted(TOKEN))) as service:
        use(job, service)
    config = Path(job.environment["DOCKER_CONFIG"])
    assert config.parent == job.temp
    assert stat.S_IMODE(config.stat().st_mode) == 0o700
    assert stat.S_IMODE((config / "config.json").stat().st_mode) == 0o600
    auths = json.loads((config / "config.json").read_text())["auths"]
    assert set(auths) == {"contoso.azurecr.io", "contoso.eastus.geo.azurecr.io"}
    assert all(entry["registrytoken"] == TOKEN for entry in auths.values())


def test_nothing_is_left_outside_the_runners_temporary_directory(ci: Server, tmp_path: Path) -> None:
    job = GitHubJob(tmp_path, github_environment(ci))
    with vendor(Answer(body=granted(TOKEN))) as service:
        use(job, service)
    config = Path(job.environment["DOCKER_CONFIG"])
    holding = [
        path for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink() and TOKEN in path.read_text()
    ]
    assert all(job.temp in path.parents for path in holding)
    # The runner's own files aside (they carry the outputs), the docker configuration is all that stays.
    assert {path.parent for path in holding} == {config, job.temp}
    assert [path.name for path in job.temp.glob("acr-vending*")] == [config.name]


def prepared_home(job: GitHubJob, config: dict[str, object] | str) -> Path:
    """Give the runner's user a docker configuration."""
    docker = job.home / ".docker"
    (docker / "cli-plugins").mkdir(parents=True)
    (docker / "cli-plugins" / "docker-buildx").write_text("#!/bin/sh\necho buildx\n")
    (docker / "cli-plugins" / "docker-buildx").chmod(0o755)
    (docker / "buildx" / "instances").mkdir(parents=True)
    (docker / "contexts").mkdir()
    (docker / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return docker


def test_what_was_configured_before_keeps_working(ci: Server, tmp_path: Path) -> None:
    job = GitHubJob(tmp_path, github_environment(ci))
    before: dict[str, object] = {
        "auths": {"ghcr.io": {"auth": "a2VwdA=="}, "https://index.docker.io/v1/": {}},
        "credHelpers": {"eu.gcr.io": "gcloud"},
        "currentContext": "rootless",
        "HttpHeaders": {"X-Meta": 'quote " backslash \\ é \u2028'},
        "proxies": {"default": {"noProxy": ["a", 1, 2.5e3, True, None, {}]}},
    }
    docker = prepared_home(job, before)
    original = (docker / "config.json").read_bytes()
    with vendor() as service:
        assert use(job, service).exit_code == 0
    config = Path(job.environment["DOCKER_CONFIG"])
    after = json.loads((config / "config.json").read_text())
    ours = {host: after["auths"].pop(host) for host in ("contoso.azurecr.io", "contoso.eastus.geo.azurecr.io")}
    assert after == before
    assert all(ours.values())
    assert (docker / "config.json").read_bytes() == original
    assert job.run('"$DOCKER_CONFIG/cli-plugins/docker-buildx"').log == "buildx\n"
    job.run('echo made >"$DOCKER_CONFIG/buildx/instances/builder"')
    assert (docker / "buildx" / "instances" / "builder").read_text() == "made\n"


@pytest.mark.parametrize(
    ("before", "helpers"),
    [
        ({"credHelpers": {"contoso.azurecr.io": "ecr-login", "other": "x"}}, {"other": "x"}),
        ({"credHelpers": {"https://contoso.azurecr.io/v2/": "x"}}, {}),
        (
            {"credsStore": "desktop", "credHelpers": {"other": "x"}},
            {"other": "x", "contoso.azurecr.io": "", "contoso.eastus.geo.azurecr.io": ""},
        ),
        ({"credsStore": ""}, {}),
        ({"auths": {"https://contoso.azurecr.io": {"auth": "b2xk"}, "contoso.azurecr.io/v1/": {}}}, {}),
        ({"auths": None, "credHelpers": None}, {}),
        ("", {}),
        ("  {}\n", {}),
    ],
    ids=["helper", "helper-url", "store", "empty-store", "old-auth", "nulls", "empty-file", "empty-object"],
)
def test_no_older_entry_shadows_ours(
    ci: Server, tmp_path: Path, before: dict[str, object] | str, helpers: dict[str, str]
) -> None:
    job = GitHubJob(tmp_path, github_environment(ci))
    prepared_home(job, before)
    with vendor() as service:
        assert use(job, service).exit_code == 0
    after = json.loads((docker_config(tmp_path) / "config.json").read_text())
    assert set(after["auths"]) == {"contoso.azurecr.io", "contoso.eastus.geo.azurecr.io"}
    assert after["credHelpers"] == helpers


@pytest.mark.parametrize("broken", ["{", '{"auths": []}', '{"auths": {}} x', '{"a": 1, "a": 2}', "[]", '{"a": 01}'])
def test_a_broken_configuration_is_not_thrown_away_in_silence(ci: Server, tmp_path: Path, broken: str) -> None:
    job = GitHubJob(tmp_path, github_environment(ci))
    prepared_home(job, broken)
    with vendor() as service:
        result = use(job, service)
    assert result.exit_code == 1
    assert "is not the JSON that docker would write" in result.errors[0]


def test_a_second_use_adds_its_registry_to_the_same_configuration(ci: Server, tmp_path: Path) -> None:
    job = GitHubJob(tmp_path, github_environment(ci))
    second = granted("second.vended.token", registry="other.azurecr.io", hosts=["other.azurecr.io"])
    with vendor(Answer(body=granted("first.vended.token")), Answer(body=second)) as service:
        use(job, service)
        first = job.environment["DOCKER_CONFIG"]
        use(job, service)
    assert job.environment["DOCKER_CONFIG"] == first
    auths = json.loads((Path(first) / "config.json").read_text())["auths"]
    assert auths["contoso.azurecr.io"]["registrytoken"] == "first.vended.token"
    assert auths["other.azurecr.io"]["registrytoken"] == "second.vended.token"


def test_without_login_only_outputs_are_made(ci: Server, tmp_path: Path) -> None:
    job = GitHubJob(tmp_path, github_environment(ci))
    with vendor() as service:
        result = use(job, service, login="false")
    assert result.outputs["token"]
    assert "DOCKER_CONFIG" not in job.environment
    assert list(job.temp.glob("acr-vending*")) == []


def test_login_by_helper_leaves_no_token_and_renews(ci: Server, tmp_path: Path) -> None:
    job = GitHubJob(tmp_path, github_environment(ci))
    prepared_home(job, {"auths": {"contoso.azurecr.io": {"auth": "b2xk"}}})
    answers = [granted(f"token-{number}", expires_in=0) for number in range(3)]
    with vendor(*(Answer(body=body) for body in answers)) as service:
        use(job, service, login="helper", scope="repository:web/api:pull,push")
        config = json.loads((Path(job.environment["DOCKER_CONFIG"]) / "config.json").read_text())
        assert config["auths"] == {}
        assert config["credHelpers"]["contoso.azurecr.io"] == "acr-vending"
        secrets = [
            json.loads(job.run("echo contoso.azurecr.io | docker-credential-acr-vending get").log)["Secret"]
            for _ in range(2)
        ]
        assert secrets == ["token-1", "token-2"]
        forms = [request.form for request in service.seen if request.path == "/token"]
    assert [form["scope"] for form in forms] == ["repository:web/api:pull,push"] * 3
    assert forms[1]["audience"] == "contoso.azurecr.io"


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
    assert set(result.outputs.values()) == {""}
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
    ],
    ids=["503", "429", "504", "hang-up", "503-html"],
)
def test_passing_failures_are_tried_again_with_a_fresh_oidc_token(ci: Server, tmp_path: Path, failure: Answer) -> None:
    with vendor(failure, failure, Answer(body=granted(TOKEN))) as service:
        result = use(GitHubJob(tmp_path, github_environment(ci)), service)
        sent = [claims_of(request.form["subject_token"])["jti"] for request in service.seen if request.method == "POST"]
    assert result.exit_code == 0
    assert result.outputs["token"] == TOKEN
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
