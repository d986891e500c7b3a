# One service for one existing registry. Copy this file, name the module's source with a version, and add a backend.
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
}

provider "azapi" {
  subscription_id = local.subscription_id
}

module "vending" {
  source = "../.."

  subscription_id = local.subscription_id
  location        = "westeurope"
  alert_emails    = ["on-call@contoso.example"]

  registries = {
    contoso = {
      id   = "/subscriptions/${local.subscription_id}/resourceGroups/rg-images/providers/Microsoft.ContainerRegistry/registries/contoso"
      pull = ["web/", "tools/cli"]
      push = ["web/"]
    }
  }
}

output "public_url" {
  value = module.vending.public_url
}
