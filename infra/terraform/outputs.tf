output "function_app_name" {
  description = "Name of the function app."
  value       = azapi_resource.site.name
}

output "public_url" {
  description = "How callers reach the service."
  value       = local.tested_url
}

output "vending_client_id" {
  description = "Client id of the vending identity, for policies that name it."
  value       = local.identity_client
}

output "vending_principal_id" {
  description = "Object id of the vending identity: the subject of a federated credential in another tenant."
  value       = local.identity_principal
}

output "policy_container_url" {
  description = "Where the policy is uploaded to; empty when it is bundled."
  value       = local.blob ? "https://${local.policy_account}.blob.${var.storage_suffix}/policy" : ""
}

output "deploy_client_id" {
  description = "Client id for the deployment workflow; empty without one."
  value       = var.deploy_subject == "" ? "" : azapi_resource.deploy[0].output.properties.clientId
}
