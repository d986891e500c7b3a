"""The configuration goes through its whole life: applied, planned again, changed, destroyed."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.infra.scenarios import (
    CREATED,
    DEFAULT,
    EVERYTHING,
    GROUP,
    LANDING_ZONE,
    SCENARIOS,
    SUBSCRIPTION,
    Scenario,
    registry_id,
)
from tests.infra.terraform import PROVIDERS, SCHEMA, Terraform, deployer
from tests.infra.toolbox import HERE, TERRAFORM, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BOUNDS: dict[str, dict[str, Any]] = json.loads((TERRAFORM.parent / "shared" / "bounds.json").read_text())
CHANGED = {
    "tags": {"owner": "platform"},
    "deadline_seconds": 30,
    "log_retention_days": 60,
    "extra_settings": {"FUNCTIONS_WORKER_PROCESS_COUNT": "1"},
}
# What Azure makes beside a component, and takes away with the resource group.
OWN_RULE = "smartdetectoralertrules/failure anomalies"


@pytest.fixture(params=PROVIDERS)
def deployed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Terraform]:
    with deployer(tmp_path / "run", request.param) as terraform:
        yield terraform


@pytest.mark.parametrize("scenario", [CREATED, LANDING_ZONE, EVERYTHING], ids=lambda scenario: scenario.name)
def test_a_whole_life_leaves_nothing(deployed: Terraform, scenario: Scenario) -> None:
    deployed.apply(scenario.terraform)
    assert deployed.changes(scenario.terraform) == []
    changed = {**scenario.terraform, **CHANGED}
    deployed.apply(changed)
    assert deployed.changes(changed) == []
    deployed.destroy(changed)
    assert deployed.manager.left() == set()


def test_a_changed_tag_replaces_nothing(deployed: Terraform) -> None:
    deployed.apply(EVERYTHING.terraform)
    changes = deployed.changes({**EVERYTHING.terraform, "tags": {"owner": "platform"}})
    assert changes
    assert {change.rsplit(" ", 1)[1] for change in changes} == {"update"}


def test_a_right_is_taken_from_a_locked_registry(deployed: Terraform) -> None:
    deployed.apply(CREATED.terraform)
    narrower = {**CREATED.terraform, "new_registry_access": {"push": ["apps/"]}}
    deployed.apply(narrower)
    assert deployed.changes(narrower) == []
    assert [name for name in deployed.manager.resources if "/locks/" in name]


def test_an_identity_that_was_deleted_is_made_anew_with_its_rights(deployed: Terraform) -> None:
    deployed.apply(EVERYTHING.terraform)
    there = deployed.manager.resources
    [identity] = [name for name in there if re.search(r"userassignedidentities/id-vending-deploy-\w+$", name)]
    for name in [name for name in there if name.startswith(identity)]:
        del there[name]
    deployed.apply(EVERYTHING.terraform)
    assert deployed.changes(EVERYTHING.terraform) == []


def test_a_group_that_exists_is_left(deployed: Terraform) -> None:
    existing = {**DEFAULT.terraform, "create_resource_group": False}
    deployed.manager.seed(
        f"/subscriptions/{existing['subscription_id']}/resourceGroups/{existing['resource_group_name']}"
    )
    deployed.apply(existing)
    deployed.destroy(existing)
    assert [name for name in deployed.manager.left() if OWN_RULE not in name] == []


# The imitation knows the rules that it is there for.


WRONG = """
terraform {{
  required_providers {{
    azapi = {{ source = "azure/azapi", version = "~> 2.13" }}
  }}
}}
resource "azapi_resource" "account" {{
  type      = "Microsoft.Storage/storageAccounts@2025-06-01"
  name      = "sthost"
  parent_id = "{group}"
  location  = "westeurope"
  body      = {{ kind = "StorageV2", sku = {{ name = "Standard_LRS" }}, properties = {{}} }}
}}
{rest}
"""
BLOBS = """
resource "azapi_resource" "blobs" {
  type      = "Microsoft.Storage/storageAccounts/blobServices@2025-06-01"
  name      = "default"
  parent_id = azapi_resource.account.id
  body      = { properties = {} }
}
"""
LOCKED = """
resource "azapi_resource" "lock" {
  type      = "Microsoft.Authorization/locks@2020-05-01"
  name      = "lock"
  parent_id = azapi_resource.account.id
  body      = { properties = { level = "CanNotDelete" } }
}
resource "azapi_resource" "below" {
  type      = "Microsoft.Authorization/roleAssignments@2022-04-01"
  name      = "b7e6dc6d-f1e8-4753-8033-0f276bb0955b"
  parent_id = azapi_resource.account.id
  body = { properties = {
    principalId      = "11111111-1111-1111-1111-111111111111"
    roleDefinitionId = "/providers/Microsoft.Authorization/roleDefinitions/acdd72a7-3385-48ef-bd42-f606fba81ae7"
  } }
  depends_on = [azapi_resource.lock]
}
"""
PLAN = """
resource "azapi_resource" "plan" {
  type      = "Microsoft.Insights/diagnosticSettings@2021-05-01-preview"
  name      = "changes"
  parent_id = "${azapi_resource.account.id}/blobServices/default"
  body = { properties = {
    workspaceId = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-images"
    logs        = [{ category = "StorageWrite", enabled = true }]
  } }
}
"""


def wrong(terraform: Terraform, rest: str) -> None:
    group = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-images"
    for path in terraform.folder.glob("*.tf"):
        path.unlink()
    (terraform.folder / "main.tf").write_text(WRONG.format(group=group, rest=rest))


def test_creating_what_came_with_its_parent_fails(deployed: Terraform) -> None:
    wrong(deployed, BLOBS)
    done = deployed("apply", "-auto-approve", "-input=false")
    assert done.returncode
    assert "already exists" in done.stderr


def test_a_lock_stops_the_destruction_of_what_lies_below(deployed: Terraform) -> None:
    wrong(deployed, LOCKED)
    deployed.do("apply", "-auto-approve", "-input=false")
    done = deployed("destroy", "-auto-approve", "-input=false")
    assert done.returncode
    assert "ScopeLocked" in done.stderr


def test_what_the_resource_manager_adds_is_a_change(deployed: Terraform) -> None:
    wrong(deployed, PLAN)
    deployed.do("apply", "-auto-approve", "-input=false")
    assert deployed.changes({}) == ["azapi_resource.plan update"]


def test_the_schema_is_of_a_version_that_the_configuration_accepts() -> None:
    wanted = re.search(r'version = "~> (\d+)\.(\d+)"', (TERRAFORM / "versions.tf").read_text())
    assert wanted
    assert json.loads(SCHEMA.read_text())["version"] == f"{wanted[1]}.{wanted[2]}.0"


def test_unique_strings_are_bicep_s(terraform: Terraform) -> None:
    """By the compiler's snapshots, which the real provider agrees with; the hash has four kinds of tail."""
    [account] = [
        resource["name"]
        for resource in DEFAULT.snapshot()["predictedResources"]
        if resource["type"] == "Microsoft.Storage/storageAccounts"
    ]
    group = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-vending"
    expression = f'provider::azapi::unique_string(["{group}", "vending"])'
    done = run(["terraform", "console"], cwd=terraform.folder, env=terraform.environment, text=expression)
    assert done.stdout.strip('"\n') == account.removeprefix("sthost"), done.stderr


