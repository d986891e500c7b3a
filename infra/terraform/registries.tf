# The optional new registry, and the vending identity's rights on each registry: an upper bound for whatever the
# policy says.

locals {
  access = merge(
    { for key, registry in var.registries : key => merge(registry, { target = registry.id }) },
    var.new_registry_name == "" ? {} : {
      (var.new_registry_name) = merge(var.new_registry_access, {
        id     = "${local.group_id}/providers/Microsoft.ContainerRegistry/registries/${var.new_registry_name}"
        mode   = "abac"
        target = azurerm_container_registry.new[0].id
      })
    },
  )

  assignments = merge([
    for key, registry in local.access : {
      for role, assignment in module.conditions[key].assignments : "${key}/${role}" => {
        scope     = registry.target
        role_id   = "/subscriptions/${split("/", registry.id)[2]}/providers/Microsoft.Authorization/roleDefinitions/${local.roles[role]}"
        condition = assignment.condition
      }
    }
  ]...)
}

module "conditions" {
  source   = "./modules/policy-conditions"
  for_each = local.access

  mode    = each.value.mode
  pull    = each.value.pull
  push    = each.value.push
  delete  = each.value.delete
  catalog = each.value.catalog
}

resource "azurerm_role_assignment" "registry" {
  for_each = local.assignments

  scope              = each.value.scope
  role_definition_id = each.value.role_id
  principal_id       = azurerm_user_assigned_identity.vending.principal_id
  principal_type     = "ServicePrincipal"
  condition          = each.value.condition
  condition_version  = each.value.condition == null ? null : "2.0"
}

resource "azurerm_container_registry" "new" {
  # checkov:skip=CKV_AZURE_139: CI runners outside the network push and pull; a private registry is the operator's choice
  # checkov:skip=CKV_AZURE_163: scanning is a plan of Defender for the subscription, not of one registry
  # checkov:skip=CKV_AZURE_164: content trust is deprecated by Docker and Azure; sign with Notation or cosign
  # checkov:skip=CKV_AZURE_165: replication needs Premium
  # checkov:skip=CKV_AZURE_166: quarantine needs Premium and a scanner that releases images
  # checkov:skip=CKV_AZURE_167: a retention policy for untagged manifests needs Premium and is the operator's choice
  # checkov:skip=CKV_AZURE_233: zone redundancy needs Premium
  # checkov:skip=CKV_AZURE_237: dedicated data endpoints need Premium
  count = var.new_registry_name == "" ? 0 : 1

  name                = var.new_registry_name
  location            = var.location
  resource_group_name = local.group_name
  tags                = var.tags

  sku                                          = var.new_registry_sku
  admin_enabled                                = false
  anonymous_pull_enabled                       = false
  role_assignment_mode                         = "AbacRepositoryPermissions"
  azuread_authentication_as_arm_policy_enabled = false
}

resource "azurerm_management_lock" "registry" {
  count = var.new_registry_name != "" && var.new_registry_lock ? 1 : 0

  name       = "holds-images"
  scope      = azurerm_container_registry.new[0].id
  lock_level = "CanNotDelete"
  notes      = "Holds images; the vending service can be removed without it."
}

resource "azurerm_monitor_diagnostic_setting" "registry" {
  count = var.new_registry_name == "" ? 0 : 1

  name                       = "registry-activity"
  target_resource_id         = azurerm_container_registry.new[0].id
  log_analytics_workspace_id = azurerm_log_analytics_workspace.main.id

  enabled_log {
    category = "ContainerRegistryLoginEvents"
  }

  enabled_log {
    category = "ContainerRegistryRepositoryEvents"
  }
}
