"""The example of a whole company: five hundred repositories in few lines, clean, tested, and decided."""

from __future__ import annotations

import pytest

from tests.docs.markdown import ROOT
from vending.cli.main import main
from vending.policy import Environment, load

COMPANY = ROOT / "examples" / "company"


def test_it_is_clean_and_its_tests_pass() -> None:
    policy, tests = COMPANY / "policy", sorted((COMPANY / "tests").glob("*.yaml"))
    assert main(["check", "--strict", str(policy)]) == 0
    assert main(["test", str(policy), *map(str, tests)]) == 0


def test_it_knows_five_hundred_repositories_in_under_four_hundred_lines() -> None:
    files = sorted((COMPANY / "policy").iterdir())
    assert sum(len(file.read_text().splitlines()) for file in files) < 400
    policy = load(COMPANY / "policy", Environment())
    tables = {
        id(insertion.table): insertion.table
        for rules in policy.rules.values()
        for rule in rules.rules
        for grant in rule.grants
        for template in grant.templates
        for insertion in template.insertions
        if insertion.table is not None
    }
    assert sum(map(len, tables.values())) == 500
    assert len(policy.registries) == 3


@pytest.mark.parametrize("change", ["pay/**", "**", "base/x"])
def test_a_team_cannot_grant_itself_what_is_not_its_own(tmp_path_factory: pytest.TempPathFactory, change: str) -> None:
    import shutil

    folder = tmp_path_factory.mktemp("company") / "policy"
    shutil.copytree(COMPANY / "policy", folder)
    team = folder / "web.yaml"
    team.write_text(team.read_text().replace("web/{repository_id|web-images}", change, 1))
    assert main(["check", str(folder)]) == 1


def test_the_tutorial_builds_up_this_very_policy() -> None:
    text = (ROOT / "docs" / "policy.md").read_text()
    section = text.split("## A company of five hundred repositories")[1].split("\n## ")[0]
    excerpts = [block.split("```")[0].strip("\n") for block in section.split("```text\n")[1:]]
    files = [file.read_text() for file in sorted((COMPANY / "policy").iterdir())]
    assert len(excerpts) == 7
    assert [excerpt for excerpt in excerpts if not any(excerpt in file for file in files)] == []
    lines = sum(len(file.splitlines()) for file in files)
    assert f"in {lines} lines" in section
