// The policy blob's own storage account: whoever writes here decides what is vended, so nothing else lives here.

import { resourceTags } from '../types.bicep'

@description('Region of everything that is created.')
param location string

@description('Tags on every resource.')
param tags resourceTags

@description('Name of the storage account.')
param accountName string

@description('Tier.')
param sku string

@description('Refuse the internet.')
param private bool

@description('Id of the vending identity.')
param identityId string

@description('Object id of the vending identity.')
param identityPrincipalId string

@description('Object id of who may write the policy; empty: nobody.')
param writerPrincipalId string

@description('Kind of that principal.')
param writerPrincipalType string

@description('Id of the Log Analytics workspace.')
param workspaceId string

var roles = loadJsonContent('../../shared/roles.json')

resource account 'Microsoft.Storage/storageAccounts@2025-06-01' = {
  name: accountName
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: sku
  }
  properties: {
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    isLocalUserEnabled: false
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: private ? 'Disabled' : 'Enabled'
    networkAcls: {
      bypass: 'None'
      defaultAction: private ? 'Deny' : 'Allow'
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-06-01' = {
  parent: account
  name: 'default'
  properties: {
    isVersioningEnabled: true
    deleteRetentionPolicy: {
      enabled: true
      days: 30
    }
    containerDeleteRetentionPolicy: {
      enabled: true
      days: 30
    }
  }
}

resource policies 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01' = {
  parent: blobs
  name: 'policy'
  properties: {
    publicAccess: 'None'
  }
}

resource readerRights 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(policies.id, identityId, roles.storageBlobDataReader)
  scope: policies
  properties: {
    principalId: identityPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageBlobDataReader)
  }
}

resource writerRights 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(writerPrincipalId)) {
  name: guid(policies.id, writerPrincipalId, roles.storageBlobDataContributor)
  scope: policies
  properties: {
    principalId: writerPrincipalId
    principalType: writerPrincipalType
    roleDefinitionId: subscriptionResourceId(
      'Microsoft.Authorization/roleDefinitions',
      roles.storageBlobDataContributor
    )
  }
}

// Every change of the policy, with who made it.
resource changes 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'policy-changes'
  scope: blobs
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'StorageRead'
        enabled: false
      }
      {
        category: 'StorageWrite'
        enabled: true
      }
      {
        category: 'StorageDelete'
        enabled: true
      }
    ]
  }
}
