# The Flex Consumption plan and the function app.

locals {
  site_name    = "func-${local.suffix}"
  policy_url   = local.blob ? "https://${local.policy_account}.blob.${var.storage_suffix}/policy/${var.policy_blob_name}" : ""
  replay_store = local.table ? "https://${local.host_account}.table.${var.storage_suffix}/replay" : "memory"
  app_subnet   = var.app_subnet_id != "" ? var.app_subnet_id : one([for network in azapi_resource.network : "${network.id}/subnets/app"])

  own_settings = merge(
    jsondecode(file("${local.shared}/settings.json")),
    {
      APPLICATIONINSIGHTS_AUTHENTICATION_STRING = "ClientId=${local.identity_client};Authorization=AAD"
      # An address, not a secret: the component takes Entra tokens only.
      APPLICATIONINSIGHTS_CONNECTION_STRING = azapi_resource.component.output.properties.ConnectionString
      AZURE_CLIENT_ID                       = local.identity_client
      # Addresses in full: an account's name alone is taken for one in the public cloud.
      AzureWebJobsStorage__blobServiceUri  = "https://${local.host_account}.blob.${var.storage_suffix}"
      AzureWebJobsStorage__clientId        = local.identity_client
      AzureWebJobsStorage__queueServiceUri = "https://${local.host_account}.queue.${var.storage_suffix}"
      AzureWebJobsStorage__tableServiceUri = "https://${local.host_account}.table.${var.storage_suffix}"
      VENDING_DEADLINE_SECONDS             = tostring(var.deadline_seconds)
      VENDING_POLICY_MAX_STALE_SECONDS     = tostring(var.policy_max_stale_seconds)
      VENDING_POLICY_REFRESH_SECONDS       = tostring(var.policy_refresh_seconds)
      VENDING_REPLAY_STORE                 = local.replay_store
      VENDING_TELEMETRY                    = var.telemetry
    },
    var.public_url == "" ? {} : { VENDING_PUBLIC_URL = var.public_url },
    var.docs_url == "" ? {} : { VENDING_DOCS_URL = var.docs_url },
    local.blob ? { VENDING_POLICY = local.policy_url } : {},
    length(var.custom_hosts) == 0 ? {} : { VENDING_CUSTOM_HOSTS = join(",", var.custom_hosts) },
    { for name, uri in var.key_vault_references : "VENDING_SECRET_${name}" => "@Microsoft.KeyVault(SecretUri=${uri})" },
  )
  settings = merge(var.extra_settings, local.own_settings)

  # Who may call, where not everybody may. Any Front Door sends from the same addresses; its header says whose it is. The
  # availability test comes through Front Door where there is one: its addresses are everybody's too.
  restricted = length(var.allowed_addresses) > 0 || var.front_door_id != ""
  restrictions = concat(
    [for index, address in var.allowed_addresses : {
      name      = "allowed-${index}"
      action    = "Allow"
      priority  = 100 + index
      ipAddress = address
      tag       = "Default"
    }],
    [for id in [var.front_door_id] : {
      name      = "front-door"
      action    = "Allow"
      priority  = 1000
      ipAddress = "AzureFrontDoor.Backend"
      tag       = "ServiceTag"
      headers   = { x-azure-fdid = [id] }
    } if id != ""],
    [for tag in ["ApplicationInsightsAvailability"] : {
      name      = "availability-test"
      action    = "Allow"
      priority  = 1000
      ipAddress = tag
      tag       = "ServiceTag"
    } if var.front_door_id == ""],
  )
}

resource "azapi_resource" "plan" {
  type                   = "Microsoft.Web/serverfarms@2025-03-01"
  name                   = "plan-${local.suffix}"
  parent_id              = local.parent_id
  location               = var.location
  tags                   = var.tags
  ignore_casing          = true
  response_export_values = []

  body = {
    kind = "functionapp"
    sku = {
      name = "FC1"
      tier = "FlexConsumption"
    }
    properties = {
      reserved      = true
      zoneRedundant = var.zone_redundant
    }
  }
}

