# The optional virtual network: a subnet for the app, one for private endpoints, and the private DNS zones. Each of them
# may be the customer's instead.

locals {
  # What DNS zones are called in the cloud that has this suffix.
  zones_by_suffix = jsondecode(file("${local.shared}/clouds.json"))
  zone_suffixes   = local.zones_by_suffix[var.storage_suffix]
  blob_zone       = "privatelink.blob.${var.storage_suffix}"
  table_zone      = "privatelink.table.${var.storage_suffix}"
  registry_zone   = "privatelink.${local.zone_suffixes.registry}"
  sites_zone      = "privatelink.${local.zone_suffixes.sites}"

  own_network     = local.private && var.app_subnet_id == ""
  own_zones       = local.private && var.private_dns_zones_group_id == "" && var.private_dns_records
  zones_group_id  = var.private_dns_zones_group_id == "" ? local.parent_id : var.private_dns_zones_group_id
  endpoint_subnet = var.endpoint_subnet_id != "" ? var.endpoint_subnet_id : one([for network in azapi_resource.network : "${network.id}/subnets/endpoints"])

  zone_names = toset(local.own_zones ? concat(
    [local.blob_zone, local.table_zone],
    length(var.private_registry_ids) > 0 ? [local.registry_zone] : [],
    var.inbound_private ? [local.sites_zone] : [],
  ) : [])

  endpoints = local.private ? merge(
    {
      host-blob = {
        name   = "pe-${local.host_account}-blob"
        target = azapi_resource.account["host"].id
        group  = "blob"
        zone   = local.blob_zone
      }
    },
    local.table ? {
      host-table = {
        name   = "pe-${local.host_account}-table"
        target = azapi_resource.account["host"].id
        group  = "table"
        zone   = local.table_zone
      }
    } : {},
    local.blob ? {
      policy-blob = {
        name   = "pe-${local.policy_account}-blob"
        target = azapi_resource.account["policy"].id
        group  = "blob"
        zone   = local.blob_zone
      }
    } : {},
    {
      for id in var.private_registry_ids : "registry-${basename(id)}" => {
        name   = "pe-${basename(id)}-registry"
        target = id
        group  = "registry"
        zone   = local.registry_zone
      }
    },
  ) : {}
}

resource "azapi_resource" "security_group" {
  for_each = toset(local.own_network ? ["app", "endpoints"] : [])

  type                   = "Microsoft.Network/networkSecurityGroups@2024-05-01"
  name                   = "nsg-${local.suffix}-${each.key}"
  parent_id              = local.parent_id
  location               = var.location
  tags                   = var.tags
  response_export_values = []
}

resource "azapi_resource" "network" {
  count = local.own_network ? 1 : 0

  type                   = "Microsoft.Network/virtualNetworks@2024-05-01"
  name                   = "vnet-${local.suffix}"
  parent_id              = local.parent_id
  location               = var.location
  tags                   = var.tags
  response_export_values = []

  body = {
    properties = {
      addressSpace = {
        addressPrefixes = [var.address_prefix]
      }
      subnets = [
        {
          name = "app"
          properties = {
            addressPrefix        = var.app_subnet_prefix
            networkSecurityGroup = { id = azapi_resource.security_group["app"].id }
            delegations = [{
              name       = "flex"
              properties = { serviceName = "Microsoft.App/environments" }
            }]
          }
        },
        {
          name = "endpoints"
          properties = {
            addressPrefix                  = var.endpoint_subnet_prefix
            networkSecurityGroup           = { id = azapi_resource.security_group["endpoints"].id }
            privateEndpointNetworkPolicies = "Enabled"
          }
        },
      ]
    }
  }

  depends_on = [azapi_resource_action.register]
}

resource "azapi_resource" "zone" {
  for_each = local.zone_names

  type                   = "Microsoft.Network/privateDnsZones@2024-06-01"
  name                   = each.key
  parent_id              = local.parent_id
  location               = "global"
  tags                   = var.tags
  response_export_values = []
}

resource "azapi_resource" "zone_link" {
  # A customer's network has its own way to resolve names; only ours is linked.
  for_each = local.own_network ? local.zone_names : toset([])

  type                   = "Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01"
  name                   = "vnet-${local.suffix}"
  parent_id              = azapi_resource.zone[each.key].id
  location               = "global"
  tags                   = var.tags
  response_export_values = []

  body = {
    properties = {
      registrationEnabled = false
      virtualNetwork = {
        id = azapi_resource.network[0].id
      }
    }
  }
}

resource "azapi_resource" "endpoint" {
  for_each = local.endpoints

  type                   = "Microsoft.Network/privateEndpoints@2024-05-01"
  name                   = each.value.name
  parent_id              = local.parent_id
  location               = var.location
  tags                   = var.tags
  response_export_values = []

  body = {
    properties = {
      subnet = {
        id = local.endpoint_subnet
      }
      privateLinkServiceConnections = [{
        name = each.value.group
        properties = {
          privateLinkServiceId = each.value.target
          groupIds             = [each.value.group]
        }
      }]
    }
  }
}

resource "azapi_resource" "endpoint_record" {
  for_each = var.private_dns_records ? local.endpoints : {}

  type                   = "Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-05-01"
  name                   = "default"
  parent_id              = azapi_resource.endpoint[each.key].id
  response_export_values = []

  body = {
    properties = {
      privateDnsZoneConfigs = [{
        name = each.value.group
        properties = {
          privateDnsZoneId = "${local.zones_group_id}/providers/Microsoft.Network/privateDnsZones/${each.value.zone}"
        }
      }]
    }
  }

  depends_on = [azapi_resource.zone]
}

# The other direction: callers reach the app over this endpoint, and no other way.
resource "azapi_resource" "inbound" {
  count = var.inbound_private ? 1 : 0

  type                   = "Microsoft.Network/privateEndpoints@2024-05-01"
  name                   = "pe-${local.site_name}-sites"
  parent_id              = local.parent_id
  location               = var.location
  tags                   = var.tags
  response_export_values = []

  body = {
    properties = {
      subnet = {
        id = local.endpoint_subnet
      }
      privateLinkServiceConnections = [{
        name = "sites"
        properties = {
          privateLinkServiceId = azapi_resource.site.id
          groupIds             = ["sites"]
        }
      }]
    }
  }
}

resource "azapi_resource" "inbound_record" {
  count = var.inbound_private && var.private_dns_records ? 1 : 0

  type                   = "Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-05-01"
  name                   = "default"
  parent_id              = azapi_resource.inbound[0].id
  response_export_values = []

  body = {
    properties = {
      privateDnsZoneConfigs = [{
        name = "sites"
        properties = {
          privateDnsZoneId = "${local.zones_group_id}/providers/Microsoft.Network/privateDnsZones/${local.sites_zone}"
        }
      }]
    }
  }

  depends_on = [azapi_resource.zone]
}
