"""Bicep and Terraform create the same, and what facts.py says. Each side is worked out by its own means."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.infra.bicep import BicepError, Deployment, Resource
from tests.infra.facts import (
    ARM_TYPES,
    ASSIGNED,
    DATA_ACTIONS,
    EXPECTED_SETTINGS,
    FACTS,
    FORBIDDEN_SETTINGS,
    FORBIDDEN_SITE_CONFIG,
    HOLDERS,
    ONLY_IN_BICEP,
    PLATFORM_SETTINGS,
    ROLES,
    Fact,
)
from tests.infra.scenarios import SCENARIOS, SUBSCRIPTION
from tests.infra.terraform import Terraform, prepare
from tests.infra.toolbox import BICEP, TERRAFORM, parsed_terraform
from vending.settings import KNOWN_SETTINGS

Planned = dict[str, dict[str, Any]]
BICEP_TOKEN = "abcdefghijklm"
SCENARIO = pytest.mark.parametrize("scenario", [s.name for s in SCENARIOS])
CONDITION_ACTION = re.compile(r"ActionMatches\{'Microsoft\.ContainerRegistry/registries/repositories/([a-z/]+)'\}")


def at(value: Any, path: str) -> Any:
    """Follow a dotted path through objects and lists."""
    for step in path.split("."):
        value = value[int(step)] if isinstance(value, list) else value[step]
    return value


def in_bicep(resources: list[Resource], kind: str, name: str) -> Resource:
    [found] = [r for r in resources if r.type == kind and r.body["name"].startswith(name)]
    return found


def in_plan(plan: Planned, address: str) -> Iterator[dict[str, Any]]:
    """Give what is planned at an address, with or without an index."""
    for planned, change in plan.items():
        if re.sub(r"\[.*\]$", "", planned) == address:
            yield change["change"]["after"]


# The table, three times: Bicep evaluated, Terraform parsed, Terraform planned.


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: f"{fact}-{fact.scenario}")
def test_bicep_says_what_the_table_says(deployments: dict[str, Deployment], fact: Fact) -> None:
    kind, name, path = fact.bicep
    assert at(in_bicep(deployments[fact.scenario].resources(), kind, name).body, path) == fact.value


@pytest.fixture(scope="session")
def parsed() -> Callable[[Fact], Any]:
    """What Terraform's files say, by address; a variable is taken at its default, `local.private` as false."""
    files = parsed_terraform().values()
    declared: dict[str, Any] = {}
    variables: dict[str, Any] = {}
    for content in files:
        for kind, named in content.get("resource", {}).items():
            declared |= {f"{kind}.{name}": bodies[0] for name, bodies in named.items()}
        variables |= {name: bodies[0].get("default") for name, bodies in content.get("variable", {}).items()}

    def resolve(value: Any) -> Any:
        if not isinstance(value, str) or not value.startswith("${"):
            return value
        expression = value.removeprefix("${").removesuffix("}")
        if expression.startswith("var."):
            return variables[expression.removeprefix("var.")]
        choice = re.fullmatch(r"local\.private \? .* : (\".*\"|null)", expression)
        if choice:
            return json.loads(choice[1])
        return True if expression == "!local.private" else value

    return lambda fact: resolve(at(declared[fact.terraform[0]], fact.terraform[1]))


@pytest.mark.parametrize("fact", [f for f in FACTS if f.scenario == "minimum"], ids=str)
def test_terraform_files_say_what_the_table_says(parsed: Callable[[Fact], Any], fact: Fact) -> None:
    assert parsed(fact) == fact.expected_of_terraform


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: f"{fact}-{fact.scenario}")
def test_terraform_plans_what_the_table_says(plans: dict[str, Planned], fact: Fact) -> None:
    address, path = fact.terraform
    found = [at(after, path) for after in in_plan(plans[fact.scenario], address)]
    assert found
    assert all(value == fact.expected_of_terraform for value in found)


# What there is.


@SCENARIO
def test_both_create_the_same_resources(
    deployments: dict[str, Deployment], plans: dict[str, Planned], scenario: str
) -> None:
    bicep = Counter(r.type for r in deployments[scenario].resources() if r.type not in ONLY_IN_BICEP)
    terraform = Counter(
        planned["change"]["after"]["type"].split("@")[0]
        if planned["type"] == "azapi_resource"
        else ARM_TYPES[planned["type"]]
        for planned in plans[scenario].values()
    )
    del terraform[None]
    assert terraform == bicep


@SCENARIO
def test_bicep_and_azapi_use_the_same_api_versions(
    deployments: dict[str, Deployment], plans: dict[str, Planned], scenario: str
) -> None:
    sent = {c["change"]["after"]["type"] for c in plans[scenario].values() if c["type"] == "azapi_resource"}
    assert sent <= {f"{r.type}@{r.version}" for r in deployments[scenario].resources()}


