// The policy blob's own storage account: whoever writes here decides what is vended, so nothing else lives here.

param location string
param tags object
param accountName string
param containerName string
param private bool
param readerPrincipalId string
param writerPrincipalId string
param writerPrincipalType string
param workspaceId string

var roles = loadJsonContent('../../shared/roles.json')

resource account 'Microsoft.Storage/storageAccounts@2025-06-01' = {
  // checkov:skip=CKV_AZURE_206: zone-redundant, and the policy lives in version control
  // checkov:skip=CKV_AZURE_35: without a virtual network the app comes from changing addresses; Entra is the only way in
  // checkov:skip=CKV_AZURE_59: without a virtual network the account has no other address; anonymous reads are off
  // checkov:skip=CKV_AZURE_43: a name of letters, digits and uniqueString, made in main.bicep
  name: accountName
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: 'Standard_ZRS'
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
  // checkov:skip=CKV_AZURE_34: publicAccess is None below
  parent: blobs
  name: containerName
  properties: {
    publicAccess: 'None'
  }
}

resource readerRights 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(policies.id, readerPrincipalId, roles.storageBlobDataReader)
  scope: policies
  properties: {
    principalId: readerPrincipalId
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
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageBlobDataContributor)
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
