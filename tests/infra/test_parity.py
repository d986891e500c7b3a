"""Bicep and Terraform send the same bodies to the same ids, in every scenario; and what those bodies must hold."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import pytest

from tests.infra.arm_types import Checker, known_types
from tests.infra.bodies import Bodies, of_bicep, resolved
from tests.infra.compiler import TEMPLATE
from tests.infra.inputs import PAGE, page
from tests.infra.scenarios import DEFAULT, EVERYTHING, FRONT, LANDING_ZONE, RESTRICTED, SCENARIOS, Scenario, snake
from tests.infra.toolbox import ROOT, TERRAFORM
from vending.settings import KNOWN_SETTINGS, Settings, SettingsError

Applied = dict[str, tuple[Bodies, dict[str, Any]]]
EACH = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
SHARED = ROOT / "infra" / "shared"
BOUNDS: dict[str, dict[str, Any]] = json.loads((SHARED / "bounds.json").read_text())
ROLES: dict[str, str] = json.loads((SHARED / "roles.json").read_text())
PARAMETERS: dict[str, Any] = json.loads(TEMPLATE.read_text())["parameters"]


def bicep(scenario: Scenario) -> Bodies:
    return of_bicep(scenario.snapshot())


def of_type(bodies: Bodies, kind: str) -> list[dict[str, Any]]:
    return [body for each, body in bodies.values() if each.split("@")[0] == kind]


@EACH
def test_both_send_the_same_bodies_to_the_same_ids(applied: Applied, scenario: Scenario) -> None:
    ours, theirs = bicep(scenario), applied[scenario.name][0]
    assert set(theirs) == set(ours)
    for identifier, sent in ours.items():
        assert theirs[identifier] == sent, identifier


@EACH
def test_both_give_the_same_outputs(applied: Applied, scenario: Scenario) -> None:
    ours, theirs = scenario.snapshot()["outputs"], dict(applied[scenario.name][1])
    assert {snake(name) for name in ours} - {"warnings"} == set(theirs)  # Terraform has `check` blocks for warnings
    for name, value in ours.items():
        if "outputs." in str(value):  # what a module gives back; a body holds the same
            assert theirs[snake(name)]
        elif name != "warnings":
            assert theirs[snake(name)] == resolved(value)


@EACH
def test_what_if_shows_every_name(scenario: Scenario) -> None:
    for resource in scenario.snapshot()["predictedResources"]:
        assert "[" not in resource["id"] + resource["name"]
    assert scenario.snapshot()["diagnostics"] == []


UNPUBLISHED = {
    # Documented under "Securing Azure Functions".
    "properties.functionsRuntimeAdminIsolationEnabled: not a known property",
    # Documented under "Site update strategies in Flex Consumption".
    "properties.functionAppConfig.siteUpdateStrategy: not a known property",
}


@EACH
def test_bodies_fit_the_published_types(applied: Applied, scenario: Scenario) -> None:
    known = known_types()
    for bodies in (bicep(scenario), applied[scenario.name][0]):
        for identifier, (kind, body) in bodies.items():
            found = (
                set(Checker(known[kind.lower()]).findings({"name": identifier.rsplit("/", 1)[1], **body})) - UNPUBLISHED
            )
            assert not found, identifier


@pytest.mark.parametrize(
    ("kind", "body", "says"),
    [
        ("Microsoft.Web/sites@2025-03-01", {"siteConfig": {"minTlsVerson": "1.2"}}, "minTlsVerson: not a known"),
        ("Microsoft.Web/sites@2025-03-01", {"siteConfig": {"minTlsVersion": "1.4"}}, "'1.4' is none of"),
        ("Microsoft.Web/sites@2025-03-01", {"httpsOnly": "yes"}, "a boolean is expected"),
        ("Microsoft.Web/sites@2025-03-01", {"defaultHostName": "x"}, "read-only"),
        ("Microsoft.Authorization/locks@2020-05-01", {}, "level: required"),
        ("Microsoft.Insights/webtests@2022-06-15", {"Frequency": "900"}, "a whole number is expected"),
    ],
)
def test_the_type_check_finds_what_azure_would_refuse(kind: str, body: dict[str, Any], says: str) -> None:
    found = Checker(known_types()[kind.lower()]).findings({"name": "n", "location": "westeurope", "properties": body})
    assert [each for each in found if says in each]


# Parameters and bounds: one table feeds the app and both templates.


def variables() -> dict[str, str]:
    """Terraform's variables with their descriptions."""
    text = (TERRAFORM / "variables.tf").read_text()
    heads = re.split(r'^variable "(\w+)" \{$', text, flags=re.MULTILINE)[1:]
    return dict(zip(heads[::2], heads[1::2], strict=True))


