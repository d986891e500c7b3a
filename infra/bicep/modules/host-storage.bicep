// The Functions host's storage account: deployment package, host locks and, in a table of its own, seen tokens.

param location string
param tags object
param accountName string
param packageContainerName string
param replayTableName string
param createReplayTable bool
param private bool
param hostPrincipalId string
param vendingPrincipalId string

var roles = loadJsonContent('../../shared/roles.json')

resource account 'Microsoft.Storage/storageAccounts@2025-06-01' = {
  // checkov:skip=CKV_AZURE_206: locally redundant on purpose: a package is deployed again, seen tokens live for minutes
  // checkov:skip=CKV_AZURE_35: without a virtual network the app comes from changing addresses; Entra is the only way in
  // checkov:skip=CKV_AZURE_59: without a virtual network the account has no other address; anonymous reads are off
  // checkov:skip=CKV_AZURE_43: a name of letters, digits and uniqueString, made in main.bicep
  name: accountName
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: 'Standard_LRS'
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
    deleteRetentionPolicy: {
      enabled: true
      days: 7
    }
  }
}

resource packages 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01' = {
  // checkov:skip=CKV_AZURE_34: publicAccess is None below
  parent: blobs
  name: packageContainerName
  properties: {
    publicAccess: 'None'
  }
}

resource tables 'Microsoft.Storage/storageAccounts/tableServices@2025-06-01' = if (createReplayTable) {
  parent: account
  name: 'default'
}

resource replay 'Microsoft.Storage/storageAccounts/tableServices/tables@2025-06-01' = if (createReplayTable) {
  parent: tables
  name: replayTableName
}

resource hostRights 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(account.id, hostPrincipalId, roles.storageBlobDataOwner)
  scope: account
  properties: {
    principalId: hostPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageBlobDataOwner)
  }
}

resource replayRights 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (createReplayTable) {
  name: guid(replay.id, vendingPrincipalId, roles.storageTableDataContributor)
  scope: replay
  properties: {
    principalId: vendingPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageTableDataContributor)
  }
}

output accountId string = account.id
