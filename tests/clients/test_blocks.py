"""Every documented block, as its platform runs it: granted, refused, in an outage; and what each leaves behind."""

import base64
import json
import os
import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from devstack.certs import TestAuthority

from .every import FAST, azure_environment, github_environment, token_for, token_for_list
from .platforms import (
    CLIENTS,
    AzureJob,
    GitHubJob,
    GitLabJob,
    KubernetesJob,
    SnippetJob,
    base_environment,
    cloud_build,
    run,
    snippet,
    yaml_documents,
)
from .servers import USERNAME, Answer, Handle, Seen, Server, granted, refusal, serve, vendor
from .test_docs import PAGE, block
from .test_kubelet import Kubelet

TOKEN = "header.payload-of-the-vended-token.signature"
PAIR = base64.b64encode(f"{USERNAME}:{TOKEN}".encode()).decode()
EXAMPLE = "https://vend.contoso.example"
HOST = "contoso.azurecr.io"
SPIED = ("awk", "cat", "chmod", "cp", "curl", "grep", "mv", "python3", "rm", "sed", "tail", "tr")

DOCKER = f"""#!/bin/sh
config=${{DOCKER_CONFIG:-$HOME/.docker}}/config.json
word=without
if /bin/grep -q {TOKEN} "$config"; then word=with; fi
if /bin/grep -q '"acr-vending"' "$config"; then
  if echo {HOST} | docker-credential-acr-vending get | /bin/grep -q {TOKEN}; then word=with; fi
fi
env >"${{0%/*}}/environment"
echo "docker $1 $word credentials"
"""


@dataclass(frozen=True)
class Outcome:
    """Hold how a block ended, its log, whether it got to what needs the credentials, and whether they were there."""

    code: int
    log: str
    reached: bool
    used: bool


def pushed(code: int, log: str) -> Outcome:
    """Return the outcome of a block that ends in `docker push`."""
    return Outcome(code, log, "docker push with" in log, "docker push with credentials" in log)


class Job:
    """A place for a block to run in: docker is a program that notes what it was asked and whether it could log in."""

    def __init__(self, directory: Path, url: str, ci: Server, ca: TestAuthority) -> None:
        self.directory = directory
        self.url = url
        self.ci = ci
        self.ca = ca
        self.home = directory / "job" / "home"
        self.programs = directory / "programs"
        self.programs.mkdir()
        self.program("docker", DOCKER)
        (self.programs / "docker-credential-acr-vending").symlink_to(CLIENTS / "docker-credential-acr-vending")
        self.path = f"{self.programs}:{os.environ['PATH']}"
        self.more = {**FAST, "PATH": self.path}
        self.options: tuple[str, ...] = ()
        self.given: set[Path] = set()
        """The files in which a platform hands over its token."""
        self.broken = False

    def program(self, name: str, text: str) -> None:
        """Put a program on the job's PATH."""
        (self.programs / name).write_text(text)
        (self.programs / name).chmod(0o755)

    def break_the_push(self) -> None:
        """Let what comes after the login fail."""
        self.broken = True
        self.program("docker", "#!/bin/sh\necho the push failed\nexit 7\n")

    def trace(self) -> None:
        """Trace every shell, and note the arguments of every program: `sh` is bash here, as on macOS."""
        self.more["SHELLOPTS"] = "xtrace"
        self.options = ("-x",)
        for name in SPIED:
            real = shutil.which(name)
            self.program(name, f'#!/bin/dash\nprintf "%s\\n" "$0 $*" >>"{self.programs}/arguments"\nexec {real} "$@"\n')
        (self.programs / "sh").symlink_to(shutil.which("bash") or "/bin/bash")

    def real(self, text: str) -> str:
        """Replace the service's address."""
        return text.replace(EXAMPLE, self.url)

    def token_file(self, name: str, audience: str) -> str:
        """Return a file with a token that the platform has written."""
        file = self.directory / "given" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(token_for(audience))
        self.given.add(file)
        return str(file)

    def metadata_server(self, host: str) -> None:
        """Have curl reach the tests' server where it asks for a cloud's."""
        self.home.mkdir(parents=True)
        (self.home / ".curlrc").write_text(f"connect-to = {host}:80:{self.ci.url.removeprefix('http://')}\n")

    def shell(self, script: str, *command: str, **environment: str) -> Outcome:
        """Run lines beside the script, as a platform without a template does; by default with `sh -c`."""
        lines = re.sub(r"(ci/)?acr-token\.sh", str(CLIENTS / "acr-token.sh"), self.real(script))
        program, *options = command or ("sh", "-c")
        given = {**base_environment(self.home), **self.more, **environment}
        done = run([program, *self.options, *options, lines], given, self.directory)
        return pushed(done.returncode, done.stdout)


