"""The docker credential helper: docker's protocol, renewal, what it leaves to others, and its commands for people."""

import ast
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from .every import github_environment
from .platforms import CLIENTS, base_environment
from .servers import USERNAME, Answer, Server, claims_of, granted, refusal, vendor

PROGRAM = CLIENTS / "docker-credential-acr-vending"
HOST = "contoso.azurecr.io"


class Job:
    """A job on GitHub in which the helper runs."""

    def __init__(self, directory: Path, ci: Server, service: Server, **environment: str) -> None:
        self.environment = base_environment(directory / "home", **github_environment(ci))
        self.environment |= {"ACR_VENDING_URL": service.url, **environment}
        self.environment["PATH"] = f"{CLIENTS}:{self.environment['PATH']}"
        self.docker = directory / "home" / ".docker"
        self.docker.mkdir(parents=True)

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run the helper."""
        return subprocess.run(
            [PROGRAM, *arguments], env=self.environment, input=stdin, capture_output=True, text=True, check=False
        )

    def secret(self, server: str = HOST) -> str:
        """Return what `get` gives for a server."""
        done = self.run("get", stdin=server)
        assert done.returncode == 0, done.stdout
        return str(json.loads(done.stdout)["Secret"])

    def configure(self, **members: object) -> None:
        """Write the small file."""
        (self.docker / "acr-vending.json").write_text(json.dumps(members))


def test_it_runs_on_python_3_9_with_the_standard_library_alone() -> None:
    tree = ast.parse(PROGRAM.read_text(), feature_version=(3, 9))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names


# --- docker's protocol ---


@pytest.mark.parametrize(
    "server",
    [
        HOST,
        f"{HOST}\n",
        f"https://{HOST}",
        f"https://{HOST}/",
        f"https://{HOST}/v2/",
        f"http://{HOST}/v1/",
        HOST.upper(),
    ],
)
def test_get_answers_for_every_spelling_of_a_registry(ci: Server, tmp_path: Path, server: str) -> None:
    with vendor() as service:
        done = Job(tmp_path, ci, service).run("get", stdin=server)
        assert service.seen[-1].form["audience"] == HOST
    assert done.returncode == 0
    assert json.loads(done.stdout) == {
        "ServerURL": server.strip(),
        "Username": USERNAME,
        "Secret": "vended.registry.token",
    }
    assert done.stderr == ""


@pytest.mark.parametrize(
    "server",
    [
        "https://index.docker.io/v1/", "ghcr.io", "azurecr.io", "x.azurecr.io.evil.example", "evilazurecr.io",
        "a.b.azurecr.io", "",
    ],
)  # fmt: skip
def test_hosts_of_others_are_passed_through_without_a_request(ci: Server, tmp_path: Path, server: str) -> None:
    with vendor() as service:
        job = Job(tmp_path, ci, service)
        done = job.run("get", stdin=server)
        assert (done.returncode, done.stdout) == (1, "credentials not found in native keychain\n")
        assert job.run("erase", stdin=server).returncode == 0
        stored = job.run("store", stdin=json.dumps({"ServerURL": server, "Username": "u", "Secret": "s"}))
        assert stored.returncode == 1
        assert "no fallback is set" in stored.stdout
        assert (service.seen, ci.seen) == ([], [])


def test_an_azure_registry_that_the_service_does_not_know_is_passed_through(ci: Server, tmp_path: Path) -> None:
    with vendor(refusal(400, "unknown_registry", "No such registry.")) as service:
        done = Job(tmp_path, ci, service).run("get", stdin="elsewhere.azurecr.io")
        assert done.stdout == "credentials not found in native keychain\n"
        configured = Job(tmp_path / "configured", ci, service, ACR_VENDING_HOSTS="elsewhere.azurecr.io")
        assert "No such registry." in configured.run("get", stdin="elsewhere.azurecr.io").stdout


def test_a_fallback_helper_answers_for_all_other_hosts(ci: Server, tmp_path: Path) -> None:
    with vendor() as service:
        job = Job(tmp_path, ci, service)
        job.configure(fallback="other", hosts={HOST: {}})
        other = tmp_path / "bin" / "docker-credential-other"
        other.parent.mkdir()
        other.write_text(
            '#!/bin/sh\necho "$1:$(cat)" >>"$HOME/asked"\n'
            'case $1 in list) echo \'{"ghcr.io": "me"}\' ;; get) echo \'{"ServerURL": "ghcr.io", "Username": "me", '
            '"Secret": "s"}\' ;; erase) echo "no luck"; exit 1 ;; esac\n'
        )
        other.chmod(0o755)
        job.environment["PATH"] = f"{other.parent}:{job.environment['PATH']}"
        assert json.loads(job.run("get", stdin="ghcr.io").stdout)["Username"] == "me"
        assert job.run("store", stdin='{"ServerURL": "ghcr.io", "Username": "u", "Secret": "s"}').returncode == 0
        assert job.run("erase", stdin="ghcr.io").stdout == "no luck\n"
        assert json.loads(job.run("list").stdout) == {"ghcr.io": "me", HOST: USERNAME}
        assert service.seen == []
        assert job.secret() == "vended.registry.token"
        asked = (tmp_path / "home" / "asked").read_text().splitlines()
    assert [line.partition(":")[0] for line in asked] == ["get", "store", "erase", "list"]


def test_store_and_erase_succeed_for_our_hosts_and_store_nothing(ci: Server, tmp_path: Path) -> None:
    with vendor() as service:
        job = Job(tmp_path, ci, service, RUNNER_TEMP=str(tmp_path))
        stored = job.run("store", stdin=json.dumps({"ServerURL": HOST, "Username": "u", "Secret": "long-lived"}))
        assert (stored.returncode, stored.stdout) == (0, "")
        assert "not stored" in stored.stderr
        assert job.secret() == "vended.registry.token"
        assert job.run("erase", stdin=HOST).returncode == 0
        assert job.run("erase", stdin=HOST).returncode == 0
        assert job.secret() == "vended.registry.token"
        assert service.paths().count("/token") == 2


def test_list_names_the_configured_hosts(ci: Server, tmp_path: Path) -> None:
    with vendor() as service:
        assert Job(tmp_path / "1", ci, service).run("list").stdout == "{}"
        listed = Job(tmp_path / "2", ci, service, ACR_VENDING_HOSTS=f"{HOST}, other.azurecr.io").run("list").stdout
    assert json.loads(listed) == {HOST: USERNAME, "other.azurecr.io": USERNAME}


def test_a_failure_is_told_on_standard_output_where_docker_reads_it(ci: Server, tmp_path: Path) -> None:
    with vendor(refusal(400, "no_matching_rule", "No rule\r\nmatches.")) as service:
        done = Job(tmp_path, ci, service).run("get", stdin=HOST)
    assert done.returncode == 1
    assert done.stdout == f"{service.url} answered HTTP 400, no_matching_rule: No rule matches. (request req-9)\n"


@pytest.mark.parametrize("given", ["{", "[]", '"x"', "null"])
def test_a_store_that_is_no_object_is_refused(ci: Server, tmp_path: Path, given: str) -> None:
    with vendor() as service:
        done = Job(tmp_path, ci, service).run("store", stdin=given)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_a_token_for_another_registry_is_not_passed_off_as_the_asked_ones(ci: Server, tmp_path: Path) -> None:
    with vendor() as service:
        done = Job(tmp_path, ci, service).run("get", stdin="other.azurecr.io")
    assert done.returncode == 1
    assert "a token for contoso.azurecr.io, not for other.azurecr.io" in done.stdout


@pytest.mark.parametrize("status", [429, 503, 504])
def test_passing_failures_are_tried_again_with_a_fresh_oidc_token(ci: Server, tmp_path: Path, status: int) -> None:
    with vendor(refusal(status, "r", "Wait."), Answer(hang_up=True), Answer(body=granted())) as service:
        assert Job(tmp_path, ci, service).secret()
        sent = [claims_of(r.form["subject_token"])["jti"] for r in service.seen if r.path == "/token"]
    assert len(sent) == len(set(sent)) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 500, 502])
def test_other_failures_are_final(ci: Server, tmp_path: Path, status: int) -> None:
    with vendor(refusal(status, "r", "No.")) as service:
        assert Job(tmp_path, ci, service).run("get", stdin=HOST).returncode == 1
        assert service.paths().count("/token") == 1


def test_the_first_failure_is_shown_with_the_last(ci: Server, tmp_path: Path) -> None:
    with vendor(refusal(503, "r", "Wait."), refusal(400, "token_replayed", "Used.")) as service:
        done = Job(tmp_path, ci, service).run("get", stdin=HOST)
    assert "token_replayed: Used." in done.stdout
    assert "the first one failed because" in done.stdout
    assert "Wait." in done.stdout


@pytest.mark.parametrize(
    "changes",
    [
        {"access_token": 'x"y'},
        {"access_token": "two\nlines"},
        {"username": None},
        {"registry": "contoso.azurecr.io/x"},
        {"hosts": "contoso.azurecr.io"},
        {"hosts": [1]},
        {"expires_in": "3600"},
    ],
    ids=lambda changes: str(next(iter(changes))),
)
def test_an_answer_that_is_no_registry_token_is_refused(ci: Server, tmp_path: Path, changes: dict[str, object]) -> None:
    with vendor(Answer(body={**granted(), **changes})) as service:
        done = Job(tmp_path, ci, service).run("get", stdin=HOST)
    assert done.returncode == 1
    assert "no registry token" in done.stdout


# --- renewal ---


def test_a_token_is_kept_for_half_its_life(ci: Server, tmp_path: Path) -> None:
    with vendor(Answer(body=granted("first")), Answer(body=granted("second"))) as service:
        job = Job(tmp_path, ci, service, RUNNER_TEMP=str(tmp_path))
        assert [job.secret(), job.secret()] == ["first", "first"]
        (kept,) = tmp_path.glob("acr-vending-*.json")
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        content = json.loads(kept.read_text())
        aged = {**content, "obtained_at": content["obtained_at"] - 1900, "expires_at": content["expires_at"] - 1900}
        kept.write_text(json.dumps(aged))
        assert job.secret() == "second"


def test_an_old_token_serves_while_the_service_is_out_of_reach(ci: Server, tmp_path: Path) -> None:
    with vendor(Answer(body=granted("first")), refusal(503, "r", "Wait.")) as service:
        job = Job(tmp_path, ci, service, RUNNER_TEMP=str(tmp_path))
        job.secret()
        (kept,) = tmp_path.glob("acr-vending-*.json")
        content = json.loads(kept.read_text())

        def age(seconds: float) -> None:
            moved = {name: content[name] - seconds for name in ("obtained_at", "expires_at")}
            kept.write_text(json.dumps({**content, **moved}))

        age(3000)
        assert job.secret() == "first"
        age(3590)
        assert job.run("get", stdin=HOST).returncode == 1


def test_a_final_refusal_ends_the_use_of_an_old_token(ci: Server, tmp_path: Path) -> None:
    with vendor(Answer(body=granted("first")), refusal(400, "no_matching_rule", "No more.")) as service:
        job = Job(tmp_path, ci, service, RUNNER_TEMP=str(tmp_path))
        job.secret()
        (kept,) = tmp_path.glob("acr-vending-*.json")
        content = json.loads(kept.read_text())
        kept.write_text(json.dumps({**content, "obtained_at": 0, "expires_at": content["obtained_at"] + 1000}))
        assert "No more." in job.run("get", stdin=HOST).stdout


def test_without_a_directory_of_the_job_nothing_is_kept(ci: Server, tmp_path: Path) -> None:
    with vendor(Answer(body=granted("first")), Answer(body=granted("second"))) as service:
        job = Job(tmp_path, ci, service)
        before = set(tmp_path.rglob("*"))
        assert [job.secret(), job.secret()] == ["first", "second"]
        assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("spoil", ["readable", "broken", "foreign", "future"])
def test_a_kept_token_that_cannot_be_trusted_is_not_used(ci: Server, tmp_path: Path, spoil: str) -> None:
    with vendor(Answer(body=granted("first")), Answer(body=granted("second"))) as service:
        job = Job(tmp_path, ci, service, ACR_VENDING_CACHE=str(tmp_path))
        job.secret()
        (kept,) = tmp_path.glob("acr-vending-*.json")
        content = json.loads(kept.read_text())
        if spoil == "readable":
            kept.chmod(0o644)
        elif spoil == "broken":
            kept.write_text('{"token": 1}')
        elif spoil == "foreign":
            os.chown(kept, 12345, 12345)
        else:
            kept.write_text(json.dumps({**content, "obtained_at": content["obtained_at"] + 9999}))
        assert job.secret() == "second"


def test_other_settings_never_get_a_kept_token(ci: Server, tmp_path: Path) -> None:
    with vendor(Answer(body=granted("first")), Answer(body=granted("second"))) as service:
        job = Job(tmp_path, ci, service, ACR_VENDING_CACHE=str(tmp_path))
        assert job.secret() == "first"
        job.environment["ACR_VENDING_SCOPE"] = "repository:web/api:pull"
        assert job.secret() == "second"


# --- configuration ---


def test_the_file_has_settings_for_each_host(ci: Server, tmp_path: Path) -> None:
    with vendor(Answer(body=granted(hosts=[HOST, "other.example:5000"]))) as service:
        job = Job(tmp_path, ci, service)
        job.configure(
            scope="repository:common:pull",
            hosts={HOST: {"scope": "repository:web/api:push"}, "other.example:5000": {"registry": "prod"}},
        )
        job.secret()
        job.secret("https://other.example:5000/v2/")
        forms = [request.form for request in service.seen if request.path == "/token"]
        assert job.run("get", stdin="third.azurecr.io").stdout == "credentials not found in native keychain\n"
    assert [(form["scope"], form["audience"]) for form in forms] == [
        ("repository:web/api:push", HOST),
        ("repository:common:pull", "prod"),
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a JSON object"),
        ('{"ulr": "x"}', "unknown member 'ulr'"),
        ('{"scope": 1}', "scope must be a string"),
        ('{"hosts": []}', None),
        ('{"hosts": [1]}', "hosts must be an object"),
        ('{"hosts": {"x": "y"}}', "the settings of x must be an object"),
    ],
)
def test_mistakes_in_the_file_are_named(ci: Server, tmp_path: Path, text: str, told: str | None) -> None:
    with vendor() as service:
        job = Job(tmp_path, ci, service)
        (job.docker / "acr-vending.json").write_text(text)
        done = job.run("get", stdin=HOST)
    assert (done.returncode != 0) == (told is not None)
    assert told is None or told in done.stdout


# --- commands for people ---


def test_token_prints_the_token_alone_and_masks_it(ci: Server, tmp_path: Path) -> None:
    with vendor(Answer(body=granted("vended"))) as service:
        job = Job(tmp_path, ci, service)
        assert job.run("token").stdout == "vended\n"
        job.environment["GITHUB_ACTIONS"] = "true"
        assert job.run("token").stderr == "::add-mask::vended\n"


def test_options_win_over_the_environment(ci: Server, tmp_path: Path) -> None:
    with vendor() as service:
        job = Job(tmp_path, ci, service, ACR_VENDING_SCOPE="repository:no:pull")
        job.environment["ACR_VENDING_URL"] = "https://wrong.example"
        options = ("--url", service.url, "--scope", "repository:web/api:pull", "--registry", "prod")
        assert job.run("token", *options).returncode == 0
        assert job.run("token", *options, "--audience", "urn:x").returncode == 0
        first, second = (request.form for request in service.seen if request.path == "/token")
    assert (first["scope"], first["audience"]) == ("repository:web/api:pull", "prod")
    assert claims_of(second["subject_token"])["aud"] == "urn:x"


def test_login_writes_a_token_beside_what_is_there_and_logout_takes_it_back(ci: Server, tmp_path: Path) -> None:
    before = {"auths": {"ghcr.io": {"auth": "x"}, HOST: {"auth": "o"}}, "credsStore": "no", "credHelpers": {"a": "b"}}
    with vendor(Answer(body=granted("vended"))) as service:
        job = Job(tmp_path, ci, service)
        (job.docker / "config.json").write_text(json.dumps(before))
        done = job.run("login", "--write-token")
        assert done.returncode == 0
        assert HOST in done.stdout
        config = json.loads((job.docker / "config.json").read_text())
        assert config["auths"][HOST]["registrytoken"] == "vended"
        others = {name: value for name, value in config.items() if name != "auths"}
        assert others == {"credsStore": "no", "credHelpers": {"a": "b"}}
        assert stat.S_IMODE((job.docker / "config.json").stat().st_mode) == 0o600
        assert job.run("login", "--write-token").returncode == 0  # again: what was before stays known
        assert job.run("logout").returncode == 0
    assert json.loads((job.docker / "config.json").read_text()) == before
    assert [path.name for path in job.docker.iterdir()] == ["config.json"]


def test_login_leaves_no_token_in_the_home_directory_without_being_asked(ci: Server, tmp_path: Path) -> None:
    with vendor(Answer(body=granted("vended"))) as service:
        job = Job(tmp_path, ci, service)
        for directory in (None, str(job.docker)):
            if directory:
                job.environment["DOCKER_CONFIG"] = directory
            done = job.run("login")
            assert done.returncode == 1
            assert "login --helper" in done.stderr
        assert "/token" not in service.paths()
        job.environment["DOCKER_CONFIG"] = str(tmp_path / "of-the-job")
        assert job.run("login").returncode == 0
        assert "vended" in (tmp_path / "of-the-job" / "config.json").read_text()
        assert job.run("logout").returncode == 0
    assert not (tmp_path / "of-the-job").exists()
    assert list(job.docker.iterdir()) == []


def test_the_script_takes_back_what_the_helper_wrote_and_the_reverse(ci: Server, tmp_path: Path) -> None:
    before = {"auths": {HOST: {"auth": "theirs"}}}
    script = ["sh", str(CLIENTS / "acr-token.sh")]
    with vendor(Answer(body=granted("vended"))) as service:
        job = Job(tmp_path, ci, service)
        file = job.docker / "config.json"
        file.write_text(json.dumps(before))
        for log_in, log_out in (
            ([str(PROGRAM), "login", "--write-token"], [*script, "logout"]),
            ([str(PROGRAM), "login", "--helper"], [*script, "logout"]),
            ([*script, "login"], [str(PROGRAM), "logout"]),
        ):
            assert subprocess.run(log_in, env=job.environment, check=False).returncode == 0
            assert json.loads(file.read_text()) != before
            assert subprocess.run(log_out, env=job.environment, check=False).returncode == 0
            assert json.loads(file.read_text()) == before
            assert [path.name for path in job.docker.iterdir()] == ["config.json"]


def test_verbose_says_what_is_done_and_no_secret(ci: Server, tmp_path: Path) -> None:
    with vendor(Answer(body=granted("vended-secret"))) as service:
        job = Job(tmp_path, ci, service)
        for done in (job.run("get", "--verbose", stdin=HOST), job.run("--verbose", "token")):
            assert f"POST {service.url}" in done.stderr
            assert "repository:web/api:pull,push" in done.stderr
            assert "vended-secret" not in done.stderr
            assert "eyJ" not in done.stderr
            assert "request-secret" not in done.stderr
        job.environment["ACR_VENDING_VERBOSE"] = "1"
        assert "HTTP 200" in job.run("get", stdin=HOST).stderr


def test_login_keeps_a_configuration_that_is_a_link(ci: Server, tmp_path: Path) -> None:
    with vendor() as service:
        job = Job(tmp_path, ci, service)
        (tmp_path / "dotfiles.json").write_text("{}")
        (job.docker / "config.json").symlink_to(tmp_path / "dotfiles.json")
        assert job.run("login", "--write-token").returncode == 0
    assert (job.docker / "config.json").is_symlink()
    assert HOST in (tmp_path / "dotfiles.json").read_text()


def test_login_as_helper_stores_no_token(ci: Server, tmp_path: Path) -> None:
    with vendor(Answer(body=granted("vended"))) as service:
        job = Job(tmp_path, ci, service)
        (job.docker / "config.json").write_text(json.dumps({"auths": {HOST: {"auth": "old"}}}))
        assert job.run("login", "--helper", "--scope", "repository:web/api:pull").returncode == 0
        config = json.loads((job.docker / "config.json").read_text())
        assert config["auths"] == {HOST: {"auth": "old"}}
        assert config["credHelpers"][HOST] == "acr-vending"
        assert "vended" not in "".join(path.read_text() for path in job.docker.iterdir())
        assert job.secret() == "vended"
        assert service.seen[-1].form["scope"] == "repository:web/api:pull"


def test_login_as_helper_needs_the_helper_where_docker_finds_it(ci: Server, tmp_path: Path) -> None:
    with vendor() as service:
        job = Job(tmp_path, ci, service)
        job.environment["PATH"] = job.environment["PATH"].removeprefix(f"{CLIENTS}:")
        done = job.run("login", "--helper")
    assert done.returncode == 1
    assert "is not on the PATH" in done.stderr


def test_explain_puts_the_answer_into_words(ci: Server, tmp_path: Path) -> None:
    answer: dict[str, object] = {
        "allowed": False,
        "registry": HOST,
        "scope": "repository:web/api:push",
        "granted": [],
        "missing": ["repository:web/api:push"],
        "reason": "no_matching_rule",
        "error_description": "Rule web-release wants another ref.\x1b[31m",
        "rules": [
            {"name": "web-release", "matched": False, "failed_claims": ["ref"]},
            {"name": "other", "matched": True},
        ],
        "claims": {"ref": "refs/heads/topic"},
        "request_id": "req",
    }
    with vendor(Answer(body=answer)) as service:
        done = Job(tmp_path, ci, service).run("explain", "--scope", "repository:web/api:push")
        assert service.paths()[-1] == "/explain"
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "refused: repository:web/api:push",
        f"registry: {HOST}",
        "reason: no_matching_rule",
        "error_description: Rule web-release wants another ref. [31m",
        "missing: repository:web/api:push",
        "rule web-release: failed on ref",
        "rule other: matched",
        'claim ref: "refs/heads/topic"',
    ]
    with vendor(Answer(body={"allowed": True, "scope": "repository:web/api:pull"})) as service:
        assert Job(tmp_path / "allowed", ci, service).run("explain").returncode == 0


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, "there is no OIDC token here"),
        ({"GITHUB_ACTIONS": "true"}, "permissions: {id-token: write"),
        ({"SYSTEM_OIDCREQUESTURI": "https://dev.azure.example"}, "map System.AccessToken to SYSTEM_ACCESSTOKEN"),
        ({"ACR_VENDING_ID_TOKEN_FILE": "/nonexistent"}, "cannot read the OIDC token from /nonexistent"),
        ({"CIRCLECI": "true"}, "circleci gave no OIDC token"),
        ({"BUILDKITE": "true"}, "buildkite-agent gave no OIDC token"),
    ],
)
def test_what_is_missing_is_named(ci: Server, tmp_path: Path, environment: dict[str, str], told: str) -> None:
    with vendor() as service:
        job = Job(tmp_path, ci, service)
        for name in ("ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"):
            del job.environment[name]
        job.environment |= environment
        done = job.run("token")
    assert (done.returncode, done.stdout) == (1, "")
    assert told in done.stderr


def test_help_tells_every_setting(ci: Server, tmp_path: Path) -> None:
    with vendor() as service:
        job = Job(tmp_path, ci, service)
        help_text = job.run("--help").stdout
        assert job.run("version").stdout == job.run("--version").stdout
        assert job.run().returncode == 2
        assert job.run("frobnicate").returncode == 2
    used = {line for line in PROGRAM.read_text().replace('"', " ").split() if line.startswith("ACR_VENDING_")}
    names = {name.rstrip("),].;:`'") for name in used if name.rstrip("),].;:`'").isupper()}
    undocumented = {name for name in names if name not in help_text} - {"ACR_VENDING_RETRY_SECONDS"}
    assert undocumented == set()
