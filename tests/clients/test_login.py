"""Login and logout of script and helper: what they write and leave alone, what they say, and nothing by half."""

import base64
import json
import os
import re
import shutil
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .every import FAST, github_environment, token_for
from .platforms import CLIENTS, base_environment, run
from .servers import USERNAME, Answer, Server, granted, refusal, speaking, vendor
from .tools import debian

SCRIPT = CLIENTS / "acr-token.sh"
HELPER = CLIENTS / "docker-credential-acr-vending"
HOST = "contoso.azurecr.io"
TOKEN = "header.payload-of-the-vended-token.signature"
TOOLS = (
    *("awk", "cat", "chmod", "cp", "date", "id", "mkdir", "mktemp", "mv", "readlink", "rm", "rmdir", "sed", "sleep"),
    *("tail", "tr"),
)
PROGRAMS = ["acr-token.sh", "docker-credential-acr-vending"]


def job(directory: Path, service: Server, **more: str) -> dict[str, str]:
    """Return the environment of a job that has an OIDC token in a variable."""
    (directory / "home" / ".docker").mkdir(parents=True, exist_ok=True)
    given = {"ACR_VENDING_URL": service.url, "ACR_VENDING_ID_TOKEN": token_for(service.url), **FAST}
    return {**base_environment(directory / "home", **given), **more}


def log_in(program: str, environment: dict[str, str], directory: Path) -> subprocess.CompletedProcess[str]:
    """Log in with script or helper."""
    words = ["login"] if program == "acr-token.sh" else ["login", "--write-token"]
    return run([str(CLIENTS / program), *words], environment, directory)


def log_out(program: str, environment: dict[str, str], directory: Path) -> subprocess.CompletedProcess[str]:
    """Log out with script or helper."""
    return run([str(CLIENTS / program), "logout"], environment, directory)


def config_of(directory: Path) -> Any:
    """Return the docker configuration in force."""
    return json.loads((directory / "home" / ".docker" / "config.json").read_text())


def write_config(directory: Path, config: object) -> Path:
    """Write the docker configuration that was there before."""
    file = directory / "home" / ".docker" / "config.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(config))
    return file


# --- nothing is done by half ---


def path_without(directory: Path, *missing: str, clients: tuple[str, ...] = ("curl",)) -> str:
    """Return a PATH with exactly the tools that the script needs, but for some."""
    place = directory / "tools"
    place.mkdir(parents=True)
    for tool in {"sh", *TOOLS, *clients} - set(missing):
        (place / tool).symlink_to(shutil.which(tool) or "/nonexistent")
    return str(place)


def test_it_works_with_exactly_the_tools_that_it_names(tmp_path: Path) -> None:
    with vendor(Answer(body=granted(TOKEN))) as service:
        environment = {**job(tmp_path, service), "PATH": path_without(tmp_path)}
        assert log_in("acr-token.sh", environment, tmp_path).returncode == 0
        assert config_of(tmp_path)["auths"][HOST]["registrytoken"] == TOKEN
        assert log_out("acr-token.sh", environment, tmp_path).returncode == 0


@pytest.mark.parametrize("command", ["login", "token", "docker-config"])
@pytest.mark.parametrize("missing", [*TOOLS, "curl"])
def test_a_missing_tool_ends_it_before_anything_is_done(tmp_path: Path, missing: str, command: str) -> None:
    with vendor(Answer(body=granted(TOKEN))) as service:
        environment = {**job(tmp_path, service), "PATH": path_without(tmp_path, missing)}
        script = f'eval "$("$0" {command})" && echo went on; echo went on'
        done = run(
            ["/bin/sh", "-c", script if command == "login" else f'"$0" {command}', str(SCRIPT)], environment, tmp_path
        )
        assert service.seen == []
    assert done.returncode == 1
    assert re.search(rf"not installed here: ?{missing}\b", done.stdout)
    assert "went on" not in done.stdout
    assert list((tmp_path / "home" / ".docker").iterdir()) == []


