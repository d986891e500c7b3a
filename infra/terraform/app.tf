# The Flex Consumption plan and the function app.

locals {
  site_name   = "func-${var.name}-${local.token}"
  site_id     = "${local.group_id}/providers/Microsoft.Web/sites/${local.site_name}"
  policy_url  = var.policy_delivery == "blob" ? "https://${azurerm_storage_account.policy[0].name}.blob.${var.storage_suffix}/policy/${var.policy_blob_name}" : ""
  package_url = "https://${azurerm_storage_account.host.name}.blob.${var.storage_suffix}/${azurerm_storage_container.packages.name}"

  settings = merge(
    jsondecode(file("${local.shared}/settings.json")),
    {
      APPLICATIONINSIGHTS_AUTHENTICATION_STRING = "ClientId=${azurerm_user_assigned_identity.host.client_id};Authorization=AAD"
      # An address, not a secret: the component takes Entra tokens only.
      APPLICATIONINSIGHTS_CONNECTION_STRING = nonsensitive(azurerm_application_insights.main.connection_string)
      AZURE_CLIENT_ID                       = azurerm_user_assigned_identity.vending.client_id
      AzureWebJobsStorage__accountName      = azurerm_storage_account.host.name
      AzureWebJobsStorage__clientId         = azurerm_user_assigned_identity.host.client_id
      VENDING_DEADLINE_SECONDS              = tostring(var.deadline_seconds)
      VENDING_POLICY_MAX_STALE_SECONDS      = tostring(var.policy_max_stale_seconds)
      VENDING_POLICY_REFRESH_SECONDS        = tostring(var.policy_refresh_seconds)
      VENDING_REPLAY_STORE                  = var.replay_store == "table" ? "https://${azurerm_storage_account.host.name}.table.${var.storage_suffix}/${azurerm_storage_table.replay[0].name}" : "memory"
      VENDING_TELEMETRY                     = var.telemetry
    },
    var.public_url == "" ? {} : { VENDING_PUBLIC_URL = var.public_url },
    local.policy_url == "" ? {} : { VENDING_POLICY = local.policy_url },
    length(var.custom_hosts) == 0 ? {} : { VENDING_CUSTOM_HOSTS = join(",", var.custom_hosts) },
    { for name, uri in var.key_vault_references : "VENDING_SECRET_${name}" => "@Microsoft.KeyVault(SecretUri=${uri})" },
  )
}

resource "azurerm_service_plan" "main" {
  # checkov:skip=CKV_AZURE_211: Flex Consumption is a production plan
  # checkov:skip=CKV_AZURE_212: Flex Consumption has no fixed number of instances
  # checkov:skip=CKV_AZURE_225: zones cost two always-ready instances; a variable
  name                   = "plan-${var.name}-${local.token}"
  location               = var.location
  resource_group_name    = local.group_name
  os_type                = "Linux"
  sku_name               = "FC1"
  zone_balancing_enabled = var.zone_redundant
  tags                   = var.tags
}

# azapi, because azurerm_function_app_flex_consumption always writes a connection string with an empty key to
# AzureWebJobsStorage, whatever storage_authentication_type says (terraform-provider-azurerm issues 29149, 29693 and
# 30732, open at 5.2): the host takes it before the identity-based settings and does not start, and every plan shows
# a change. Only siteConfig properties that Flex accepts are set.
resource "azapi_resource" "site" {
  type      = "Microsoft.Web/sites@2025-03-01"
  name      = local.site_name
  parent_id = local.group_id
  location  = var.location
  tags      = merge(var.tags, { azd-service-name = "vending" })

  # functionsRuntimeAdminIsolationEnabled is documented, but missing from the published resource type.
  schema_validation_enabled = false
  response_export_values    = ["properties.defaultHostName"]

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.vending.id, azurerm_user_assigned_identity.host.id]
  }

  # A null property is left out of the request.
  ignore_null_property = true

  body = {
    kind = "functionapp,linux"
    properties = {
      serverFarmId                          = azurerm_service_plan.main.id
      httpsOnly                             = true
      publicNetworkAccess                   = "Enabled"
      clientAffinityEnabled                 = false
      functionsRuntimeAdminIsolationEnabled = true
      keyVaultReferenceIdentity             = azurerm_user_assigned_identity.vending.id
      virtualNetworkSubnetId                = one(azurerm_subnet.app[*].id)
      outboundVnetRouting                   = local.private ? { allTraffic = true } : null
      functionAppConfig = {
        deployment = {
          storage = {
            type  = "blobContainer"
            value = local.package_url
            authentication = {
              type                           = "UserAssignedIdentity"
              userAssignedIdentityResourceId = azurerm_user_assigned_identity.host.id
            }
          }
        }
        runtime = {
          name    = "python"
          version = var.python_version
        }
        scaleAndConcurrency = {
          instanceMemoryMB     = var.instance_memory_mb
          maximumInstanceCount = var.maximum_instance_count
          alwaysReady          = [for count in [var.always_ready_instances] : { name = "http", instanceCount = count } if count > 0]
          triggers = {
            http = {
              perInstanceConcurrency = var.http_concurrency
            }
          }
        }
      }
      siteConfig = {
        minTlsVersion    = "1.2"
        scmMinTlsVersion = "1.2"
        http20Enabled    = true
        appSettings      = [for name, value in local.settings : { name = name, value = value }]
      }
    }
  }

  depends_on = [
    azurerm_private_endpoint.main,
    azurerm_resource_group.main,
    azurerm_role_assignment.host_storage,
  ]
}

resource "azapi_resource" "publishing_credentials" {
  for_each = toset(["ftp", "scm"])

  type      = "Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01"
  name      = each.key
  parent_id = azapi_resource.site.id

  body = {
    properties = {
      allow = false
    }
  }
}

# An identity that a GitHub workflow takes by OIDC to deploy code. Who deploys code can vend anything: guard its
# environment.
resource "azurerm_user_assigned_identity" "deploy" {
  count = var.deploy_subject == "" ? 0 : 1

  name                = "id-${var.name}-deploy-${local.token}"
  location            = var.location
  resource_group_name = local.group_name
  tags                = var.tags
}

resource "azurerm_federated_identity_credential" "deploy" {
  count = var.deploy_subject == "" ? 0 : 1

  name                      = "github"
  user_assigned_identity_id = azurerm_user_assigned_identity.deploy[0].id
  issuer                    = "https://token.actions.githubusercontent.com"
  subject                   = var.deploy_subject
  audience                  = ["api://AzureADTokenExchange"]
}

resource "azurerm_role_assignment" "deploy" {
  count = var.deploy_subject == "" ? 0 : 1

  scope              = azapi_resource.site.id
  role_definition_id = local.role_ids.websiteContributor
  principal_id       = azurerm_user_assigned_identity.deploy[0].principal_id
  principal_type     = "ServicePrincipal"
}