# Form, inputs.


def test_files_are_formatted_as_terraform_formats_them(terraform: Terraform) -> None:
    done = run(["terraform", "fmt", "-check", "-recursive", "-diff", TERRAFORM], env=terraform.environment)
    assert done.returncode == 0, done.stdout


def test_no_folder_but_an_example_configures_a_provider() -> None:
    for path in TERRAFORM.rglob("*.tf"):
        configures = re.search(r'^provider "', path.read_text(), re.MULTILINE)
        assert bool(configures) == ("examples" in path.parts and path.name == "main.tf"), path


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("example", sorted(p.name for p in (TERRAFORM / "examples").iterdir()))
def test_every_example_goes_through_its_life(tmp_path: Path, example: str, provider: str) -> None:
    with deployer(tmp_path / "run", provider, root=f"terraform/examples/{example}") as terraform:
        there = terraform.manager
        there.seed(registry_id("contoso"))
        if example == "private":  # the landing zone has the group already
            there.seed(f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}")
        terraform.do("apply", "-input=false", "-auto-approve")
        again = terraform("plan", "-input=false", "-detailed-exitcode")
        assert again.returncode == 0, again.stdout
        terraform.do("destroy", "-input=false", "-auto-approve")
        assert [name for name in there.left() if OWN_RULE not in name] == []


