// The vending service in one resource group, with its rights on the registries it vends for.
// Written without user-defined types, lambdas and registry modules, so that every offline parser reads it.
targetScope = 'resourceGroup'

@description('Region of everything that is created.')
param location string = resourceGroup().location

@description('Part of every resource name: lower-case letters, digits and hyphens.')
@minLength(3)
@maxLength(16)
param name string = 'vending'

@description('Tags on every resource.')
param tags object = {}

@description('Python of the function app.')
@allowed([
  '3.11'
  '3.12'
  '3.13'
])
param pythonVersion string = '3.13'

@description('Memory of an instance in MB.')
@allowed([
  512
  2048
  4096
])
param instanceMemoryMB int = 2048

@description('Instances at most.')
@minValue(40)
@maxValue(1000)
param maximumInstanceCount int = 40

@description('Requests that one instance handles at a time. Python defaults to 1 on Flex Consumption: an instance and a cold start for each.')
@minValue(1)
@maxValue(1000)
param httpConcurrency int = 32

@description('Instances that are kept warm. They are billed all day.')
@minValue(0)
@maxValue(100)
param alwaysReadyInstances int = 0

@description('Spread over availability zones; needs at least two always-ready instances.')
param zoneRedundant bool = false

@description('How callers reach the service (https://…). Empty: the host name of the function app.')
param publicUrl string = ''

@description('bundled: policy.yaml of the deployed package. blob: a blob in a storage account of its own.')
@allowed([
  'bundled'
  'blob'
])
param policyDelivery string = 'bundled'

@description('Name of the policy blob; one that ends in .json is read as JSON.')
param policyBlobName string = 'policy.yaml'

@description('Object id of who may write the policy blob. Empty: nobody is granted it here.')
param policyWriterPrincipalId string = ''

@description('Kind of that principal.')
@allowed([
  'Group'
  'ServicePrincipal'
  'User'
])
param policyWriterPrincipalType string = 'Group'

@description('Seconds between two looks at the policy.')
@minValue(1)
param policyRefreshSeconds int = 60

@description('Seconds after which an unconfirmed policy is no longer used.')
@minValue(1)
param policyMaxStaleSeconds int = 3600

@description('table: a token presented twice is refused by every instance. memory: by the instance that saw it.')
@allowed([
  'memory'
  'table'
])
param replayStore string = 'table'

@description('Seconds that one request may take.')
@minValue(1)
@maxValue(200)
param deadlineSeconds int = 20

@description('Exact hosts that `cloud: custom` registries may name.')
param customHosts array = []

@description('Secrets of service principals: name after VENDING_SECRET_ to Key Vault secret URI. The value never passes through this template.')
param keyVaultReferences object = {}

@description('OpenTelemetry from the Python worker.')
@allowed([
  'azure-monitor'
  'off'
])
param telemetry string = 'off'

@description('Registries to vend for: objects of id, mode (abac or classic), pull, push, delete (repositories; a trailing / makes a prefix, * everything) and catalog (bool).')
param registries array = []

@description('Name of a registry to create in this resource group. Empty: none.')
param newRegistryName string = ''

@description('Tier of the created registry; private endpoints need Premium.')
@allowed([
  'Basic'
  'Premium'
  'Standard'
])
param newRegistrySku string = 'Basic'

@description('Rights on the created registry: pull, push, delete and catalog as in `registries`.')
param newRegistryAccess object = {}

@description('Protect the created registry against deletion.')
param newRegistryLock bool = true

@description('public: no virtual network. private: storage is reached over private endpoints only.')
@allowed([
  'private'
  'public'
])
param networkAccess string = 'public'

@description('Address space of the virtual network.')
param addressPrefix string = '10.90.0.0/24'

@description('Addresses of the app; Flex Consumption needs a /27 at least, and one address for each instance.')
param appSubnetPrefix string = '10.90.0.0/25'

@description('Addresses of the private endpoints.')
param endpointSubnetPrefix string = '10.90.0.128/26'

@description('Ids of Premium registries to reach over a private endpoint; needs `networkAccess` private.')
param privateRegistryIds array = []

