# Plans of the whole service. The providers are mocked, so this runs without a subscription:
# `terraform init -backend=false && terraform test`.

mock_provider "azapi" {}
mock_provider "azurerm" {}

variables {
  subscription_id = "00000000-0000-0000-0000-000000000001"
  location        = "westeurope"
}

run "safe_by_default" {
  command = plan

  assert {
    condition     = azurerm_storage_account.host.shared_access_key_enabled == false && azurerm_storage_account.host.allow_nested_items_to_be_public == false
    error_message = "Storage must take Entra tokens only."
  }

  assert {
    condition     = azurerm_application_insights.main.local_authentication_enabled == false && azurerm_log_analytics_workspace.main.local_authentication_enabled == false
    error_message = "Telemetry must take Entra tokens only."
  }

  assert {
    condition     = azapi_resource.site.body.properties.httpsOnly && azapi_resource.site.body.properties.functionsRuntimeAdminIsolationEnabled
    error_message = "The app must be https only, without admin endpoints."
  }

  assert {
    condition     = length(azurerm_role_assignment.registry) == 0 && length(azurerm_container_registry.new) == 0
    error_message = "Nothing is granted on any registry unless it is named."
  }

  assert {
    condition     = !contains(azapi_resource.site.body.properties.siteConfig.appSettings[*].name, "AzureWebJobsStorage")
    error_message = "A bare AzureWebJobsStorage takes precedence over the identity."
  }

  assert {
    condition     = length(azurerm_virtual_network.main) == 0 && length(azurerm_private_endpoint.main) == 0
    error_message = "The default has no network to pay for."
  }
}

run "private_network_closes_storage" {
  command = plan

  variables {
    network_access = "private"
  }

  assert {
    condition     = azurerm_storage_account.host.public_network_access_enabled == false && azurerm_storage_account.host.network_rules[0].default_action == "Deny"
    error_message = "Private storage must refuse the internet."
  }

  assert {
    condition     = toset(keys(azurerm_private_endpoint.main)) == toset(["host-blob", "host-table"])
    error_message = "Blob and table need a private endpoint each."
  }

  assert {
    condition     = azapi_resource.site.body.properties.outboundVnetRouting.allTraffic
    error_message = "All traffic must leave through the network."
  }
}

run "memory_replay_needs_no_table" {
  command = plan

  variables {
    replay_store = "memory"
  }

  assert {
    condition     = length(azurerm_storage_table.replay) == 0 && length(azurerm_role_assignment.replay) == 0
    error_message = "No table, no right on one."
  }
}

run "a_new_registry_decides_by_repository" {
  command = plan

  variables {
    new_registry_name   = "contosofresh"
    new_registry_access = { push = ["apps/"] }
  }

  assert {
    condition     = azurerm_container_registry.new[0].role_assignment_mode == "AbacRepositoryPermissions" && azurerm_container_registry.new[0].azuread_authentication_as_arm_policy_enabled == false
    error_message = "A new registry must be in ABAC mode and refuse ARM-audience tokens."
  }

  assert {
    condition     = azurerm_container_registry.new[0].admin_enabled == false && azurerm_container_registry.new[0].anonymous_pull_enabled == false
    error_message = "A new registry must have neither an admin user nor anonymous pull."
  }

  assert {
    condition     = azurerm_role_assignment.registry["contosofresh/repositoryWriter"].condition_version == "2.0"
    error_message = "The writer's role must be bounded."
  }
}
