# The optional new registry, and the identity's rights on each registry: an upper bound for whatever the policy says.

locals {
  # What is left out, filled in; the new registry as one among the others. `target` waits for a registry that is created.
  access = {
    for key, registry in merge(
      { for key, registry in var.registries : key => merge(registry, { target = registry.id }) },
      var.new_registry_name == "" ? {} : {
        (var.new_registry_name) = merge(var.new_registry_access, {
          id     = "${local.group_id}/providers/Microsoft.ContainerRegistry/registries/${var.new_registry_name}"
          target = azapi_resource.registry[0].id
        })
      },
      ) : key => {
      id      = registry.id
      target  = registry.target
      mode    = try(registry.mode, "abac")
      pull    = tolist(try(registry.pull, []))
      push    = tolist(try(registry.push, []))
      delete  = tolist(try(registry.delete, []))
      catalog = tobool(try(registry.catalog, false))
    }
  }

  assignments = merge([
    for key, registry in local.access : {
      for role, assignment in module.conditions[key].assignments : "${key}/${role}" => {
        scope     = registry.target
        role      = local.roles[role]
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

resource "azapi_resource" "registry_rights" {
  for_each = local.assignments

  type                             = "Microsoft.Authorization/roleAssignments@2022-04-01"
  name                             = uuidv5(local.guid_namespace, join("-", [each.value.scope, local.identity_id, each.value.role]))
  parent_id                        = each.value.scope
  ignore_null_property             = true
  response_export_values           = []
  retry                            = local.replication
  replace_triggers_external_values = local.principal_triggers

  body = {
    properties = {
      principalId      = local.identity_principal
      principalType    = "ServicePrincipal"
      roleDefinitionId = each.value.role_id
      condition        = each.value.condition
      conditionVersion = each.value.condition == null ? null : "2.0"
    }
  }
}

resource "azapi_resource" "registry" {
  count = var.new_registry_name == "" ? 0 : 1

  type                   = "Microsoft.ContainerRegistry/registries@2025-11-01"
  name                   = var.new_registry_name
  parent_id              = local.parent_id
  location               = var.location
  tags                   = var.tags
  response_export_values = []

  body = {
    sku = {
      name = var.new_registry_sku
    }
    properties = {
      adminUserEnabled     = false
      anonymousPullEnabled = false
      roleAssignmentMode   = "AbacRepositoryPermissions"
      policies = {
        azureADAuthenticationAsArmPolicy = {
          status = "disabled"
        }
      }
    }
  }
}

resource "azapi_resource" "registry_activity" {
  count = var.new_registry_name == "" ? 0 : 1

  type                   = "Microsoft.Insights/diagnosticSettings@2021-05-01-preview"
  name                   = "registry-activity"
  parent_id              = azapi_resource.registry[0].id
  response_export_values = []

  # Compared by category: the Resource Manager keeps no order.
  list_unique_id_property = { "properties.logs" = "category" }

  body = {
    properties = {
      workspaceId = local.workspace_id
      logs = [
        { category = "ContainerRegistryLoginEvents", enabled = true },
        { category = "ContainerRegistryRepositoryEvents", enabled = true },
      ]
    }
  }
}

# A lock forbids deleting whatever lies below the registry, its role assignments too. So it is made last and goes first,
# and it is made anew whenever rights on its registry change: taken off, rights changed, put back.
resource "terraform_data" "locked_rights" {
  count = var.new_registry_name != "" && var.new_registry_lock ? 1 : 0

  input = { for key, assignment in local.assignments : key => assignment.condition if startswith(key, "${var.new_registry_name}/") }
}

resource "azapi_resource" "lock" {
  count = var.new_registry_name != "" && var.new_registry_lock ? 1 : 0

  type                   = "Microsoft.Authorization/locks@2020-05-01"
  name                   = "holds-images"
  parent_id              = azapi_resource.registry[0].id
  response_export_values = []

  body = {
    properties = {
      level = "CanNotDelete"
      notes = "Holds images; the vending service can be removed without it."
    }
  }

  lifecycle {
    replace_triggered_by = [terraform_data.locked_rights]
  }

  depends_on = [azapi_resource.registry_activity, azapi_resource.registry_rights]
}
