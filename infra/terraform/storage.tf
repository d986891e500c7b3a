# The Functions host's account (deployment package, host locks and, in a table of its own, seen tokens) and,
# if the policy is a blob, the policy's own account: whoever writes there decides what is vended.

locals {
  host_account   = "sthost${local.token}"
  policy_account = "stpolicy${local.token}"
  table          = var.replay_store == "table"
  blob           = var.policy_delivery == "blob"

  # One account for the host; one for the policy where it is a blob.
  account_names = merge({ host = local.host_account }, local.blob ? { policy = local.policy_account } : {})
}

resource "azapi_resource" "account" {
  for_each = local.account_names

  type                   = "Microsoft.Storage/storageAccounts@2025-06-01"
  name                   = each.value
  parent_id              = local.parent_id
  location               = var.location
  tags                   = var.tags
  response_export_values = []

  body = {
    kind = "StorageV2"
    sku = {
      # A region has zone-redundant storage where it has zones, and not everywhere.
      name = var.zone_redundant ? "Standard_ZRS" : "Standard_LRS"
    }
    properties = {
      accessTier                   = "Hot"
      allowBlobPublicAccess        = false
      allowCrossTenantReplication  = false
      allowSharedKeyAccess         = false
      defaultToOAuthAuthentication = true
      isLocalUserEnabled           = false
      minimumTlsVersion            = "TLS1_2"
      supportsHttpsTrafficOnly     = true
      publicNetworkAccess          = local.private ? "Disabled" : "Enabled"
      networkAcls = {
        bypass        = "None"
        defaultAction = local.private ? "Deny" : "Allow"
      }
    }
  }
}

# Exists as soon as its account does, and cannot be deleted: updated, never created.
resource "azapi_update_resource" "blobs" {
  for_each = local.account_names

  type                   = "Microsoft.Storage/storageAccounts/blobServices@2025-06-01"
  name                   = "default"
  parent_id              = azapi_resource.account[each.key].id
  response_export_values = []

  body = {
    properties = {
      for name, value in {
        deleteRetentionPolicy = {
          enabled = true
          days    = each.key == "policy" ? 30 : 7
        }
        isVersioningEnabled            = each.key == "policy" ? true : null
        containerDeleteRetentionPolicy = each.key == "policy" ? { enabled = true, days = 30 } : null
      } : name => value if value != null
    }
  }
}

resource "azapi_resource" "packages" {
  type                   = "Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01"
  name                   = "app-package"
  parent_id              = azapi_update_resource.blobs["host"].id
  response_export_values = []

  body = {
    properties = {
      publicAccess = "None"
    }
  }
}

resource "azapi_resource" "policies" {
  count = local.blob ? 1 : 0

  type                   = "Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01"
  name                   = "policy"
  parent_id              = azapi_update_resource.blobs["policy"].id
  response_export_values = []

  body = {
    properties = {
      publicAccess = "None"
    }
  }
}

# Through the Resource Manager: over its data plane a table wants a shared key, which the account refuses.
resource "azapi_resource" "replay" {
  count = local.table ? 1 : 0

  type                   = "Microsoft.Storage/storageAccounts/tableServices/tables@2025-06-01"
  name                   = "replay"
  parent_id              = "${azapi_resource.account["host"].id}/tableServices/default"
  response_export_values = []
}

# The host's locks and its package; code in the app could replace the package by whatever identity the host used.
resource "azapi_resource" "host_rights" {
  type                             = "Microsoft.Authorization/roleAssignments@2022-04-01"
  name                             = uuidv5(local.guid_namespace, join("-", [azapi_resource.account["host"].id, local.identity_id, local.roles.storageBlobDataOwner]))
  parent_id                        = azapi_resource.account["host"].id
  response_export_values           = []
  retry                            = local.replication
  replace_triggers_external_values = local.principal_triggers

  body = {
    properties = {
      principalId      = local.identity_principal
      principalType    = "ServicePrincipal"
      roleDefinitionId = "/subscriptions/${var.subscription_id}/providers/Microsoft.Authorization/roleDefinitions/${local.roles.storageBlobDataOwner}"
    }
  }
}

resource "azapi_resource" "replay_rights" {
  count = local.table ? 1 : 0

  type                             = "Microsoft.Authorization/roleAssignments@2022-04-01"
  name                             = uuidv5(local.guid_namespace, join("-", [azapi_resource.replay[0].id, local.identity_id, local.roles.storageTableDataContributor]))
  parent_id                        = azapi_resource.replay[0].id
  response_export_values           = []
  retry                            = local.replication
  replace_triggers_external_values = local.principal_triggers

  body = {
    properties = {
      principalId      = local.identity_principal
      principalType    = "ServicePrincipal"
      roleDefinitionId = "/subscriptions/${var.subscription_id}/providers/Microsoft.Authorization/roleDefinitions/${local.roles.storageTableDataContributor}"
    }
  }
}

resource "azapi_resource" "policy_reader" {
  count = local.blob ? 1 : 0

  type                             = "Microsoft.Authorization/roleAssignments@2022-04-01"
  name                             = uuidv5(local.guid_namespace, join("-", [azapi_resource.policies[0].id, local.identity_id, local.roles.storageBlobDataReader]))
  parent_id                        = azapi_resource.policies[0].id
  response_export_values           = []
  retry                            = local.replication
  replace_triggers_external_values = local.principal_triggers

  body = {
    properties = {
      principalId      = local.identity_principal
      principalType    = "ServicePrincipal"
      roleDefinitionId = "/subscriptions/${var.subscription_id}/providers/Microsoft.Authorization/roleDefinitions/${local.roles.storageBlobDataReader}"
    }
  }
}

resource "azapi_resource" "policy_writer" {
  count = local.blob && var.policy_writer_principal_id != "" ? 1 : 0

  type                   = "Microsoft.Authorization/roleAssignments@2022-04-01"
  name                   = uuidv5(local.guid_namespace, join("-", [azapi_resource.policies[0].id, var.policy_writer_principal_id, local.roles.storageBlobDataContributor]))
  parent_id              = azapi_resource.policies[0].id
  response_export_values = []

  body = {
    properties = {
      principalId      = var.policy_writer_principal_id
      principalType    = var.policy_writer_principal_type
      roleDefinitionId = "/subscriptions/${var.subscription_id}/providers/Microsoft.Authorization/roleDefinitions/${local.roles.storageBlobDataContributor}"
    }
  }
}

# Every write to the package and to the policy, with who made it: either decides what is vended.
resource "azapi_resource" "storage_changes" {
  for_each = local.account_names

  type                   = "Microsoft.Insights/diagnosticSettings@2021-05-01-preview"
  name                   = "${each.key == "host" ? "package" : "policy"}-changes"
  parent_id              = azapi_update_resource.blobs[each.key].id
  response_export_values = []

  # Compared by category: the Resource Manager keeps no order.
  list_unique_id_property = { "properties.logs" = "category" }

  body = {
    properties = {
      workspaceId = local.workspace_id
      logs = [
        { category = "StorageRead", enabled = false },
        { category = "StorageWrite", enabled = true },
        { category = "StorageDelete", enabled = true },
      ]
    }
  }
}
