"""The configuration is formatted, valid and planned by the real Terraform; terraform.py tells what stands in."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.infra.scenarios import EVERYTHING, MINIMUM
from tests.infra.terraform import Terraform, prepare, versions
from tests.infra.toolbox import TERRAFORM

if TYPE_CHECKING:
    from pathlib import Path

CONDITIONS = TERRAFORM / "modules" / "policy-conditions"


def test_files_are_formatted_as_terraform_formats_them(terraform: Terraform) -> None:
    assert terraform("fmt", "-check", "-recursive", "-diff") == ""


def test_configuration_is_valid_against_the_published_provider_schemas(terraform: Terraform) -> None:
    assert "The configuration is valid" in terraform("validate")


def test_schemas_are_of_versions_that_the_configuration_accepts(terraform: Terraform) -> None:
    text = (TERRAFORM / "versions.tf").read_text()
    for provider, version in versions().items():
        wanted = re.search(rf'/{provider}"\s+version = "~> (\d+)\.(\d+)"', text)
        assert wanted is not None
        major, minor, _ = map(int, version.split("."))
        assert major == int(wanted[1])
        assert minor >= int(wanted[2])


@pytest.mark.parametrize(
    ("file", "good", "bad", "says"),
    [
        pytest.param("registries.tf", "admin_enabled", "admin_enable", "Unsupported argument", id="misspelt"),
        pytest.param("monitoring.tf", "  scopes  ", "  # ", 'argument "scopes" is required', id="required_left_out"),
        pytest.param(
            "network.tf", "private_service_connection {", "connection {", "private_service_connection", id="block"
        ),
        pytest.param("main.tf", "tags                = var.tags", "tags = [1]", "map of string required", id="type"),
    ],
)
def test_validation_finds_what_the_schema_forbids(
    terraform: Terraform, scratch: Path, request: pytest.FixtureRequest, file: str, good: str, bad: str, says: str
) -> None:
    folder = scratch / request.node.callspec.id / "terraform"
    shutil.copytree(TERRAFORM, folder)
    shutil.copytree(TERRAFORM.parent / "shared", folder.parent / "shared")
    text = (folder / file).read_text()
    assert good in text
    (folder / file).write_text(text.replace(good, bad))
    copy = prepare(folder, scratch / f"data-{request.node.callspec.id}")
    assert says in " ".join(copy.refuse("validate").split())


def test_the_service_passes_its_terraform_tests(terraform: Terraform) -> None:
    output = terraform("test")
    assert "0 failed" in output
    assert "0 passed" not in output


def test_the_condition_builder_passes_its_terraform_tests(terraform: Terraform, scratch: Path) -> None:
    conditions = prepare(CONDITIONS, scratch / "conditions")
    conditions("init", "-backend=false", "-input=false")
    output = conditions("test")
    assert "0 failed" in output
    assert "0 passed" not in output


def test_the_condition_builder_needs_no_provider() -> None:
    assert "required_providers" not in "".join(path.read_text() for path in CONDITIONS.glob("*.tf"))


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"name": "Vending"}, id="capital_in_name"),
        pytest.param({"python_version": "3.14"}, id="untested_python"),
        pytest.param({"maximum_instance_count": 1}, id="too_few_instances"),
        pytest.param({"zone_redundant": True}, id="zones_without_instances"),
        pytest.param({"public_url": "http://vend.contoso.example"}, id="plain_http"),
        pytest.param({"key_vault_references": {"PARTNER": "hunter2"}}, id="secret_instead_of_its_address"),
        pytest.param({"registries": {"prod": {"id": "contoso"}}}, id="registry_name_instead_of_id"),
        pytest.param({"private_registry_ids": ["x"]}, id="private_registry_without_network"),
        pytest.param({"deadline_seconds": 500}, id="deadline_beyond_the_platform"),
    ],
)
def test_a_wrong_variable_is_refused_before_anything_is_planned(
    terraform: Terraform, scratch: Path, wrong: dict[str, Any]
) -> None:
    given = scratch / "wrong.tfvars.json"
    given.write_text(json.dumps({**MINIMUM.terraform, **wrong}))
    said = terraform.refuse("plan", "-input=false", "-lock=false", f"-var-file={given}")
    assert "Invalid value for variable" in said


def test_a_registry_entry_that_is_no_repository_is_refused(terraform: Terraform, scratch: Path) -> None:
    registries = EVERYTHING.terraform["registries"]
    registries["contoso"] = {**registries["contoso"], "pull": ["team*"]}
    given = scratch / "entry.tfvars.json"
    given.write_text(json.dumps({**EVERYTHING.terraform, "registries": registries}))
    said = terraform.refuse("plan", "-input=false", "-lock=false", f"-var-file={given}")
    assert "Each entry must be a repository name" in " ".join(said.split())
