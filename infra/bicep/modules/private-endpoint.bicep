// One private endpoint and, unless somebody else sees to it, its record in a private DNS zone.

import { resourceTags } from '../types.bicep'

@description('Region of everything that is created.')
param location string

@description('Tags on every resource.')
param tags resourceTags

@description('Name, or the part of names that is this deployment\'s own.')
param name string

@description('Id of what is reached over the endpoint.')
param targetId string

@description('Which of its services.')
param groupId string

@description('Id of the subnet; empty: none.')
param subnetId string

@description('Id of the private DNS zone.')
param zoneId string

@description('Write the record into the zone.')
param createRecord bool

resource endpoint 'Microsoft.Network/privateEndpoints@2024-05-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    subnet: {
      id: subnetId
    }
    privateLinkServiceConnections: [
      {
        name: groupId
        properties: {
          privateLinkServiceId: targetId
          groupIds: [
            groupId
          ]
        }
      }
    ]
  }
}

resource record 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-05-01' = if (createRecord) {
  parent: endpoint
  name: 'default'
  properties: {
    privateDnsZoneConfigs: [
      {
        name: groupId
        properties: {
          privateDnsZoneId: zoneId
        }
      }
    ]
  }
}