def test_parameters_and_variables_are_the_same() -> None:
    spelt = {"instanceMemoryMB": "instance_memory_mb"}
    ours = {spelt.get(name) or snake(name) for name in PARAMETERS}
    assert set(variables()) - {"subscription_id", "resource_group_name", "create_resource_group"} == ours


def test_descriptions_are_the_same_but_for_spelling() -> None:
    other = {"subscriptionId", "resourceGroupName", "createResourceGroup", "registries", "location", "vendingIdentity"}
    for name, parameter in PARAMETERS.items():
        variable = variables()[{"instanceMemoryMB": "instance_memory_mb"}.get(name) or snake(name)]
        description = re.search(r'description = "(.*)"', variable)
        if name not in other and description:
            said = re.sub(r"[a-z]+(_[a-z]+)+", lambda m: camel(m[0]), description[1]).replace("Terraform", "X")
            assert said == parameter["metadata"]["description"].replace("this template", "X"), name


def camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def test_bicep_has_the_bounds_of_the_table() -> None:
    found = {
        name: (parameter["minValue"], parameter["maxValue"])
        for name, parameter in PARAMETERS.items()
        if "minValue" in parameter or "maxValue" in parameter
    }
    assert found == {name: (bound["min"], bound["max"]) for name, bound in BOUNDS.items()}


def app(**settings: object) -> Settings:
    given = {name: str(value) for name, value in settings.items()}
    return Settings.from_environment({"VENDING_PUBLIC_URL": "https://vend.contoso.example", **given})


@pytest.mark.parametrize("bound", [each for each in BOUNDS.values() if "setting" in each], ids=lambda b: b["setting"])
def test_the_app_takes_what_the_templates_take(bound: dict[str, Any]) -> None:
    for extreme in (bound["min"], bound["max"]):
        app(**{bound["setting"]: extreme})
    for beyond in (bound["min"] - 1, bound["max"] + 1):
        with pytest.raises(SettingsError, match=bound["setting"]):
            app(**{bound["setting"]: beyond})


@EACH
def test_the_app_starts_with_the_settings_of_each_scenario(scenario: Scenario) -> None:
    settings = Settings.from_environment({"WEBSITE_HOSTNAME": "func.azurewebsites.net", **settings_of(scenario)})
    assert settings.client_id


# Settings.


def settings_of(scenario: Scenario) -> dict[str, str]:
    [site] = of_type(bicep(scenario), "Microsoft.Web/sites")
    return {each["name"]: each["value"] for each in site["properties"]["siteConfig"]["appSettings"]}


PLATFORM_SETTINGS = {
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "AzureWebJobsDisableHomepage",
    "AzureWebJobsStorage__blobServiceUri",
    "AzureWebJobsStorage__clientId",
    "AzureWebJobsStorage__credential",
    "AzureWebJobsStorage__queueServiceUri",
    "AzureWebJobsStorage__tableServiceUri",
    "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT",
}


def test_every_setting_that_the_app_knows_is_set_and_no_other() -> None:
    found = set(settings_of(EVERYTHING))
    assert {name for name in found - PLATFORM_SETTINGS if not name.startswith("VENDING_SECRET_")} == (
        KNOWN_SETTINGS - {"VENDING_ALLOW_LOOPBACK"}
    )
    assert set(settings_of(DEFAULT)) >= PLATFORM_SETTINGS


def test_settings_have_their_values() -> None:
    found = settings_of(EVERYTHING)
    [token] = {name.rsplit("-", 1)[1] for name in [next(iter(bicep(EVERYTHING))).rsplit("/", 1)[1]]}
    assert found["AzureWebJobsStorage__blobServiceUri"] == f"https://sthost{token}.blob.core.windows.net"
    assert found["VENDING_POLICY"] == f"https://stpolicy{token}.blob.core.windows.net/policy/policy.yaml"
    assert found["VENDING_REPLAY_STORE"] == f"https://sthost{token}.table.core.windows.net/replay"
    assert found["VENDING_CUSTOM_HOSTS"] == "registry.contoso.example,login.contoso.example"
    assert found["VENDING_SECRET_PARTNER"] == (
        "@Microsoft.KeyVault(SecretUri=https://contoso.vault.azure.net/secrets/partner)"
    )
    assert found["FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"] == "1048576"
    assert settings_of(DEFAULT)["VENDING_TELEMETRY"] == "off"
    assert settings_of(RESTRICTED)["FUNCTIONS_WORKER_PROCESS_COUNT"] == "1"


