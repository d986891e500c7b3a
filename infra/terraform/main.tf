# The vending service in one resource group, with its rights on the registries it vends for.

locals {
  shared  = "${path.module}/../shared"
  roles   = jsondecode(file("${local.shared}/roles.json"))
  private = var.network_access == "private"

  token      = substr(sha256("${var.subscription_id}/${var.resource_group_name}/${var.name}"), 0, 13)
  group_id   = "/subscriptions/${var.subscription_id}/resourceGroups/${var.resource_group_name}"
  group_name = var.create_resource_group ? azurerm_resource_group.main[0].name : var.resource_group_name

  # A role's id in the subscription of what it is granted on.
  role_ids = { for role, guid in local.roles : role => "/subscriptions/${var.subscription_id}/providers/Microsoft.Authorization/roleDefinitions/${guid}" }
}

resource "azurerm_resource_group" "main" {
  count = var.create_resource_group ? 1 : 0

  name     = var.resource_group_name
  location = var.location
  tags     = var.tags
}

# Holds the rights on registries, the policy and the replay table, and nothing else.
resource "azurerm_user_assigned_identity" "vending" {
  name                = "id-${var.name}-vending-${local.token}"
  location            = var.location
  resource_group_name = local.group_name
  tags                = var.tags
}

# The Functions host's own: its storage, the deployment package and telemetry. It has no right on any registry.
resource "azurerm_user_assigned_identity" "host" {
  name                = "id-${var.name}-host-${local.token}"
  location            = var.location
  resource_group_name = local.group_name
  tags                = var.tags
}