@pytest.mark.parametrize(
    ("manager", "advice"),
    [
        ("apk", "apk add --no-cache curl"),
        ("apt-get", "apt-get install"),
        ("dnf", "dnf install"),
        ("microdnf", "microdnf install"),
        ("", "no package manager"),
    ],
)
def test_it_says_how_the_image_gets_what_it_lacks(tmp_path: Path, manager: str, advice: str) -> None:
    with vendor() as service:
        path = path_without(tmp_path, "curl")
        if manager:
            (tmp_path / "tools" / manager).write_text("#!/bin/sh\nexit 1\n")
            (tmp_path / "tools" / manager).chmod(0o755)
        done = log_in("acr-token.sh", {**job(tmp_path, service), "PATH": path}, tmp_path)
    assert advice in done.stdout


def test_gnu_wget_does_where_there_is_no_curl(tmp_path: Path) -> None:
    answers = (Answer(503, "<html><title>Gateway down</title>"), refusal(400, "no_matching_rule", "No rule matches."))
    with vendor(Answer(hang_up=True), Answer(body=granted(TOKEN))) as service:
        environment = {**job(tmp_path, service), "PATH": path_without(tmp_path, clients=("wget",))}
        assert log_in("acr-token.sh", environment, tmp_path).returncode == 0
        assert config_of(tmp_path)["auths"][HOST]["registrytoken"] == TOKEN
        assert service.seen[-1].headers["content-type"] == "application/x-www-form-urlencoded"
    with vendor(*answers) as service:
        environment = {**job(tmp_path, service), "PATH": environment["PATH"]}
        done = log_in("acr-token.sh", environment, tmp_path)
    assert done.returncode == 1
    assert "Gateway down" in done.stdout
    assert "no_matching_rule: No rule matches. (request req-9)" in done.stdout


def test_wget_asks_the_platform_with_its_secret_in_a_file(ci: Server, tmp_path: Path) -> None:
    with vendor(Answer(body=granted(TOKEN))) as service:
        environment = {**job(tmp_path, service), **github_environment(ci)}
        del environment["ACR_VENDING_ID_TOKEN"]
        environment["PATH"] = path_without(tmp_path, clients=("wget",))
        done = run([str(SCRIPT), "token"], environment, tmp_path)
        assert (done.returncode, done.stdout) == (0, f"{TOKEN}\n")
        assert ci.seen[-1].query["audience"] == [service.url]


def test_wget_follows_no_redirect_and_no_secret_is_its_argument(tmp_path: Path) -> None:
    path = path_without(tmp_path, clients=("wget",))
    (tmp_path / "tools" / "wget").unlink()
    spy = f'#!/bin/sh\nprintf "%s\\n" "$*" >>"{tmp_path}/arguments"\nexec {shutil.which("wget")} "$@"\n'
    (tmp_path / "tools" / "wget").write_text(spy)
    (tmp_path / "tools" / "wget").chmod(0o755)
    with vendor() as elsewhere, vendor(Answer(307, headers={"Location": f"{elsewhere.url}/token"})) as service:
        environment = {**job(tmp_path, service), "PATH": path}
        done = log_in("acr-token.sh", environment, tmp_path)
        assert elsewhere.seen == []
    assert "redirect" in done.stdout
    arguments = (tmp_path / "arguments").read_text()
    assert "--post-file" in arguments
    assert environment["ACR_VENDING_ID_TOKEN"] not in arguments


def test_busyboxs_wget_is_not_used(tmp_path: Path) -> None:
    """It checks no certificate and sends the token on to wherever a redirect points."""
    busybox = debian("shells", "busybox-static", "gawk", "libsigsegv2", "original-awk", "yash", "ksh93u+m", "mawk")
    with vendor() as service:
        path = path_without(tmp_path, "curl")
        (tmp_path / "tools" / "wget").symlink_to(busybox / "bin" / "busybox")
        done = log_in("acr-token.sh", {**job(tmp_path, service), "PATH": path}, tmp_path)
        assert service.seen == []
    assert done.returncode == 1
    assert "busybox has another" in done.stdout


# --- a refusal stops whoever calls ---

CALLS = {
    "plain": ('eval "$({} login)"', "-e"),
    "no-errexit": ('eval "$({} login)"', "-c"),
    "and": ('eval "$({} login)" && trap : EXIT', "-e"),
    "or-exit": ('eval "$({} login || echo exit 1)" && trap : EXIT', "-c"),
    "pipe": ('eval "$({} login | cat)" && trap : EXIT', "-c"),
    "twice": ('set -u; eval "$({} login)"; eval "$({} login)"', "-c"),
}