@EACH
def test_a_storage_account_is_named_in_one_way_only(scenario: Scenario) -> None:
    refused = json.loads((SHARED / "refused-settings.json").read_text())
    found = set(settings_of(scenario))
    assert not found & {"AzureWebJobsStorage", "AzureWebJobsStorage__accountName"}
    assert not (found & set(refused["names"])) - {"AZURE_CLIENT_ID", "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"}


# What is safe.


# Flex Consumption refuses or ignores these; a classic template is where they come from.
FORBIDDEN_SITE_CONFIG = {
    "alwaysOn",
    "cors",
    "ftpsState",
    "functionsRuntimeScaleMonitoringEnabled",
    "linuxFxVersion",
    "minimumElasticInstanceCount",
    "netFrameworkVersion",
    "preWarmedInstanceCount",
    "use32BitWorkerProcess",
    "windowsFxVersion",
}


@EACH
def test_the_site_is_closed_but_for_https(scenario: Scenario) -> None:
    [site] = of_type(bicep(scenario), "Microsoft.Web/sites")
    properties = site["properties"]
    assert properties["httpsOnly"]
    assert properties["functionsRuntimeAdminIsolationEnabled"]
    assert properties["siteConfig"]["minTlsVersion"] == "1.2"
    assert not FORBIDDEN_SITE_CONFIG & set(properties["siteConfig"])
    credentials = of_type(bicep(scenario), "Microsoft.Web/sites/basicPublishingCredentialsPolicies")
    assert [each["properties"] for each in credentials] == [{"allow": False}] * 2
    assert not [kind for kind, _ in bicep(scenario).values() if kind.startswith("Microsoft.Web/sites/config")]


@EACH
def test_app_code_has_one_identity(scenario: Scenario) -> None:
    [site] = of_type(bicep(scenario), "Microsoft.Web/sites")
    [identity] = site["identity"]["userAssignedIdentities"]
    assert site["properties"]["keyVaultReferenceIdentity"] == identity
    storage = site["properties"]["functionAppConfig"]["deployment"]["storage"]
    assert storage["authentication"]["userAssignedIdentityResourceId"] == identity


@EACH
def test_storage_takes_entra_tokens_only(scenario: Scenario) -> None:
    accounts = of_type(bicep(scenario), "Microsoft.Storage/storageAccounts")
    private = scenario.bicep.get("networkAccess") == "private"
    for account in accounts:
        properties = account["properties"]
        assert not properties["allowSharedKeyAccess"]
        assert not properties["allowBlobPublicAccess"]
        assert not properties["isLocalUserEnabled"]
        assert properties["networkAcls"]["defaultAction"] == ("Deny" if private else "Allow")
        assert properties["publicNetworkAccess"] == ("Disabled" if private else "Enabled")
        assert account["sku"]["name"] == ("Standard_ZRS" if scenario.bicep.get("zoneRedundant") else "Standard_LRS")


@EACH
def test_writes_to_the_package_and_the_policy_are_logged(scenario: Scenario) -> None:
    settings = {
        identifier.rsplit("/", 1)[1]: {each["category"] for each in body["properties"]["logs"] if each["enabled"]}
        for identifier, (kind, body) in bicep(scenario).items()
        if kind.startswith("Microsoft.Insights/diagnosticSettings")
    }
    assert settings["package-changes"] == {"StorageWrite", "StorageDelete"}
    assert ("policy-changes" in settings) == (scenario.bicep.get("policyDelivery") == "blob")


@EACH
def test_no_record_is_sampled_away(scenario: Scenario) -> None:
    [component] = of_type(bicep(scenario), "Microsoft.Insights/components")
    assert component["properties"]["SamplingPercentage"] == 100
    assert component["properties"]["DisableLocalAuth"]
    host = json.loads((ROOT / "host.json").read_text())
    assert host["logging"]["applicationInsights"]["samplingSettings"]["isEnabled"] is False