@description('Days that logs are kept.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 90

@description('Create the alert rules. They are billed each.')
param alertsEnabled bool = true

@description('Who is told about alerts.')
param alertEmails array = []

@description('Subject of the GitHub OIDC token that may deploy code, exactly as GitHub sends it. Empty: no deployment identity.')
param deploySubject string = ''

var token = take(uniqueString(resourceGroup().id, name), 13)
var private = networkAccess == 'private'
var storageSuffix = environment().suffixes.storage
var storageZones = [
  'privatelink.blob.${storageSuffix}'
  'privatelink.table.${storageSuffix}'
]
var registryZones = [
  'privatelink.azurecr.io'
]
var createRegistry = !empty(newRegistryName)

// The names that other modules build addresses from; storage accounts allow neither hyphens nor more than 24 characters.
var hostStorageName = 'sthost${token}'
var policyStorageName = 'stpolicy${token}'
var policyContainerName = 'policy'
var packageContainerName = 'app-package'
var replayTableName = 'replay'
var siteName = 'func-${name}-${token}'

// Holds the rights on registries, the policy and the replay table, and nothing else.
resource vendingIdentity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-${name}-vending-${token}'
  location: location
  tags: tags
}

// The Functions host's own: its storage, the deployment package and telemetry. It has no right on any registry.
resource hostIdentity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-${name}-host-${token}'
  location: location
  tags: tags
}

module network 'modules/network.bicep' = if (private) {
  name: 'vending-network'
  params: {
    location: location
    tags: tags
    name: '${name}-${token}'
    addressPrefix: addressPrefix
    appSubnetPrefix: appSubnetPrefix
    endpointSubnetPrefix: endpointSubnetPrefix
    zoneNames: empty(privateRegistryIds) ? storageZones : concat(storageZones, registryZones)
  }
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'vending-monitoring'
  params: {
    location: location
    tags: tags
    name: '${name}-${token}'
    retentionDays: logRetentionDays
    publisherPrincipalId: hostIdentity.properties.principalId
  }
}

module hostStorage 'modules/host-storage.bicep' = {
  name: 'vending-host-storage'
  params: {
    location: location
    tags: tags
    accountName: hostStorageName
    packageContainerName: packageContainerName
    replayTableName: replayTableName
    createReplayTable: replayStore == 'table'
    private: private
    hostPrincipalId: hostIdentity.properties.principalId
    vendingPrincipalId: vendingIdentity.properties.principalId
  }
}

module policyStore 'modules/policy-store.bicep' = if (policyDelivery == 'blob') {
  name: 'vending-policy-store'
  params: {
    location: location
    tags: tags
    accountName: policyStorageName
    containerName: policyContainerName
    private: private
    readerPrincipalId: vendingIdentity.properties.principalId
    writerPrincipalId: policyWriterPrincipalId
    writerPrincipalType: policyWriterPrincipalType
    workspaceId: monitoring.outputs.workspaceId
  }
}

module hostBlobEndpoint 'modules/private-endpoint.bicep' = if (private) {
  name: 'vending-pe-host-blob'
  params: {
    location: location
    tags: tags
    name: 'pe-${hostStorageName}-blob'
    targetId: hostStorage.outputs.accountId
    groupId: 'blob'
    subnetId: private ? network!.outputs.endpointSubnetId : ''
    zoneName: 'privatelink.blob.${storageSuffix}'
  }
}

module hostTableEndpoint 'modules/private-endpoint.bicep' = if (private && replayStore == 'table') {
  name: 'vending-pe-host-table'
  params: {
    location: location
    tags: tags
    name: 'pe-${hostStorageName}-table'
    targetId: hostStorage.outputs.accountId
    groupId: 'table'
    subnetId: private ? network!.outputs.endpointSubnetId : ''
    zoneName: 'privatelink.table.${storageSuffix}'
  }
}

module policyBlobEndpoint 'modules/private-endpoint.bicep' = if (private && policyDelivery == 'blob') {
  name: 'vending-pe-policy-blob'
  params: {
    location: location
    tags: tags
    name: 'pe-${policyStorageName}-blob'
    targetId: resourceId('Microsoft.Storage/storageAccounts', policyStorageName)
    groupId: 'blob'
    subnetId: private ? network!.outputs.endpointSubnetId : ''
    zoneName: 'privatelink.blob.${storageSuffix}'
  }
  dependsOn: [
    policyStore
  ]
}

module registryEndpoints 'modules/private-endpoint.bicep' = [for (registryId, index) in privateRegistryIds: if (private) {
  name: 'vending-pe-registry-${index}'
  params: {
    location: location
    tags: tags
    name: 'pe-${last(split(registryId, '/'))}-registry'
    targetId: registryId
    groupId: 'registry'
    subnetId: private ? network!.outputs.endpointSubnetId : ''
    zoneName: 'privatelink.azurecr.io'
  }
}]

module registry 'modules/registry.bicep' = if (createRegistry) {
  name: 'vending-registry'
  params: {
    location: location
    tags: tags
    name: newRegistryName
    sku: newRegistrySku
    lock: newRegistryLock
    workspaceId: monitoring.outputs.workspaceId
  }
}

