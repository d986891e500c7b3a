// A virtual network with one subnet for the app and one for private endpoints, unless the customer has them, and the
// private DNS zones.

import { resourceTags } from '../types.bicep'

@description('Region of everything that is created.')
param location string

@description('Tags on every resource.')
param tags resourceTags

@description('Name, or the part of names that is this deployment\'s own.')
param name string

@description('Create the network and link the zones to it.')
param createNetwork bool

@description('Address space of the virtual network.')
param addressPrefix string

@description('Addresses of the app.')
param appSubnetPrefix string

@description('Addresses of the private endpoints.')
param endpointSubnetPrefix string

@description('Private DNS zones to create.')
param zoneNames string[]

resource appGroup 'Microsoft.Network/networkSecurityGroups@2024-05-01' = if (createNetwork) {
  name: 'nsg-${name}-app'
  location: location
  tags: tags
}

resource endpointGroup 'Microsoft.Network/networkSecurityGroups@2024-05-01' = if (createNetwork) {
  name: 'nsg-${name}-endpoints'
  location: location
  tags: tags
}

resource network 'Microsoft.Network/virtualNetworks@2024-05-01' = if (createNetwork) {
  name: 'vnet-${name}'
  location: location
  tags: tags
  properties: {
    addressSpace: {
      addressPrefixes: [
        addressPrefix
      ]
    }
    subnets: [
      {
        name: 'app'
        properties: {
          addressPrefix: appSubnetPrefix
          networkSecurityGroup: {
            id: appGroup.id
          }
          delegations: [
            {
              name: 'flex'
              properties: {
                serviceName: 'Microsoft.App/environments'
              }
            }
          ]
        }
      }
      {
        name: 'endpoints'
        properties: {
          addressPrefix: endpointSubnetPrefix
          networkSecurityGroup: {
            id: endpointGroup.id
          }
          privateEndpointNetworkPolicies: 'Enabled'
        }
      }
    ]
  }
}

resource zones 'Microsoft.Network/privateDnsZones@2024-06-01' = [
  for zone in zoneNames: {
    name: zone
    location: 'global'
    tags: tags
  }
]

// A customer's network has its own way to resolve names; only ours is linked.
resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [
  for (zone, index) in zoneNames: if (createNetwork) {
    parent: zones[index]
    name: 'vnet-${name}'
    location: 'global'
    tags: tags
    properties: {
      registrationEnabled: false
      virtualNetwork: {
        id: network.id
      }
    }
  }
]
