"""What is written for other programs satisfies their own linters and schemas."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from devstack import tools

from .platforms import CLIENTS, yaml_documents
from .tools import ACTIONLINT

HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
SCRIPTS = sorted(CLIENTS.rglob("*.sh"))


def passes(*command: str | Path, cwd: Path = CLIENTS) -> None:
    """Run a linter and show what it says if it objects."""
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def schema(name: str, file: Path, *options: str) -> None:
    """Check a file against one of the schemas that check-jsonschema carries."""
    passes(BIN / "check-jsonschema", "--builtin-schema", f"vendor.{name}", *options, file)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_has_nothing_to_say_about_the_scripts(script: Path) -> None:
    # Optional checks too, but for: braces around every variable, and functions in conditions and substitutions.
    passes(BIN / "shellcheck", "--shell=sh", "--enable=all", "--exclude=SC2250,SC2310,SC2311,SC2312,SC2249", script)


def bodies() -> dict[str, tuple[str, str]]:
    """Return the shell of every script body in the templates, with its dialect."""
    found = {}
    (action,) = yaml_documents((CLIENTS / "github-action" / "action.yml").read_text())
    for number, step in enumerate(action["runs"]["steps"]):
        found[f"github-{number}"] = ("bash", step["run"])
    for name in ("templates/acr-token.yml", "acr-token.gitlab-ci.yml"):
        job = yaml_documents((CLIENTS / "gitlab" / name).read_text())[-1][".acr-token"]
        found[f"gitlab-{name}"] = ("sh", "\n".join([*job["before_script"], *job["after_script"]]))
    (template,) = yaml_documents((CLIENTS / "azure-pipelines" / "acr-token.yml").read_text())
    found["azure"] = ("bash", template["steps"][0]["bash"])
    return found


@pytest.mark.parametrize("name", bodies())
def test_shellcheck_has_nothing_to_say_about_the_templates(name: str, tmp_path: Path) -> None:
    dialect, text = bodies()[name]
    file = tmp_path / "body.sh"
    file.write_text(f"#!/bin/{dialect}\n{text}\n")
    passes(BIN / "shellcheck", f"--shell={dialect}", file)


def test_the_templates_carry_the_scripts_as_they_are() -> None:
    passes(sys.executable, CLIENTS / "embed.py", "--check")


def test_no_platform_takes_a_part_of_the_script_for_its_own_syntax() -> None:
    text = (CLIENTS / "acr-token.sh").read_text()
    assert "$[[" not in text  # GitLab's inputs
    assert "${{" not in text  # GitHub's and Azure's expressions
    assert "$[" not in text.replace("$[!", "")  # Azure's runtime expressions
    assert re.findall(r"\$\([\w.]+\)", text.replace(r"\$(System.AccessToken)", "")) == []  # Azure's macros
    assert "##vso[task.setvariable" in text
    # An agent on Windows hands a script over in a variable of at most 32,767 characters.
    assert len((CLIENTS / "azure-pipelines" / "acr-token.yml").read_text()) < 32_767


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a repository that uses the action as the example does."""
    workflows = tmp_path / ".github" / "workflows"
    workflows.mkdir(parents=True)
    shutil.copy(CLIENTS / "github-action" / "workflow.yml", workflows)
    shutil.copytree(CLIENTS / "github-action", tmp_path / "action")
    return tmp_path


def test_actionlint_accepts_the_workflow(repository: Path) -> None:
    passes(tools.ensure(ACTIONLINT), ".github/workflows/*.yml", cwd=repository)


def test_actionlint_would_object(repository: Path) -> None:
    workflow = repository / ".github" / "workflows" / "workflow.yml"
    workflow.write_text(workflow.read_text().replace("runs-on", "run-on"))
    with pytest.raises(AssertionError, match="run-on"):
        passes(tools.ensure(ACTIONLINT), ".github/workflows/*.yml", cwd=repository)