module newRegistryRights 'modules/registry-access.bicep' = if (createRegistry) {
  name: 'vending-registry-access-new'
  params: {
    registryName: newRegistryName
    mode: 'abac'
    principalId: vendingIdentity.properties.principalId
    pull: contains(newRegistryAccess, 'pull') ? newRegistryAccess.pull : []
    push: contains(newRegistryAccess, 'push') ? newRegistryAccess.push : []
    delete: contains(newRegistryAccess, 'delete') ? newRegistryAccess.delete : []
    catalog: contains(newRegistryAccess, 'catalog') ? newRegistryAccess.catalog : false
  }
  dependsOn: [
    registry
  ]
}

// An id is /subscriptions/<2>/resourceGroups/<4>/providers/Microsoft.ContainerRegistry/registries/<8>.
module registryRights 'modules/registry-access.bicep' = [for (entry, index) in registries: {
  name: 'vending-registry-access-${index}'
  scope: resourceGroup(split(entry.id, '/')[2], split(entry.id, '/')[4])
  params: {
    registryName: split(entry.id, '/')[8]
    mode: contains(entry, 'mode') ? entry.mode : 'abac'
    principalId: vendingIdentity.properties.principalId
    pull: contains(entry, 'pull') ? entry.pull : []
    push: contains(entry, 'push') ? entry.push : []
    delete: contains(entry, 'delete') ? entry.delete : []
    catalog: contains(entry, 'catalog') ? entry.catalog : false
  }
}]

module app 'modules/app.bicep' = {
  name: 'vending-app'
  params: {
    location: location
    tags: tags
    siteName: siteName
    planName: 'plan-${name}-${token}'
    pythonVersion: pythonVersion
    instanceMemoryMB: instanceMemoryMB
    maximumInstanceCount: maximumInstanceCount
    httpConcurrency: httpConcurrency
    alwaysReadyInstances: alwaysReadyInstances
    zoneRedundant: zoneRedundant
    subnetId: private ? network!.outputs.appSubnetId : ''
    vendingIdentityId: vendingIdentity.id
    vendingClientId: vendingIdentity.properties.clientId
    hostIdentityId: hostIdentity.id
    hostClientId: hostIdentity.properties.clientId
    hostStorageName: hostStorageName
    packageContainerUrl: 'https://${hostStorageName}.blob.${storageSuffix}/${packageContainerName}'
    componentName: monitoring.outputs.componentName
    publicUrl: publicUrl
    policyUrl: policyDelivery == 'blob' ? 'https://${policyStorageName}.blob.${storageSuffix}/${policyContainerName}/${policyBlobName}' : ''
    policyRefreshSeconds: policyRefreshSeconds
    policyMaxStaleSeconds: policyMaxStaleSeconds
    replayStore: replayStore == 'table' ? 'https://${hostStorageName}.table.${storageSuffix}/${replayTableName}' : 'memory'
    deadlineSeconds: deadlineSeconds
    customHosts: customHosts
    keyVaultReferences: keyVaultReferences
    telemetry: telemetry
  }
  dependsOn: [
    hostStorage
    hostBlobEndpoint
    hostTableEndpoint
    policyBlobEndpoint
  ]
}

module deployIdentity 'modules/deploy-identity.bicep' = if (!empty(deploySubject)) {
  name: 'vending-deploy-identity'
  params: {
    location: location
    tags: tags
    name: 'id-${name}-deploy-${token}'
    subject: deploySubject
    siteName: app.outputs.siteName
  }
}

module watch 'modules/watch.bicep' = {
  name: 'vending-watch'
  params: {
    location: location
    tags: tags
    name: '${name}-${token}'
    componentId: monitoring.outputs.componentId
    alertsEnabled: alertsEnabled
    emails: alertEmails
  }
}

@description('Name of the function app.')
output functionAppName string = app.outputs.siteName

@description('How callers reach the service.')
output publicUrl string = empty(publicUrl) ? 'https://${app.outputs.hostName}' : publicUrl

@description('Client id of the vending identity, for policies that name it.')
output vendingClientId string = vendingIdentity.properties.clientId

@description('Object id of the vending identity: the subject of a federated credential in another tenant.')
output vendingPrincipalId string = vendingIdentity.properties.principalId

@description('Where the policy is uploaded to; empty when it is bundled.')
output policyContainerUrl string = policyDelivery == 'blob' ? 'https://${policyStorageName}.blob.${storageSuffix}/${policyContainerName}' : ''

@description('Client id for the deployment workflow; empty without one.')
output deployClientId string = empty(deploySubject) ? '' : deployIdentity!.outputs.clientId