def test_parameters_and_variables_are_the_same(deployments: dict[str, Deployment]) -> None:
    bicep = {s.name.lower() for s in deployments["minimum"].statements if s.kind == "param"}
    terraform = {
        name.replace("_", "") for content in parsed_terraform().values() for name in content.get("variable", {})
    }
    only_terraform = {"subscriptionid", "resourcegroupname", "createresourcegroup", "storagesuffix"}
    assert terraform - only_terraform == bicep


def test_outputs_are_the_same_and_hold_no_key(deployments: dict[str, Deployment]) -> None:
    bicep = {name.lower(): str(value) for name, value in deployments["everything"].outputs().items()}
    [terraform] = [content["output"] for content in parsed_terraform().values() if "output" in content]
    assert {name.replace("_", "") for name in terraform} == set(bicep)
    secret = re.compile(r"key|secret|connection|sas|password", re.IGNORECASE)
    assert not [value for value in bicep.values() if secret.search(value)]
    assert not [body for body in terraform.values() if secret.search(json.dumps(body))]


def test_no_template_asks_for_a_key() -> None:
    for path in [*BICEP.rglob("*.bicep"), *TERRAFORM.rglob("*.tf")]:
        assert not re.search(
            r"listKeys|listAccountSas|primary_access_key|instrumentation_key|AccountKey", path.read_text()
        )


# Settings.


def settings_of_bicep(deployment: Deployment) -> dict[str, str]:
    site = in_bicep(deployment.resources(), "Microsoft.Web/sites", "func-")
    return {entry["name"]: entry["value"] for entry in site.properties["siteConfig"]["appSettings"]}


def settings_of_terraform(plan: Planned) -> dict[str, str | None]:
    [site] = in_plan(plan, "azapi_resource.site")
    return {entry["name"]: entry.get("value") for entry in site["body"]["properties"]["siteConfig"]["appSettings"]}


def token_of_terraform(plan: Planned) -> str:
    [account] = in_plan(plan, "azurerm_storage_account.host")
    return str(account["name"]).removeprefix("sthost")


def assert_settings(scenario: str, found: Mapping[str, str | None], token: str) -> None:
    expected = EXPECTED_SETTINGS[scenario]
    assert set(found) == set(expected)
    for name, value in expected.items():
        if value is not None:
            assert found[name] == value.format(token=token), name


@SCENARIO
def test_bicep_sets_exactly_the_settings_of_the_table(deployments: dict[str, Deployment], scenario: str) -> None:
    found = settings_of_bicep(deployments[scenario])
    assert_settings(scenario, found, BICEP_TOKEN)
    assert found["AZURE_CLIENT_ID"] == "<vendingIdentity>.properties.clientId"
    assert found["AzureWebJobsStorage__clientId"] == "<hostIdentity>.properties.clientId"
    assert found["APPLICATIONINSIGHTS_AUTHENTICATION_STRING"] == (
        "ClientId=<hostIdentity>.properties.clientId;Authorization=AAD"
    )


@SCENARIO
def test_terraform_sets_exactly_the_settings_of_the_table(plans: dict[str, Planned], scenario: str) -> None:
    assert_settings(scenario, settings_of_terraform(plans[scenario]), token_of_terraform(plans[scenario]))


def test_terraform_names_each_identity_where_bicep_does() -> None:
    settings = parsed_terraform()["app.tf"]["locals"][0]["settings"]
    for name, identity in {
        "AZURE_CLIENT_ID": "vending",
        "AzureWebJobsStorage__clientId": "host",
    }.items():
        assert re.search(rf"{name}\s+= azurerm_user_assigned_identity\.{identity}\.client_id", settings)
    assert "ClientId=${azurerm_user_assigned_identity.host.client_id};Authorization=AAD" in settings


def test_every_setting_that_the_app_knows_is_set_and_no_other() -> None:
    written = set(EXPECTED_SETTINGS["everything"]) - PLATFORM_SETTINGS
    own = {name for name in written if not name.startswith("VENDING_SECRET_")}
    assert own == KNOWN_SETTINGS - {"VENDING_ALLOW_LOOPBACK"}


@SCENARIO
def test_nothing_is_set_that_flex_consumption_refuses(deployments: dict[str, Deployment], scenario: str) -> None:
    site = in_bicep(deployments[scenario].resources(), "Microsoft.Web/sites", "func-")
    assert not FORBIDDEN_SITE_CONFIG & set(site.properties["siteConfig"])
    assert not FORBIDDEN_SETTINGS & set(settings_of_bicep(deployments[scenario]))


