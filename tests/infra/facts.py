"""What both templates must say, as one table: a fact, where Bicep says it, where Terraform says it, and the value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SAME = object()


@dataclass(frozen=True)
class Fact:
    """One row.

    Args:
        bicep: ARM type, beginning of the resource's name, and the path of the property.
        terraform: address (without an index) and the path of the argument.
        value: what both say; `terraform_value` where Terraform spells it otherwise.
        scenario: the inputs under which it holds.
    """

    bicep: tuple[str, str, str]
    terraform: tuple[str, str]
    value: Any
    terraform_value: Any = SAME
    scenario: str = "minimum"

    @property
    def expected_of_terraform(self) -> Any:
        return self.value if self.terraform_value is SAME else self.terraform_value

    def __str__(self) -> str:
        return f"{self.terraform[0]}-{self.terraform[1]}".replace("properties.", "")


def storage(bicep_name: str, terraform_name: str, scenario: str) -> list[Fact]:
    """Both accounts are closed alike; `minimum` has no network, `everything` has one."""
    kind, address = "Microsoft.Storage/storageAccounts", f"azurerm_storage_account.{terraform_name}"
    private = scenario == "everything"
    rows: list[tuple[str, str, Any, Any]] = [
        ("allowSharedKeyAccess", "shared_access_key_enabled", False, SAME),
        ("allowBlobPublicAccess", "allow_nested_items_to_be_public", False, SAME),
        ("allowCrossTenantReplication", "cross_tenant_replication_enabled", False, SAME),
        ("defaultToOAuthAuthentication", "default_to_oauth_authentication", True, SAME),
        ("isLocalUserEnabled", "local_user_enabled", False, SAME),
        ("minimumTlsVersion", "min_tls_version", "TLS1_2", SAME),
        ("supportsHttpsTrafficOnly", "https_traffic_only_enabled", True, SAME),
        ("accessTier", "access_tier", "Hot", SAME),
        ("networkAcls.bypass", "network_rules.0.bypass", "None", ["None"]),
        ("networkAcls.defaultAction", "network_rules.0.default_action", "Deny" if private else "Allow", SAME),
        (
            "publicNetworkAccess",
            "public_network_access_enabled",
            "Disabled" if private else "Enabled",
            not private,
        ),
    ]
    return [
        Fact((kind, bicep_name, f"properties.{ours}"), (address, theirs), value, other, scenario)
        for ours, theirs, value, other in rows
    ]


def site(path: str, value: Any, scenario: str = "minimum") -> Fact:
    """The site has one body for both: Terraform sends it through azapi."""
    return Fact(("Microsoft.Web/sites", "func-", path), ("azapi_resource.site", f"body.{path}"), value, SAME, scenario)


CREDENTIALS = "Microsoft.Web/sites/basicPublishingCredentialsPolicies"
FEDERATION = "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials"
REGISTRY = "Microsoft.ContainerRegistry/registries"
SCALE = "properties.functionAppConfig.scaleAndConcurrency"
DEPLOYMENT = "properties.functionAppConfig.deployment.storage"

FACTS: list[Fact] = [
    *storage("sthost", "host", "minimum"),
    *storage("sthost", "host", "everything"),
    *storage("stpolicy", "policy", "everything"),
    Fact(
        ("Microsoft.Storage/storageAccounts", "sthost", "sku.name"),
        ("azurerm_storage_account.host", "account_replication_type"),
        "Standard_LRS",
        "LRS",
    ),
    Fact(
        ("Microsoft.Storage/storageAccounts", "stpolicy", "sku.name"),
        ("azurerm_storage_account.policy", "account_replication_type"),
        "Standard_ZRS",
        "ZRS",
        "everything",
    ),
    Fact(
        ("Microsoft.Storage/storageAccounts/blobServices/containers", "app-package", "properties.publicAccess"),
        ("azurerm_storage_container.packages", "container_access_type"),
        "None",
        "private",
    ),
    Fact(
        ("Microsoft.Storage/storageAccounts/blobServices/containers", "policy", "properties.publicAccess"),
        ("azurerm_storage_container.policies", "container_access_type"),
        "None",
        "private",
        "everything",
    ),
    Fact(
        ("Microsoft.Storage/storageAccounts/tableServices/tables", "replay", "name"),
        ("azurerm_storage_table.replay", "name"),
        "replay",
    ),
    Fact(
        ("Microsoft.OperationalInsights/workspaces", "log-", "properties.features.disableLocalAuth"),
        ("azurerm_log_analytics_workspace.main", "local_authentication_enabled"),
        True,
        False,
    ),
    Fact(
        ("Microsoft.OperationalInsights/workspaces", "log-", "properties.retentionInDays"),
        ("azurerm_log_analytics_workspace.main", "retention_in_days"),
        90,
    ),
    Fact(
        ("Microsoft.Insights/components", "appi-", "properties.DisableLocalAuth"),
        ("azurerm_application_insights.main", "local_authentication_enabled"),
        True,
        False,
    ),
    Fact(
        ("Microsoft.Insights/components", "appi-", "properties.DisableIpMasking"),
        ("azurerm_application_insights.main", "ip_masking_enabled"),
        False,
        True,
    ),
    Fact(("Microsoft.Web/serverfarms", "plan-", "sku.name"), ("azurerm_service_plan.main", "sku_name"), "FC1"),
    Fact(
        ("Microsoft.Web/serverfarms", "plan-", "properties.reserved"),
        ("azurerm_service_plan.main", "os_type"),
        True,
        "Linux",
    ),
    Fact(
        ("Microsoft.Web/serverfarms", "plan-", "properties.zoneRedundant"),
        ("azurerm_service_plan.main", "zone_balancing_enabled"),
        False,
    ),
    site("kind", "functionapp,linux"),
    site("properties.httpsOnly", True),
    site("properties.publicNetworkAccess", "Enabled"),
    site("properties.clientAffinityEnabled", False),
    site("properties.functionsRuntimeAdminIsolationEnabled", True),
    site("properties.siteConfig.minTlsVersion", "1.2"),
    site("properties.siteConfig.scmMinTlsVersion", "1.2"),
    site("properties.siteConfig.http20Enabled", True),
    site("properties.functionAppConfig.runtime.name", "python"),
    site("properties.functionAppConfig.runtime.version", "3.13"),
    site(f"{DEPLOYMENT}.type", "blobContainer"),
    site(f"{DEPLOYMENT}.authentication.type", "UserAssignedIdentity"),
    site(f"{SCALE}.instanceMemoryMB", 2048),
    site(f"{SCALE}.maximumInstanceCount", 40),
    site(f"{SCALE}.triggers.http.perInstanceConcurrency", 32),
    site("properties.functionAppConfig.runtime.version", "3.12", "everything"),
    site(f"{SCALE}.instanceMemoryMB", 4096, "everything"),
    site(f"{SCALE}.maximumInstanceCount", 100, "everything"),
    site(f"{SCALE}.triggers.http.perInstanceConcurrency", 16, "everything"),
    site(f"{SCALE}.alwaysReady", [{"name": "http", "instanceCount": 2}], "everything"),
    site("properties.outboundVnetRouting.allTraffic", True, "everything"),
    Fact(
        (CREDENTIALS, "scm", "properties.allow"),
        ("azapi_resource.publishing_credentials", "body.properties.allow"),
        False,
    ),
    Fact(
        (CREDENTIALS, "ftp", "properties.allow"),
        ("azapi_resource.publishing_credentials", "body.properties.allow"),
        False,
    ),
    Fact(
        (REGISTRY, "fresh", "properties.adminUserEnabled"),
        ("azurerm_container_registry.new", "admin_enabled"),
        False,
        SAME,
        "everything",
    ),
    Fact(
        (REGISTRY, "fresh", "properties.anonymousPullEnabled"),
        ("azurerm_container_registry.new", "anonymous_pull_enabled"),
        False,
        SAME,
        "everything",
    ),
    Fact(
        (REGISTRY, "fresh", "properties.roleAssignmentMode"),
        ("azurerm_container_registry.new", "role_assignment_mode"),
        "AbacRepositoryPermissions",
        SAME,
        "everything",
    ),
    Fact(
        (REGISTRY, "fresh", "properties.policies.azureADAuthenticationAsArmPolicy.status"),
        ("azurerm_container_registry.new", "azuread_authentication_as_arm_policy_enabled"),
        "disabled",
        False,
        "everything",
    ),
    Fact(
        ("Microsoft.Authorization/locks", "holds-images", "properties.level"),
        ("azurerm_management_lock.registry", "lock_level"),
        "CanNotDelete",
        SAME,
        "everything",
    ),
    Fact(
        (FEDERATION, "github", "properties.issuer"),
        ("azurerm_federated_identity_credential.deploy", "issuer"),
        "https://token.actions.githubusercontent.com",
        SAME,
        "everything",
    ),
    Fact(
        (FEDERATION, "github", "properties.audiences"),
        ("azurerm_federated_identity_credential.deploy", "audience"),
        ["api://AzureADTokenExchange"],
        SAME,
        "everything",
    ),
    Fact(
        (FEDERATION, "github", "properties.subject"),
        ("azurerm_federated_identity_credential.deploy", "subject"),
        "repo:contoso@1/vending@2:environment:production",
        SAME,
        "everything",
    ),
]

# How Terraform's types are called in ARM. `None`: an object of its own in one template, a part of another in the other.
ARM_TYPES: dict[str, str | None] = {
    "azurerm_resource_group": None,  # `az deployment group create` takes one that exists; azd.bicep makes one
    "azurerm_subnet": None,  # inside the virtual network in Bicep
    "azurerm_subnet_network_security_group_association": None,  # inside the subnet in Bicep
    "azurerm_user_assigned_identity": "Microsoft.ManagedIdentity/userAssignedIdentities",
    "azurerm_federated_identity_credential": FEDERATION,
    "azurerm_storage_account": "Microsoft.Storage/storageAccounts",
    "azurerm_storage_container": "Microsoft.Storage/storageAccounts/blobServices/containers",
    "azurerm_storage_table": "Microsoft.Storage/storageAccounts/tableServices/tables",
    "azurerm_role_assignment": "Microsoft.Authorization/roleAssignments",
    "azurerm_management_lock": "Microsoft.Authorization/locks",
    "azurerm_monitor_diagnostic_setting": "Microsoft.Insights/diagnosticSettings",
    "azurerm_log_analytics_workspace": "Microsoft.OperationalInsights/workspaces",
    "azurerm_application_insights": "Microsoft.Insights/components",
    "azurerm_application_insights_workbook": "Microsoft.Insights/workbooks",
    "azurerm_monitor_action_group": "Microsoft.Insights/actionGroups",
    "azurerm_monitor_scheduled_query_rules_alert_v2": "Microsoft.Insights/scheduledQueryRules",
    "azurerm_virtual_network": "Microsoft.Network/virtualNetworks",
    "azurerm_network_security_group": "Microsoft.Network/networkSecurityGroups",
    "azurerm_private_dns_zone": "Microsoft.Network/privateDnsZones",
    "azurerm_private_dns_zone_virtual_network_link": "Microsoft.Network/privateDnsZones/virtualNetworkLinks",
    "azurerm_private_endpoint": "Microsoft.Network/privateEndpoints",
    "azurerm_container_registry": "Microsoft.ContainerRegistry/registries",
    "azurerm_service_plan": "Microsoft.Web/serverfarms",
}
ONLY_IN_BICEP = {
    "Microsoft.Storage/storageAccounts/blobServices",  # blob_properties of azurerm's account
    "Microsoft.Storage/storageAccounts/tableServices",  # the same
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups",  # a block of azurerm's private endpoint
}

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
FORBIDDEN_SETTINGS = {
    "AzureWebJobsStorage",
    "ENABLE_ORYX_BUILD",
    "FUNCTIONS_EXTENSION_VERSION",
    "FUNCTIONS_WORKER_RUNTIME",
    "FUNCTIONS_WORKER_RUNTIME_VERSION",
    "SCM_DO_BUILD_DURING_DEPLOYMENT",
    "VENDING_ALLOW_LOOPBACK",
    "WEBSITE_CONTENTAZUREFILECONNECTIONSTRING",
    "WEBSITE_CONTENTSHARE",
    "WEBSITE_MAX_DYNAMIC_APPLICATION_SCALE_OUT",
    "WEBSITE_RUN_FROM_PACKAGE",
    "WEBSITE_TIME_ZONE",
}
PLATFORM_SETTINGS = {
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "AzureWebJobsDisableHomepage",
    "AzureWebJobsStorage__accountName",
    "AzureWebJobsStorage__clientId",
    "AzureWebJobsStorage__credential",
    "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT",
}
FIXED_SETTINGS = {
    "AzureWebJobsDisableHomepage": "true",
    "AzureWebJobsStorage__credential": "managedidentity",
    "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": "1048576",
}
EXPECTED_SETTINGS = {
    "minimum": {
        **FIXED_SETTINGS,
        "AZURE_CLIENT_ID": None,
        "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": None,
        "APPLICATIONINSIGHTS_CONNECTION_STRING": None,
        "AzureWebJobsStorage__accountName": "sthost{token}",
        "AzureWebJobsStorage__clientId": None,
        "VENDING_DEADLINE_SECONDS": "20",
        "VENDING_POLICY_MAX_STALE_SECONDS": "3600",
        "VENDING_POLICY_REFRESH_SECONDS": "60",
        "VENDING_REPLAY_STORE": "https://sthost{token}.table.core.windows.net/replay",
        "VENDING_TELEMETRY": "off",
    },
    "everything": {
        **FIXED_SETTINGS,
        "AZURE_CLIENT_ID": None,
        "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": None,
        "APPLICATIONINSIGHTS_CONNECTION_STRING": None,
        "AzureWebJobsStorage__accountName": "sthost{token}",
        "AzureWebJobsStorage__clientId": None,
        "VENDING_CUSTOM_HOSTS": "registry.contoso.example,login.contoso.example",
        "VENDING_DEADLINE_SECONDS": "10",
        "VENDING_POLICY": "https://stpolicy{token}.blob.core.windows.net/policy/policy.yaml",
        "VENDING_POLICY_MAX_STALE_SECONDS": "600",
        "VENDING_POLICY_REFRESH_SECONDS": "30",
        "VENDING_PUBLIC_URL": "https://vend.contoso.example",
        "VENDING_REPLAY_STORE": "https://sthost{token}.table.core.windows.net/replay",
        "VENDING_SECRET_PARTNER": "@Microsoft.KeyVault(SecretUri=https://contoso.vault.azure.net/secrets/partner)",
        "VENDING_TELEMETRY": "azure-monitor",
    },
}
"""Every setting of each scenario with its value; None is an address or a client id that only Azure knows."""

ROLES = {
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
}

# Which roles each scenario gives, and how often.
ASSIGNED = {
    "minimum": {"monitoringMetricsPublisher": 1, "storageBlobDataOwner": 1, "storageTableDataContributor": 1},
    "everything": {
        "acrPull": 1,
        "acrPush": 1,
        "catalogLister": 1,
        "monitoringMetricsPublisher": 1,
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

# Who holds them: the host cannot mint, and the vending identity cannot replace the code.
HOLDERS = {
    "host": {"monitoringMetricsPublisher", "storageBlobDataOwner"},
    "vending": {
        "acrPull",
        "acrPush",
        "catalogLister",
        "repositoryContributor",
        "repositoryReader",
        "repositoryWriter",
        "storageBlobDataReader",
        "storageTableDataContributor",
    },
}
