// The vending service in one resource group, with its rights on the registries it vends for. Types, API versions, names
// and bodies are those of infra/terraform: a test compares them for every scenario.
// What names and conditions are made of is known before anything exists, so that what-if shows every resource.
targetScope = 'resourceGroup'

import {
  appSettings
  cloud
  existingIdentity
  isBlobName
  isGuid
  isHost
  isId
  isName
  isPublicUrl
  isRegistryId
  isRegistryName
  isRepository
  isSecretName
  isSecretUri
  isSettingName
  isSubnetId
  newRegistryAccess as newRegistryRights
  registryAccess
  resourceTags
} from 'types.bicep'

@description('Region of everything that is created.')
param location string = resourceGroup().location

@description('Part of every resource name: 3 to 16 lower-case letters, digits and hyphens.')
@minLength(3)
@maxLength(16)
param name string = 'vending'

@description('Tags on every resource.')
param tags resourceTags = {}

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

@description('Instances at most. A Basic or Standard registry answers about 166 token requests a second, which ten instances reach.')
@minValue(1)
@maxValue(1000)
param maximumInstanceCount int = 10

@description('Requests that one instance handles at a time. Python defaults to 1 on Flex Consumption: an instance and a cold start for each.')
@minValue(1)
@maxValue(1000)
param httpConcurrency int = 32

@description('Instances that are kept warm. They are billed all day.')
@minValue(0)
@maxValue(100)
param alwaysReadyInstances int = 0

@description('Spread app and storage over availability zones, in a region that has them; needs at least two always-ready instances.')
param zoneRedundant bool = false

@description('How a new package replaces the old one. Recreate: all instances at once. RollingUpdate: one after the other (in preview).')
@allowed([
  'Recreate'
  'RollingUpdate'
])
param updateStrategy string = 'Recreate'

@description('How callers reach the service (https://…). Empty: the host name of the function app.')
param publicUrl string = ''

@description('Page that explains the reasons of refusals; answers link to it. Empty: none.')
param docsUrl string = ''

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
@maxValue(86400)
param policyRefreshSeconds int = 60

@description('Seconds after which an unconfirmed policy is no longer used.')
@minValue(1)
@maxValue(86400)
param policyMaxStaleSeconds int = 3600

@description('table: a token presented twice is refused by every instance. memory: by the process that saw it.')
@allowed([
  'memory'
  'table'
])
param replayStore string = 'table'

@description('Seconds that one request may take; the host ends a worker after 60.')
@minValue(1)
@maxValue(50)
param deadlineSeconds int = 20

@description('Exact hosts that `cloud: custom` registries may name.')
param customHosts string[] = []

@description('Secrets of service principals: name after VENDING_SECRET_ to Key Vault secret URI. The value never passes through this template.')
param keyVaultReferences appSettings = {}

@description('Further app settings. A deployment replaces all settings, so one that is set elsewhere is gone after it.')
param extraSettings appSettings = {}

@description('OpenTelemetry from the Python worker. azure-monitor needs a package built with --telemetry: deploy that first.')
@allowed([
  'azure-monitor'
  'off'
])
param telemetry string = 'off'

@description('Registries to vend for, and the rights of the vending identity on each.')
param registries registryAccess[] = []

@description('Name of a registry to create in the resource group. Empty: none.')
@maxLength(50)
param newRegistryName string = ''

@description('Tier of the created registry; private endpoints need Premium.')
@allowed([
  'Basic'
  'Premium'
  'Standard'
])
param newRegistrySku string = 'Basic'

@description('Rights on the created registry: pull, push, delete and catalog as in `registries`.')
param newRegistryAccess newRegistryRights = {}

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
param privateRegistryIds string[] = []

@description('Id of your own subnet for the app, delegated to Microsoft.App/environments. Empty: a network is created.')
param appSubnetId string = ''

@description('Id of your own subnet for private endpoints. Empty: a network is created.')
param endpointSubnetId string = ''

