output "function_app_name" {
  description = "Name of the function app."
  value       = azapi_resource.site.name
}

output "public_url" {
  description = "How callers reach the service."
  value       = var.public_url == "" ? "https://${azapi_resource.site.output.properties.defaultHostName}" : var.public_url
}

output "vending_client_id" {
  description = "Client id of the vending identity, for policies that name it."
  value       = azurerm_user_assigned_identity.vending.client_id
}

output "vending_principal_id" {
  description = "Object id of the vending identity: the subject of a federated credential in another tenant."
  value       = azurerm_user_assigned_identity.vending.principal_id
}

output "policy_container_url" {
  description = "Where the policy is uploaded to; empty when it is bundled."
  value       = var.policy_delivery == "blob" ? "https://${azurerm_storage_account.policy[0].name}.blob.${var.storage_suffix}/policy" : ""
}

output "deploy_client_id" {
  description = "Client id for the deployment workflow; empty without one."
  value       = var.deploy_subject == "" ? "" : azurerm_user_assigned_identity.deploy[0].client_id
}
