"""The pipeline files of a policy repository, run step by step as GitHub, GitLab and Azure Pipelines run them.

The runners know the documented meaning of what the files hold, and fail on everything else. They build on those of the
clients' tests: shells and their flags, environment files and log commands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pip

from tests.clients.platforms import BASH, AzureJob, GitHubJob, Result, base_environment, run, yaml_documents
from tests.packaging.origin import Origin, checkout

TokenFor = Callable[[str, str], str]
"""Mints the platform's OIDC token for an audience and a subject."""
SUBJECTS: Final = {
    # https://docs.github.com/actions/reference/security/oidc#example-subject-claims
    "github": "repo:contoso/access:environment:production",
    # https://docs.gitlab.com/ci/secrets/id_token_authentication/#token-payload
    "gitlab": "project_path:contoso/access:ref_type:branch:ref:main",
    # https://learn.microsoft.com/azure/devops/pipelines/library/connect-to-azure#create-an-app-registration-with-workload-identity-federation
    "azure-pipelines": "sc://contoso/Web Shop/policy-delivery",
}
"""Whom each platform's token names in a delivery, as a federated credential has to name it."""


@dataclass
class Outcome:
    """Hold how a pipeline ended, its log, and the files that it kept."""

    green: bool = True
    log: str = ""
    kept: dict[str, str] = field(default_factory=dict)

    def add(self, result: Result) -> None:
        """Add a step."""
        self.green = self.green and result.exit_code == 0
        self.log += result.raw

    def keep(self, name: str, path: Path) -> None:
        """Keep a file; without it the step fails."""
        if path.is_file():
            self.kept[name] = path.read_text()
        else:
            self.add(Result(1, "", f"no file {path.name} to keep\n"))


@dataclass(frozen=True)
class Machine:
    """Hold what every job has: the repository, folders of programs that come first, an environment and variables.

    `forge_token` is what comments; `token_for` mints the platform's OIDC tokens, and `runner_for` gives the variables
    by which a job of GitHub asks for them.
    """

    origin: Origin
    programs: tuple[Path, ...]
    environment: Mapping[str, str]
    variables: Mapping[str, str]
    forge_token: str
    token_for: TokenFor
    runner_for: Callable[[str], Mapping[str, str]]

    def path(self, before: str) -> str:
        """Return a PATH with our programs in front."""
        return ":".join([*map(str, self.programs), before])


def github_review(machine: Machine, directory: Path, *, labeled: bool = False) -> Outcome:
    """Run policy.yml of the default branch, as `pull_request_target` does."""
    action = "labeled" if labeled else "synchronize"
    event = {
        "action": action,
        "number": 7,
        "pull_request": {"head": {"sha": machine.origin.head}, "base": {"ref": "main"}},
        "repository": {"default_branch": "main"},
    }
    return _github(machine, directory, "policy", "pull_request_target", event)


def github_delivery(machine: Machine, directory: Path) -> Outcome:
    """Run deliver.yml, as a push to main does."""
    return _github(machine, directory, "deliver", "push", {"ref": "refs/heads/main"})


def github_usage(machine: Machine, directory: Path) -> Outcome:
    """Run usage.yml, as its schedule does."""
    # https://docs.github.com/actions/reference/workflows-and-actions/events-that-trigger-workflows#schedule
    return _github(machine, directory, "usage", "schedule", {"schedule": "17 5 1 * *"})


def _github(machine: Machine, directory: Path, name: str, trigger: str, event: Mapping[str, Any]) -> Outcome:
    # A push of main and pull_request_target both take the workflow from main:
    # https://docs.github.com/actions/reference/workflows-and-actions/events-that-trigger-workflows
    (workflow,) = yaml_documents(machine.origin.file("main", f".github/workflows/{name}.yml"))
    starts = workflow["on"][trigger]
    if "action" in event:
        assert event["action"] in starts["types"]
    elif "schedule" in event:
        assert starts == [{"cron": event["schedule"]}]
    else:
        assert starts == {"branches": ["main"], "paths": ["policy/**"]}
    (job,) = workflow["jobs"].values()
    return _GitHubJob(machine, directory, job, event).outcome


