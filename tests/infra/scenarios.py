"""The same inputs for both templates: nothing chosen, and everything chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
OTHER_SUBSCRIPTION = "00000000-0000-0000-0000-000000000002"
GROUP = "rg-vending"


def registry_id(name: str, subscription: str = SUBSCRIPTION) -> str:
    group = f"/subscriptions/{subscription}/resourceGroups/rg-images"
    return f"{group}/providers/Microsoft.ContainerRegistry/registries/{name}"


@dataclass(frozen=True)
class Scenario:
    """Inputs of one deployment under Bicep's names, and what else Terraform needs."""

    name: str
    bicep: dict[str, Any]

    @property
    def terraform(self) -> dict[str, Any]:
        """The same under Terraform's names; its map of registries has keys where Bicep has a list."""
        given = {SPELLING.get(name) or snake(name): value for name, value in self.bicep.items()}
        if "registries" in given:
            given["registries"] = {entry["id"].rsplit("/", 1)[1]: entry for entry in given["registries"]}
        return {"subscription_id": SUBSCRIPTION, "resource_group_name": GROUP, "location": "westeurope", **given}


SPELLING = {"httpConcurrency": "http_concurrency", "instanceMemoryMB": "instance_memory_mb"}


def snake(name: str) -> str:
    """Spell a camel-case name as Terraform does."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


MINIMUM = Scenario("minimum", {})
EVERYTHING = Scenario(
    "everything",
    {
        "registries": [
            {
                "id": registry_id("contoso", OTHER_SUBSCRIPTION),
                "pull": ["team/", "tools/cli"],
                "push": ["team/"],
                "delete": ["team/old"],
                "catalog": True,
            },
            {"id": registry_id("legacy"), "mode": "classic", "pull": ["*"], "push": ["*"], "catalog": True},
        ],
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
SCENARIOS = (MINIMUM, EVERYTHING)
