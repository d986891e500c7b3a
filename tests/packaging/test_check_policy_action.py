"""The composite action `check-policy`, run step by step as GitHub runs it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.clients.platforms import GitHubJob, Result, yaml_documents
from vending.cli.main import main

pytestmark = pytest.mark.process

ACTION: Final = Path(__file__).resolve().parents[2] / "actions" / "check-policy" / "action.yml"
TEAM: Final = "policy/team-web.yaml"


@dataclass(frozen=True)
class Action:
    """The action in a job where it was installed before; `place` is the checkout."""

    job: GitHubJob
    definition: Mapping[str, Any]

    @property
    def place(self) -> Path:
        return self.job.workspace

    def step(self, number: int, **inputs: str) -> Result:
        """Run one step with the given inputs and the defaults of the others."""
        declared = self.definition["inputs"]
        assert set(inputs) <= set(declared)
        values = {name: inputs.get(name, entry["default"]) for name, entry in declared.items()}
        step = self.definition["runs"]["steps"][number]
        assert step["shell"] == "bash"
        environment = {
            name: values[value.removeprefix("${{ inputs.").removesuffix(" }}")] for name, value in step["env"].items()
        }
        return self.job.run(step["run"], **environment)

    def check(self, **inputs: str) -> Result:
        return self.step(1, **inputs)

    def change(self, file: str, old: str, new: str) -> None:
        text = (self.place / file).read_text()
        assert old in text
        (self.place / file).write_text(text.replace(old, new, 1))


@pytest.fixture(scope="module")
def job(offline: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> GitHubJob:
    """A job whose first step has installed the tool."""
    job = GitHubJob(tmp_path_factory.mktemp("job"), offline)
    (definition,) = yaml_documents(ACTION.read_text())
    assert definition["runs"]["using"] == "composite"
    assert len(definition["runs"]["steps"]) == 2
    installed = Action(job, definition).step(0)
    assert installed.exit_code == 0, installed.log
    return job


@pytest.fixture
def action(job: GitHubJob) -> Iterator[Action]:
    """The action, with a new policy repository checked out."""
    (definition,) = yaml_documents(ACTION.read_text())
    assert main(["init", str(job.workspace), "--ci", "github"]) == 0
    yield Action(job, definition)
    shutil.rmtree(job.workspace)
    job.workspace.mkdir()


def test_a_policy_without_findings_is_green(action: Action) -> None:
    done = action.check(tests="tests/*.yaml")
    assert (done.exit_code, done.errors, done.warnings) == (0, [], [])
    assert "4 passed, 0 failed" in done.log


def test_a_warning_is_red_unless_it_may_pass(action: Action) -> None:
    action.change(TEAM, "[pull, push, metadata_read]", "[push]")
    done = action.check()
    assert done.exit_code == 1
    assert done.warnings
    assert f"::warning file={TEAM},line=12," in done.raw
    assert action.check(strict="false").exit_code == 0


def test_a_broken_policy_is_red_beside_its_line(action: Action) -> None:
    action.change(TEAM, "use: release", "use: relase")
    done = action.check(strict="false", tests="tests/*.yaml")
    assert done.exit_code == 1
    assert f"::error file={TEAM},line=7,col=10" in done.raw
    assert "passed" not in done.log


def test_a_promise_that_is_not_kept_is_red(action: Action) -> None:
    action.change("tests/web.tests.yaml", "expect: deny", "expect: allow")
    assert action.check().exit_code == 0
    done = action.check(tests="tests/*.yaml")
    assert done.exit_code == 1
    assert any("a pull request does not push" in error for error in done.errors)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"policy": "elsewhere"}, "elsewhere"),
        ({"policy": ""}, "policy must name"),
        ({"strict": "maybe"}, "strict must be true or false"),
        ({"tests": "tests/*.yml"}, "no file matches tests/*.yml"),
    ],
    ids=["no such policy", "no policy named", "neither true nor false", "a pattern of nothing"],
)
def test_an_input_that_is_wrong_is_named(action: Action, inputs: dict[str, str], said: str) -> None:
    done = action.check(**inputs)
    assert done.exit_code == 2
    assert said in done.raw


def test_inputs_are_data(action: Action) -> None:
    mark = action.place / "mark"
    done = action.check(policy=f"$(touch {mark})", tests=f"$(touch {mark})")
    assert done.exit_code == 2
    assert not mark.exists()