@pytest.mark.parametrize("shell", ["bash", "dash"])
@pytest.mark.parametrize("call", CALLS)
def test_a_refused_login_stops_the_caller(tmp_path: Path, call: str, shell: str) -> None:
    line, option = CALLS[call]
    options = ["-ec"] if option == "-e" else ["-c"]
    with vendor(refusal(400, "no_matching_rule", "No rule matches.")) as service:
        script = line.replace("{}", str(SCRIPT)) + "\necho went on"
        done = run([shell, *options, script], job(tmp_path, service), tmp_path)
    assert done.returncode != 0
    assert "went on" not in done.stdout
    assert "No rule matches." in done.stdout


@pytest.mark.parametrize("shell", ["bash", "dash"])
def test_a_login_that_works_goes_on(tmp_path: Path, shell: str) -> None:
    for line, _ in CALLS.values():
        with vendor(Answer(body=granted(TOKEN))) as service:
            script = line.replace("{}", str(SCRIPT)) + "\necho went on"
            done = run([shell, "-ec", script], job(tmp_path, service), tmp_path)
        assert (done.returncode, done.stdout) == (0, "went on\n")


def test_a_script_that_is_not_there_stops_the_documented_call(tmp_path: Path) -> None:
    script = 'eval "$(sh ci/acr-token.sh login || echo exit 1)" && echo went on\necho went on'
    done = run(["sh", "-c", script], base_environment(tmp_path / "home"), tmp_path)
    assert done.returncode == 1
    assert "went on" not in done.stdout


def test_a_persons_own_terminal_stays_open(tmp_path: Path) -> None:
    with vendor(refusal(400, "r", "No.")) as service:
        environment = job(tmp_path, service, PS1="", PS2="")
        done = run(["bash", "--norc", "-i", "-c", f'eval "$({SCRIPT} login)"; echo still here'], environment, tmp_path)
    assert "still here" in done.stdout


# --- the configuration ---