class _GitHubJob:
    def __init__(self, machine: Machine, directory: Path, job: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        self._machine = machine
        file = directory / "event.json"
        directory.mkdir(parents=True)
        file.write_text(json.dumps(event))
        self._job = GitHubJob(directory, {**machine.environment, "GITHUB_EVENT_PATH": str(file)})
        self._context = {
            **_flat("github.event", event),
            **{f"vars.{name}": value for name, value in machine.variables.items()},
            "runner.temp": str(self._job.temp),
            # A job's token may do what its permissions say.
            "github.token": machine.forge_token
            if "write" in {job["permissions"].get("pull-requests"), job["permissions"].get("issues")}
            else "reads alone",
        }
        if job["permissions"].get("id-token") == "write":
            self._job.environment |= machine.runner_for(f"repo:contoso/access:environment:{job['environment']}")
        self.outcome = Outcome()
        for step in job["steps"]:
            if self._wanted(step.get("if", "success()")):
                self._step(step)

    def _wanted(self, condition: str) -> bool:
        # https://docs.github.com/actions/reference/workflows-and-actions/expressions#status-check-functions
        known = {"success()": self.outcome.green, "${{ !cancelled() }}": True, "always()": True}
        return known[condition]

    def _step(self, step: Mapping[str, Any]) -> None:
        if "run" in step:
            environment = {name: self._filled(value) for name, value in step.get("env", {}).items()}
            # https://docs.github.com/actions/reference/workflows-and-actions/workflow-syntax#jobsjob_idstepsshell
            shells = {None: ("-e",), "bash": ("--noprofile", "--norc", "-eo", "pipefail")}
            self.outcome.add(self._job.run(step["run"], shells[step.get("shell")], **environment))
            return
        action, options = step["uses"].partition("@")[0], step["with"]
        if action == "actions/checkout":
            assert options["persist-credentials"] is False
            ref = self._filled(options.get("ref", "main"))
            place = self._job.workspace / options.get("path", ".")
            checkout(self._machine.origin.url, ref, place, options.get("fetch-depth", 1))
        elif action == "actions/setup-python":
            self._job.environment["PATH"] = self._machine.path(self._job.environment["PATH"])
        elif action == "azure/login":
            self._azure_login(options)
        elif action == "actions/upload-artifact":
            assert options["if-no-files-found"] == "error"
            self.outcome.keep(options["name"], self._job.workspace / options["path"])
        else:
            raise AssertionError(f"an unexpected action: {action}")

    def _azure_login(self, options: Mapping[str, Any]) -> None:
        """Log in with the job's own token: https://github.com/Azure/login/blob/master/src/Cli/AzureCliLogin.ts."""
        assert options["allow-no-subscriptions"] is True
        command = (
            'token=$(curl --silent --fail --header "Authorization: Bearer $ACTIONS_ID_TOKEN_REQUEST_TOKEN" '
            '"$ACTIONS_ID_TOKEN_REQUEST_URL&audience=api%3A%2F%2FAzureADTokenExchange" | jq --raw-output .value)\n'
            'az login --service-principal --username "$CLIENT" --tenant "$TENANT" --allow-no-subscriptions '
            '--federated-token "$token" --output none'
        )
        client, tenant = self._filled(options["client-id"]), self._filled(options["tenant-id"])
        self.outcome.add(self._job.run(command, CLIENT=client, TENANT=tenant))

    def _filled(self, value: object) -> str:
        return re.sub(r"\$\{\{ ([\w.-]+) \}\}", lambda found: self._context[found[1]], str(value))


def _flat(name: str, value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        return {name: str(value)}
    return {path: text for key, inner in value.items() for path, text in _flat(f"{name}.{key}", inner).items()}


def gitlab_review(machine: Machine, directory: Path, *, labeled: bool = False, configuration: str = "head") -> Outcome:
    """Run the job `policy` of the merge request's own file, or of main's where the project's setting says so."""
    del labeled  # somebody runs the job again
    origin = machine.origin
    # https://docs.gitlab.com/ci/variables/predefined_variables/#predefined-variables-for-merge-request-pipelines
    predefined = {
        "CI_PIPELINE_SOURCE": "merge_request_event",
        "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
        "CI_MERGE_REQUEST_DIFF_BASE_SHA": origin.begin,
    }
    file = origin.file(origin.head if configuration == "head" else "main", ".gitlab-ci.yml")
    return _gitlab(machine, directory, file, "policy", predefined, "refs/merge-requests/7/head")


def gitlab_delivery(machine: Machine, directory: Path) -> Outcome:
    """Run the job `deliver`, as a push to main does."""
    predefined = {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "main"}
    return _gitlab(machine, directory, machine.origin.file("main", ".gitlab-ci.yml"), "deliver", predefined, "main")


def _gitlab(
    machine: Machine, directory: Path, file: str, name: str, predefined: Mapping[str, str], ref: str
) -> Outcome:
    (document,) = yaml_documents(file)
    variables = {**predefined, "CI_DEFAULT_BRANCH": "main", **machine.variables}
    jobs = {key: job for key, job in document.items() if isinstance(job, dict) and "script" in job}
    assert [key for key, job in jobs.items() if any(_gitlab_rule(rule["if"], variables) for rule in job["rules"])] == [
        name
    ]
    job = jobs[name]
    workspace = directory / "builds"
    checkout(machine.origin.url, ref, workspace, int(job.get("variables", {}).get("GIT_DEPTH", 20)))
    environment = base_environment(directory / "home", GITLAB_CI="true", CI_PROJECT_DIR=str(workspace))
    environment |= {**machine.environment, **variables, **job.get("variables", {})}
    environment |= {"PATH": machine.path(environment["PATH"]), "COMMENT_TOKEN": machine.forge_token}
    for variable, wanted in job.get("id_tokens", {}).items():
        environment[variable] = machine.token_for(wanted["aud"], SUBJECTS["gitlab"])
    # The runner's bash script: `set -eo pipefail`, then each line of `script`.
    done = run([BASH, "-eo", "pipefail", "-c", "\n".join(job["script"])], environment, workspace)
    outcome = Outcome(done.returncode == 0, done.stdout)
    artifacts = job.get("artifacts", {"paths": []})
    for path in artifacts["paths"]:  # missing ones are a warning there
        if (workspace / path).is_file():
            outcome.keep(path, workspace / path)
    return outcome


def _gitlab_rule(rule: str, variables: Mapping[str, str]) -> bool:
    found = re.fullmatch(r'\$(\w+) == (?:"(\w+)"|\$(\w+))', rule)
    assert found, rule
    right = found[2] or variables.get(found[3])
    return right is not None and variables.get(found[1]) == right


def azure_review(machine: Machine, directory: Path, *, labeled: bool = False) -> Outcome:
    """Run the pipeline of the merge that Azure Repos makes, as a build validation policy does."""
    del labeled  # somebody queues it again
    # https://learn.microsoft.com/azure/devops/pipelines/build/variables
    variables = {"Build.Reason": "PullRequest", "Build.SourceBranch": "refs/pull/7/merge"}
    return _azure(machine, directory, machine.origin.merge, "refs/pull/7/merge", variables)


def azure_delivery(machine: Machine, directory: Path) -> Outcome:
    """Run the pipeline of main, as a push does."""
    variables = {"Build.Reason": "IndividualCI", "Build.SourceBranch": "refs/heads/main"}
    return _azure(machine, directory, "main", "main", variables)


def _azure(machine: Machine, directory: Path, commit: str, ref: str, variables: Mapping[str, str]) -> Outcome:
    (pipeline,) = yaml_documents(machine.origin.file(commit, "azure-pipelines.yml"))
    (stage,) = [stage for stage in pipeline["stages"] if _azure_condition(stage["condition"], variables)]
    (job,) = stage["jobs"]
    steps = job["steps"] if "job" in job else job["strategy"]["runOnce"]["deploy"]["steps"]
    parameters = {entry["name"]: entry["default"] for entry in pipeline["parameters"]}
    given = {**machine.environment, **machine.variables}
    runner = AzureJob(directory, {name: value for name, value in given.items() if name != "TF_BUILD"})
    runner.access_token = machine.forge_token
    outcome = Outcome()
    for step in steps:
        if outcome.green or step.get("condition") == "succeededOrFailed()":
            _azure_step(machine, runner, outcome, step, ref, parameters)
    return outcome


def _azure_condition(condition: str, variables: Mapping[str, str]) -> bool:
    # https://learn.microsoft.com/azure/devops/pipelines/process/expressions
    filled = re.sub(r"variables\['([\w.]+)'\]", lambda found: repr(variables[found[1]]), condition)
    names = {"eq": lambda left, right: left == right, "every": lambda *all_: all(all_), "succeeded": lambda: True}
    return bool(eval(filled.replace("and(", "every("), {"__builtins__": {}}, names))


def _azure_step(
    machine: Machine,
    runner: AzureJob,
    outcome: Outcome,
    step: Mapping[str, Any],
    ref: str,
    parameters: Mapping[str, str],
) -> None:
    if "checkout" in step:
        assert step["checkout"] == "self"
        checkout(machine.origin.url, ref, runner.workspace, int(step.get("fetchDepth", 1)))
    elif "bash" in step:
        outcome.add(runner.bash(step["bash"], **step.get("env", {})))
    elif "publish" in step:
        outcome.keep(step["artifact"], runner.workspace / step["publish"])
    elif step["task"] == "UsePythonVersion@0":
        runner.environment["PATH"] = machine.path(runner.environment["PATH"])
    elif step["task"] == "AzureCLI@2":
        _azure_cli(machine, runner, outcome, step["inputs"], parameters)
    else:
        raise AssertionError(f"an unexpected step: {step}")


def _azure_cli(
    machine: Machine, runner: AzureJob, outcome: Outcome, inputs: Mapping[str, str], parameters: Mapping[str, str]
) -> None:
    """Log in with the service connection's federated token, as the task does, and run the script where that works."""
    connection = inputs["azureSubscription"].replace("${{ parameters.azureServiceConnection }}", "{connection}")
    assert connection.format(connection=parameters["azureServiceConnection"]) == "policy-delivery"
    assert (inputs["scriptType"], inputs["scriptLocation"]) == ("bash", "inlineScript")
    # What the connection holds is the task's and no variable of the job.
    login = {
        name: machine.variables[name] for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID") if name in machine.variables
    }
    for name in login:
        runner.environment.pop(name, None)
    token = machine.token_for("api://AzureADTokenExchange", SUBJECTS["azure-pipelines"])
    # https://github.com/microsoft/azure-pipelines-tasks/blob/master/Tasks/AzureCLIV2/azureclitask.ts
    command = (
        'az login --service-principal --username "$AZURE_CLIENT_ID" --tenant "$AZURE_TENANT_ID" '
        '--allow-no-subscriptions --federated-token "$CONNECTION_TOKEN" --output none'
    )
    outcome.add(runner.bash(command, **login, CONNECTION_TOKEN=token))
    if outcome.green:
        outcome.add(runner.bash(inputs["inlineScript"]))


AZ: Final = '''\
#!{python} -IS
"""As much of the Azure CLI as pipelines need: log in with a federated token, print an access token."""
import json, os, pathlib, sys, urllib.error, urllib.parse, urllib.request
home = pathlib.Path(os.environ["HOME"]) / "az-login.json"
words = sys.argv[1:]
option = lambda name: words[words.index(name) + 1]
def exchange(login, resource):
    form = {{"grant_type": "client_credentials", "client_id": login["client"], "scope": resource + "/.default",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": login["assertion"]}}
    url = os.environ["AZURE_AUTHORITY_HOST"] + "/" + login["tenant"] + "/oauth2/v2.0/token"
    try:
        with urllib.request.urlopen(url, urllib.parse.urlencode(form).encode()) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        sys.exit("ERROR: " + json.load(error)["error_description"])
if words[0] == "login":
    names = {{"client": "--username", "tenant": "--tenant", "assertion": "--federated-token"}}
    # A person logs in with a browser, which is played by a variable.
    somebody = os.environ.get("AZ_SOMEBODY")
    login = json.loads(somebody) if somebody else {{name: option(word) for name, word in names.items()}}
    exchange(login, "https://management.azure.com")
    home.write_text(json.dumps(login))
elif words[:2] == ["account", "get-access-token"]:
    if not home.exists():
        sys.exit("ERROR: Please run 'az login' to setup account.")
    answer = exchange(json.loads(home.read_text()), option("--resource"))
    print(json.dumps({{"accessToken": answer["access_token"], "expires_on": 4102444800, "tokenType": "Bearer",
                      "expiresOn": "2100-01-01 00:00:00.000000", "subscription": "", "tenant": ""}}))
else:
    sys.exit("ERROR: unexpected: " + " ".join(words))
'''
"""https://learn.microsoft.com/cli/azure/account#az-account-get-access-token says what it prints."""
AZ_REST: Final = """\
#!/bin/sh
# Call an API, which an export does for every day: without Python, and with the token of the first call.
[ "$1" = rest ] || exec {program} "$@"
shift
while [ $# -gt 0 ]; do
    case $1 in
        --method) [ "$2" = post ] ;;
        --url) url=$2 ;;
        --resource) resource=$2 ;;
        --body) body=$2 ;;
        --output) [ "$2" = json ] ;;
        *) false ;;
    esac || {{ echo "ERROR: unexpected: $*" >&2; exit 1; }}
    shift 2
done
kept="$HOME/az-token-${{resource##*/}}"
[ -e "$kept" ] || {{ found=$({program} account get-access-token --resource "$resource") || exit 1
    printf %s "$found" | jq --raw-output .accessToken >"$kept"; }}
read -r token <"$kept"
case $url in https://api.loganalytics.io/*) url=$LOG_ANALYTICS/${{url#https://api.loganalytics.io/}} ;; esac
# https://github.com/Azure/azure-cli/blob/dev/src/azure-cli-core/azure/cli/core/util.py, send_raw_request:
# the answer is printed as it is, and one that is no success is an error.
answer=$(curl --silent --show-error --header "Authorization: Bearer $token" --header "Content-Type: application/json" \\
    --data-binary "$body" --write-out ' %{{http_code}}' "$url") || exit 1
case ${{answer##* }} in
    2??) printf '%s\\n' "${{answer% *}}" ;;
    *) echo "ERROR: ${{answer##* }}(${{answer% *}})" >&2; exit 1 ;;
esac
"""


def install_az(programs: Path, python: Path) -> None:
    """Write the Azure CLI's stand-in among the programs."""
    program = programs / "az-of-accounts"
    program.write_text(AZ.format(python=python))
    front = programs / "az"
    front.write_text(AZ_REST.format(program=program))
    for written in (program, front):
        written.chmod(0o755)


def install_pip(programs: Path, python: Path) -> None:
    """Write a pip among the programs: our environments have none. Like the real script it ignores the checkout.

    What it found installed once it says again, because no job changes the environment.
    """
    library = programs / "pip-alone"
    library.mkdir()
    (library / "pip").symlink_to(Path(pip.__file__).parent)
    program = programs / "pip"
    program.write_text(
        f'#!/bin/sh\nknown="{library}/$(printf %s "$*" | cksum)"\n'
        f'[ -e "$known" ] || PYTHONPATH={library} {python} -P -m pip "$@" && : >"$known"\n'
    )
    program.chmod(0o755)


REVIEWS: Final = {"github": github_review, "gitlab": gitlab_review, "azure-pipelines": azure_review}
DELIVERIES: Final = {"github": github_delivery, "gitlab": gitlab_delivery, "azure-pipelines": azure_delivery}
