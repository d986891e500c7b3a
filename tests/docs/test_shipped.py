"""The shipped policy and the example of several files keep the promises of the tests beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs.markdown import NOW, ROOT
from vending.cli.cases import read_cases, run_cases
from vending.policy import Environment, load_bytes, load_with_source
from vending.policy.compiler.load import compile_directory
from vending.policy.lint import lint

if TYPE_CHECKING:
    from pathlib import Path

TEAMS = ROOT / "examples" / "teams"
SHIPPED = [(ROOT / "policy.yaml", ROOT / "policy.tests.yaml"), *((TEAMS, path) for path in TEAMS.glob("tests/*.yaml"))]


@pytest.mark.parametrize(("policy", "tests"), SHIPPED, ids=lambda path: path.name)
def test_policy_keeps_its_promises(policy: Path, tests: Path) -> None:
    loaded = load_with_source(policy, Environment()).policy
    results = run_cases(read_cases(tests, tests.read_bytes(), loaded), loaded, NOW)
    assert {result.name: result.message for result in results if not result.passed} == {}


def test_every_rule_of_the_shipped_policy_is_tested() -> None:
    policy = load_with_source(ROOT / "policy.yaml", Environment()).policy
    tests = ROOT / "policy.tests.yaml"
    results = run_cases(read_cases(tests, tests.read_bytes(), policy), policy, NOW)
    exercised = {name for result in results for name in result.rules}
    enforced = {rule.name for rules in policy.rules.values() for rule in rules.rules if rule.enforced}
    assert enforced - exercised == set()


def test_shipped_policy_passes_strict_because_it_accepts_two_warnings() -> None:
    loaded = load_with_source(ROOT / "policy.yaml", Environment())
    assert [str(problem) for problem in lint(loaded, NOW) if problem.severity == "warning"] == []
    codes = {code for rule in loaded.model.rules for code in rule.accept}
    codes |= {code for issuer in loaded.model.issuers.values() for code in issuer.accept}
    assert codes == {"shared_audience", "grant_everything"}, "Azure Pipelines' audience, and Flux that reads all"


def test_the_company_of_the_tutorial_passes_strict() -> None:
    loaded = load_with_source(ROOT / "examples" / "company" / "policy", Environment())
    assert [str(problem) for problem in lint(loaded, NOW) if problem.severity == "warning"] == []


def test_shipped_workflows_check_strictly() -> None:
    checks = [
        line.strip()
        for workflow in (ROOT / ".github" / "workflows").glob("*.yml")
        for line in workflow.read_text(encoding="utf-8").splitlines()
        if "vending check" in line
    ]
    assert checks
    assert all("--strict" in line for line in checks)


def test_example_of_several_files_is_free_of_warnings() -> None:
    assert lint(load_with_source(TEAMS, Environment()), NOW) == ()


def test_example_of_several_files_compiles_to_one_that_needs_no_other() -> None:
    compiled = compile_directory(TEAMS, Environment())
    policy = load_bytes(compiled, name="policy.json", environment=Environment(), directory=None)
    assert policy.issuers["https://gitlab.contoso.example"].verification.static_keys is not None
