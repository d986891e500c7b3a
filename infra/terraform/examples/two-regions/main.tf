# Two services for one policy, in two regions: a front (Front Door, Traffic Manager) puts one name before them. Seen
# tokens are kept per region, so a token marked `once` may be used once in each.
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
  regions         = toset(["westeurope", "northeurope"])
}

provider "azapi" {
  subscription_id = local.subscription_id
}

module "vending" {
  source   = "../.."
  for_each = local.regions

  subscription_id     = local.subscription_id
  resource_group_name = "rg-vending-${each.key}"
  location            = each.key
  public_url          = "https://vend.contoso.example"
  alert_emails        = ["on-call@contoso.example"]

  registries = {
    contoso = {
      id   = "/subscriptions/${local.subscription_id}/resourceGroups/rg-images/providers/Microsoft.ContainerRegistry/registries/contoso"
      pull = ["web/"]
      push = ["web/"]
    }
  }
}

output "function_apps" {
  value = { for region, service in module.vending : region => service.function_app_name }
}