def extremes(end: str, beyond: int = 0) -> dict[str, Any]:
    return {
        "policy_max_stale_seconds": BOUNDS["policyMaxStaleSeconds"][end] + beyond,
        "always_ready_instances": BOUNDS["alwaysReadyInstances"][end] + beyond,
        "deadline_seconds": BOUNDS["deadlineSeconds"][end] + beyond,
        "http_concurrency": BOUNDS["httpConcurrency"][end] + beyond,
        "log_daily_cap_gb": BOUNDS["logDailyCapGb"][end] + beyond,
        "log_retention_days": BOUNDS["logRetentionDays"][end] + beyond,
        "maximum_instance_count": BOUNDS["maximumInstanceCount"][end] + beyond,
        "monthly_budget": BOUNDS["monthlyBudget"][end] + beyond,
        "policy_refresh_seconds": BOUNDS["policyRefreshSeconds"][end] + beyond,
    }


@pytest.mark.parametrize(("end", "beyond"), [("min", -1), ("max", 1)])
def test_the_bounds_of_the_table_hold(terraform: Terraform, end: str, beyond: int) -> None:
    assert len(extremes(end)) == len(BOUNDS)
    start = {"budget_start": "2027-01-01"} if end == "max" else {}
    inside = terraform.given({**DEFAULT.terraform, **extremes(end), **start})
    terraform.do("plan", "-input=false", "-refresh=false", "-lock=false", inside)
    said = terraform.refused({**DEFAULT.terraform, **extremes(end, beyond), **start})
    for name in extremes(end):
        assert f"{name} must be a whole number" in said