# Only siteConfig properties that Flex Consumption accepts are set. The Resource Manager answers in other cases than it
# was written to (`serverfarms`, `blobcontainer`), hence ignore_casing.
resource "azapi_resource" "site" {
  type          = "Microsoft.Web/sites@2025-03-01"
  name          = local.site_name
  parent_id     = local.parent_id
  location      = var.location
  tags          = merge(var.tags, { azd-service-name = "vending" })
  ignore_casing = true

  # functionsRuntimeAdminIsolationEnabled is documented, but missing from the published resource type.
  schema_validation_enabled = false
  response_export_values    = ["properties.defaultHostName"]

  identity {
    type         = "UserAssigned"
    identity_ids = [local.identity_id]
  }

  # A null property is left out of the request.
  ignore_null_property = true

  body = {
    kind = "functionapp,linux"
    properties = {
      serverFarmId                          = azapi_resource.plan.id
      httpsOnly                             = true
      publicNetworkAccess                   = var.inbound_private ? "Disabled" : "Enabled"
      clientAffinityEnabled                 = false
      functionsRuntimeAdminIsolationEnabled = true
      keyVaultReferenceIdentity             = local.identity_id
      virtualNetworkSubnetId                = local.private ? local.app_subnet : null
      outboundVnetRouting                   = local.private ? { allTraffic = true } : null
      functionAppConfig = {
        deployment = {
          storage = {
            type  = "blobContainer"
            value = "https://${local.host_account}.blob.${var.storage_suffix}/app-package"
            authentication = {
              type                           = "UserAssignedIdentity"
              userAssignedIdentityResourceId = local.identity_id
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
        siteUpdateStrategy = var.update_strategy == "Recreate" ? null : { type = var.update_strategy }
      }
      siteConfig = {
        minTlsVersion                       = "1.2"
        scmMinTlsVersion                    = "1.2"
        http20Enabled                       = true
        appSettings                         = [for name, value in local.settings : { name = name, value = value }]
        ipSecurityRestrictions              = local.restricted ? local.restrictions : null
        ipSecurityRestrictionsDefaultAction = local.restricted ? "Deny" : null
      }
    }
  }

  depends_on = [
    azapi_resource.endpoint,
    azapi_resource.endpoint_record,
    azapi_resource.host_rights,
    azapi_resource.packages,
  ]
}

# Both exist as soon as the site does, allow passwords until told otherwise, and cannot be deleted.
resource "azapi_update_resource" "publishing_credentials" {
  for_each = toset(["ftp", "scm"])

  type                   = "Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01"
  name                   = each.key
  parent_id              = azapi_resource.site.id
  locks                  = [azapi_resource.site.id]
  response_export_values = []

  body = {
    properties = {
      allow = false
    }
  }
}

# An identity that a GitHub workflow takes by OIDC to deploy code. Who deploys code can vend anything: guard its
# environment.
resource "azapi_resource" "deploy" {
  count = var.deploy_subject == "" ? 0 : 1

  type                   = "Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30"
  name                   = "id-${var.name}-deploy-${local.token}"
  parent_id              = local.parent_id
  location               = var.location
  tags                   = var.tags
  response_export_values = ["properties.clientId", "properties.principalId"]
}

resource "azapi_resource" "federation" {
  count = var.deploy_subject == "" ? 0 : 1

  type                   = "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials@2024-11-30"
  name                   = "github"
  parent_id              = azapi_resource.deploy[0].id
  response_export_values = []

  body = {
    properties = {
      issuer    = "https://token.actions.githubusercontent.com"
      subject   = var.deploy_subject
      audiences = ["api://AzureADTokenExchange"]
    }
  }
}

resource "azapi_resource" "deploy_rights" {
  count = var.deploy_subject == "" ? 0 : 1

  type                   = "Microsoft.Authorization/roleAssignments@2022-04-01"
  name                   = uuidv5(local.guid_namespace, join("-", [azapi_resource.site.id, azapi_resource.deploy[0].id, local.roles.websiteContributor]))
  parent_id              = azapi_resource.site.id
  response_export_values = []
  retry                  = local.replication

  body = {
    properties = {
      principalId      = azapi_resource.deploy[0].output.properties.principalId
      principalType    = "ServicePrincipal"
      roleDefinitionId = "/subscriptions/${var.subscription_id}/providers/Microsoft.Authorization/roleDefinitions/${local.roles.websiteContributor}"
    }
  }
}

# The site's plan is looked at before a package is sent: without this right the CLI waits for it in vain.
resource "azapi_resource" "deploy_reads_plan" {
  count = var.deploy_subject == "" ? 0 : 1

  type                   = "Microsoft.Authorization/roleAssignments@2022-04-01"
  name                   = uuidv5(local.guid_namespace, join("-", [azapi_resource.plan.id, azapi_resource.deploy[0].id, local.roles.reader]))
  parent_id              = azapi_resource.plan.id
  response_export_values = []
  retry                  = local.replication

  body = {
    properties = {
      principalId      = azapi_resource.deploy[0].output.properties.principalId
      principalType    = "ServicePrincipal"
      roleDefinitionId = "/subscriptions/${var.subscription_id}/providers/Microsoft.Authorization/roleDefinitions/${local.roles.reader}"
    }
  }
}