@description('Id of the resource group that holds your private DNS zones. Empty: the zones are created.')
param privateDnsZonesGroupId string = ''

@description('Register private endpoints in DNS zones; false leaves that to a policy of your landing zone.')
param privateDnsRecords bool = true

@description('Let callers reach the app over a private endpoint only; needs `networkAccess` private.')
param inboundPrivate bool = false

@description('Address ranges that may call the app. Empty: everybody, which hosted CI runners need.')
param allowedAddresses string[] = []

@description('Id of your Front Door profile (its property frontDoorId), which then alone reaches the app, beside allowedAddresses. Empty: none.')
param frontDoorId string = ''

@description('A user-assigned identity of your own: its id, clientId and principalId. Null: one is created.')
param vendingIdentity existingIdentity?

@description('Id of your own Log Analytics workspace. Empty: one is created.')
param workspaceId string = ''

@description('Days that logs are kept.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 90

@description('Gigabytes of logs a day; what comes after them is lost until the next day, audit events included.')
@minValue(1)
@maxValue(4000)
param logDailyCapGb int = 5

@description('Create the alert rules. They are billed each.')
param alertsEnabled bool = true

@description('Who is told about alerts.')
param alertEmails string[] = []

@description('Ids of your own action groups, which are told as well.')
param actionGroupIds string[] = []

@description('Where /readyz is asked from every 15 minutes. Empty: from nowhere.')
param availabilityTestLocations string[] = [
  'emea-nl-ams-azr'
  'us-va-ash-azr'
  'apac-sg-sin-azr'
]

@description('Budget of the resource group a month, in the currency of your bill; reached or forecast, it is reported. 0: none.')
@minValue(0)
@maxValue(1000000)
param monthlyBudget int = 0

@description('First day of the month that the budget begins with, as 2027-01-01; with monthlyBudget only.')
param budgetStart string = ''

@description('Subject of the GitHub OIDC token that may deploy code, exactly as GitHub sends it. Empty: no deployment identity.')
param deploySubject string = ''

@description('DNS suffix of storage accounts in this cloud.')
param storageSuffix string = environment().suffixes.storage

// Everything that is wrong, at once.

var allRights = union(
  registries,
  empty(newRegistryName)
    ? []
    : [union(newRegistryAccess, { id: resourceId('Microsoft.ContainerRegistry/registries', newRegistryName) })]
)
var repositories = flatten(map(allRights, entry => concat(entry.?pull ?? [], entry.?push ?? [], entry.?delete ?? [])))
var narrowClassic = filter(
  registries,
  entry =>
    entry.?mode == 'classic' && !empty(filter(
      concat(entry.?pull ?? [], entry.?push ?? [], entry.?delete ?? []),
      name => name != '*'
    ))
)
var fixedSettings = loadJsonContent('../shared/settings.json')
var refusedSettings = loadJsonContent('../shared/refused-settings.json')
var problems = concat(
  isName(name)
    ? []
    : ['name must be 3 to 16 lower-case letters, digits and hyphens; it begins with a letter and ends with no hyphen.'],
  !zoneRedundant || alwaysReadyInstances >= 2 ? [] : ['zoneRedundant needs alwaysReadyInstances of 2 or more.'],
  empty(publicUrl) || isPublicUrl(publicUrl) ? [] : ['publicUrl must be https://host in lower case, without a path.'],
  empty(docsUrl) || startsWith(docsUrl, 'https://') ? [] : ['docsUrl must begin with https://.'],
  isBlobName(policyBlobName)
    ? []
    : ['policyBlobName holds letters, digits, dots, hyphens, underscores and slashes between them.'],
  empty(filter(customHosts, host => !isHost(host)))
    ? []
    : ['customHosts takes exact host names in lower case, without https://.'],
  empty(filter(objectKeys(keyVaultReferences), key => !isSecretName(key)))
    ? []
    : ['The names of keyVaultReferences are letters, digits and underscores.'],
  empty(filter(items(keyVaultReferences), item => !isSecretUri(item.value)))
    ? []
    : ['Each value of keyVaultReferences must be the URI of a Key Vault secret, not a secret.'],
  empty(filter(objectKeys(extraSettings), key => !isSettingName(key)))
    ? []
    : ['The names of extraSettings are letters, digits and underscores.'],
  empty(filter(
      objectKeys(extraSettings),
      key =>
        contains(refusedSettings.names, key) || !empty(filter(
          refusedSettings.prefixes,
          prefix => startsWith(key, prefix)
        ))
    ))
    ? []
    : [
        'extraSettings names what the template sets itself, or what Flex Consumption refuses: infra/shared/refused-settings.json lists both.'
      ],
  empty(filter(registries, entry => !isRegistryId(entry.id)))
    ? []
    : ['Each registry needs its full id, as `az acr show --query id` prints it.'],
  length(union(map(registries, entry => toLower(entry.id)), [])) == length(registries) ? [] : ['A registry is listed twice: its rights belong into one entry.'],
  empty(filter(repositories, name => !isRepository(name)))
    ? []
    : ['Each entry must be a repository name, a prefix of whole path components ending in /, or *.'],
  empty(narrowClassic) ? [] : ['A classic registry has no rights by repository; write ["*"].'],
  empty(newRegistryName) || isRegistryName(newRegistryName)
    ? []
    : ['newRegistryName must be 5 to 50 letters and digits.'],
  empty(privateRegistryIds) || private ? [] : ['privateRegistryIds needs networkAccess private.'],
  empty(filter(privateRegistryIds, id => !isRegistryId(id)))
    ? []
    : ['Each of privateRegistryIds is the full id of a registry.'],
  empty(appSubnetId) == empty(endpointSubnetId) && (empty(appSubnetId) || private)
    ? []
    : ['Give both subnets or none, and networkAccess private.'],
  empty(appSubnetId) || isSubnetId(appSubnetId) ? [] : ['appSubnetId is the full id of a subnet.'],
  empty(endpointSubnetId) || isSubnetId(endpointSubnetId) ? [] : ['endpointSubnetId is the full id of a subnet.'],
  !inboundPrivate || private ? [] : ['inboundPrivate needs networkAccess private.'],
  !inboundPrivate || empty(allowedAddresses)
    ? []
    : ['With inboundPrivate no address on the internet can call: leave allowedAddresses empty.'],
  empty(frontDoorId) || (isGuid(frontDoorId) && !empty(publicUrl) && !inboundPrivate)
    ? []
    : ['frontDoorId is a GUID; it needs publicUrl, the name that Front Door has, and no inboundPrivate.'],
  vendingIdentity == null || isId(vendingIdentity.?id ?? '', 'Microsoft.ManagedIdentity/userAssignedIdentities')
    ? []
    : ['vendingIdentity is given by its full id.'],
  empty(workspaceId) || isId(workspaceId, 'Microsoft.OperationalInsights/workspaces')
    ? []
    : ['workspaceId is the full id of a workspace.'],
  (monthlyBudget == 0 && empty(budgetStart)) || (monthlyBudget > 0 && length(budgetStart) == 10 && endsWith(
      budgetStart,
      '-01'
    ))
    ? []
    : ['A budget begins on the first day of a month: give budgetStart, written like 2027-01-01, with monthlyBudget.']
)

// Names and ids.

var token = empty(problems) ? uniqueString(resourceGroup().id, name) : fail(join(problems, ' '))
var suffix = '${name}-${token}'
var private = networkAccess == 'private'
var blob = policyDelivery == 'blob'
var table = replayStore == 'table'
var createNetwork = private && empty(appSubnetId)
var createZones = private && empty(privateDnsZonesGroupId) && privateDnsRecords
var createRegistry = !empty(newRegistryName)
var storageSku = zoneRedundant ? 'Standard_ZRS' : 'Standard_LRS'

var identityName = 'id-${suffix}'
var identityId = vendingIdentity.?id ?? resourceId('Microsoft.ManagedIdentity/userAssignedIdentities', identityName)
var hostAccountName = 'sthost${token}'
var policyAccountName = 'stpolicy${token}'
var siteName = 'func-${suffix}'
var planName = 'plan-${suffix}'
var componentName = 'appi-${suffix}'
var workspaceName = 'log-${suffix}'
var logsId = empty(workspaceId) ? resourceId('Microsoft.OperationalInsights/workspaces', workspaceName) : workspaceId
var networkName = 'vnet-${suffix}'
var appSubnet = empty(appSubnetId)
  ? resourceId('Microsoft.Network/virtualNetworks/subnets', networkName, 'app')
  : appSubnetId
var endpointSubnet = empty(endpointSubnetId)
  ? resourceId('Microsoft.Network/virtualNetworks/subnets', networkName, 'endpoints')
  : endpointSubnetId

// What DNS zones are called in the cloud that has this suffix.
var clouds = loadJsonContent('../shared/clouds.json')
var zoneSuffixes cloud = clouds[storageSuffix]
var blobZone = 'privatelink.blob.${storageSuffix}'
var tableZone = 'privatelink.table.${storageSuffix}'
var registryZone = 'privatelink.${zoneSuffixes.registry}'
var sitesZone = 'privatelink.${zoneSuffixes.sites}'
var zonesGroupId = empty(privateDnsZonesGroupId) ? resourceGroup().id : privateDnsZonesGroupId
var zonesId = '${zonesGroupId}/providers/Microsoft.Network/privateDnsZones'

// What needs no other resource; the app adds the rest.
var ownSettings = union(
  fixedSettings,
  {
    // Addresses in full: an account's name alone is taken for one in the public cloud.
    AzureWebJobsStorage__blobServiceUri: 'https://${hostAccountName}.blob.${storageSuffix}'
    AzureWebJobsStorage__queueServiceUri: 'https://${hostAccountName}.queue.${storageSuffix}'
    AzureWebJobsStorage__tableServiceUri: 'https://${hostAccountName}.table.${storageSuffix}'
    VENDING_DEADLINE_SECONDS: string(deadlineSeconds)
    VENDING_POLICY_MAX_STALE_SECONDS: string(policyMaxStaleSeconds)
    VENDING_POLICY_REFRESH_SECONDS: string(policyRefreshSeconds)
    VENDING_REPLAY_STORE: table ? 'https://${hostAccountName}.table.${storageSuffix}/replay' : 'memory'
    VENDING_TELEMETRY: telemetry
  },
  empty(publicUrl) ? {} : { VENDING_PUBLIC_URL: publicUrl },
  empty(docsUrl) ? {} : { VENDING_DOCS_URL: docsUrl },
  blob ? { VENDING_POLICY: 'https://${policyAccountName}.blob.${storageSuffix}/policy/${policyBlobName}' } : {},
  empty(customHosts) ? {} : { VENDING_CUSTOM_HOSTS: join(customHosts, ',') },
  toObject(
    items(keyVaultReferences),
    item => 'VENDING_SECRET_${item.key}',
    item => '@Microsoft.KeyVault(SecretUri=${item.value})'
  )
)

// The app's only identity. Code in the app can use every identity that the app has, so a second one protects nothing.
resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = if (vendingIdentity == null) {
  name: identityName
  location: location
  tags: tags
}

var clientId = vendingIdentity == null ? identity!.properties.clientId : vendingIdentity!.clientId
var principalId = vendingIdentity == null ? identity!.properties.principalId : vendingIdentity!.principalId

module network 'modules/network.bicep' = if (createNetwork || createZones) {
  params: {
    location: location
    tags: tags
    name: suffix
    createNetwork: createNetwork
    addressPrefix: addressPrefix
    appSubnetPrefix: appSubnetPrefix
    endpointSubnetPrefix: endpointSubnetPrefix
    zoneNames: createZones
      ? concat(
          [blobZone, tableZone],
          empty(privateRegistryIds) ? [] : [registryZone],
          inboundPrivate ? [sitesZone] : []
        )
      : []
  }
}

module monitoring 'modules/monitoring.bicep' = {
  params: {
    location: location
    tags: tags
    workspaceName: workspaceName
    componentName: componentName
    workspaceId: logsId
    createWorkspace: empty(workspaceId)
    retentionDays: logRetentionDays
    dailyCapGb: logDailyCapGb
    identityId: identityId
    identityPrincipalId: principalId
  }
}

module hostStorage 'modules/host-storage.bicep' = {
  params: {
    location: location
    tags: tags
    accountName: hostAccountName
    sku: storageSku
    createReplayTable: table
    private: private
    identityId: identityId
    identityPrincipalId: principalId
    workspaceId: logsId
  }
  dependsOn: [
    monitoring
  ]
}

module policyStore 'modules/policy-store.bicep' = if (blob) {
  params: {
    location: location
    tags: tags
    accountName: policyAccountName
    sku: storageSku
    private: private
    identityId: identityId
    identityPrincipalId: principalId
    writerPrincipalId: policyWriterPrincipalId
    writerPrincipalType: policyWriterPrincipalType
    workspaceId: logsId
  }
  dependsOn: [
    monitoring
  ]
}

module hostBlobEndpoint 'modules/private-endpoint.bicep' = if (private) {
  params: {
    location: location
    tags: tags
    name: 'pe-${hostAccountName}-blob'
    targetId: resourceId('Microsoft.Storage/storageAccounts', hostAccountName)
    groupId: 'blob'
    subnetId: endpointSubnet
    zoneId: '${zonesId}/${blobZone}'
    createRecord: privateDnsRecords
  }
  dependsOn: [
    hostStorage
    network
  ]
}

module hostTableEndpoint 'modules/private-endpoint.bicep' = if (private && table) {
  params: {
    location: location
    tags: tags
    name: 'pe-${hostAccountName}-table'
    targetId: resourceId('Microsoft.Storage/storageAccounts', hostAccountName)
    groupId: 'table'
    subnetId: endpointSubnet
    zoneId: '${zonesId}/${tableZone}'
    createRecord: privateDnsRecords
  }
  dependsOn: [
    hostStorage
    network
  ]
}

module policyBlobEndpoint 'modules/private-endpoint.bicep' = if (private && blob) {
  params: {
    location: location
    tags: tags
    name: 'pe-${policyAccountName}-blob'
    targetId: resourceId('Microsoft.Storage/storageAccounts', policyAccountName)
    groupId: 'blob'
    subnetId: endpointSubnet
    zoneId: '${zonesId}/${blobZone}'
    createRecord: privateDnsRecords
  }
  dependsOn: [
    network
    policyStore
  ]
}

module registryEndpoints 'modules/private-endpoint.bicep' = [
  for (registryId, index) in privateRegistryIds: if (private) {
    params: {
      location: location
      tags: tags
      name: 'pe-${last(split(registryId, '/'))}-registry'
      targetId: registryId
      groupId: 'registry'
      subnetId: endpointSubnet
      zoneId: '${zonesId}/${registryZone}'
      createRecord: privateDnsRecords
    }
    dependsOn: [
      network
    ]
  }
]

// The other direction: callers reach the app over this endpoint, and no other way.
module inboundEndpoint 'modules/private-endpoint.bicep' = if (inboundPrivate) {
  params: {
    location: location
    tags: tags
    name: 'pe-${siteName}-sites'
    targetId: resourceId('Microsoft.Web/sites', siteName)
    groupId: 'sites'
    subnetId: endpointSubnet
    zoneId: '${zonesId}/${sitesZone}'
    createRecord: privateDnsRecords
  }
  dependsOn: [
    app
    network
  ]
}

module registry 'modules/registry.bicep' = if (createRegistry) {
  params: {
    location: location
    tags: tags
    name: newRegistryName
    sku: newRegistrySku
    lock: newRegistryLock
    workspaceId: logsId
  }
  dependsOn: [
    monitoring
  ]
}

module createdRegistryAccess 'modules/registry-access.bicep' = if (createRegistry) {
  params: {
    registryName: newRegistryName
    mode: 'abac'
    identityId: identityId
    principalId: principalId
    pull: newRegistryAccess.?pull ?? []
    push: newRegistryAccess.?push ?? []
    delete: newRegistryAccess.?delete ?? []
    catalog: newRegistryAccess.?catalog ?? false
  }
  dependsOn: [
    registry
  ]
}

// An id is /subscriptions/<2>/resourceGroups/<4>/providers/Microsoft.ContainerRegistry/registries/<8>.
module existingRegistryAccess 'modules/registry-access.bicep' = [
  for (entry, index) in registries: {
    scope: resourceGroup(split(entry.id, '/')[2], split(entry.id, '/')[4])
    params: {
      registryName: split(entry.id, '/')[8]
      mode: entry.?mode ?? 'abac'
      identityId: identityId
      principalId: principalId
      pull: entry.?pull ?? []
      push: entry.?push ?? []
      delete: entry.?delete ?? []
      catalog: entry.?catalog ?? false
    }
  }
]

module app 'modules/app.bicep' = {
  params: {
    location: location
    tags: tags
    siteName: siteName
    planName: planName
    pythonVersion: pythonVersion
    instanceMemoryMB: instanceMemoryMB
    maximumInstanceCount: maximumInstanceCount
    httpConcurrency: httpConcurrency
    alwaysReadyInstances: alwaysReadyInstances
    zoneRedundant: zoneRedundant
    updateStrategy: updateStrategy
    subnetId: private ? appSubnet : ''
    inboundPrivate: inboundPrivate
    allowedAddresses: allowedAddresses
    frontDoorId: frontDoorId
    identityId: identityId
    identityClientId: clientId
    hostAccountName: hostAccountName
    storageSuffix: storageSuffix
    componentName: componentName
    settings: union(extraSettings, ownSettings)
  }
  dependsOn: [
    hostBlobEndpoint
    hostStorage
    hostTableEndpoint
    monitoring
    network
    policyBlobEndpoint
  ]
}

module deployIdentity 'modules/deploy-identity.bicep' = if (!empty(deploySubject)) {
  params: {
    location: location
    tags: tags
    name: 'id-${name}-deploy-${token}'
    subject: deploySubject
    siteName: siteName
    planName: planName
  }
  dependsOn: [
    app
  ]
}

module watch 'modules/watch.bicep' = {
  params: {
    location: location
    tags: tags
    name: suffix
    componentName: componentName
    alertsEnabled: alertsEnabled
    emails: alertEmails
    actionGroupIds: actionGroupIds
    testLocations: inboundPrivate ? [] : availabilityTestLocations
    siteName: siteName
    publicUrl: publicUrl
    monthlyBudget: monthlyBudget
    budgetStart: budgetStart
  }
  dependsOn: [
    app
    monitoring
  ]
}

@description('Name of the function app.')
output functionAppName string = siteName

@description('How callers reach the service.')
output publicUrl string = empty(publicUrl) ? 'https://${app.outputs.hostName}' : publicUrl

@description('Client id of the vending identity, for policies that name it.')
output vendingClientId string = clientId

@description('Object id of the vending identity: the subject of a federated credential in another tenant.')
output vendingPrincipalId string = principalId

@description('Where the policy is uploaded to; empty when it is bundled.')
output policyContainerUrl string = blob ? 'https://${policyAccountName}.blob.${storageSuffix}/policy' : ''

@description('Client id for the deployment workflow; empty without one.')
output deployClientId string = empty(deploySubject) ? '' : deployIdentity!.outputs.clientId

@description('What somebody should look at.')
output warnings string[] = alertsEnabled && empty(alertEmails) && empty(actionGroupIds)
  ? ['Alert rules are created, and nobody is told: set alertEmails or actionGroupIds.']
  : []
