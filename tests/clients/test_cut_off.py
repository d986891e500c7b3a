"""A copy of a client that was cut off, wherever, does nothing and fails: a job must not go on with what it had."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from devstack import tools
from devstack.certs import TestAuthority

from .every import FAST, azure_environment, github_environment, token_for, token_for_list
from .platforms import CLIENTS, AzureJob, GitHubJob, GitLabJob, KubernetesJob, base_environment, released, run
from .servers import Answer, Server, granted, vendor
from .test_script import SHELLS, programs

SCRIPT = CLIENTS / "acr-token.sh"
HELPER = CLIENTS / "docker-credential-acr-vending"
ACTION = "contoso/acr-token-vending/clients/github-action@v1"
BYTES = os.environ.get("CLIENTS_MORE") == "1"
"""Cut after each byte, which takes minutes; otherwise at the ends of lines, and within some."""

__all__ = ["programs"]


def cuts(text: bytes, every: int) -> list[int]:
    """Return where to cut: at the end of every so many lines, and seven bytes further on."""
    if BYTES:
        return list(range(1, len(text)))
    ends = [place + 1 for place, byte in enumerate(text) if byte == ord("\n")]
    return sorted({place for end in ends[::every] for place in (end, end + 7) if place < len(text)})


def lines(text: str, every: int = 1) -> Iterable[str]:
    """Return what is left of a text after each so many lines."""
    whole = text.splitlines(keepends=True)
    return ("".join(whole[:number]) for number in range(1, len(whole), every))


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_that_is_cut_off_fails(programs: Path, tmp_path: Path, shell: str) -> None:
    text = SCRIPT.read_bytes()
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    copy = tmp_path / "copy.sh"
    command = [*SHELLS[shell](programs), str(copy), "logout"]

    def outcome(part: bytes) -> tuple[bool, bytes]:
        copy.write_bytes(part)
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        return done.returncode == 0, done.stdout

    assert outcome(text) == (True, b"")
    assert outcome(text[:-1]) == (True, b"")
    first = len(b"#!/bin/sh\n")  # shorter ones are as good as empty: see the next test
    places = [place for place in cuts(text[:-1], 5 if shell == "dash" else 29) if place > first]
    assert [place for place in places if outcome(text[:place]) != (False, b"")] == []


CALL = 'eval "$(sh ci/acr-token.sh login | grep . || echo exit 1)" && echo went on\necho went on'


@pytest.mark.parametrize("shell", ["bash", "dash"])
@pytest.mark.parametrize("part", ["", "#", "#!/bin/sh", "#!/bin/sh\n", "#!/bin/sh\n{", None], ids=repr)
def test_the_documented_call_notices_an_empty_script_and_a_missing_one(
    tmp_path: Path, part: str | None, shell: str
) -> None:
    """Of which no shell says anything: an empty script succeeds."""
    (tmp_path / "ci").mkdir()
    if part is not None:
        (tmp_path / "ci" / "acr-token.sh").write_text(part)
    done = run([shell, "-c", CALL], base_environment(tmp_path / "home"), tmp_path)
    assert done.returncode == 1
    assert "went on" not in done.stdout


def test_a_helper_that_is_cut_off_fails(tmp_path: Path) -> None:
    text = HELPER.read_text()
    copy = tmp_path / "docker-credential-acr-vending"
    guarded = text.index("atexit.register(os._exit, 70)\n")
    parts = [part for part in lines(text, 1 if BYTES else 37) if len(part) > guarded]
    sound = 0
    for part in parts:
        copy.write_text(part)
        try:
            ast.parse(part)
            sound += 1
        except SyntaxError:
            continue  # Python runs nothing of it
        done = subprocess.run([sys.executable, "-SE", copy, "version"], capture_output=True, check=False)
        assert (done.returncode, done.stdout) == (70, b""), part[-200:]
    assert sound > 5
    copy.write_text(text)
    assert subprocess.run([sys.executable, "-SE", copy, "version"], capture_output=True, check=False).returncode == 0


@pytest.fixture
def action(tmp_path: Path) -> Path:
    """Return a copy of the action in a repository of its own."""
    root = tmp_path / "action"
    (root / "github-action").mkdir(parents=True)
    for file in (released() / "github-action").iterdir():
        (root / "github-action" / file.name).write_bytes(file.read_bytes())
    return root


@pytest.mark.parametrize("file", ["main.js", "run.js"])
def test_an_action_that_is_cut_off_fails(ci: Server, tmp_path: Path, action: Path, file: str) -> None:
    tools.ensure(tools.NODE)
    code = action / "github-action" / file
    text = code.read_text()
    start = text.index("'use strict';\n") if file == "run.js" else text.index("process.exitCode")
    with vendor(Answer(body=granted())) as service:
        for number, part in enumerate(part for part in lines(text, 1 if BYTES else 3) if len(part) > start):
            if len(part) == len(text) or text[len(part) :].strip() == "":
                continue
            code.write_text(part)
            job = GitHubJob(tmp_path / f"job-{number}", {**github_environment(ci)})
            assert job.uses(ACTION, {"url": service.url}, root=action).exit_code != 0, part[-200:]


def test_an_action_without_its_script_says_so(ci: Server, tmp_path: Path, action: Path) -> None:
    (action / "github-action" / "acr-token.sh").write_text("")
    with vendor(Answer(body=granted())) as service:
        result = GitHubJob(tmp_path / "job", github_environment(ci)).uses(ACTION, {"url": service.url}, root=action)
        assert service.seen == []
    assert result.exit_code == 1
    assert "is the copy complete?" in result.errors[0]


def test_a_gitlab_template_that_is_cut_off_within_the_login_fails(tmp_path: Path) -> None:
    job = GitLabJob(tmp_path, token_for=token_for, inputs={"url": "https://"}, variables=FAST)
    (body,) = job.job["before_script"]
    job.environment["PATH"] = f"/nonexistent:{job.environment['PATH']}"
    for part in lines(body, 1 if BYTES else 53):
        job.job["before_script"] = [part]
        result = job.script("echo went on")
        assert result.exit_code != 0
        assert "went on" not in result.log
        assert not job.workspace.with_name("builds.tmp").exists()


def test_an_azure_template_that_is_cut_off_within_a_step_fails(ci: Server, tmp_path: Path) -> None:
    text = (released() / "azure-pipelines" / "acr-token.yml").read_text()
    job = AzureJob(tmp_path, azure_environment(ci))
    for step in text.split("  - bash: |\n")[1:3]:
        body = step.partition("    displayName:")[0].replace("\n      ", "\n").removeprefix("      ")
        for part in lines(body, 1 if BYTES else 53):
            assert job.bash(part).exit_code != 0
            assert not (job.temp / "acr-token.sh").exists()


def test_a_cronjobs_script_that_is_cut_off_writes_no_secret(
    kubernetes_api: Server, ca: TestAuthority, tmp_path: Path
) -> None:
    with vendor(Answer(body=granted())) as service:
        job = KubernetesJob(tmp_path, token_for=token_for_list, url=service.url, api=kubernetes_api.url, ca=ca.ca_file)
        assert job.run().exit_code == 0
        kubernetes_api.seen.clear()
        script = next(job.root.rglob("refresh-pull-secret.sh"))
        text = script.read_text()
        for part in lines(text, 1 if BYTES else 4):
            if part == "#!/bin/sh\n":
                continue  # as good as empty
            script.write_text(part)
            assert run(["/bin/sh", str(script)], job.environment, job.root).returncode != 0
        script.write_text(text)
        next(job.root.rglob("acr-token.sh")).write_text("")
        assert run(["/bin/sh", str(script)], job.environment, job.root).returncode != 0
        assert kubernetes_api.seen == []