Run = Callable[[Job], Outcome]


def github(job: Job) -> Outcome:
    (document,) = yaml_documents(job.real(block("GitHub Actions")))
    use, push = document["steps"]
    runner = GitHubJob(job.directory / "job", {**github_environment(job.ci), **job.more})
    result = runner.uses(use["uses"], use["with"])
    log = result.log + "".join(result.errors)
    if result.exit_code == 0:
        result = runner.run(push["run"])
        log += result.log
    runner.finish()
    return pushed(result.exit_code, log)


def gitlab(job: Job, number: int = 0) -> Outcome:
    (document,) = yaml_documents(job.real(block("GitLab")))
    inputs = document["include"][0]["inputs"]
    runner = GitLabJob(job.directory / "job", token_for=token_for, inputs=inputs, variables=FAST)
    runner.environment |= job.more
    if number:
        text = re.sub(r"!reference (\[.*?\])", r"\1", block("GitLab", number))
        (document,) = yaml_documents(text)
        for name in ("before_script", "after_script"):
            parts = [runner.job[part[1]] if isinstance(part, list) else [part] for part in document["image"][name]]
            runner.job[name] = [line for part in parts for line in part]
        for name in ("prepare.sh", "report.sh"):
            (runner.workspace / name).write_text("#!/bin/sh\n")
            (runner.workspace / name).chmod(0o755)
    result = runner.script(document["image"]["script"], shell=("sh", "-e"))
    return pushed(result.exit_code, result.log)


def gitlab_with_scripts_of_its_own(job: Job) -> Outcome:
    return gitlab(job, 1)


def azure_pipelines(job: Job) -> Outcome:
    (document,) = yaml_documents(job.real(block("Azure Pipelines")))
    (use,) = document["steps"]
    runner = AzureJob(job.directory / "job", {**azure_environment(job.ci), **job.more})
    result = runner.template(use["template"], use["parameters"])
    return pushed(result.exit_code, result.log + "".join(result.errors))


def snippet_block(platform: str) -> Run:
    def block_of(job: Job) -> Outcome:
        name = platform.lower()
        issue = token_for_list if name == "bitbucket" else token_for
        runner = SnippetJob(job.directory / "job", name, issue, url=job.url)
        job.given |= set(runner.programs.iterdir())  # the agent's command has the token in it
        runner.environment |= {**job.more, "PATH": f"{runner.programs}:{job.path}"}
        result = runner.run(snippet(name, block(platform)))
        runner.hidden.unlink(missing_ok=True)
        return pushed(result.exit_code, result.log)

    return block_of


def anything_else(job: Job) -> Outcome:
    return job.shell(block("Anything else"), ACR_VENDING_ID_TOKEN=token_for(job.url))


def jenkins(job: Job) -> Outcome:
    lines = re.search(r"^    sh '''\n(.*?)^    '''$", block("Jenkins"), flags=re.DOTALL | re.MULTILINE)
    assert lines is not None
    given = {"ACR_VENDING_ID_TOKEN_FILE": job.token_file("id-token", job.url), "ACR_VENDING_URL": job.url}
    return job.shell(lines[1], "sh", "-xec", **given, WORKSPACE_TMP=str(job.directory))


def google_cloud_build(job: Job) -> Outcome:
    (step,) = yaml_documents(block("Google Cloud Build"))[0]["steps"]
    *options, script = [cloud_build(argument) for argument in step["args"]]
    job.metadata_server("metadata.google.internal")
    script = script.replace("/tmp/", f"{job.directory}/")
    return job.shell(script, step["entrypoint"], *options)


def hcp_terraform(job: Job) -> Outcome:
    command = re.search(
        r"command = <<-EOT\n(.*?)^ +EOT$", block("HCP Terraform and Spacelift"), re.DOTALL | re.MULTILINE
    )
    assert command is not None
    assert re.findall(r"[$%]\{", command[1]) == []  # Terraform would fill these in
    return job.shell(command[1], "/bin/sh", "-c", TFC_WORKLOAD_IDENTITY_TOKEN=token_for(job.url))