def test_terraform_sets_nothing_that_flex_consumption_refuses() -> None:
    body = parsed_terraform()["app.tf"]["resource"]["azapi_resource"]["site"][0]["body"]
    assert not FORBIDDEN_SITE_CONFIG & set(body["properties"]["siteConfig"])
    settings = parsed_terraform()["app.tf"]["locals"][0]["settings"]
    assert not FORBIDDEN_SETTINGS & set(re.findall(r"^\s*(\w+)\s*=", settings, re.MULTILINE))


@SCENARIO
def test_easy_auth_is_left_off(deployments: dict[str, Deployment], plans: dict[str, Planned], scenario: str) -> None:
    assert not [r for r in deployments[scenario].resources() if r.type.startswith("Microsoft.Web/sites/config")]
    assert "authsettings" not in json.dumps(plans[scenario])


# Rights.


def assignments_of_bicep(deployment: Deployment) -> list[tuple[str, str, str | None]]:
    names = {guid: name for name, guid in ROLES.items()}
    found = []
    for resource in deployment.resources():
        if resource.type == "Microsoft.Authorization/roleAssignments":
            role = resource.properties["roleDefinitionId"]
            condition = resource.properties.get("condition")
            assert resource.properties.get("conditionVersion") == ("2.0" if condition else None)
            found.append((names[role.rsplit("/", 1)[1]], role.split("/")[2], condition))
    return found


def assignments_of_terraform(plan: Planned) -> list[tuple[str, str, str | None]]:
    names = {guid: name for name, guid in ROLES.items()}
    found = []
    for change in plan.values():
        if change["type"] == "azurerm_role_assignment":
            after = change["change"]["after"]
            role, condition = after["role_definition_id"], after["condition"]
            assert after.get("condition_version") == ("2.0" if condition else None)
            found.append((names[role.rsplit("/", 1)[1]], role.split("/")[2], condition))
    return found


def ordered(assignments: list[tuple[str, str, str | None]]) -> list[tuple[str, str, str | None]]:
    return sorted(assignments, key=str)


def test_shared_roles_are_the_documented_ones() -> None:
    assert json.loads((BICEP.parent / "shared" / "roles.json").read_text()) == ROLES


@SCENARIO
def test_bicep_grants_the_roles_of_the_table(deployments: dict[str, Deployment], scenario: str) -> None:
    assert Counter(role for role, _, _ in assignments_of_bicep(deployments[scenario])) == ASSIGNED[scenario]


@SCENARIO
def test_both_grant_the_same_roles_with_the_same_conditions(
    deployments: dict[str, Deployment], plans: dict[str, Planned], scenario: str
) -> None:
    bicep, terraform = assignments_of_bicep(deployments[scenario]), assignments_of_terraform(plans[scenario])
    assert ordered(terraform) == ordered(bicep)
    assert {subscription for _, subscription, _ in bicep} >= {SUBSCRIPTION}


def test_every_condition_names_every_data_action_of_its_role(deployments: dict[str, Deployment]) -> None:
    bounded = [(role, text) for role, _, text in assignments_of_bicep(deployments["everything"]) if text]
    assert {role for role, _ in bounded} == set(DATA_ACTIONS)
    for role, text in bounded:
        assert set(CONDITION_ACTION.findall(text)) == DATA_ACTIONS[role]
        for prefix in re.findall(r"StringStartsWithIgnoreCase '([^']*)'", text):
            assert prefix.endswith("/")


def test_the_vending_identity_has_no_right_on_the_host_storage_account_itself(
    deployments: dict[str, Deployment],
) -> None:
    for resource in deployments["everything"].resources():
        if resource.type == "Microsoft.Authorization/roleAssignments" and resource.file == "host-storage.bicep":
            owner = resource.properties["principalId"].startswith("<vendingIdentity>")
            assert resource.scope == ("<replay>.id" if owner else "<account>.id")


def test_each_identity_has_its_own_rights_in_bicep(deployments: dict[str, Deployment]) -> None:
    names = {guid: name for name, guid in ROLES.items()}
    found: dict[str, set[str]] = {}
    for resource in deployments["everything"].resources():
        if resource.type == "Microsoft.Authorization/roleAssignments":
            holder = re.sub(r"^<(\w+?)(Identity)?>.*$", r"\1", resource.properties["principalId"])
            found.setdefault(holder, set()).add(names[resource.properties["roleDefinitionId"].rsplit("/", 1)[1]])
    assert found.pop("11111111-1111-1111-1111-111111111111") == {"storageBlobDataContributor"}
    assert found.pop("identity") == {"websiteContributor"}
    assert found == {identity: set(roles) for identity, roles in HOLDERS.items()}


