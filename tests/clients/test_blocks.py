"""Every documented block, as its platform runs it: granted, refused, in an outage; and what each leaves behind."""

import base64
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from .every import FAST, azure_environment, github_environment, token_for, token_for_list
from .platforms import (
    CLIENTS,
    AzureJob,
    GitHubJob,
    GitLabJob,
    SnippetJob,
    base_environment,
    run,
    snippet,
    yaml_documents,
)
from .servers import USERNAME, Answer, Server, granted, refusal, vendor
from .test_docs import block

TOKEN = "header.payload-of-the-vended-token.signature"
EXAMPLE = "https://vend.contoso.example"


class Job:
    """A place for a block to run in: docker is a program that notes what it was asked and whether it could log in."""

    def __init__(self, directory: Path, url: str, ci: Server) -> None:
        self.directory = directory
        self.url = url
        self.ci = ci
        self.home = directory / "job" / "home"
        programs = directory / "programs"
        programs.mkdir()
        note = f'grep -q {TOKEN} "${{DOCKER_CONFIG:-$HOME/.docker}}/config.json" && word=with || word=without'
        (programs / "docker").write_text(f'#!/bin/sh\n{note}\necho "docker $1 $word credentials"\n')
        (programs / "docker").chmod(0o755)
        self.programs = str(programs)

    def real(self, text: str) -> str:
        """Replace the service's address."""
        return text.replace(EXAMPLE, self.url)

    def shell(self, script: str, *options: str, **environment: str) -> tuple[int, str]:
        """Run lines with `sh` beside the script, as a platform without a template does."""
        given = base_environment(self.home, **FAST, **environment)
        given["PATH"] = f"{self.programs}:{given['PATH']}"
        lines = re.sub(r"(ci/)?acr-token\.sh", str(CLIENTS / "acr-token.sh"), self.real(script))
        done = run(["sh", *options, "-c", lines], given, self.directory)
        return done.returncode, done.stdout


def github(job: Job) -> tuple[int, str]:
    (document,) = yaml_documents(job.real(block("GitHub Actions")))
    use, push = document["steps"]
    runner = GitHubJob(job.directory / "job", github_environment(job.ci))
    runner.environment["PATH"] = f"{job.programs}:{runner.environment['PATH']}"
    result = runner.uses(use["uses"], use["with"])
    log = result.log + "".join(result.errors)
    if result.exit_code == 0:
        result = runner.run(push["run"])
        log += result.log
    runner.finish()
    return result.exit_code, log


def gitlab(job: Job) -> tuple[int, str]:
    (document,) = yaml_documents(job.real(block("GitLab")))
    runner = GitLabJob(
        job.directory / "job", token_for=token_for, inputs=document["include"][0]["inputs"], variables=FAST
    )
    runner.environment["PATH"] = f"{job.programs}:{runner.environment['PATH']}"
    result = runner.script(document["image"]["script"], shell=("sh", "-e"))
    return result.exit_code, result.log


def azure_pipelines(job: Job) -> tuple[int, str]:
    (document,) = yaml_documents(job.real(block("Azure Pipelines")))
    (use,) = document["steps"]
    runner = AzureJob(job.directory / "job", azure_environment(job.ci))
    runner.environment["PATH"] = f"{job.programs}:{runner.environment['PATH']}"
    result = runner.template(use["template"], use["parameters"])
    return result.exit_code, result.log + "".join(result.errors)


def snippet_block(platform: str) -> Callable[[Job], tuple[int, str]]:
    def block_of(job: Job) -> tuple[int, str]:
        name = platform.lower()
        issue = token_for_list if name == "bitbucket" else token_for
        runner = SnippetJob(job.directory / "job", name, issue, url=job.url)
        runner.environment |= FAST
        runner.environment["PATH"] = f"{job.programs}:{runner.environment['PATH']}"
        result = runner.run(snippet(name, block(platform)))
        runner.hidden.unlink(missing_ok=True)
        return result.exit_code, result.log

    return block_of


