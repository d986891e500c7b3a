"""The same inputs for both templates, from nothing chosen to everything chosen."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "scenarios"

TENANT = "00000000-0000-0000-0000-00000000000f"
SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
OTHER_SUBSCRIPTION = "00000000-0000-0000-0000-000000000002"
GROUP = "rg-vending"
LOCATION = "westeurope"
HUB = f"/subscriptions/{OTHER_SUBSCRIPTION}/resourceGroups/rg-hub"


def registry_id(name: str, subscription: str = SUBSCRIPTION) -> str:
    group = f"/subscriptions/{subscription}/resourceGroups/rg-images"
    return f"{group}/providers/Microsoft.ContainerRegistry/registries/{name}"


@dataclass(frozen=True)
class Scenario:
    """Inputs of one deployment under Bicep's names; Terraform's are made of them."""

    name: str
    bicep: dict[str, Any]

    @property
    def terraform(self) -> dict[str, Any]:
        """The same under Terraform's names; its map of registries has keys where Bicep has a list."""
        given = {SPELLING.get(name) or snake(name): value for name, value in self.bicep.items()}
        if "registries" in given:
            given["registries"] = {entry["id"].rsplit("/", 1)[1]: entry for entry in given["registries"]}
        if "vending_identity" in given:
            given["vending_identity"] = {snake(name): value for name, value in given["vending_identity"].items()}
        return {"subscription_id": SUBSCRIPTION, "resource_group_name": GROUP, "location": LOCATION, **given}

    @property
    def parameters(self) -> Path:
        return FOLDER / f"{self.name}.bicepparam"

    @property
    def snapshot_file(self) -> Path:
        return FOLDER / f"{self.name}.snapshot.json"

    def snapshot(self) -> dict[str, Any]:
        """What the Bicep compiler says that this deployment makes: `predictedResources` and `outputs`."""
        found: dict[str, Any] = json.loads(self.snapshot_file.read_text())
        return found

    def written(self) -> str:
        """The text of the parameters file."""
        lines = ["using '../../../infra/bicep/main.bicep'", "", "param storageSuffix = 'core.windows.net'"]
        lines += [f"param {name} = {bicep_value(value)}" for name, value in self.bicep.items()]
        return "\n".join(lines) + "\n"


SPELLING = {"instanceMemoryMB": "instance_memory_mb"}


def snake(name: str) -> str:
    """Spell a camel-case name as Terraform does."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


def key(name: str) -> str:
    return name if name.isidentifier() else f"'{name}'"


def bicep_value(value: Any, indent: str = "") -> str:
    """Spell a value as `bicep format` does: one element a line."""
    deeper = f"{indent}  "
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"'{value}'"
    if isinstance(value, list):
        return "[" + "".join(f"\n{deeper}{bicep_value(item, deeper)}" for item in value) + f"\n{indent}]"
    if isinstance(value, dict):
        return (
            "{" + "".join(f"\n{deeper}{key(k)}: {bicep_value(v, deeper)}" for k, v in value.items()) + f"\n{indent}}}"
        )
    return str(value)


REGISTRIES = [
    {
        "id": registry_id("contoso", OTHER_SUBSCRIPTION),
        "pull": ["team/", "tools/cli"],
        "push": ["team/"],
        "delete": ["team/old"],
        "catalog": True,
    },
    {"id": registry_id("legacy"), "mode": "classic", "pull": ["*"], "push": ["*"], "catalog": True},
]

DEFAULT = Scenario("default", {})
EXISTING = Scenario("existing", {"registries": REGISTRIES})
CREATED = Scenario("created", {"newRegistryName": "fresh", "newRegistryAccess": {"pull": ["*"], "push": ["apps/"]}})
MEMORY = Scenario("memory", {"replayStore": "memory", "alertsEnabled": False})
PRIVATE = Scenario(
    "private",
    {
        "networkAccess": "private",
        "privateRegistryIds": [registry_id("contoso", OTHER_SUBSCRIPTION)],
        "policyDelivery": "blob",
        "policyWriterPrincipalId": "11111111-1111-1111-1111-111111111111",
    },
)
LANDING_ZONE = Scenario(
    "landing_zone",
    {
        "tags": {"cost-center": "4711"},
        "networkAccess": "private",
        "appSubnetId": f"{HUB}/providers/Microsoft.Network/virtualNetworks/vnet-hub/subnets/vending",
        "endpointSubnetId": f"{HUB}/providers/Microsoft.Network/virtualNetworks/vnet-hub/subnets/endpoints",
        "privateDnsZonesGroupId": HUB,
        "inboundPrivate": True,
        "vendingIdentity": {
            "id": f"{HUB}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-vending",
            "clientId": "22222222-2222-2222-2222-222222222222",
            "principalId": "33333333-3333-3333-3333-333333333333",
        },
        "workspaceId": f"{HUB}/providers/Microsoft.OperationalInsights/workspaces/log-hub",
        "actionGroupIds": [f"{HUB}/providers/Microsoft.Insights/actionGroups/ag-hub"],
    },
)
RESTRICTED = Scenario(
    "restricted",
    {
        "allowedAddresses": ["203.0.113.0/24", "198.51.100.7/32"],
        "updateStrategy": "RollingUpdate",
        "extraSettings": {"FUNCTIONS_WORKER_PROCESS_COUNT": "1"},
        "monthlyBudget": 50,
        "budgetStart": "2027-01-01",
        "logDailyCapGb": 1,
        "alertEmails": ["on-call@contoso.example"],
    },
)
FRONT = Scenario(
    "front",
    {
        "name": "vendblue",
        "publicUrl": "https://vend.contoso.example",
        "frontDoorId": "44444444-4444-4444-8444-444444444444",
        "allowedAddresses": ["203.0.113.0/24"],
        "alertEmails": ["on-call@contoso.example"],
    },
)
EVERYTHING = Scenario(
    "everything",
    {
        "registries": REGISTRIES,
        "newRegistryName": "fresh",
        "newRegistryAccess": {"pull": ["*"], "push": ["apps/"]},
        "networkAccess": "private",
        "privateRegistryIds": [registry_id("contoso", OTHER_SUBSCRIPTION)],
        "policyDelivery": "blob",
        "policyWriterPrincipalId": "11111111-1111-1111-1111-111111111111",
        "alertEmails": ["on-call@contoso.example"],
        "deploySubject": "repo:contoso@1/vending@2:environment:production",
        "customHosts": ["registry.contoso.example", "login.contoso.example"],
        "keyVaultReferences": {"PARTNER": "https://contoso.vault.azure.net/secrets/partner"},
        "publicUrl": "https://vend.contoso.example",
        "docsUrl": "https://docs.contoso.example/errors",
        "pythonVersion": "3.12",
        "instanceMemoryMB": 4096,
        "maximumInstanceCount": 100,
        "httpConcurrency": 16,
        "alwaysReadyInstances": 2,
        "zoneRedundant": True,
        "policyRefreshSeconds": 30,
        "policyMaxStaleSeconds": 600,
        "deadlineSeconds": 10,
        "telemetry": "azure-monitor",
        "logRetentionDays": 365,
    },
)
SCENARIOS = (DEFAULT, EXISTING, CREATED, MEMORY, PRIVATE, LANDING_ZONE, RESTRICTED, FRONT, EVERYTHING)