def test_each_identity_has_its_own_rights_in_terraform() -> None:
    found: dict[str, set[str]] = {}
    for content in parsed_terraform().values():
        for name, bodies in content.get("resource", {}).get("azurerm_role_assignment", {}).items():
            role = re.sub(r"^\$\{(local\.role_ids\.)?|\}$", "", bodies[0]["role_definition_id"])
            principal = re.search(r"azurerm_user_assigned_identity\.(\w+)", bodies[0]["principal_id"])
            if name == "registry":
                assert role == "each.value.role_id"
                role = "registry"
            found.setdefault(principal[1] if principal else "var", set()).add(role)
    assert found.pop("var") == {"storageBlobDataContributor"}
    assert found.pop("deploy") == {"websiteContributor"}
    on_registries = {role for role in HOLDERS["vending"] if role.startswith(("acr", "repository", "catalog"))}
    assert found == {
        "host": HOLDERS["host"],
        "vending": HOLDERS["vending"] - on_registries | {"registry"},
    }


# Conditions: one builder in each language, one text.


CASES = {
    "nothing": {},
    "one_repository": {"pull": ["tools/cli"]},
    "one_prefix": {"push": ["team/"]},
    "many": {"pull": ["a", "b/", "c/d/e"], "push": ["a", "b/"], "delete": ["b/"], "catalog": True},
    "everything": {"pull": ["*"], "push": ["*"], "delete": ["*"], "catalog": True},
    "everything_and_more": {"pull": ["*", "team/"]},
    "odd_names": {"pull": ["a.b_c__d-e--f/0", "x--y/"]},
    "classic": {"mode": "classic", "pull": ["*"], "push": ["*"], "delete": ["*"], "catalog": True},
}


def rights(case: Mapping[str, Any]) -> dict[str, Any]:
    return {"mode": "abac", "pull": [], "push": [], "delete": [], "catalog": False, **case}


def condition_of_bicep(case: Mapping[str, Any]) -> dict[str, str | None]:
    parameters = {"registryName": "contoso", "principalId": "somebody", **rights(case)}
    deployment = Deployment(BICEP / "modules" / "registry-access.bicep", parameters)
    return {role: text for role, _, text in assignments_of_bicep(deployment)}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_both_condition_builders_give_the_same_text(terraform: Terraform, tmp_path: Path, case: dict[str, Any]) -> None:
    module = prepare(terraform.configuration / "modules" / "policy-conditions", tmp_path)
    planned = module.plan(rights(case))["planned_values"]["outputs"]["assignments"]["value"]
    assert {role: entry["condition"] for role, entry in planned.items()} == condition_of_bicep(case)


@pytest.mark.parametrize(
    ("case", "says"),
    [
        pytest.param({"pull": ["team' OR 'a'"]}, "hold no quote", id="quote"),
        pytest.param({"mode": "classic", "pull": ["team/"]}, "no rights by repository", id="classic_prefix"),
        pytest.param({"mode": "classic", "delete": ["a/b"]}, "no rights by repository", id="classic_repository"),
        pytest.param({"mode": "rbac", "pull": ["a"]}, "not allowed", id="unknown_mode"),
    ],
)
def test_bicep_stops_the_deployment_of_a_wrong_entry(case: dict[str, Any], says: str) -> None:
    with pytest.raises(BicepError, match=says):
        condition_of_bicep(case)


# Alerts and the workbook.


@SCENARIO
def test_both_create_the_same_alerts(
    deployments: dict[str, Deployment], plans: dict[str, Planned], scenario: str
) -> None:
    bicep = [
        (
            p["displayName"],
            p["severity"],
            p["evaluationFrequency"],
            p["windowSize"],
            *sorted((key, str(value)) for key, value in p["criteria"]["allOf"][0].items() if key != "failingPeriods"),
        )
        for p in (r.properties for r in deployments[scenario].resources() if r.symbol == "rules")
    ]
    spelling = {"time_aggregation_method": "timeAggregation"}
    terraform = [
        (
            a["display_name"],
            a["severity"],
            a["evaluation_frequency"],
            a["window_duration"],
            *sorted(
                (spelling.get(key, key), str(value))
                for key, value in a["criteria"][0].items()
                if key in {"query", "operator", "threshold", "time_aggregation_method"}
            ),
        )
        for a in in_plan(plans[scenario], "azurerm_monitor_scheduled_query_rules_alert_v2.main")
    ]
    assert sorted(terraform) == sorted(bicep)
    assert len(bicep) >= 6


def test_both_load_the_same_workbook(deployments: dict[str, Deployment], plans: dict[str, Planned]) -> None:
    text = (BICEP.parent / "shared" / "workbook.json").read_text()
    [bicep] = [r for r in deployments["minimum"].resources() if r.type == "Microsoft.Insights/workbooks"]
    [planned] = in_plan(plans["minimum"], "azurerm_application_insights_workbook.main")
    assert bicep.properties["serializedData"] == planned["data_json"] == text