def test_a_new_registry_decides_by_repository() -> None:
    [registry] = of_type(bicep(EVERYTHING), "Microsoft.ContainerRegistry/registries")
    assert registry["properties"]["roleAssignmentMode"] == "AbacRepositoryPermissions"
    assert registry["properties"]["policies"]["azureADAuthenticationAsArmPolicy"]["status"] == "disabled"
    assert not registry["properties"]["adminUserEnabled"]
    assert not registry["properties"]["anonymousPullEnabled"]


def test_a_landing_zone_is_asked_for_nothing_that_it_forbids() -> None:
    kinds = {kind.split("@")[0] for kind, _ in bicep(LANDING_ZONE).values()}
    assert not kinds & {
        "Microsoft.ManagedIdentity/userAssignedIdentities",
        "Microsoft.Network/networkSecurityGroups",
        "Microsoft.Network/privateDnsZones",
        "Microsoft.Network/virtualNetworks",
        "Microsoft.OperationalInsights/workspaces",
    }
    [site] = of_type(bicep(LANDING_ZONE), "Microsoft.Web/sites")
    assert site["properties"]["publicNetworkAccess"] == "Disabled"


def test_an_address_range_shuts_out_everybody_else() -> None:
    [site] = of_type(bicep(RESTRICTED), "Microsoft.Web/sites")
    configuration = site["properties"]["siteConfig"]
    assert configuration["ipSecurityRestrictionsDefaultAction"] == "Deny"
    assert [each["ipAddress"] for each in configuration["ipSecurityRestrictions"]] == [
        "203.0.113.0/24",
        "198.51.100.7/32",
        "ApplicationInsightsAvailability",
    ]


def test_one_front_door_is_the_only_way_in() -> None:
    [site] = of_type(bicep(FRONT), "Microsoft.Web/sites")
    configuration = site["properties"]["siteConfig"]
    assert configuration["ipSecurityRestrictionsDefaultAction"] == "Deny"
    addresses, front = configuration["ipSecurityRestrictions"]
    assert addresses["ipAddress"] == "203.0.113.0/24"
    # The tag alone would let in every Front Door of the world; the header names one profile.
    assert (front["tag"], front["ipAddress"]) == ("ServiceTag", "AzureFrontDoor.Backend")
    assert front["headers"] == {"x-azure-fdid": [FRONT.bicep["frontDoorId"]]}
    [test] = of_type(bicep(FRONT), "Microsoft.Insights/webtests")
    assert test["properties"]["Request"]["RequestUrl"] == f"{FRONT.bicep['publicUrl']}/readyz"


# Rights.


ASSIGNED = {
    "default": {"monitoringMetricsPublisher": 1, "storageBlobDataOwner": 1, "storageTableDataContributor": 1},
    "everything": {
        "acrPull": 1,
        "acrPush": 1,
        "catalogLister": 1,
        "monitoringMetricsPublisher": 1,
        "reader": 1,
        "repositoryContributor": 1,
        "repositoryReader": 2,
        "repositoryWriter": 2,
        "storageBlobDataContributor": 1,
        "storageBlobDataOwner": 1,
        "storageBlobDataReader": 1,
        "storageTableDataContributor": 1,
        "websiteContributor": 1,
    },
}
DOCUMENTED_ROLES = {
    "storageBlobDataOwner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "storageBlobDataContributor": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
    "storageBlobDataReader": "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
    "storageTableDataContributor": "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
    "monitoringMetricsPublisher": "3913510d-42f4-4e42-8a64-420c390055eb",
    "websiteContributor": "de139f84-1756-47ae-9be6-808fbbe84772",
    "acrPull": "7f951dda-4ed3-4680-a7ca-43fe172d538d",
    "acrPush": "8311e382-0749-4cb8-b61a-304f252e45ec",
    "acrDelete": "c2f4ef07-c644-48eb-af81-4b1b4947fb11",
    "repositoryReader": "b93aa761-3e63-49ed-ac28-beffa264f7ac",
    "repositoryWriter": "2a1e307c-b015-4ebd-883e-5b7698a07328",
    "repositoryContributor": "2efddaa5-3f1f-4df3-97df-af3f13818f4c",
    "catalogLister": "bfdb9389-c9a5-478a-bb2f-ba9ca092c3c7",
    "reader": "acdd72a7-3385-48ef-bd42-f606fba81ae7",
}
DATA_ACTIONS = {
    "repositoryReader": {"content/read", "metadata/read"},
    "repositoryWriter": {"content/read", "metadata/read", "content/write", "metadata/write"},
    "repositoryContributor": {
        "content/read",
        "metadata/read",
        "content/write",
        "metadata/write",
        "content/delete",
        "metadata/delete",
    },
}
CONDITION_ACTION = re.compile(r"ActionMatches\{'Microsoft\.ContainerRegistry/registries/repositories/([a-z/]+)'\}")


