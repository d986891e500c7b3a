// A new registry that decides by repository (ABAC) and takes registry-audience Entra tokens only.

import { resourceTags } from '../types.bicep'

@description('Region of everything that is created.')
param location string

@description('Tags on every resource.')
param tags resourceTags

@description('Name, or the part of names that is this deployment\'s own.')
param name string

@description('Tier.')
param sku string

@description('Protect it against deletion.')
param lock bool

@description('Id of the Log Analytics workspace.')
param workspaceId string

resource registry 'Microsoft.ContainerRegistry/registries@2025-11-01' = {
  name: name
  location: location
  tags: tags
  sku: {
    name: sku
  }
  properties: {
    adminUserEnabled: false
    anonymousPullEnabled: false
    roleAssignmentMode: 'AbacRepositoryPermissions'
    policies: {
      azureADAuthenticationAsArmPolicy: {
        status: 'disabled'
      }
    }
  }
}

resource guard 'Microsoft.Authorization/locks@2020-05-01' = if (lock) {
  name: 'holds-images'
  scope: registry
  properties: {
    level: 'CanNotDelete'
    notes: 'Holds images; the vending service can be removed without it.'
  }
}

resource activity 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'registry-activity'
  scope: registry
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'ContainerRegistryLoginEvents'
        enabled: true
      }
      {
        category: 'ContainerRegistryRepositoryEvents'
        enabled: true
      }
    ]
  }
}
