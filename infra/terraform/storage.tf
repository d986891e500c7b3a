# The Functions host's account (deployment package, host locks and, in a table of its own, seen tokens) and,
# if the policy is a blob, the policy's own account: whoever writes there decides what is vended.

resource "azurerm_storage_account" "host" {
  # checkov:skip=CKV_AZURE_206: locally redundant on purpose: a package is deployed again, seen tokens live for minutes
  # checkov:skip=CKV_AZURE_35: without a virtual network the app comes from changing addresses; Entra is the only way in
  # checkov:skip=CKV_AZURE_59: without a virtual network the account has no other address; anonymous reads are off
  # checkov:skip=CKV_AZURE_33: the host writes to no queue
  # checkov:skip=CKV_AZURE_36: no Azure service but the app, by its identity, needs the account
  # checkov:skip=CKV2_AZURE_1: customer-managed keys are the operator's choice
  # checkov:skip=CKV2_AZURE_33: private endpoints come with network_access = "private"
  name                = "sthost${local.token}"
  location            = var.location
  resource_group_name = local.group_name
  tags                = var.tags

  account_kind             = "StorageV2"
  account_tier             = "Standard"
  account_replication_type = "LRS"
  access_tier              = "Hot"

  allow_nested_items_to_be_public  = false
  cross_tenant_replication_enabled = false
  default_to_oauth_authentication  = true
  https_traffic_only_enabled       = true
  local_user_enabled               = false
  min_tls_version                  = "TLS1_2"
  public_network_access_enabled    = !local.private
  shared_access_key_enabled        = false

  network_rules {
    bypass         = ["None"]
    default_action = local.private ? "Deny" : "Allow"
  }

  blob_properties {
    delete_retention_policy {
      days = 7
    }
  }
}

resource "azurerm_storage_container" "packages" {
  # checkov:skip=CKV2_AZURE_21: the host reads its own package; every deployment is in the activity log
  name                  = "app-package"
  storage_account_id    = azurerm_storage_account.host.id
  container_access_type = "private"
}

resource "azurerm_storage_table" "replay" {
  # checkov:skip=CKV2_AZURE_20: one request in, one request out: the audit log has each of them
  count = var.replay_store == "table" ? 1 : 0

  name               = "replay"
  storage_account_id = azurerm_storage_account.host.id
}

resource "azurerm_role_assignment" "host_storage" {
  scope              = azurerm_storage_account.host.id
  role_definition_id = local.role_ids.storageBlobDataOwner
  principal_id       = azurerm_user_assigned_identity.host.principal_id
  principal_type     = "ServicePrincipal"
}

resource "azurerm_role_assignment" "replay" {
  count = var.replay_store == "table" ? 1 : 0

  scope              = azurerm_storage_table.replay[0].id
  role_definition_id = local.role_ids.storageTableDataContributor
  principal_id       = azurerm_user_assigned_identity.vending.principal_id
  principal_type     = "ServicePrincipal"
}

resource "azurerm_storage_account" "policy" {
  # checkov:skip=CKV_AZURE_35: without a virtual network the app comes from changing addresses; Entra is the only way in
  # checkov:skip=CKV_AZURE_59: without a virtual network the account has no other address; anonymous reads are off
  # checkov:skip=CKV_AZURE_33: no queue is used
  # checkov:skip=CKV_AZURE_36: no Azure service but the app, by its identity, needs the account
  # checkov:skip=CKV2_AZURE_1: customer-managed keys are the operator's choice
  # checkov:skip=CKV2_AZURE_33: private endpoints come with network_access = "private"
  count = var.policy_delivery == "blob" ? 1 : 0

  name                = "stpolicy${local.token}"
  location            = var.location
  resource_group_name = local.group_name
  tags                = var.tags

  account_kind             = "StorageV2"
  account_tier             = "Standard"
  account_replication_type = "ZRS"
  access_tier              = "Hot"

  allow_nested_items_to_be_public  = false
  cross_tenant_replication_enabled = false
  default_to_oauth_authentication  = true
  https_traffic_only_enabled       = true
  local_user_enabled               = false
  min_tls_version                  = "TLS1_2"
  public_network_access_enabled    = !local.private
  shared_access_key_enabled        = false

  network_rules {
    bypass         = ["None"]
    default_action = local.private ? "Deny" : "Allow"
  }

  blob_properties {
    versioning_enabled = true

    delete_retention_policy {
      days = 30
    }

    container_delete_retention_policy {
      days = 30
    }
  }
}

resource "azurerm_storage_container" "policies" {
  # checkov:skip=CKV2_AZURE_21: the service reads it every minute; writes are logged below
  count = var.policy_delivery == "blob" ? 1 : 0

  name                  = "policy"
  storage_account_id    = azurerm_storage_account.policy[0].id
  container_access_type = "private"
}

resource "azurerm_role_assignment" "policy_reader" {
  count = var.policy_delivery == "blob" ? 1 : 0

  scope              = azurerm_storage_container.policies[0].id
  role_definition_id = local.role_ids.storageBlobDataReader
  principal_id       = azurerm_user_assigned_identity.vending.principal_id
  principal_type     = "ServicePrincipal"
}

resource "azurerm_role_assignment" "policy_writer" {
  count = var.policy_delivery == "blob" && var.policy_writer_principal_id != "" ? 1 : 0

  scope              = azurerm_storage_container.policies[0].id
  role_definition_id = local.role_ids.storageBlobDataContributor
  principal_id       = var.policy_writer_principal_id
  principal_type     = var.policy_writer_principal_type
}

# Every change of the policy, with who made it.
resource "azurerm_monitor_diagnostic_setting" "policy_changes" {
  count = var.policy_delivery == "blob" ? 1 : 0

  name                       = "policy-changes"
  target_resource_id         = "${azurerm_storage_account.policy[0].id}/blobServices/default"
  log_analytics_workspace_id = azurerm_log_analytics_workspace.main.id

  enabled_log {
    category = "StorageWrite"
  }

  enabled_log {
    category = "StorageDelete"
  }
}
