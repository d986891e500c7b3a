"""CI platforms in small: each runs a template of ours as its runner would, and understands what the steps say to it.

They copy the documented behaviour of the runners: how a template is filled in, which shell runs a step, the files and
log commands by which a step sets outputs, variables and masks. They do not schedule, isolate or clean up.
"""

import atexit
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from ruamel.yaml import YAML

from devstack import tools

CLIENTS = Path(__file__).resolve().parents[2] / "clients"
SLUG = "contoso/acr-token-vending"
BASH = shutil.which("bash") or "/bin/bash"

TokenFor = Callable[[str], str]
"""What issues the platform's OIDC token for an audience."""


def yaml_documents(text: str) -> list[Any]:
    """Parse YAML as the platforms do: plain values."""
    return list(YAML(typ="safe").load_all(text))


def base_environment(home: Path, **more: str) -> dict[str, str]:
    """Return the environment of a bare job: nothing of the machine that runs the tests but its PATH."""
    home.mkdir(parents=True, exist_ok=True)
    temporary = home.parent / f"{home.name}-tmp"
    temporary.mkdir(exist_ok=True)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "LANG": "C.UTF-8",
        "CI": "true",
        **more,
    }


@dataclass
class Result:
    """Hold what a step did: its exit code, its log as people see it (secrets masked), and what it handed on."""

    exit_code: int
    log: str
    raw: str
    outputs: dict[str, str] = field(default_factory=dict)
    masks: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def run(
    command: list[str], environment: Mapping[str, str], cwd: Path, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a program with stdout and stderr in one stream, in order."""
    return subprocess.run(
        command,
        env=dict(environment),
        cwd=cwd,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )


def masked(text: str, masks: list[str]) -> str:
    """Hide every mask in a text."""
    for mask in sorted(masks, key=len, reverse=True):
        text = text.replace(mask, "***")
    return text


@functools.cache
def released() -> Path:
    """Return a directory with what a release ships: the templates have the script in them there."""
    directory = Path(tempfile.mkdtemp(prefix="acr-release-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    subprocess.run([sys.executable, CLIENTS / "release.py", directory], check=True, capture_output=True)
    return directory


class GitHubJob:
    """A job of GitHub Actions: actions by `uses`, plain steps by `run`, an environment that grows, and post steps."""

    def __init__(self, directory: Path, environment: Mapping[str, str] | None = None) -> None:
        self.temp = directory / "_temp"
        self.workspace = directory / "workspace"
        for made in (self.temp, self.workspace):
            made.mkdir(parents=True)
        self.home = directory / "home"
        self.environment = base_environment(self.home, GITHUB_ACTIONS="true", RUNNER_TEMP=str(self.temp))
        self.environment |= {"GITHUB_WORKSPACE": str(self.workspace), **(environment or {})}
        self.summary = ""
        self._steps = 0
        self._posts: list[tuple[list[str], dict[str, str]]] = []

    def uses(self, action: str, inputs: Mapping[str, str], root: Path = CLIENTS) -> Result:
        """Run a JavaScript action of this repository, named as in a workflow: `owner/name/path@ref`."""
        path = re.fullmatch(rf"{SLUG}/clients/(.+)@v1", action)
        if path is None:
            raise AssertionError(f"{action} is no action of this project")
        directory = root / path[1]
        (definition,) = yaml_documents((directory / "action.yml").read_text())
        unknown = set(inputs) - set(definition["inputs"])
        if unknown:
            raise AssertionError(f"{action} has no input {unknown}")
        given = {
            f"INPUT_{name.upper()}": str(inputs.get(name, declared.get("default", "")))
            for name, declared in definition["inputs"].items()
        }
        node = str(tools.ensure(tools.NODE))
        result, state = self._command([node, str(directory / definition["runs"]["main"])], given)
        states = {f"STATE_{name}": value for name, value in state.items()}
        self._posts.append(([node, str(directory / definition["runs"]["post"])], {**given, **states}))
        unknown = set(result.outputs) - set(definition["outputs"])
        if unknown:
            raise AssertionError(f"{action} has no output {unknown}")
        return result

    def another_action_ends_by(self, script: str) -> None:
        """Let the job end with another action's post step, as docker/login-action has one."""
        self._posts.append(([BASH, "-ec", script], {}))

    def finish(self) -> list[Result]:
        """End the job: run the post steps, the last first."""
        return [self._command(*self._posts.pop())[0] for _ in list(self._posts)]

    def run(
        self, script: str, options: tuple[str, ...] = ("--noprofile", "--norc", "-eo", "pipefail"), **environment: str
    ) -> Result:
        """Run a `run:` step as with `shell: bash`; where the workflow names no shell, `options` is `-e` alone."""
        file = self.temp / f"script-{self._steps}.sh"
        file.write_text(script)
        return self._command([BASH, *options, str(file)], environment)[0]

    def _command(self, command: list[str], environment: Mapping[str, str]) -> tuple[Result, dict[str, str]]:
        self._steps += 1
        names = ("OUTPUT", "ENV", "PATH", "STATE", "STEP_SUMMARY")
        files = {f"GITHUB_{name}": self.temp / f"{name}-{self._steps}" for name in names}
        for made in files.values():
            made.touch()
        done = run(
            command,
            {**self.environment, **environment, **{name: str(path) for name, path in files.items()}},
            self.workspace,
        )
        result = _github_log(done)
        result.outputs = _environment_file(files["GITHUB_OUTPUT"].read_text())
        self.environment |= _environment_file(files["GITHUB_ENV"].read_text())
        for line in files["GITHUB_PATH"].read_text().splitlines():
            self.environment["PATH"] = f"{line}:{self.environment['PATH']}"
        self.summary += files["GITHUB_STEP_SUMMARY"].read_text()
        state = _environment_file(files["GITHUB_STATE"].read_text())
        for made in files.values():
            made.unlink()  # as the runner does
        return result, state


def _fill(text: str, context: Mapping[str, str]) -> str:
    return re.sub(r"\$\{\{ ([\w.-]+) \}\}", lambda found: context.get(found[1], ""), str(text))


def _environment_file(text: str) -> dict[str, str]:
    """Parse GITHUB_ENV and GITHUB_OUTPUT: `name=value` and nothing else, which is all that our steps write."""
    pairs = [line.split("=", 1) for line in text.splitlines()]
    if any(len(pair) != 2 or not re.fullmatch(r"[\w-]+", pair[0]) for pair in pairs):
        raise AssertionError(f"invalid format: {text!r}")
    return {pair[0]: pair[1] for pair in pairs}


def _github_log(done: subprocess.CompletedProcess[str]) -> Result:
    result = Result(done.returncode, "", done.stdout)
    until = ""  # what ends a stretch in which nothing is a command
    for line in done.stdout.splitlines():
        command = None if until else re.fullmatch(r"::([\w-]+)(?: [^:]*)?::(.*)", line)
        if until and line == f"::{until}::":
            until = ""
        elif command is None:
            result.log += masked(line, result.masks) + "\n"
        elif command[1] == "stop-commands":
            until = command[2]
        else:
            _github_command(result, command[1], command[2])
    return result


def _github_command(result: Result, name: str, data: str) -> None:
    value = data.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")
    if name == "add-mask":
        result.masks.append(value)
    elif name in {"error", "warning"}:
        (result.errors if name == "error" else result.warnings).append(masked(value, result.masks))
    elif name != "notice":
        raise AssertionError(f"an unexpected workflow command: {name}")


class GitLabJob:
    """A job that extends `.acr-token` of the included file; `inputs` of the include, `variables` of the job."""

    def __init__(
        self,
        directory: Path,
        *,
        token_for: TokenFor,
        inputs: Mapping[str, str] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.workspace = directory / "builds"
        self.workspace.mkdir(parents=True)
        text = (released() / "gitlab" / "acr-token.yml").read_text()
        declared = yaml_documents(text)[0]["spec"]["inputs"]
        unknown = set(inputs or {}) - set(declared)
        if unknown:
            raise AssertionError(f"the template has no input {unknown}")
        values = {name: (inputs or {}).get(name, spec.get("default")) for name, spec in declared.items()}
        if None in values.values():
            raise AssertionError(f"an input is missing: {values}")
        body = text.split("\n---\n", 1)[1]
        (document,) = yaml_documents(re.sub(r"\$\[\[ inputs\.([\w-]+) \]\]", lambda found: str(values[found[1]]), body))
        self.job = document[".acr-token"]
        merged = {**self.job.get("variables", {}), **(variables or {})}
        self.environment = base_environment(directory / "home", GITLAB_CI="true", CI_JOB_ID="4711")
        self.environment["CI_PROJECT_DIR"] = str(self.workspace)
        self.environment |= {name: _expand(str(value or ""), merged) for name, value in merged.items()}
        for name, declared in self.job["id_tokens"].items():
            self.environment[name] = token_for(_expand(declared["aud"], merged))

    def script(self, *lines: str, shell: tuple[str, ...] = (BASH, "-eo", "pipefail")) -> Result:
        """Run `before_script` and these lines in one shell, then `after_script` in another, as the runner does."""
        body = [*self.job["before_script"], *lines]
        done = run([*shell, "-c", "\n".join(body)], self.environment, self.workspace)
        after = run([*shell, "-c", "\n".join(self.job["after_script"])], self.environment, self.workspace)
        assert after.returncode == 0
        return Result(done.returncode, done.stdout, done.stdout)


def _expand(text: str, variables: Mapping[str, str]) -> str:
    for _ in range(3):  # variables may name variables
        text = re.sub(r"\$(\w+)", lambda found: str(variables.get(found[1], "")), text)
    return text


class AzureJob:
    """A job of Azure Pipelines: step templates, plain bash steps, and variables between them."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self.temp = directory / "_temp"
        self.workspace = directory / "s"
        for made in (self.temp, self.workspace):
            made.mkdir(parents=True)
        self.access_token = environment.get("SYSTEM_ACCESSTOKEN", "")
        given = {
            name: value for name, value in environment.items() if name != "SYSTEM_ACCESSTOKEN"
        }  # steps must map it
        self.environment = base_environment(
            directory / "home", TF_BUILD="True", AGENT_TEMPDIRECTORY=str(self.temp), **given
        )
        self.secrets: dict[str, str] = {}
        self._steps = 0

    def template(self, reference: str, parameters: Mapping[str, Any]) -> Result:
        """Run the steps of a template: a file of the pipeline's own repository or of another one (`@alias`)."""
        path = f"azure-pipelines/{Path(reference.partition('@')[0]).name}"
        (definition,) = yaml_documents((released() / path).read_text())
        declared = {entry["name"]: entry for entry in definition["parameters"]}
        unknown = set(parameters) - set(declared)
        missing = {name for name, entry in declared.items() if "default" not in entry} - set(parameters)
        if unknown or missing:
            raise AssertionError(f"unknown {unknown}, missing {missing}")
        context = {
            f"parameters.{name}": str(parameters.get(name, entry.get("default")))
            for name, entry in declared.items()
            if name != "steps"
        }
        prepare, login, each, rest = definition["steps"]
        assert self.bash(prepare["bash"]).exit_code == 0
        environment = {name: _fill(value, context) for name, value in login["env"].items()}
        result = self.bash(_fill(login["bash"], context), **environment)
        given: list[dict[str, str]] = parameters.get("steps", [])
        assert each == {"${{ each step in parameters.steps }}": ["${{ step }}"]}
        for step in given:
            if result.exit_code == 0:
                self._add(result, self.bash(step["bash"]))
        ((condition, (logout,)),) = rest.items()
        assert condition == "${{ if gt(length(parameters.steps), 0) }}"
        assert logout["condition"] == "always()"
        if given:
            self._add(result, self.bash(logout["bash"]))
        return result

    def _add(self, total: Result, more: Result) -> None:
        total.exit_code = total.exit_code or more.exit_code
        total.log, total.raw = total.log + more.log, total.raw + more.raw

    def bash(self, script: str, **environment: str) -> Result:
        """Run a bash step; its `env` may name variables as `$(Name)`."""
        macros = {"System.AccessToken": self.access_token, **self.secrets, **self.environment}

        def expand(text: str) -> str:
            return re.sub(r"\$\(([\w.]+)\)", lambda found: macros.get(found[1], found[0]), text)

        self._steps += 1
        file = self.temp / f"step-{self._steps}.sh"
        file.write_text(expand(script))
        mapped = {name: expand(value) for name, value in environment.items()}
        done = run([BASH, "--noprofile", "--norc", str(file)], {**self.environment, **mapped}, self.workspace)
        result = Result(done.returncode, "", done.stdout)
        for line in done.stdout.splitlines():
            command = re.fullmatch(r"##vso\[task\.(\w+) ?([^\]]*)\](.*)", line)
            if command is None:
                result.log += masked(line, result.masks) + "\n"
            else:
                properties = dict(pair.split("=", 1) for pair in command[2].split(";") if pair)
                self._obey(result, command[1], properties, command[3])
        return result

    def _obey(self, result: Result, command: str, properties: Mapping[str, str], data: str) -> None:
        value = data.replace("%0D", "\r").replace("%0A", "\n").replace("%AZP25", "%")
        if command == "setsecret" or properties.get("issecret") == "true":
            result.masks.append(value)
        if command == "logissue":
            (result.errors if properties["type"] == "error" else result.warnings).append(masked(value, result.masks))
        elif command == "setvariable":
            result.outputs[properties["variable"]] = value
            (self.secrets if properties.get("issecret") == "true" else self.environment)[properties["variable"]] = value
        elif command != "setsecret":
            raise AssertionError(f"an unexpected logging command: {command}")


@dataclass(frozen=True)
class Snippet:
    """Hold what one of the snippets (CircleCI, Bitbucket, Buildkite) runs: its variables and its script."""

    variables: dict[str, str]
    lines: list[str]
    afterwards: tuple[str, ...] = ()


def snippet(platform: str, text: str | None = None) -> Snippet:
    """Read a snippet file, or a text of the same form, as its platform does."""
    files = {"circleci": "config.yml", "bitbucket": "bitbucket-pipelines.yml", "buildkite": "pipeline.yml"}
    (document,) = yaml_documents(text or (CLIENTS / platform / files[platform]).read_text())
    if platform == "circleci":
        (job,) = document["jobs"].values()
        runs = [step["run"] for step in job["steps"] if "run" in step]
        always = tuple(step["command"] for step in runs if isinstance(step, dict) and step["when"] == "always")
        return Snippet(job["environment"], [step for step in runs if isinstance(step, str)], always)
    if platform == "bitbucket":
        (pipeline,) = document["pipelines"]["branches"].values()
        step = pipeline[0]["step"]
        assert step["oidc"]["audiences"] == ["https://vend.contoso.example"]
        return Snippet({}, step["script"], tuple(step["after-script"]))
    (step,) = document["steps"]
    # Buildkite interpolates `$NAME` when the pipeline is uploaded and makes `$` of `$$`.
    return Snippet(document["env"], [step["command"].replace("$$", "$")])


class SnippetJob:
    """A job on CircleCI, Bitbucket or Buildkite, with the script in `ci/` as the snippets tell people to have it."""

    def __init__(
        self, directory: Path, platform: str, token_for: TokenFor, *, url: str, audience: str | None = None
    ) -> None:
        self.platform = platform
        self.url = url
        self.workspace = directory / "project"
        (self.workspace / "ci").mkdir(parents=True)
        shutil.copy(CLIENTS / "acr-token.sh", self.workspace / "ci")
        self.programs = directory / "bin"
        self.programs.mkdir()
        self.environment = base_environment(directory / "home")
        self.environment["PATH"] = f"{self.programs}:{self.environment['PATH']}"
        token = token_for(audience or url)
        if platform == "bitbucket":
            self.environment["BITBUCKET_STEP_OIDC_TOKEN"] = token
        else:
            self.environment["CIRCLECI" if platform == "circleci" else "BUILDKITE"] = "true"
            name = "circleci" if platform == "circleci" else "buildkite-agent"
            # The agent's own command: it notes how it was asked, and prints the token.
            note = f'printf "%s\\n" "$*" >>"{directory}/asked"\nprintf "%s\\n" "{token}"'
            # What Buildkite's agent is given to hide arrives on its standard input.
            hide = f'[ "$1" != redactor ] || {{ cat >>"{directory}/hidden" && echo >>"{directory}/hidden"; exit; }}'
            self._program(name, f"{hide}\n{note}")
        self.asked = directory / "asked"
        self.hidden = directory / "hidden"
        if platform == "circleci":
            (directory / "bash_env").touch()
            self.environment["BASH_ENV"] = str(directory / "bash_env")

    def _program(self, name: str, body: str) -> None:
        file = self.programs / name
        file.write_text(f"#!/bin/sh\n{body}\n")
        file.chmod(0o755)

    def run(self, given: Snippet, last: str | None = None) -> Result:
        """Run the snippet with the example's addresses replaced; `last` takes the place of its last command."""
        environment = self.environment | {name: self._real(value) for name, value in given.variables.items()}
        lines = [self._real(line) for line in given.lines]
        if last is not None:
            lines[-1] = "\n".join([*lines[-1].rstrip().splitlines()[:-1], last])
        # CircleCI runs each step in a shell of its own, the others run one script; what comes afterwards always runs.
        scripts = lines if self.platform == "circleci" else ["\n".join(lines)]
        result = Result(0, "", "")
        for script in scripts:
            if result.exit_code == 0:
                done = run([BASH, "-eo", "pipefail", "-c", script], environment, self.workspace)
                result = Result(done.returncode, result.log + done.stdout, result.log + done.stdout)
        for script in given.afterwards:
            run([BASH, "-eo", "pipefail", "-c", script], environment, self.workspace)
        return result

    def _real(self, text: str) -> str:
        return text.replace("https://vend.contoso.example", self.url)


BUILT_IN = {"PROJECT_ID": "contoso", "BUILD_ID": "b1", "LOCATION": "global", "SHORT_SHA": "0123456"}


def cloud_build(text: str) -> str:
    """Return an argument of a build step as Cloud Build fills it in before any shell sees it."""

    def fill(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        name = found[1] or found[2]
        if name not in BUILT_IN:
            raise AssertionError(f"key in the template {name!r} is not a valid built-in substitution")
        return BUILT_IN[name]

    return re.sub(r"\$\$|\$([A-Z][A-Z0-9_]*)|\$\{([A-Z][A-Z0-9_]*)\}", fill, text)


class KubernetesJob:
    """One run of the CronJob in pull-secret.yaml; mounts become directories, and their paths are put in their place."""

    def __init__(self, directory: Path, *, token_for: TokenFor, url: str, api: str, ca: Path) -> None:
        documents = _manifest("pull-secret.yaml")
        by_kind = {document["kind"]: document for document in documents}
        pod = by_kind["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        (self.container,) = pod["containers"]
        self.root = directory / "root"
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        self._paths: dict[str, str] = {}
        for mount in self.container["volumeMounts"]:
            place = self.root / mount["mountPath"].lstrip("/")
            place.mkdir(parents=True)
            self._paths[mount["mountPath"]] = str(place)
            volume = volumes[mount["name"]]
            if "projected" in volume:
                (source,) = volume["projected"]["sources"]
                request = source["serviceAccountToken"]
                audience = request["audience"].replace("https://vend.contoso.example", url)
                (place / request["path"]).write_text(token_for(audience))
        account = self.root / "account"
        account.mkdir()
        (account / "token").write_text("kubernetes-api-secret")
        (account / "namespace").write_text("web")
        shutil.copy(ca, account / "ca.crt")
        host, _, port = api.removeprefix("https://").partition(":")
        self.environment = base_environment(directory / "home", TMPDIR=self._paths["/tmp"])
        self.environment |= {
            "KUBERNETES_SERVICE_HOST": host,
            "KUBERNETES_SERVICE_PORT": port,
            "SERVICE_ACCOUNT_DIR": str(account),
        }
        for entry in self.container["env"]:
            self.environment[entry["name"]] = self._placed(entry["value"].replace("https://vend.contoso.example", url))

    def _placed(self, text: str) -> str:
        for mount in sorted(self._paths, key=len, reverse=True):
            if text.startswith(f"{mount}/"):
                return self._paths[mount] + text[len(mount) :]
        return text

    def run(self) -> Result:
        """Run the image's entry point on the files that the image copies."""
        containerfile = (CLIENTS / "kubernetes" / "Containerfile").read_text()
        (copied,) = re.findall(r"^COPY (.+)$", containerfile, flags=re.MULTILINE)
        *sources, target = copied.split()
        place = self.root / target.lstrip("/")
        place.mkdir(parents=True, exist_ok=True)
        for source in sources:
            shutil.copy(CLIENTS / source, place)
        (entry,) = re.findall(r"^ENTRYPOINT (.+)$", containerfile, flags=re.MULTILINE)
        command = [word.replace(target, f"{place}/") for word in json.loads(entry)]
        done = run(command, self.environment, self.root)
        return Result(done.returncode, done.stdout, done.stdout)


def _manifest(name: str) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", yaml_documents((CLIENTS / "kubernetes" / name).read_text()))
