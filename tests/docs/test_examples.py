"""Every example on every page: policies load and are free of warnings, policy tests pass, the rest is well-formed."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from functools import cache
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.docs.markdown import NOW, Block, blocks, pages
from vending.cli.cases import read_cases, run_cases
from vending.cli.main import build_parser
from vending.policy import Environment, Loaded, PolicyError, Problem
from vending.policy.compiler.load import load_with_source
from vending.policy.language.models import PolicyModel
from vending.policy.language.reader import read
from vending.policy.lint import lint

HEAD: dict[str, Any] = {
    "version": 1,
    "audience": "https://vend.contoso.example",
    "registries": {"prod": {"login_server": "contoso.azurecr.io"}},
    "issuers": {"github": {"preset": "github"}},
}
"""What an example may leave out, as docs/policy.md says."""

BLOCKS = [block for page in pages() for block in blocks(page)]
YAML_BLOCKS = [block for block in BLOCKS if block.language in {"yaml", "yml"}]


def _data(block: Block) -> Any:
    return read(block.text.encode(), f"{block.name}.yaml").data


@cache
def _keys(block: Block) -> set[str]:
    """Return the keys at the top of a block of YAML, without parsing it: every process that collects tests asks."""
    return set(re.findall(r"^([\w.-]+):(?= |$)", re.split(r"^---$", block.text, flags=re.MULTILINE)[0], re.MULTILINE))


def _is_policy(block: Block) -> bool:
    keys = _keys(block)
    return bool(keys & {"rules", "registries", "issuers", "deny"}) and keys <= set(PolicyModel.model_fields)


def _is_tests(block: Block) -> bool:
    return _keys(block) == {"tests"}


def _load(block: Block, tmp_path: Any) -> Loaded:
    """Load an example, with the head where it has none of its own."""
    data = _data(block)
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(data if "version" in data else HEAD | data, default=str), encoding="utf-8")
    return load_with_source(path, Environment())


POLICIES = [block for block in YAML_BLOCKS if _is_policy(block)]


def _severe(problems: tuple[Problem, ...], severity: str) -> set[str]:
    return {str(problem.code) for problem in problems if problem.severity == severity}


@pytest.mark.parametrize("block", [b for b in POLICIES if b.mark is None], ids=lambda b: b.name)
def test_example_loads_without_a_warning(block: Block, tmp_path: Any) -> None:
    warnings = [str(problem) for problem in lint(_load(block, tmp_path), NOW) if problem.severity == "warning"]
    assert warnings == []


@pytest.mark.parametrize("block", [b for b in POLICIES if b.mark], ids=lambda b: b.name)
def test_example_of_a_mistake_has_that_mistake_and_no_other(block: Block, tmp_path: Any) -> None:
    assert block.mark is not None
    severity, code = block.mark
    if severity == "error":
        with pytest.raises(PolicyError) as caught:
            _load(block, tmp_path)
        assert _severe(caught.value.problems, "error") == {code}
        return
    problems = lint(_load(block, tmp_path), NOW)
    assert code in _severe(problems, severity)
    assert _severe(problems, "warning") <= {code}


def _tested() -> list[tuple[Block, Block]]:
    """Pair each block of tests with the policy before it."""
    pairs = []
    for number, block in enumerate(BLOCKS):
        if block.language == "yaml" and _is_tests(block):
            before = [other for other in BLOCKS[:number] if other.page == block.page and other in POLICIES]
            pairs.append((before[-1], block))
    return pairs


@pytest.mark.parametrize(("policy", "tests"), _tested(), ids=lambda b: b.name)
def test_tests_on_the_page_pass(policy: Block, tests: Block, tmp_path: Any) -> None:
    loaded = _load(policy, tmp_path)
    path = tmp_path / "tests.yaml"
    results = run_cases(read_cases(path, tests.text.encode(), loaded.policy), loaded.policy, NOW)
    assert {result.name: result.message for result in results if not result.passed} == {}


_TESTED_PAGES = {"docs/policy.md", "docs/policy-reference.md", "docs/providers.md"}


def test_every_way_to_write_a_rule_is_tested_on_the_page() -> None:
    policies = {policy.name for policy, _ in _tested()}
    recipes = {
        block.name
        for block in POLICIES
        if block.page in _TESTED_PAGES and "rules" in _keys(block) and (block.mark or ("", ""))[0] != "error"
    }
    warnings = {b.name for b in POLICIES if b.section.startswith("`")}
    assert recipes - warnings <= policies


@pytest.mark.parametrize("block", [b for b in YAML_BLOCKS if b not in POLICIES], ids=lambda b: b.name)
def test_other_yaml_is_well_formed(block: Block) -> None:
    assert list(YAML(typ="safe", pure=True).load_all(block.text))


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "json"], ids=lambda b: b.name)
def test_json_is_well_formed(block: Block) -> None:
    assert json.loads(block.text)


_PLACEHOLDER = re.compile(r"<[a-z][a-z -]*>")
"""What the reader replaces; to a shell it would be a redirection."""

SCRIPTS = [block for block in BLOCKS if block.language in {"sh", "bash"}]


@pytest.mark.parametrize("block", SCRIPTS, ids=lambda b: b.name)
def test_shell_is_well_formed(block: Block) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    text = _PLACEHOLDER.sub("placeholder", block.text)
    run = subprocess.run([bash, "-n"], input=text, text=True, capture_output=True, check=False)
    assert run.stderr == ""


_CALL = re.compile(r"(?:^|[\s/])(?:acr-vending|python -m vending) ([a-z].*)")
"""A call of the command line, installed or in a checkout."""


def _command_lines() -> list[tuple[str, str]]:
    found = []
    for block in BLOCKS:
        joined = block.text.replace("\\\n", " ")
        found += [(block.name, call[1]) for line in joined.splitlines() if (call := _CALL.search(line))]
    return found


@pytest.mark.parametrize(("place", "line"), _command_lines())
def test_commands_that_the_pages_name_are_understood(place: str, line: str) -> None:
    arguments = shlex.split(line, comments=True)
    parsed = build_parser().parse_args(arguments)
    assert parsed.command == arguments[0], place