BEFORE: dict[str, Any] = {
    "auths": {"ghcr.io": {"auth": "a2VwdA=="}, HOST: {"auth": "dGhlaXJz"}},
    "credHelpers": {"eu.gcr.io": "gcloud"},
    "psFormat": "table",
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_entry_that_somebody_else_has_written_since_stays(tmp_path: Path, program: str) -> None:
    with vendor(Answer(body=granted(TOKEN))) as service:
        environment = job(tmp_path, service)
        file = write_config(tmp_path, BEFORE)
        assert log_in(program, environment, tmp_path).returncode == 0
        config = config_of(tmp_path)
        config["auths"][HOST] = {"auth": "bmV3ZXI="}
        file.write_text(json.dumps(config))
        assert log_out(program, environment, tmp_path).returncode == 0
    assert config_of(tmp_path) == {**BEFORE, "auths": {"ghcr.io": {"auth": "a2VwdA=="}, HOST: {"auth": "bmV3ZXI="}}}


@pytest.mark.parametrize("program", PROGRAMS)
def test_docker_may_write_its_file_anew_in_between(tmp_path: Path, program: str) -> None:
    """Its `docker login` for another host sorts every entry's members and changes the white space."""
    with vendor(Answer(body=granted(TOKEN))) as service:
        environment = job(tmp_path, service)
        file = write_config(tmp_path, BEFORE)
        log_in(program, environment, tmp_path)
        file.write_text(json.dumps(config_of(tmp_path), indent=8, sort_keys=True))
        log_out(program, environment, tmp_path)
    assert config_of(tmp_path) == BEFORE


@pytest.mark.parametrize("program", PROGRAMS)
def test_logins_add_up_and_one_logout_takes_all_back(tmp_path: Path, program: str) -> None:
    other = granted("other.vended.token", registry="other.azurecr.io", hosts=["other.azurecr.io"])
    with vendor(Answer(body=granted(TOKEN)), Answer(body=other), Answer(body=granted("third.vended.token"))) as service:
        environment = job(tmp_path, service)
        write_config(tmp_path, BEFORE)
        for _ in range(3):
            assert log_in(program, environment, tmp_path).returncode == 0
        auths = config_of(tmp_path)["auths"]
        assert auths["other.azurecr.io"]["registrytoken"] == "other.vended.token"
        assert auths[HOST]["registrytoken"] == "third.vended.token"
        log_out(program, environment, tmp_path)
        assert config_of(tmp_path) == BEFORE
        assert log_out(program, environment, tmp_path).returncode == 0  # a second one has nothing to do
        assert config_of(tmp_path) == BEFORE


def test_parallel_logins_to_different_registries_do_not_race(tmp_path: Path) -> None:
    hosts = [f"registry{number}.azurecr.io" for number in range(8)]
    with vendor(*(Answer(body=granted(f"t.{host}.s", registry=host, hosts=[host])) for host in hosts)) as service:
        environment = job(tmp_path, service)
        write_config(tmp_path, BEFORE)
        commands = [[str(SCRIPT), "login"], [str(HELPER), "login", "--write-token"]] * 4
        running = [
            subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for command in commands
        ]
        assert [process.wait(120) for process in running] == [0] * 8
    auths = config_of(tmp_path)["auths"]
    assert {host: auths[host]["registrytoken"] for host in hosts} == {host: f"t.{host}.s" for host in hosts}
    log_out("acr-token.sh", environment, tmp_path)
    assert config_of(tmp_path) == BEFORE
    assert [path.name for path in (tmp_path / "home" / ".docker").iterdir()] == ["config.json"]


def test_a_directory_of_the_jobs_own_leaves_the_original_alone(tmp_path: Path) -> None:
    with vendor(Answer(body=granted(TOKEN))) as service:
        environment = job(tmp_path, service, ACR_VENDING_DOCKER_CONFIG=str(tmp_path / "own"))
        file = write_config(tmp_path, BEFORE)
        (file.parent / "cli-plugins").mkdir()
        (file.parent / "cli-plugins" / "docker-x").write_text("x")
        original = file.read_bytes()
        script = f'eval "$({SCRIPT} login)"; cat "$DOCKER_CONFIG/config.json" "$DOCKER_CONFIG/cli-plugins/docker-x"; '
        done = run(
            ["sh", "-ec", script + f'eval "$({SCRIPT} logout)"; echo "${{DOCKER_CONFIG-none}}"'], environment, tmp_path
        )
    copy, left = done.stdout.rsplit("x", 1)
    auths = json.loads(copy)["auths"]
    assert auths["ghcr.io"] == BEFORE["auths"]["ghcr.io"]
    assert auths[HOST]["registrytoken"] == TOKEN
    assert left == "none\n"
    assert file.read_bytes() == original
    assert not (tmp_path / "own").exists()


def test_gits_bash_on_windows_names_the_configuration_as_docker_knows_it(tmp_path: Path) -> None:
    with vendor(Answer(body=granted(TOKEN))) as service:
        environment = job(tmp_path, service, PATH=path_without(tmp_path))
        (tmp_path / "tools" / "cygpath").write_text('#!/bin/sh\n[ "$1" = -m ] && echo "$2/../.docker"\n')
        (tmp_path / "tools" / "cygpath").chmod(0o755)
        done = log_in("acr-token.sh", environment, tmp_path)
    assert done.stdout == f"export DOCKER_CONFIG='{tmp_path}/home/.docker/../.docker'\n"


def test_a_directory_of_somebody_else_is_not_written_into(tmp_path: Path) -> None:
    with vendor() as service:
        own = tmp_path / "own"
        own.mkdir(mode=0o777)
        environment = job(tmp_path, service, ACR_VENDING_DOCKER_CONFIG=str(own))
        done = log_in("acr-token.sh", environment, tmp_path)
        assert "is there already and not ours" in done.stdout
        (own / ".acr-vending").touch()
        os.chown(own, 12345, 12345)
        assert "is there already and not ours" in log_in("acr-token.sh", environment, tmp_path).stdout
    assert [path.name for path in own.iterdir()] == [".acr-vending"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_link_keeps_its_place_and_its_target_is_for_this_user_alone(tmp_path: Path, program: str) -> None:
    with vendor() as service:
        environment = job(tmp_path, service)
        (tmp_path / "dotfiles").mkdir()
        target = tmp_path / "dotfiles" / "docker.json"
        target.write_text(json.dumps(BEFORE))
        target.chmod(0o644)
        (tmp_path / "home" / ".docker" / "config.json").symlink_to("../../dotfiles/docker.json")
        assert log_in(program, environment, tmp_path).returncode == 0
        assert (tmp_path / "home" / ".docker" / "config.json").is_symlink()
        assert HOST in target.read_text()
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
        log_out(program, environment, tmp_path)
    assert json.loads(target.read_text()) == BEFORE


# --- credential stores ---

STORE = """#!/usr/bin/env python3
# A credential store as docker's protocol has it, which keeps what it is given in a file.
import json, pathlib, sys
file = pathlib.Path(sys.argv[0] + ".json")
kept = json.loads(file.read_text()) if file.exists() else {}
given = sys.stdin.read()
if sys.argv[1] == "store":
    entry = json.loads(given)
    if len(entry["Secret"]) > LIMIT:
        sys.exit(print("The stub received bad data.") or 1)
    kept[entry["ServerURL"]] = entry
elif sys.argv[1] == "get":
    if given.strip() not in kept:
        sys.exit(print("credentials not found in native keychain") or 1)
    print(json.dumps(kept[given.strip()]))
elif sys.argv[1] == "erase":
    kept.pop(given.strip(), None)
else:
    print(json.dumps({name: entry["Username"] for name, entry in kept.items()}))
file.write_text(json.dumps(kept))
"""


def store(directory: Path, environment: dict[str, str], kept: dict[str, str], limit: int = 2560) -> Path:
    """Install a credential store named `keychain`; return the file that it keeps."""
    place = directory / "stores"
    place.mkdir()
    program = place / "docker-credential-keychain"
    program.write_text(STORE.replace("LIMIT", str(limit)))
    program.chmod(0o755)
    environment["PATH"] = f"{place}:{environment['PATH']}"
    file = place / "docker-credential-keychain.json"
    entries = {name: {"ServerURL": name, "Username": "u", "Secret": secret} for name, secret in kept.items()}
    file.write_text(json.dumps(entries))
    return file


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_credential_store_gets_the_token_and_gives_it_back(tmp_path: Path, program: str) -> None:
    before = {"auths": {"ghcr.io": {}}, "credsStore": "keychain"}
    with vendor(Answer(body=granted(TOKEN)), Answer(body=granted("second.vended.token"))) as service:
        environment = job(tmp_path, service)
        write_config(tmp_path, before)
        file = store(tmp_path, environment, {"ghcr.io": "theirs"})
        done = log_in(program, environment, tmp_path)
        assert "warning" not in done.stdout
        kept = json.loads(file.read_text())
        assert kept[HOST] == {"ServerURL": HOST, "Username": USERNAME, "Secret": TOKEN}
        log_in(program, environment, tmp_path)
        assert json.loads(file.read_text())[HOST]["Secret"] == "second.vended.token"
        log_out(program, environment, tmp_path)
    assert set(json.loads(file.read_text())) == {"ghcr.io"}
    assert config_of(tmp_path) == before


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_store_that_repeats_what_it_was_given_does_not_get_the_token_into_the_log(
    tmp_path: Path, program: str
) -> None:
    with vendor(Answer(body=granted(TOKEN))) as service:
        environment = job(tmp_path, service)
        write_config(tmp_path, {"credsStore": "keychain"})
        store(tmp_path, environment, {})
        (tmp_path / "stores" / "docker-credential-keychain").write_text("#!/bin/sh\ncat\nexit 1\n")
        done = log_in(program, environment, tmp_path)
    assert "did not take the credentials" in done.stdout
    assert TOKEN not in done.stdout


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("case", ["theirs", "full", "missing", "helper"])
def test_a_store_that_others_use_for_the_host_is_left_alone_and_told_of(
    tmp_path: Path, program: str, case: str
) -> None:
    before: dict[str, Any] = {"auths": {}, "credsStore": "keychain"}
    with vendor(Answer(body=granted(TOKEN))) as service:
        environment = job(tmp_path, service)
        told = {
            "theirs": f"docker logout {HOST}",
            "full": "did not take the credentials of contoso.azurecr.io (The stub received bad data.)",
            "missing": "did not take the credentials of contoso.azurecr.io",
            "helper": "names 'ecr-login' for contoso.azurecr.io",
        }[case]
        kept = {HOST: "theirs"} if case == "theirs" else {}
        file = store(tmp_path, environment, kept, limit=10 if case == "full" else 2560)
        if case == "missing":
            (tmp_path / "stores" / "docker-credential-keychain").unlink()
        if case == "helper":
            before["credHelpers"] = {HOST: "ecr-login"}
        write_config(tmp_path, before)
        held = file.read_text()
        done = log_in(program, environment, tmp_path)
        assert done.returncode == 0
        assert told in done.stdout
        assert TOKEN not in done.stdout.replace(f'"{TOKEN}"', "")
        assert json.loads(file.read_text()).get(HOST) == json.loads(held).get(HOST)
        log_out(program, environment, tmp_path)
    assert config_of(tmp_path) == before
    assert json.loads(file.read_text()).get(HOST) == json.loads(held).get(HOST)


# --- what wins over a login ---


def shadowing(name: str, directory: Path, environment: dict[str, str]) -> str:
    """Put something in front of the login, and return what undoes it."""
    entry = {"auths": {HOST: {"auth": "b2xk"}}}
    home = directory / "home"
    files = {
        "podman": (home / ".config/containers/auth.json", entry, f"podman logout --authfile {home}/.config/containers"),
        "runtime": (
            directory / "run/containers/auth.json",
            entry,
            f"podman logout --authfile {directory}/run/containers",
        ),
        "helm": (home / ".config/helm/registry/config.json", entry, f"helm registry logout {HOST}"),
        "regctl": (home / ".regctl/config.json", {"hosts": {HOST: {"user": "x"}}}, f"regctl registry logout {HOST}"),
        "buildx": (home / f".docker/buildx/config/{HOST}@push/config.json", entry, "remove that directory"),
        "repository": (home / ".docker/config.json", {"auths": {f"{HOST}/web": {"auth": "x"}}}, "remove that entry"),
    }
    if name == "environment":
        environment["DOCKER_AUTH_CONFIG"] = json.dumps({"auths": {f"https://{HOST}/v1/": {"auth": "b2xk"}}})
        return "unset DOCKER_AUTH_CONFIG"
    if name == "authfile":
        environment["REGISTRY_AUTH_FILE"] = str(directory / "auth.json")
        return "unset REGISTRY_AUTH_FILE"
    file, content, undo = files[name]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    if name == "runtime":
        environment["XDG_RUNTIME_DIR"] = str(directory / "run")
    return undo


SHADOWS = ["environment", "authfile", "podman", "runtime", "helm", "regctl", "buildx", "repository"]


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("name", SHADOWS)
def test_what_wins_over_the_login_is_named_with_what_undoes_it(tmp_path: Path, program: str, name: str) -> None:
    with vendor(Answer(body=granted(TOKEN))) as service:
        environment = job(tmp_path, service)
        undo = shadowing(name, tmp_path, environment)
        done = log_in(program, environment, tmp_path)
    assert done.returncode == 0
    (warning,) = [line for line in done.stdout.splitlines() if "warning" in line]
    assert "instead of this login" in warning or "not this login" in warning
    assert f"To undo it{',' if undo.startswith('remove') else ':'} {undo}" in warning


@pytest.mark.parametrize("program", PROGRAMS)
def test_entries_of_other_hosts_are_no_reason_to_warn(tmp_path: Path, program: str) -> None:
    with vendor(Answer(body=granted(TOKEN))) as service:
        environment = job(tmp_path, service)
        other = {"auths": {"other.azurecr.io": {"auth": "x"}, f"{HOST}.example": {"auth": "x"}}}
        environment["DOCKER_AUTH_CONFIG"] = json.dumps(other)
        for file in (".config/containers/auth.json", ".config/helm/registry/config.json", ".docker/config.json"):
            (tmp_path / "home" / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "home" / file).write_text(json.dumps(other))
        done = log_in(program, environment, tmp_path)
    assert "warning" not in done.stdout


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(
    ("first", "second", "warns"),
    [
        ("repository:web/api:pull,push", "repository:web/ui:pull", True),
        ("repository:web/api:pull,push", "repository:web/api:pull", True),
        ("repository:web/api:pull", "repository:web/api:pull,push", False),
        ("repository:web/api:pull", "repository:web/api:pull", False),
        ("repository:web/api:pull", "repository:web/ui:pull repository:web/api:pull", False),
    ],
)
def test_a_second_login_that_takes_something_away_says_so(
    tmp_path: Path, program: str, first: str, second: str, warns: bool
) -> None:
    with vendor(Answer(body=granted(TOKEN, scope=first)), Answer(body=granted("x.y.z", scope=second))) as service:
        environment = job(tmp_path, service)
        assert "warning" not in log_in(program, environment, tmp_path).stdout
        said = log_in(program, environment, tmp_path).stdout
    assert (f"ACR_VENDING_SCOPE='{first} {second}'" in said) == warns
    assert ("this login replaces an earlier one" in said) == warns


def test_a_token_that_has_expired_is_not_missed(tmp_path: Path) -> None:
    old = granted(TOKEN, scope="repository:web/api:push", expires_at="2026-01-01T00:00:00Z")
    with vendor(Answer(body=old), Answer(body=granted("x.y.z", scope="repository:web/ui:pull"))) as service:
        environment = job(tmp_path, service)
        log_in("acr-token.sh", environment, tmp_path)
        assert "warning" not in log_in("acr-token.sh", environment, tmp_path).stdout


# --- the wire ---


def endless(answer: bytes) -> Callable[[socket.socket], None]:
    """Say these bytes up to the NUL, and then the rest of them over and over."""

    def speak(client: socket.socket) -> None:
        head, _, chunk = answer.partition(b"\0")
        client.sendall(head)
        for _ in range(2000):
            client.sendall(chunk)

    return speak


CHUNKED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n\0"
    b"1000\r\n" + b" " * 4096 + b"\r\n"
)
ENDLESS = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n\0" + b" " * 4096
HEADERS = b"HTTP/1.1 200 OK\r\n\0X-Filler: " + b"x" * 4000 + b"\r\n"


@pytest.mark.parametrize("program", [*PROGRAMS, "wget"])
@pytest.mark.parametrize("answer", [CHUNKED, ENDLESS, HEADERS], ids=["chunked", "until-close", "headers"])
def test_an_endless_answer_ends(tmp_path: Path, program: str, answer: bytes) -> None:
    with speaking(endless(answer)) as url:
        environment = job(tmp_path, Server(url), ACR_VENDING_MAX_ATTEMPTS="1")
        if program == "wget":
            environment["PATH"] = path_without(tmp_path, clients=("wget",))
        name = "acr-token.sh" if program == "wget" else program
        done = run([str(CLIENTS / name), "token"], environment, tmp_path)
    assert done.returncode == 1
    sizes = [path.stat().st_size for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()]
    assert max(sizes, default=0) <= 1 << 20
    assert not list(tmp_path.rglob("core*"))


@pytest.mark.parametrize("program", [*PROGRAMS, "wget"])
def test_a_proxy_does_not_see_what_stays_on_the_machine(tmp_path: Path, program: str) -> None:
    with vendor(Answer(body=granted(TOKEN))) as service, vendor() as proxy:
        environment = job(tmp_path, service)
        environment |= dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"), proxy.url)
        if program == "wget":
            environment["PATH"] = path_without(tmp_path, clients=("wget",))
        name = "acr-token.sh" if program == "wget" else program
        done = run([str(CLIENTS / name), "token"], environment, tmp_path)
        assert (done.returncode, done.stdout) == (0, f"{TOKEN}\n")
        assert proxy.seen == []


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("end", ["\n", "\r\n", " \t\n\n"])
def test_a_token_file_may_end_in_white_space(tmp_path: Path, program: str, end: str) -> None:
    with vendor(Answer(body=granted(TOKEN))) as service:
        environment = job(tmp_path, service)
        file = tmp_path / "token"
        file.write_text(environment.pop("ACR_VENDING_ID_TOKEN") + end)
        environment["ACR_VENDING_ID_TOKEN_FILE"] = str(file)
        assert run([str(CLIENTS / program), "token"], environment, tmp_path).stdout == f"{TOKEN}\n"
        assert service.seen[-1].form["subject_token"] == file.read_text().strip()
        assert service.seen[-1].headers["content-length"] == str(len(service.seen[-1].body))


ANSWERS = {
    "html": (Answer(403, "<!DOCTYPE html>\n<html><head><title>403 Blocked here</title></head>"), "403 Blocked here"),
    "text": (Answer(400, "upstream connect error\nmore"), "upstream connect error"),
    "long": (Answer(400, "x" * 4000), "x" * 200 + "..."),
    "message": (Answer(400, {"message": "Resource not accessible."}), "Resource not accessible."),
    "problem": (Answer(400, {"type": "about:blank", "title": "Bad gateway", "status": 400}), "Bad gateway"),
    "link": (Answer(400, {"error_description": "No.", "reason": "r", "error_uri": "https://docs.example/#r"}), "https://docs.example/#r"),
}  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("case", ANSWERS)
def test_what_the_server_said_is_said(tmp_path: Path, program: str, case: str) -> None:
    answer, shown = ANSWERS[case]
    with vendor(answer) as service:
        done = run([str(CLIENTS / program), "token"], job(tmp_path, service), tmp_path)
    assert done.returncode == 1
    assert shown in done.stdout
    assert "<" not in done.stdout
    assert len(done.stdout) < 600


@pytest.mark.parametrize("value", ["x", "-1", "1.5", "99999"])
@pytest.mark.parametrize("name", ["ACR_VENDING_MAX_ATTEMPTS", "ACR_VENDING_RETRY_SECONDS"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_count_that_is_none_is_refused(tmp_path: Path, program: str, name: str, value: str) -> None:
    with vendor() as service:
        done = run([str(CLIENTS / program), "token"], {**job(tmp_path, service), name: value}, tmp_path)
        assert service.seen == []
    assert done.returncode == 1
    assert name in done.stdout


# --- secrets ---


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_file_has_a_secret_after_logout(tmp_path: Path, program: str) -> None:
    with vendor(Answer(body=granted(TOKEN))) as service:
        environment = job(tmp_path, service, TMPDIR=str(tmp_path / "tmp"))
        (tmp_path / "tmp").mkdir()
        write_config(tmp_path, BEFORE)
        log_in(program, environment, tmp_path)
        log_out(program, environment, tmp_path)
        secrets = (
            TOKEN,
            base64.b64encode(f"{USERNAME}:{TOKEN}".encode()).decode(),
            environment["ACR_VENDING_ID_TOKEN"],
        )
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert not [secret for secret in secrets if secret.encode() in path.read_bytes()], path
    assert list((tmp_path / "tmp").iterdir()) == []


def test_an_interrupted_login_leaves_no_secret_in_the_temporary_directory(tmp_path: Path) -> None:
    with vendor(refusal(503, "r", "Wait.", Retry_After="2")) as service:
        environment = job(tmp_path, service, TMPDIR=str(tmp_path / "tmp"))
        (tmp_path / "tmp").mkdir()
        process = subprocess.Popen(
            [str(SCRIPT), "login"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        assert process.stderr is not None
        assert "Trying again" in process.stderr.readline()
        os.killpg(process.pid, 15)
        process.wait(60)
        process.stderr.close()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_gitlabs_mask_is_said_only_under_the_runners_proxy(tmp_path: Path) -> None:
    """Any other runner would write the line into the log. A script that speaks of the proxy is no proxy."""
    with vendor(Answer(body=granted(TOKEN))) as service:
        environment = job(tmp_path, service, GITLAB_CI="true")
        command = f"{SCRIPT} token >/dev/null; : gitlab-runner-helper proxy-exec "
        assert TOKEN not in run(["sh", "-c", command], environment, tmp_path).stdout
        proxy = tmp_path / "gitlab-runner-helper"
        shutil.copy(shutil.which("sh") or "/bin/sh", proxy)
        (tmp_path / "proxy-exec").write_text(f"{SCRIPT} token >/dev/null\n:\n")
        done = run([str(proxy), "proxy-exec", "--bootstrap"], environment, tmp_path)
    assert done.stdout.splitlines()[0] == f"::add-mask::{TOKEN}"
