# The vending service in one resource group, with its rights on the registries it vends for. Types, API versions, names
# and bodies are those of infra/bicep: a test compares them for every scenario.

locals {
  shared  = "${path.module}/../shared"
  roles   = jsondecode(file("${local.shared}/roles.json"))
  bounds  = jsondecode(file("${local.shared}/bounds.json"))
  private = var.network_access == "private"

  refused_settings = jsondecode(file("${local.shared}/refused-settings.json"))

  group_id  = "/subscriptions/${var.subscription_id}/resourceGroups/${var.resource_group_name}"
  parent_id = var.create_resource_group ? azapi_resource.group[0].id : local.group_id

  # Bicep's uniqueString.
  token  = provider::azapi::unique_string([local.group_id, var.name])
  suffix = "${var.name}-${local.token}"

  # The namespace of Bicep's guid(). A role assignment's name comes from ids, never from a principal id, which a plan
  # does not know whenever anything about the identity changes.
  guid_namespace = "11fb06fb-712d-4ddd-98c7-e71bbd588830"

  # Entra ID replicates: a principal may be unknown to the Resource Manager for a minute after it was made.
  replication = {
    error_message_regex  = ["PrincipalNotFound"]
    interval_seconds     = 10
    max_interval_seconds = 60
  }

  identity_id        = var.vending_identity == null ? azapi_resource.identity[0].id : var.vending_identity.id
  identity_client    = var.vending_identity == null ? azapi_resource.identity[0].output.properties.clientId : var.vending_identity.client_id
  identity_principal = var.vending_identity == null ? azapi_resource.identity[0].output.properties.principalId : var.vending_identity.principal_id

  # A principal that replaces another under one id needs new assignments; only an identity from outside can do that.
  principal_triggers = var.vending_identity == null ? [] : [var.vending_identity.principal_id]
}

resource "azapi_resource" "group" {
  count = var.create_resource_group ? 1 : 0

  type                   = "Microsoft.Resources/resourceGroups@2024-03-01"
  name                   = var.resource_group_name
  parent_id              = "/subscriptions/${var.subscription_id}"
  location               = var.location
  tags                   = var.tags
  response_export_values = []
}

# The app's only identity. Code in the app can use every identity that the app has, so a second one protects nothing.
resource "azapi_resource" "identity" {
  count = var.vending_identity == null ? 1 : 0

  type                   = "Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30"
  name                   = "id-${local.suffix}"
  parent_id              = local.parent_id
  location               = var.location
  tags                   = var.tags
  response_export_values = ["properties.clientId", "properties.principalId"]
}

# azapi registers what the Resource Manager says is missing; for a delegated subnet it never says so.
resource "azapi_resource_action" "register" {
  count = local.private ? 1 : 0

  type                   = "Microsoft.Resources/providers@2021-04-01"
  resource_id            = "/subscriptions/${var.subscription_id}/providers/Microsoft.App"
  action                 = "register"
  method                 = "POST"
  response_export_values = []
}