def spacelift(job: Job) -> Outcome:
    text = block("HCP Terraform and Spacelift", 1)
    file = job.token_file("spacelift.oidc", "contoso.app.spacelift.io")
    script = job.directory / "push.sh"
    lines = text.replace("/mnt/workspace/spacelift.oidc", file).replace("sh ci/", f"sh {CLIENTS}/")
    script.write_text(job.real(lines))
    return job.shell(f"sh {' '.join(job.options)} {shlex.quote(str(script))}")


def entra_workloads(job: Job) -> Outcome:
    job.metadata_server("169.254.169.254")
    return job.shell(block("Entra workloads"))


def credential_helper(job: Job) -> Outcome:
    return job.shell(block("The credential helper"), "bash", "-c", ACR_VENDING_ID_TOKEN=token_for(job.url))


def kubernetes(job: Job) -> Outcome:
    """Run what the block's second line applies: the image's entry point. A broken push is an API that refuses."""
    for name in ("Containerfile", "pull-secret.yaml"):
        assert f"clients/kubernetes/{name}" in block("Kubernetes")

    def handle(_server: Server) -> Handle:
        def respond(request: Seen) -> Answer:
            return Answer(403) if job.broken else Answer(201, json.loads(request.body))

        return respond

    with serve(handle, tls=job.ca.server_context()) as api:
        cron = KubernetesJob(
            job.directory / "job", token_for=token_for_list, url=job.url, api=api.url, ca=job.ca.ca_file
        )
        cron.environment |= job.more
        job.given |= {Path(cron.environment["ACR_VENDING_ID_TOKEN_FILE"])}
        result = cron.run()
    log = result.log + ("the push failed" if "HTTP 403" in result.log else "")
    secrets = [base64.b64decode(json.loads(request.body)["data"][".dockerconfigjson"]) for request in api.seen]
    return Outcome(result.exit_code, log, bool(secrets), [PAIR.encode() in secret for secret in secrets] == [True])


def kubelet(job: Job) -> Outcome:
    """Ask the provider for an image's credentials; there is nothing after it that could fail."""
    node = Kubelet(job.url, **job.more, HOME=str(job.home))
    done = node.ask(f"{HOST}/web/api:1", token_for_list(node.audience))
    auth = json.loads(done.stdout)["auth"] if done.stdout else {}
    used = {host: entry["password"] for host, entry in auth.items()} == {HOST: TOKEN}
    return Outcome(done.returncode, done.stderr, bool(auth), used)


BLOCKS: dict[tuple[str, int], Run] = {
    ("GitHub Actions", 0): github,
    ("GitLab", 0): gitlab,
    ("GitLab", 1): gitlab_with_scripts_of_its_own,
    ("Azure Pipelines", 0): azure_pipelines,
    **{(platform, 0): snippet_block(platform) for platform in ("CircleCI", "Bitbucket", "Buildkite")},
    ("Jenkins", 0): jenkins,
    ("Google Cloud Build", 0): google_cloud_build,
    ("HCP Terraform and Spacelift", 0): hcp_terraform,
    ("HCP Terraform and Spacelift", 1): spacelift,
    ("Entra workloads", 0): entra_workloads,
    ("Kubernetes", 0): kubernetes,
    ("Anything else", 0): anything_else,
    ("The credential helper", 0): credential_helper,
}
DATA = {
    ("Images without a package manager", 0): "a Dockerfile on two images of registries that no test reaches",
    ("The credential helper", 1): "a configuration file, which test_docs.py has the helper read",
}
"""What logs in to nothing, and why."""

RUNS: dict[str, Run] = {
    **{f"{heading}-{number}".replace(" ", "-"): use for (heading, number), use in BLOCKS.items()},
    "kubelet": kubelet,
}
FILES = {
    "acr-token.sh": "Anything-else-0",
    "azure-pipelines/acr-token.yml": "Azure-Pipelines-0",
    "bitbucket/bitbucket-pipelines.yml": "Bitbucket-0",
    "buildkite/pipeline.yml": "Buildkite-0",
    "circleci/config.yml": "CircleCI-0",
    "docker-credential-acr-vending": "The-credential-helper-0",
    **{f"github-action/{name}": "GitHub-Actions-0" for name in ("action.yml", "main.js", "post.js", "run.js")},
    "github-action/workflow.yml": "GitHub-Actions-0",
    "gitlab/acr-token.yml": "GitLab-0",
    **{
        f"kubernetes/{name}": "Kubernetes-0" for name in ("Containerfile", "pull-secret.yaml", "refresh-pull-secret.sh")
    },
    "kubernetes/credential-provider.yaml": "kubelet",
    "release.py": "GitLab-0",
}
"""Every file that is shipped, and what runs it here; test_docs.py holds the files to the page's blocks."""