PREFIX = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-images/providers"
CONTOSO = f"{PREFIX}/Microsoft.ContainerRegistry/registries/contoso"
WRONG_VARIABLES: list[tuple[dict[str, Any], list[str]]] = [
    (
        {
            "name": "Vending",
            "python_version": "3.14",
            "zone_redundant": True,
            "public_url": "http://vend.contoso.example",
            "custom_hosts": ["Registry.contoso.example"],
            "key_vault_references": {"PARTNER": "hunter2"},
            "extra_settings": {"MY-SETTING": "1"},
            "registries": {"prod": {"id": "contoso"}},
            "private_registry_ids": [CONTOSO],
            "new_registry_name": "no",
            "new_registry_access": {"pul": ["a"]},
            "app_subnet_id": "vnet",
            "budget_start": "2027-01-15",
            "monthly_budget": 10,
            "policy_blob_name": "my policy.yaml",
            "update_strategy": "BlueGreen",
            "allowed_addresses": ["everywhere"],
            "storage_suffix": "example.com",
        },
        [
            "The name must be 3 to 16",
            "The app runs on Python",
            "zone_redundant needs always_ready_instances",
            "The public URL must be https://host",
            "exact host names in lower case",
            "must be the URI of a Key Vault secret",
            "Names of settings are letters",
            "Each registry needs its full id",
            "Private endpoints of registries need",
            "The name of a registry is 5 to 50",
            "The rights are pull, push, delete and catalog",
            "A subnet is given by its full id",
            "A budget begins on the first day",
            "The blob's name holds",
            "The strategy is",
            "Write each range like",
            "The suffixes are",
        ],
    ),
    (
        {
            "custom_hosts": ["https://registry.contoso.example"],
            "key_vault_references": {"MY-PARTNER": "https://contoso.vault.azure.net/secrets/partner"},
            "extra_settings": {"VENDING_POLICY": "x"},
            "registries": {"prod": {"id": CONTOSO, "pul": ["a"]}},
            "private_registry_ids": ["x"],
            "inbound_private": True,
        },
        [
            "exact host names in lower case",
            "Names of secrets are letters",
            "names what this configuration sets itself",
            "A registry has id, mode, pull, push, delete and catalog",
            "Each registry needs its full id",
            "inbound_private needs network_access private",
        ],
    ),
    ({"registries": {"a": {"id": CONTOSO}, "b": {"id": CONTOSO.upper().replace("CONTOSO", "contoso")}}}, ["full id"]),
    ({"registries": {"a": {"id": CONTOSO}, "b": {"id": CONTOSO}}}, ["A registry is listed twice"]),
    (  # Apart: Terraform does not judge what depends on a variable that is wrong itself.
        {"front_door_id": "AzureFrontDoor.Backend", "public_url": "https://vend.contoso.example"},
        ["front_door_id is a GUID"],
    ),
    ({"registries": {"a": {"id": CONTOSO, "mode": "rbac"}}}, ["The mode of a registry is"]),
    ({"registries": {"a": {"id": CONTOSO, "pull": "team/"}}}, ["are lists of repositories"]),
    ({"registries": {"a": {"id": CONTOSO, "pull": ["Team/App"]}}}, ["Each entry must be a repository name"]),
    ({"registries": {"a": {"id": CONTOSO, "pull": ["team*"]}}}, ["Each entry must be a repository name"]),
    ({"registries": {"a": {"id": CONTOSO, "mode": "classic", "pull": ["team/"]}}}, ["no rights by repository"]),
]


@pytest.mark.parametrize(("variables", "says"), WRONG_VARIABLES, ids=[says[0] for _, says in WRONG_VARIABLES])
def test_wrong_variables_are_refused_with_what_to_write(
    terraform: Terraform, variables: dict[str, Any], says: list[str]
) -> None:
    said = terraform.refused({**DEFAULT.terraform, **variables})
    for sentence in says:
        assert sentence in said


def test_nobody_being_told_is_a_warning(terraform: Terraform) -> None:
    said = terraform.do("plan", "-input=false", "-lock=false", terraform.given(DEFAULT.terraform))
    assert "Alert rules are created, and nobody is told" in " ".join(said.replace("│", " ").split())


def test_the_condition_builder_passes_its_terraform_tests(tmp_path: Path) -> None:
    with deployer(tmp_path / "run", root="terraform/modules/policy-conditions") as conditions:
        output = conditions.do("test")
    assert "0 failed" in output
    assert "0 passed" not in output


def test_the_scenarios_cover_every_variable() -> None:
    declared = set(re.findall(r'^variable "(\w+)"', (TERRAFORM / "variables.tf").read_text(), re.MULTILINE))
    used = {name for scenario in SCENARIOS for name in scenario.terraform}
    unused = declared - used
    assert unused <= {
        "address_prefix",
        "app_subnet_prefix",
        "availability_test_locations",
        "create_resource_group",
        "endpoint_subnet_prefix",
        "new_registry_lock",
        "new_registry_sku",
        "policy_blob_name",
        "policy_writer_principal_type",
        "private_dns_records",
        "storage_suffix",
    }
    assert HERE.is_dir()
