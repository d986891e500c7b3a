# In a landing zone that forbids making networks, DNS zones, workspaces and identities: all of them are the platform's.
terraform {
  required_version = ">= 1.9"

  required_providers {
    azapi = {
      source  = "azure/azapi"
      version = "~> 2.13"
    }
  }
}

locals {
  subscription_id = "00000000-0000-0000-0000-000000000001"
  platform        = "/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/rg-hub"
}

provider "azapi" {
  subscription_id = local.subscription_id
}

module "vending" {
  source = "../.."

  subscription_id       = local.subscription_id
  resource_group_name   = "rg-vending"
  create_resource_group = false
  location              = "westeurope"

  network_access             = "private"
  inbound_private            = true
  app_subnet_id              = "${local.platform}/providers/Microsoft.Network/virtualNetworks/vnet-hub/subnets/vending"
  endpoint_subnet_id         = "${local.platform}/providers/Microsoft.Network/virtualNetworks/vnet-hub/subnets/endpoints"
  private_dns_zones_group_id = local.platform
  workspace_id               = "${local.platform}/providers/Microsoft.OperationalInsights/workspaces/log-hub"
  action_group_ids           = ["${local.platform}/providers/Microsoft.Insights/actionGroups/ag-hub"]

  vending_identity = {
    id           = "${local.platform}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-vending"
    client_id    = "22222222-2222-2222-2222-222222222222"
    principal_id = "33333333-3333-3333-3333-333333333333"
  }
}

output "public_url" {
  value = module.vending.public_url
}
