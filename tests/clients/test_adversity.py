"""Unusable files, a full disk, a termination at any moment: nothing is done by half, and a reason is given."""

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from .platforms import run
from .servers import Answer, granted, vendor
from .test_login import BEFORE, HELPER, PROGRAMS, SCRIPT, TOKEN, config_of, job, log_in, log_out, write_config

NOTE = "acr-vending-login.json"


def left(directory: Path) -> list[str]:
    """Return what lies beside docker's configuration and in the temporary directory."""
    places = (directory / "home" / ".docker", directory / "home-tmp")
    return sorted(path.name for place in places for path in place.iterdir() if path.name != "config.json")


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("action", ["login", "logout"])
def test_a_disk_that_is_full_leaves_the_configuration_as_it_was(tmp_path: Path, program: str, action: str) -> None:
    """The limit on the size of files stands in for a full disk: what is written fits, but for the configuration."""
    before = {**BEFORE, "x": "y" * 100_000}
    with vendor(Answer(body=granted(TOKEN))) as service:
        environment = job(tmp_path, service)
        write_config(tmp_path, before)
        if action == "logout":
            assert log_in(program, environment, tmp_path).returncode == 0
        whole = config_of(tmp_path)
        words = [action, "--write-token"] if (program, action) == (HELPER.name, "login") else [action]
        limit = f'trap "" XFSZ; ulimit -f 100; exec {SCRIPT.parent / program} {" ".join(words)}'
        done = run(["dash", "-c", limit], environment, tmp_path)
    assert done.returncode == 1
    assert "cannot write" in done.stdout
    assert "Traceback" not in done.stdout
    assert config_of(tmp_path) == whole
    assert left(tmp_path) == ([] if action == "login" else [NOTE])
    if action == "logout":
        assert log_out(program, environment, tmp_path).returncode == 0
        assert config_of(tmp_path) == before


def test_no_room_for_temporary_files_is_called_that(tmp_path: Path) -> None:
    with vendor(Answer(body=granted(TOKEN))) as service:
        environment = job(tmp_path, service)
        done = run(["dash", "-c", f'trap "" XFSZ; ulimit -f 1; exec {SCRIPT} login'], environment, tmp_path)
    assert done.returncode == 1
    assert f"there is no room left in {environment['TMPDIR']}" in done.stdout
    assert left(tmp_path) == []


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("name", ["config.json", NOTE])
@pytest.mark.parametrize("case", ["directory", "text", "cut", "array", "odd", "unreadable"])
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, program: str, name: str, case: str) -> None:
    file = tmp_path / "home" / ".docker" / name
    file.parent.mkdir(parents=True)
    odd = {"config.json": '{"auths": [], "credHelpers": 7}', NOTE: '{"hosts": {"contoso.azurecr.io": 5}}'}[name]
    if case == "directory":
        file.mkdir()
    elif case == "unreadable":
        file.symlink_to("/proc/self/mem")  # of which even root can read no first byte
    else:
        file.write_text({"text": "hello", "cut": '{"hosts": {', "array": "[1]", "odd": odd}[case])
    with vendor(Answer(body=granted(TOKEN))) as service:
        environment = job(tmp_path, service)
        done = log_in(program, environment, tmp_path)
    assert done.returncode == 1
    assert ("cannot read" if (case, name) == ("unreadable", "config.json") else name) in done.stdout
    assert "Traceback" not in done.stdout
    assert TOKEN not in done.stdout
    assert [path.name for path in file.parent.iterdir()] == [name]
    assert log_out(program, environment, tmp_path).returncode == (1 if name == NOTE else 0)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("link", ["../real/c.json", "../nowhere.json"])
def test_a_configuration_that_is_a_link_stays_one(tmp_path: Path, program: str, link: str) -> None:
    home = tmp_path / "home"
    (home / "real").mkdir(parents=True)
    (home / "real" / "c.json").write_text(json.dumps(BEFORE))
    (home / ".docker").mkdir()
    (home / ".docker" / "config.json").symlink_to(link)
    with vendor(Answer(body=granted(TOKEN))) as service:
        environment = job(tmp_path, service)
        assert log_in(program, environment, tmp_path).returncode == 0
        assert TOKEN in (home / ".docker" / "config.json").read_text()
        assert log_out(program, environment, tmp_path).returncode == 0
    assert (home / ".docker" / "config.json").readlink() == Path(link)
    assert json.loads((home / "real" / "c.json").read_text()) == BEFORE
    assert not (home / "nowhere.json").exists()


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_directory_may_have_any_name(tmp_path: Path, program: str) -> None:
    directory = tmp_path / 'it\'s a "$HOME" \\ é'
    with vendor(Answer(body=granted(TOKEN))) as service:
        environment = job(tmp_path, service, DOCKER_CONFIG=str(directory))
        assert log_in(program, environment, tmp_path).returncode == 0
        assert TOKEN in (directory / "config.json").read_text()
        assert (directory / "config.json").stat().st_mode & 0o777 == 0o600
        assert log_out(program, environment, tmp_path).returncode == 0
    assert not directory.exists()


def test_the_script_needs_no_home_where_docker_config_is_set(tmp_path: Path) -> None:
    with vendor(Answer(body=granted(TOKEN))) as service:
        environment = job(tmp_path, service)
        del environment["HOME"]
        refused = log_in("acr-token.sh", environment, tmp_path)
        assert refused.returncode == 1
        assert "neither DOCKER_CONFIG nor HOME is set" in refused.stdout
        environment["DOCKER_CONFIG"] = str(tmp_path / "own")
        assert log_in("acr-token.sh", environment, tmp_path).returncode == 0
        assert log_out("acr-token.sh", environment, tmp_path).returncode == 0
    assert not (tmp_path / "own").exists()


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("after", range(6))
def test_a_termination_at_any_moment_leaves_nothing_that_a_logout_does_not_take_back(
    tmp_path: Path, program: str, after: int
) -> None:
    words = ["login"] if program == "acr-token.sh" else ["login", "--write-token"]
    with vendor(Answer(body=granted(TOKEN))) as service:
        environment = job(tmp_path, service)
        write_config(tmp_path, BEFORE)
        process = subprocess.Popen(
            [str(SCRIPT.parent / program), *words], env=environment, cwd=tmp_path,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        time.sleep(0.04 * (after + 1))
        process.terminate()
        process.wait(120)
        json.loads((tmp_path / "home" / ".docker" / "config.json").read_text())
        assert [name for name in left(tmp_path) if name not in {NOTE, ".acr-vending.lock"}] == []
        shutil.rmtree(tmp_path / "home" / ".docker" / ".acr-vending.lock", ignore_errors=True)
        assert log_out(program, environment, tmp_path).returncode == 0
    assert config_of(tmp_path) == BEFORE
    assert left(tmp_path) == []
