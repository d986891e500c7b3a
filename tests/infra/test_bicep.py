"""Bicep's files parse, and the entry point of `azd` fits the template that it calls."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import tree_sitter_bicep
from tree_sitter import Language, Parser

from tests.infra import bicep
from tests.infra.scenarios import registry_id
from tests.infra.toolbox import BICEP, python_tools, succeed

if TYPE_CHECKING:
    from pathlib import Path

FILES = sorted(BICEP.rglob("*.bicep"))
PARSER = Parser(Language(tree_sitter_bicep.language()))
PYCEP = (
    "import pathlib, sys, pycep\n"
    "for name in sys.argv[1:]: pycep.BicepParser(add_line_numbers=True).parse(file_path=pathlib.Path(name))"
)


def relative(path: Path) -> str:
    return str(path.relative_to(BICEP))


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_every_file_is_bicep(path: Path) -> None:
    assert not PARSER.parse(path.read_bytes()).root_node.has_error


def test_the_syntax_check_finds_an_error() -> None:
    assert PARSER.parse(
        b"resource plan 'Microsoft.Web/serverfarms@2025-03-01' = {\n  name 'x'\n}\n"
    ).root_node.has_error


def test_every_file_is_in_the_dialect_that_static_analysis_reads() -> None:
    succeed([python_tools("schemas") / "python", "-c", PYCEP, *FILES])


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_every_parameter_and_variable_is_used(path: Path) -> None:
    text = path.read_text()
    for statement in bicep.Parser(text).file():
        if statement.kind in {"param", "var"}:
            assert len(re.findall(rf"\b{statement.name}\b", text)) > 1, statement.name


@pytest.mark.parametrize("path", [BICEP / "main.bicep", BICEP / "azd.bicep"], ids=relative)
def test_every_parameter_of_an_entry_point_is_described(path: Path) -> None:
    for statement in bicep.Parser(path.read_text()).file():
        if statement.kind == "param":
            assert any(decorator[1] == "description" for decorator in statement.decorators), statement.name


def test_no_parameter_takes_a_secret() -> None:
    for path in FILES:
        for statement in bicep.Parser(path.read_text()).file():
            assert not re.search(r"password|pwd|secret|key$", statement.name.lower()) or statement.kind != "param"


# azd


def azd(**parameters: Any) -> bicep.Deployment:
    return bicep.Deployment(
        BICEP / "azd.bicep",
        {"environmentName": "prod", "location": "westeurope", **parameters},
        f"/subscriptions/{bicep.SUBSCRIPTION}",
    )


def test_azd_passes_every_parameter_of_its_entry_point() -> None:
    passed = json.loads((BICEP / "azd.parameters.json").read_text())["parameters"]
    assert set(passed) == {s.name for s in azd().statements if s.kind == "param"}


def test_azd_creates_what_the_template_creates() -> None:
    own, main = azd().resources(), bicep.main({}).resources()
    assert [r.type for r in own] == ["Microsoft.Resources/resourceGroups", *(r.type for r in main)]


def test_azd_turns_its_flat_values_into_rights() -> None:
    deployment = azd(registryId=registry_id("contoso"), pullRepositories="team/,tools/cli", pushRepositories="team/")
    conditions = [r.properties["condition"] for r in deployment.resources() if r.file == "registry-access.bicep"]
    assert len(conditions) == 2
    assert "StringEqualsIgnoreCase 'tools/cli'" in conditions[0]
    assert "StringStartsWithIgnoreCase 'team/'" in conditions[1]


def test_azd_finds_the_app_by_its_tag() -> None:
    [site] = [r for r in azd().resources() if r.type == "Microsoft.Web/sites"]
    assert site.body["tags"]["azd-service-name"] == "vending"
