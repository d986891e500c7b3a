// A new registry that decides by repository (ABAC) and takes registry-audience Entra tokens only.

param location string
param tags object
param name string
param sku string
param lock bool
param workspaceId string

resource registry 'Microsoft.ContainerRegistry/registries@2025-11-01' = {
  // checkov:skip=CKV_AZURE_139: CI runners outside the network push and pull; a private registry is the operator's choice
  // checkov:skip=CKV_AZURE_163: scanning is a plan of Defender for the subscription, not of one registry
  // checkov:skip=CKV_AZURE_166: quarantine needs Premium and a scanner that releases images
  // checkov:skip=CKV_AZURE_233: zone redundancy needs Premium
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