def test_every_block_of_the_page_is_run_or_is_data_for_a_reason() -> None:
    found = set()
    for heading, text in re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE, flags=re.MULTILINE | re.DOTALL):
        fences = re.findall(r"^ *```\w+$", text, flags=re.MULTILINE)
        found |= {(heading, number) for number in range(len(fences))}
    assert found == BLOCKS.keys() | DATA.keys()
    assert not BLOCKS.keys() & DATA.keys()


def test_every_file_is_run() -> None:
    files = [path for path in CLIENTS.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {path.relative_to(CLIENTS).as_posix() for path in files} == FILES.keys()
    assert set(FILES.values()) <= RUNS.keys()


def assert_clean(job: Job) -> None:
    """Check that no file holds a token or anything made of one, but for those that the platform itself has written."""
    secrets = re.compile(
        b"|".join([re.escape(TOKEN.encode()), re.escape(PAIR.encode()), rb"eyJ[\w-]+\.eyJ", b"request-secret"])
    )
    given = {job.programs / "docker", job.programs / "environment", *job.given}
    for path in (path for path in job.directory.rglob("*") if path.is_file() and path not in given):
        assert secrets.search(path.read_bytes()) is None, path
    assert list(job.directory.rglob("acr-vending[.-]*")) == []


@pytest.fixture(params=RUNS)
def use(request: pytest.FixtureRequest) -> Run:
    """Return each block in turn."""
    return RUNS[str(request.param)]


@pytest.fixture
def job(ci: Server, ca: TestAuthority, tmp_path: Path) -> Callable[[str], Job]:
    """Return what makes a job that asks the service at a URL."""
    return lambda url: Job(tmp_path, url, ci, ca)


MakeJob = Callable[[str], Job]


def test_a_granted_login_pushes_and_leaves_nothing(job: MakeJob, use: Run) -> None:
    with vendor(Answer(body=granted(TOKEN))) as service:
        place = job(service.url)
        outcome = use(place)
    assert (outcome.code, outcome.used) == (0, True), outcome.log
    assert not any(secret in outcome.log for secret in (TOKEN, PAIR, "eyJ"))
    assert_clean(place)


def test_a_refused_login_never_reaches_the_push(job: MakeJob, use: Run) -> None:
    with vendor(refusal(400, "no_matching_rule", "No rule matches.")) as service:
        place = job(service.url)
        outcome = use(place)
    assert outcome.code != 0
    assert not outcome.reached, outcome.log
    assert "no_matching_rule: No rule matches." in outcome.log
    assert_clean(place)


def test_an_outage_never_reaches_the_push(job: MakeJob, use: Run) -> None:
    with vendor() as gone:
        pass
    place = job(gone.url)
    outcome = use(place)
    assert outcome.code != 0
    assert not outcome.reached, outcome.log
    assert "no answer from" in outcome.log
    assert_clean(place)


@pytest.mark.parametrize("name", [name for name in RUNS if name != "kubelet"])
def test_a_job_whose_own_command_fails_says_so_and_leaves_nothing(job: MakeJob, name: str) -> None:
    with vendor(Answer(body=granted(TOKEN))) as service:
        place = job(service.url)
        place.break_the_push()
        outcome = RUNS[name](place)
    assert "the push failed" in outcome.log
    assert outcome.code == (1 if name == "Kubernetes-0" else 7)
    assert_clean(place)


def test_no_trace_argument_or_environment_has_a_secret(job: MakeJob, use: Run) -> None:
    with vendor(Answer(body=granted(TOKEN))) as service:
        place = job(service.url)
        place.trace()
        outcome = use(place)
        subjects = [request.form["subject_token"] for request in service.seen if request.path == "/token"]
    assert (outcome.code, outcome.used) == (0, True), outcome.log
    arguments, environment = place.programs / "arguments", place.programs / "environment"
    told = outcome.log + (arguments.read_text() if arguments.exists() else "")
    assert not [secret for secret in (TOKEN, PAIR, "request-secret", *subjects) if secret in told]
    if environment.exists():
        assert not [secret for secret in (TOKEN, PAIR) if secret in environment.read_text()]
    for path in (arguments, environment):
        path.unlink(missing_ok=True)
    assert_clean(place)
