# The optional virtual network: a subnet for the app, one for private endpoints, and the private DNS zones.

locals {
  zone_names = toset(local.private ? concat(
    ["privatelink.blob.${var.storage_suffix}", "privatelink.table.${var.storage_suffix}"],
    length(var.private_registry_ids) > 0 ? ["privatelink.azurecr.io"] : [],
  ) : [])

  endpoints = local.private ? merge(
    {
      host-blob = {
        name   = "pe-${azurerm_storage_account.host.name}-blob"
        target = azurerm_storage_account.host.id
        group  = "blob"
        zone   = "privatelink.blob.${var.storage_suffix}"
      }
    },
    var.replay_store == "table" ? {
      host-table = {
        name   = "pe-${azurerm_storage_account.host.name}-table"
        target = azurerm_storage_account.host.id
        group  = "table"
        zone   = "privatelink.table.${var.storage_suffix}"
      }
    } : {},
    var.policy_delivery == "blob" ? {
      policy-blob = {
        name   = "pe-${azurerm_storage_account.policy[0].name}-blob"
        target = azurerm_storage_account.policy[0].id
        group  = "blob"
        zone   = "privatelink.blob.${var.storage_suffix}"
      }
    } : {},
    {
      for id in var.private_registry_ids : "registry-${basename(id)}" => {
        name   = "pe-${basename(id)}-registry"
        target = id
        group  = "registry"
        zone   = "privatelink.azurecr.io"
      }
    },
  ) : {}
}

resource "azurerm_virtual_network" "main" {
  count = local.private ? 1 : 0

  name                = "vnet-${var.name}-${local.token}"
  location            = var.location
  resource_group_name = local.group_name
  address_space       = [var.address_prefix]
  tags                = var.tags
}

resource "azurerm_network_security_group" "main" {
  for_each = toset(local.private ? ["app", "endpoints"] : [])

  name                = "nsg-${var.name}-${local.token}-${each.key}"
  location            = var.location
  resource_group_name = local.group_name
  tags                = var.tags
}

resource "azurerm_subnet" "app" {
  count = local.private ? 1 : 0

  name                 = "app"
  resource_group_name  = local.group_name
  virtual_network_name = azurerm_virtual_network.main[0].name
  address_prefixes     = [var.app_subnet_prefix]

  delegation {
    name = "flex"

    service_delegation {
      name    = "Microsoft.App/environments"
      actions = ["Microsoft.Network/virtualNetworks/subnets/join/action"]
    }
  }
}

resource "azurerm_subnet" "endpoints" {
  count = local.private ? 1 : 0

  name                              = "endpoints"
  resource_group_name               = local.group_name
  virtual_network_name              = azurerm_virtual_network.main[0].name
  address_prefixes                  = [var.endpoint_subnet_prefix]
  private_endpoint_network_policies = "Enabled"
}

resource "azurerm_subnet_network_security_group_association" "app" {
  count = local.private ? 1 : 0

  subnet_id                 = azurerm_subnet.app[0].id
  network_security_group_id = azurerm_network_security_group.main["app"].id
}

resource "azurerm_subnet_network_security_group_association" "endpoints" {
  count = local.private ? 1 : 0

  subnet_id                 = azurerm_subnet.endpoints[0].id
  network_security_group_id = azurerm_network_security_group.main["endpoints"].id
}

resource "azurerm_private_dns_zone" "main" {
  for_each = local.zone_names

  name                = each.key
  resource_group_name = local.group_name
  tags                = var.tags
}

resource "azurerm_private_dns_zone_virtual_network_link" "main" {
  for_each = local.zone_names

  name                 = "vnet-${var.name}-${local.token}"
  private_dns_zone_id  = azurerm_private_dns_zone.main[each.key].id
  virtual_network_id   = azurerm_virtual_network.main[0].id
  registration_enabled = false
  tags                 = var.tags
}

resource "azurerm_private_endpoint" "main" {
  for_each = local.endpoints

  name                = each.value.name
  location            = var.location
  resource_group_name = local.group_name
  subnet_id           = azurerm_subnet.endpoints[0].id
  tags                = var.tags

  private_service_connection {
    name                           = each.value.group
    private_connection_resource_id = each.value.target
    subresource_names              = [each.value.group]
    is_manual_connection           = false
  }

  private_dns_zone_group {
    name                 = "default"
    private_dns_zone_ids = [azurerm_private_dns_zone.main[each.value.zone].id]
  }
}
