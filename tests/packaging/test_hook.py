"""The pre-commit hook, run by pre-commit in a repository that names this project as the hook's."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.packaging.environments import installers
from tests.packaging.origin import git
from vending.cli.main import main

pytestmark = pytest.mark.process

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def hooks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the files of this checkout, tagged as a release."""
    place = tmp_path_factory.mktemp("hooks")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        target = place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, target)
    git(place, "init", "--quiet")
    git(place, "add", "--all")
    git(place, "commit", "--quiet", "--message", "release")
    git(place, "tag", "v0.1.0")
    return place


def test_the_hook_runs_where_the_policy_changes_and_stops_what_is_wrong(
    hooks: Path, offline: Mapping[str, str], tmp_path: Path
) -> None:
    program = installers()
    place = tmp_path / "repository"
    assert main(["init", str(place), "--ci", "github"]) == 0
    (place / ".pre-commit-config.yaml").write_text(
        f"repos:\n  - repo: {hooks}\n    rev: v0.1.0\n    hooks:\n      - id: acr-vending-check\n"
    )
    git(place, "init", "--quiet")
    git(place, "add", "--all")
    environment = {
        **offline,
        "PATH": f"{program}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "PRE_COMMIT_HOME": str(tmp_path / "cache"),
        "PRE_COMMIT_COLOR": "never",
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["pre-commit", "run", *arguments]
        return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)

    clean = run("--all-files")
    assert clean.returncode == 0, clean.stdout + clean.stderr
    assert clean.stdout.rstrip().endswith("Passed")
    assert run("--files", "README.md").stdout.rstrip().endswith("Skipped")
    team = place / "policy" / "team-web.yaml"
    team.write_text(team.read_text().replace("use: release", "use: relase", 1))
    wrong = run("--files", "policy/team-web.yaml")
    assert wrong.returncode == 1
    assert "policy/team-web.yaml:7:10: error: unknown condition" in wrong.stdout