def test_zizmor_finds_nothing_in_action_and_workflow(repository: Path) -> None:
    options = ("--offline", "--no-progress", "--persona=pedantic", "--config", HERE / "zizmor.yml")
    passes(BIN / "zizmor", *options, "action/action.yml", ".github/workflows/workflow.yml", cwd=repository)


def test_zizmor_would_object(repository: Path) -> None:
    action = repository / "action" / "action.yml"
    action.write_text(action.read_text().replace('run: sh "', 'run: echo ${{ inputs.url }}; sh "'))
    with pytest.raises(AssertionError, match="template-injection"):
        passes(BIN / "zizmor", "--offline", "--no-progress", "action/action.yml", cwd=repository)


def test_the_files_fit_their_platforms_schemas(tmp_path: Path) -> None:
    schema("github-actions", CLIENTS / "github-action" / "action.yml")
    schema("github-workflows", CLIENTS / "github-action" / "workflow.yml")
    schema("azure-pipelines", CLIENTS / "azure-pipelines" / "acr-token.yml", "--data-transform", "azure-pipelines")
    schema("circle-ci", CLIENTS / "circleci" / "config.yml")
    # The schema is older than the audiences that Atlassian announced in 2025, and knows `oidc: true` alone.
    bitbucket = (CLIENTS / "bitbucket" / "bitbucket-pipelines.yml").read_text()
    older = tmp_path / "bitbucket-pipelines.yml"
    older.write_text(re.sub(r"oidc:\n +audiences: .*", "oidc: true", bitbucket))
    schema("bitbucket-pipelines", older)
    schema("buildkite", CLIENTS / "buildkite" / "pipeline.yml")
    schema("gitlab-ci", CLIENTS / "gitlab" / "acr-token.gitlab-ci.yml", "--data-transform", "gitlab-ci")
    for number, part in enumerate((CLIENTS / "gitlab" / "templates" / "acr-token.yml").read_text().split("\n---\n")):
        file = tmp_path / f"part-{number}.gitlab-ci.yml"
        file.write_text(part)
        schema("gitlab-ci", file, "--data-transform", "gitlab-ci")


@pytest.mark.parametrize("name", ["pull-secret.yaml", "scripts.yaml"])
def test_the_manifests_fit_the_kubernetes_api(name: str) -> None:
    passes(BIN / "kubernetes-validate", "--strict", CLIENTS / "kubernetes" / name)


def test_the_manifests_fit_each_other() -> None:
    documents = [
        document
        for name in ("pull-secret.yaml", "scripts.yaml")
        for document in yaml_documents((CLIENTS / "kubernetes" / name).read_text())
    ]
    named = {(document["kind"], document["metadata"]["name"]): document for document in documents}
    pod = named["CronJob", "acr-pull-secret"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert ("ServiceAccount", pod["serviceAccountName"]) in named
    assert ("ConfigMap", volumes["scripts"]["configMap"]["name"]) in named
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    source = volumes["oidc"]["projected"]["sources"][0]["serviceAccountToken"]
    assert environment["ACR_VENDING_URL"] == source["audience"]
    assert environment["ACR_VENDING_ID_TOKEN_FILE"].endswith(f"/{source['path']}")
    role = named["Role", "acr-pull-secret"]
    assert role["rules"][0]["resourceNames"] == [environment["PULL_SECRET"]]
    assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"patch", "create"}
    binding = named["RoleBinding", "acr-pull-secret"]
    assert (binding["roleRef"]["name"], binding["subjects"][0]["name"]) == (
        "acr-pull-secret",
        pod["serviceAccountName"],
    )


def test_the_credential_helper_is_as_clean_as_the_rest() -> None:
    """It has no `.py` in its name, so what checks the tree passes it by."""
    helper = CLIENTS / "docker-credential-acr-vending"
    passes(BIN / "ruff", "check", helper, cwd=CLIENTS.parent)
    passes(BIN / "ruff", "format", "--check", helper, cwd=CLIENTS.parent)
    passes(BIN / "mypy", helper, cwd=CLIENTS.parent)