def assignments(scenario: Scenario) -> list[tuple[str, str, dict[str, Any]]]:
    """Each as scope, role and properties."""
    names = {guid: name for name, guid in ROLES.items()}
    return [
        (
            identifier.rsplit("/providers/microsoft.authorization/", 1)[0],
            names[body["properties"]["roleDefinitionId"].rsplit("/", 1)[1]],
            body["properties"],
        )
        for identifier, (kind, body) in bicep(scenario).items()
        if kind.startswith("Microsoft.Authorization/roleAssignments@")
    ]


def test_shared_roles_are_the_documented_ones() -> None:
    assert ROLES == DOCUMENTED_ROLES


@pytest.mark.parametrize("scenario", [DEFAULT, EVERYTHING], ids=lambda scenario: scenario.name)
def test_the_roles_of_the_table_are_granted(scenario: Scenario) -> None:
    assert Counter(role for _, role, _ in assignments(scenario)) == ASSIGNED[scenario.name]


def test_every_condition_names_every_data_action_of_its_role() -> None:
    bounded = [(role, given) for _, role, given in assignments(EVERYTHING) if given.get("condition")]
    assert {role for role, _ in bounded} == set(DATA_ACTIONS)
    for role, given in bounded:
        assert given["conditionVersion"] == "2.0"
        assert set(CONDITION_ACTION.findall(given["condition"])) == DATA_ACTIONS[role]
        for prefix in re.findall(r"StringStartsWithIgnoreCase '([^']*)'", given["condition"]):
            assert prefix.endswith("/")


def test_a_role_is_of_the_subscription_that_it_is_granted_in() -> None:
    for scope, _, given in assignments(EVERYTHING):
        assert given["roleDefinitionId"].split("/")[2] == scope.split("/")[2]


def test_who_deploys_code_holds_nothing_but_that() -> None:
    deployers = {given["principalId"] for _, role, given in assignments(EVERYTHING) if role == "websiteContributor"}
    held = {role for _, role, given in assignments(EVERYTHING) if given["principalId"] in deployers}
    assert held == {"websiteContributor", "reader"}


def test_no_template_asks_for_a_key() -> None:
    for path in [*(ROOT / "infra" / "bicep").rglob("*.bicep"), *TERRAFORM.rglob("*.tf")]:
        assert not re.search(
            r"listKeys|listAccountSas|primary_access_key|InstrumentationKey|AccountKey", path.read_text()
        )


# Alerts.


def test_alerts_reach_somebody_or_say_that_they_do_not() -> None:
    [rule, *_] = of_type(bicep(EVERYTHING), "Microsoft.Insights/scheduledQueryRules")
    assert rule["properties"]["actions"]["actionGroups"]
    warnings = {each.name: each.snapshot()["outputs"]["warnings"] for each in SCENARIOS}
    silent = {"default", "existing", "created", "private"}
    assert {name for name, said in warnings.items() if said} == silent


def test_an_app_that_does_not_start_is_noticed() -> None:
    [test] = of_type(bicep(DEFAULT), "Microsoft.Insights/webtests")
    asked = test["properties"]["Request"]["RequestUrl"]
    assert re.fullmatch(r"https://func-vending-\w+\.azurewebsites\.net/readyz", asked)
    assert test["properties"]["ValidationRules"]["ExpectedHttpStatusCode"] == 200
    [alert] = of_type(bicep(DEFAULT), "Microsoft.Insights/metricAlerts")
    assert alert["properties"]["criteria"]["failedLocationCount"] == 2


@EACH
def test_rules_are_accepted_before_their_tables_exist(scenario: Scenario) -> None:
    for rule in of_type(bicep(scenario), "Microsoft.Insights/scheduledQueryRules"):
        assert rule["properties"]["skipQueryValidation"]


def test_a_budget_is_reported_to_the_owners_at_least() -> None:
    [budget] = of_type(bicep(RESTRICTED), "Microsoft.Consumption/budgets")
    for notification in budget["properties"]["notifications"].values():
        assert notification["contactRoles"] == ["Owner"]


def test_the_page_of_inputs_is_current() -> None:
    assert page() == PAGE.read_text(), "run: python -m tests.infra.inputs"
