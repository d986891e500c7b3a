"""Property names and enumeration values in the templates are those of Azure's own models.

No Bicep compiler can be installed here, so the models of the azure-mgmt packages check names in its place. They know
properties and enumerations; they do not know which are required, nor how values depend on each other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.infra.bicep import Deployment
from tests.infra.scenarios import SCENARIOS
from tests.infra.toolbox import LOCKS, python_tools, succeed

Described = dict[str, Any]

MODELS = {
    "Microsoft.Authorization/roleAssignments": "azure.mgmt.authorization:RoleAssignmentCreateParameters",
    "Microsoft.ContainerRegistry/registries": "azure.mgmt.containerregistry:Registry",
    "Microsoft.Insights/actionGroups": "azure.mgmt.monitor:ActionGroupResource",
    "Microsoft.Insights/components": "azure.mgmt.applicationinsights:ApplicationInsightsComponent",
    "Microsoft.Insights/scheduledQueryRules": "azure.mgmt.monitor:ScheduledQueryRuleResource",
    "Microsoft.Insights/workbooks": "azure.mgmt.applicationinsights:Workbook",
    "Microsoft.ManagedIdentity/userAssignedIdentities": "azure.mgmt.msi:Identity",
    "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials": (
        "azure.mgmt.msi:FederatedIdentityCredential"
    ),
    "Microsoft.Network/networkSecurityGroups": "azure.mgmt.network:NetworkSecurityGroup",
    "Microsoft.Network/privateDnsZones": "azure.mgmt.privatedns:PrivateZone",
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks": "azure.mgmt.privatedns:VirtualNetworkLink",
    "Microsoft.Network/privateEndpoints": "azure.mgmt.network:PrivateEndpoint",
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups": "azure.mgmt.network:PrivateDnsZoneGroup",
    "Microsoft.Network/virtualNetworks": "azure.mgmt.network:VirtualNetwork",
    "Microsoft.OperationalInsights/workspaces": "azure.mgmt.loganalytics:Workspace",
    "Microsoft.Storage/storageAccounts": "azure.mgmt.storage:StorageAccountCreateParameters",
    "Microsoft.Storage/storageAccounts/blobServices": "azure.mgmt.storage:BlobServiceProperties",
    "Microsoft.Storage/storageAccounts/blobServices/containers": "azure.mgmt.storage:BlobContainer",
    "Microsoft.Storage/storageAccounts/tableServices/tables": "azure.mgmt.storage:Table",
    "Microsoft.Web/serverfarms": "azure.mgmt.web:AppServicePlan",
    "Microsoft.Web/sites": "azure.mgmt.web:Site",
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies": "azure.mgmt.web:CsmPublishingCredentialsPoliciesEntity",
}
NO_MODEL = {
    "Microsoft.Authorization/locks",  # no current azure-mgmt package
    "Microsoft.Insights/diagnosticSettings",  # the same
    "Microsoft.Resources/resourceGroups",  # the same
    "Microsoft.Storage/storageAccounts/tableServices",  # sets nothing
}
TEMPLATE_LANGUAGE = {"name", "parent", "scope", "dependsOn"}
UNPUBLISHED = {
    # Documented under "Securing Azure Functions", and absent from every published model.
    "Microsoft.Web/sites: properties.functionsRuntimeAdminIsolationEnabled",
}
FREE_NAMES = {"tags", "userAssignedIdentities"}


@pytest.fixture(scope="session")
def models() -> dict[str, Described]:
    pairs = [f"{kind}={where}" for kind, where in MODELS.items()]
    found: dict[str, Described] = json.loads(
        succeed([python_tools("schemas") / "python", LOCKS / "arm_models.py", *pairs])
    )
    return found


def strangers(value: Any, known: Described, path: str) -> Iterator[str]:
    """Give the paths in `value` that the model does not know, and the values that it does not allow."""
    if isinstance(value, list):
        for item in value:
            yield from strangers(item, known, path)
    elif isinstance(value, dict) and "properties" in known:
        for name, item in value.items():
            if name not in known["properties"]:
                yield f"{path}{name}"
            elif name not in FREE_NAMES:
                yield from strangers(item, known["properties"][name], f"{path}{name}.")
    elif isinstance(value, str) and value not in known.get("values", [value]):
        yield f"{path[:-1]} = {value}"


@pytest.mark.parametrize("scenario", [scenario.name for scenario in SCENARIOS])
def test_templates_use_names_and_values_of_azures_models(
    deployments: dict[str, Deployment], models: dict[str, Described], scenario: str
) -> None:
    found = set()
    for resource in deployments[scenario].resources():
        if resource.type in NO_MODEL:
            continue
        body = {name: value for name, value in resource.body.items() if name not in TEMPLATE_LANGUAGE}
        known = {"properties": models[resource.type]}
        found |= {f"{resource.type}: {path}" for path in strangers(body, known, "")}
    assert found == UNPUBLISHED


@pytest.mark.parametrize(
    ("kind", "body", "path"),
    [
        pytest.param(
            "Microsoft.Web/sites", {"properties": {"siteConfig": {"minTlsVerson": "1.2"}}}, "minTlsVerson", id="name"
        ),
        pytest.param(
            "Microsoft.Web/sites", {"properties": {"siteConfig": {"minTlsVersion": "1.4"}}}, "= 1.4", id="value"
        ),
        pytest.param(
            "Microsoft.ContainerRegistry/registries",
            {"properties": {"roleAssignmentMode": "Abac"}},
            "roleAssignmentMode = Abac",
            id="registry_mode",
        ),
        pytest.param(
            "Microsoft.Storage/storageAccounts",
            {"properties": {"networkAcls": {"defaultAction": "Refuse"}}},
            "= Refuse",
            id="storage_action",
        ),
    ],
)
def test_the_check_finds_what_azure_would_refuse(
    models: dict[str, Described], kind: str, body: dict[str, Any], path: str
) -> None:
    assert [found for found in strangers(body, {"properties": models[kind]}, "") if path in found]
