"""What is written for other programs satisfies their own linters and schemas."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from devstack import tools
from tests.support.schemas import fits

from .platforms import CLIENTS, released, yaml_documents
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


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_has_nothing_to_say_about_the_scripts(script: Path) -> None:
    # Optional checks too, but for: braces around every variable, and functions in conditions and substitutions.
    passes(BIN / "shellcheck", "--shell=sh", "--enable=all", "--exclude=SC2250,SC2310,SC2311,SC2312,SC2249", script)


def bodies() -> dict[str, tuple[str, str]]:
    """Return the shell of every script body in the templates, with its dialect."""
    job = yaml_documents((CLIENTS / "gitlab" / "acr-token.yml").read_text())[-1][".acr-token"]
    (template,) = yaml_documents((CLIENTS / "azure-pipelines" / "acr-token.yml").read_text())
    prepare, login, _each, _rest = template["steps"]
    return {
        "gitlab": ("sh", "\n".join([*job["before_script"], *job["after_script"]])),
        "azure-prepare": ("bash", prepare["bash"]),
        "azure-login": ("bash", login["bash"]),
    }


@pytest.mark.parametrize("name", bodies())
def test_shellcheck_has_nothing_to_say_about_the_templates(name: str, tmp_path: Path) -> None:
    dialect, text = bodies()[name]
    file = tmp_path / "body.sh"
    file.write_text(f"#!/bin/{dialect}\n{text}\n")
    passes(BIN / "shellcheck", f"--shell={dialect}", file)


def unindented(text: str) -> str:
    """Return what the heredocs of a template put into the script's file."""
    parts = re.findall(r"<<'ACR_TOKEN_SH'\n(.*?)^ *ACR_TOKEN_SH$", text, flags=re.DOTALL | re.MULTILINE)
    return "".join(textwrap.dedent(part) for part in parts)


@pytest.mark.parametrize("name", ["gitlab/acr-token.yml", "azure-pipelines/acr-token.yml"])
def test_a_released_template_carries_the_script_as_it_is(name: str) -> None:
    released_text = (released() / name).read_text()
    assert unindented(released_text) == (CLIENTS / "acr-token.sh").read_text()
    assert unindented((CLIENTS / name).read_text()).count("\n") <= 2  # the repository has no copy


def test_the_scripts_of_a_released_template_fit_into_the_agents_variables() -> None:
    (template,) = yaml_documents((released() / "azure-pipelines" / "acr-token.yml").read_text())
    scripts = [step["bash"] for step in template["steps"] if "bash" in step]
    assert len(scripts) == 2
    assert all(len(script) < 32_767 for script in scripts)


MACROS = {
    "GitLab inputs": r"\$\[\[",
    "GitHub and Azure expressions": r"\$\{\{",
    "Azure runtime expressions": r"\$\[(?!!)",
    "Azure macros": r"\$\(\w[\w.-]*\)",
    "CircleCI parameters": r"<<(?!'ACR_TOKEN_SH')",
    "an Azure variable that is no secret": r"##vso\[task\.setvariable variable=ACR_TOKEN\]",
}
"""What a platform replaces wherever it finds it in a script, comments and messages included."""


@pytest.mark.parametrize("macro", MACROS)
@pytest.mark.parametrize(
    "name", ["acr-token.sh", "kubernetes/refresh-pull-secret.sh", "gitlab", "azure-prepare", "azure-login"]
)
def test_no_platform_takes_a_part_of_a_script_for_its_own_syntax(name: str, macro: str) -> None:
    text = bodies()[name][1] if name in bodies() else (CLIENTS / name).read_text()
    assert re.findall(MACROS[macro], text) == []


@pytest.mark.parametrize("macro", MACROS)
def test_a_macro_would_be_found(macro: str) -> None:
    examples = {
        "GitLab inputs": "$[[ inputs.url ]]",
        "GitHub and Azure expressions": "${{ inputs.url }}",
        "Azure runtime expressions": "$[variables.x]",
        "Azure macros": "add 'env: {SYSTEM_ACCESSTOKEN: $(System.AccessToken)}'",
        "CircleCI parameters": "<< parameters.url >>",
        "an Azure variable that is no secret": "##vso[task.setvariable variable=ACR_TOKEN]x",
    }
    assert re.findall(MACROS[macro], examples[macro])


def test_secrets_are_handed_to_steps_in_their_environment_alone() -> None:
    """The macro of Azure's access token is where a step's `env` maps it, and nowhere else in what is shipped."""
    for path in (path for path in released().rglob("*") if path.is_file()):
        lines = [line.strip() for line in path.read_text().splitlines() if re.search(r"System\.AccessToken\)", line)]
        assert set(lines) <= {"SYSTEM_ACCESSTOKEN: $(System.AccessToken)"}, path


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
    workflow = repository / ".github" / "workflows" / "workflow.yml"
    workflow.write_text(
        workflow.read_text().replace("- run: docker push", "- run: echo ${{ github.head_ref }}; docker push")
    )
    with pytest.raises(AssertionError, match="template-injection"):
        passes(BIN / "zizmor", "--offline", "--no-progress", ".github/workflows/workflow.yml", cwd=repository)


def test_the_files_fit_their_platforms_schemas(tmp_path: Path) -> None:
    fits("github-actions", CLIENTS / "github-action" / "action.yml")
    fits("github-workflows", CLIENTS / "github-action" / "workflow.yml")
    # The schema knows no expressions in a list of steps; the released file without them is checked.
    azure = (released() / "azure-pipelines" / "acr-token.yml").read_text()
    plain = tmp_path / "azure.yml"
    plain.write_text(
        re.sub(r"^  - \$\{\{ each .*?^      - \$\{\{ step \}\}\n", "", azure, flags=re.DOTALL | re.MULTILINE)
    )
    fits("azure-pipelines", plain, options=("--data-transform", "azure-pipelines"))
    fits("circle-ci", CLIENTS / "circleci" / "config.yml")
    # The schema is older than the audiences that Atlassian announced in 2025, and knows `oidc: true` alone.
    bitbucket = (CLIENTS / "bitbucket" / "bitbucket-pipelines.yml").read_text()
    older = tmp_path / "bitbucket-pipelines.yml"
    older.write_text(re.sub(r"oidc:\n +audiences: .*", "oidc: true", bitbucket))
    fits("bitbucket-pipelines", older)
    fits("buildkite", CLIENTS / "buildkite" / "pipeline.yml")
    for number, part in enumerate((released() / "gitlab" / "acr-token.yml").read_text().split("\n---\n")):
        file = tmp_path / f"part-{number}.gitlab-ci.yml"
        file.write_text(part)
        fits("gitlab-ci", file, options=("--data-transform", "gitlab-ci"))


def test_the_manifest_fits_the_kubernetes_api() -> None:
    passes(BIN / "kubernetes-validate", "--strict", CLIENTS / "kubernetes" / "pull-secret.yaml")


def test_the_manifests_fit_each_other() -> None:
    documents = yaml_documents((CLIENTS / "kubernetes" / "pull-secret.yaml").read_text())
    named = {(document["kind"], document["metadata"]["name"]): document for document in documents}
    pod = named["CronJob", "acr-pull-secret"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert ("ServiceAccount", pod["serviceAccountName"]) in named
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