def anything_else(job: Job) -> tuple[int, str]:
    return job.shell(block("Anything else"), ACR_VENDING_ID_TOKEN=token_for(job.url))


def jenkins(job: Job) -> tuple[int, str]:
    lines = re.search(r"^    sh '''\n(.*?)^    '''$", block("Jenkins"), flags=re.DOTALL | re.MULTILINE)
    assert lines is not None
    token = job.directory / "id-token"
    token.write_text(token_for(job.url))
    given = {"ACR_VENDING_ID_TOKEN_FILE": str(token), "ACR_VENDING_URL": job.url, "WORKSPACE_TMP": str(job.directory)}
    return job.shell(lines[1], "-xe", **given)


BLOCKS: dict[str, Callable[[Job], tuple[int, str]]] = {
    "github": github,
    "gitlab": gitlab,
    "azure-pipelines": azure_pipelines,
    **{platform.lower(): snippet_block(platform) for platform in ("CircleCI", "Bitbucket", "Buildkite")},
    "anything-else": anything_else,
    "jenkins": jenkins,
}


def assert_clean(directory: Path) -> None:
    """Check that no file holds the vended token or anything made of it."""
    forms = (TOKEN.encode(), base64.b64encode(f"{USERNAME}:{TOKEN}".encode()))
    for path in (path for path in directory.rglob("*") if path.is_file() and path.parent.name != "programs"):
        assert not any(form in path.read_bytes() for form in forms), path
    assert not list(directory.rglob("acr-vending*"))


def use(name: str, directory: Path, url: str, ci: Server) -> tuple[int, str]:
    """Run a block; Azure Pipelines' own audience is what its block names."""
    return BLOCKS[name](Job(directory, url, ci))


@pytest.mark.parametrize("name", BLOCKS)
def test_a_granted_login_pushes_and_leaves_nothing(ci: Server, tmp_path: Path, name: str) -> None:
    with vendor(Answer(body=granted(TOKEN))) as service:
        code, log = use(name, tmp_path, service.url, ci)
    assert code == 0, log
    assert "docker push with credentials" in log
    assert TOKEN not in log
    assert base64.b64encode(f"{USERNAME}:{TOKEN}".encode()).decode() not in log
    assert "eyJ" not in log
    assert_clean(tmp_path)


@pytest.mark.parametrize("name", BLOCKS)
def test_a_refused_login_never_reaches_the_push(ci: Server, tmp_path: Path, name: str) -> None:
    with vendor(refusal(400, "no_matching_rule", "No rule matches.")) as service:
        code, log = use(name, tmp_path, service.url, ci)
    assert code != 0
    assert "docker push" not in re.sub(r"^\+.*$", "", log, flags=re.MULTILINE)
    assert "no_matching_rule: No rule matches." in log
    assert_clean(tmp_path)


@pytest.mark.parametrize("name", BLOCKS)
def test_an_outage_never_reaches_the_push(ci: Server, tmp_path: Path, name: str) -> None:
    with vendor() as gone:
        pass
    code, log = use(name, tmp_path, gone.url, ci)
    assert code != 0
    assert "docker push" not in re.sub(r"^\+.*$", "", log, flags=re.MULTILINE)
    assert "no answer from" in log
    assert_clean(tmp_path)


@pytest.mark.parametrize("name", BLOCKS)
def test_a_job_whose_own_command_fails_leaves_nothing(ci: Server, tmp_path: Path, name: str) -> None:
    """But for the plain lines, whose last is the logout: there the shell has ended before it."""
    with vendor(Answer(body=granted(TOKEN))) as service:
        job = Job(tmp_path, service.url, ci)
        Path(job.programs, "docker").write_text("#!/bin/sh\necho the push failed\nexit 7\n")
        code, log = BLOCKS[name](job)
    assert "the push failed" in log
    if name == "anything-else":
        assert code == 0  # without `set -e`; the logout ran
    else:
        assert code == 7
    assert_clean(tmp_path)
