// The Flex Consumption plan and the function app. Only `siteConfig` properties that Flex accepts are set.

import { appSettings, resourceTags } from '../types.bicep'

@description('Region of everything that is created.')
param location string

@description('Tags on every resource.')
param tags resourceTags

@description('Name of the function app.')
param siteName string

@description('Name of its plan.')
param planName string

@description('Python of the function app.')
param pythonVersion string

@description('Memory of an instance in MB.')
param instanceMemoryMB int

@description('Instances at most.')
param maximumInstanceCount int

@description('Requests that one instance handles at a time.')
param httpConcurrency int

@description('Instances that are kept warm.')
param alwaysReadyInstances int

@description('Spread over availability zones.')
param zoneRedundant bool

@description('How a new package replaces the old one.')
param updateStrategy string

@description('Id of the subnet; empty: none.')
param subnetId string

@description('Callers come over a private endpoint only.')
param inboundPrivate bool

@description('Address ranges that may call; empty: everybody.')
param allowedAddresses string[]

@description('Id of the Front Door profile that may call; empty: none.')
param frontDoorId string

@description('Id of the vending identity.')
param identityId string

@description('Client id of the vending identity.')
param identityClientId string

@description('Name of the storage account of the host.')
param hostAccountName string

@description('DNS suffix of storage accounts in this cloud.')
param storageSuffix string

@description('Name of the Application Insights component.')
param componentName string

@description('What the settings are that need no other resource.')
param settings appSettings

resource component 'Microsoft.Insights/components@2020-02-02' existing = {
  name: componentName
}

var plainSettings = map(items(settings), item => {
  name: item.key
  value: item.value
})
var identitySettings = [
  {
    name: 'APPLICATIONINSIGHTS_AUTHENTICATION_STRING'
    value: 'ClientId=${identityClientId};Authorization=AAD'
  }
  {
    // An address, not a secret: the component takes Entra tokens only.
    name: 'APPLICATIONINSIGHTS_CONNECTION_STRING'
    value: component.properties.ConnectionString
  }
  {
    name: 'AZURE_CLIENT_ID'
    value: identityClientId
  }
  {
    name: 'AzureWebJobsStorage__clientId'
    value: identityClientId
  }
]

// Who may call, where not everybody may. Any Front Door sends from the same addresses; its header says whose it is. The
// availability test comes through Front Door where there is one: its addresses are everybody's too.
var restricted = !empty(allowedAddresses) || !empty(frontDoorId)
var restrictions = concat(
  map(range(0, length(allowedAddresses)), index => {
    name: 'allowed-${index}'
    action: 'Allow'
    priority: 100 + index
    ipAddress: allowedAddresses[index]
    tag: 'Default'
  }),
  empty(frontDoorId)
    ? [
        {
          name: 'availability-test'
          action: 'Allow'
          priority: 1000
          ipAddress: 'ApplicationInsightsAvailability'
          tag: 'ServiceTag'
        }
      ]
    : [
        {
          name: 'front-door'
          action: 'Allow'
          priority: 1000
          ipAddress: 'AzureFrontDoor.Backend'
          tag: 'ServiceTag'
          headers: {
            'x-azure-fdid': [
              frontDoorId
            ]
          }
        }
      ]
)

resource plan 'Microsoft.Web/serverfarms@2025-03-01' = {
  name: planName
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
    zoneRedundant: zoneRedundant
  }
}

resource site 'Microsoft.Web/sites@2025-03-01' = {
  name: siteName
  location: location
  tags: union(tags, { 'azd-service-name': 'vending' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    publicNetworkAccess: inboundPrivate ? 'Disabled' : 'Enabled'
    clientAffinityEnabled: false
    // Turns the host's /admin endpoints off. Documented, but missing from the published resource type.
    #disable-next-line BCP037
    functionsRuntimeAdminIsolationEnabled: true
    keyVaultReferenceIdentity: identityId
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    outboundVnetRouting: empty(subnetId)
      ? null
      : {
          allTraffic: true
        }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: 'https://${hostAccountName}.blob.${storageSuffix}/app-package'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      runtime: {
        name: 'python'
        version: pythonVersion
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemoryMB
        maximumInstanceCount: maximumInstanceCount
        alwaysReady: alwaysReadyInstances == 0
          ? []
          : [
              {
                name: 'http'
                instanceCount: alwaysReadyInstances
              }
            ]
        triggers: {
          http: {
            perInstanceConcurrency: httpConcurrency
          }
        }
      }
      // Documented, and in no published resource type yet.
      #disable-next-line BCP037
      siteUpdateStrategy: updateStrategy == 'Recreate' ? null : { type: 'RollingUpdate' }
    }
    siteConfig: {
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      http20Enabled: true
      appSettings: concat(plainSettings, identitySettings)
      ipSecurityRestrictions: restricted ? restrictions : null
      ipSecurityRestrictionsDefaultAction: restricted ? 'Deny' : null
    }
  }
}

resource scmCredentials 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: site
  name: 'scm'
  properties: {
    allow: false
  }
}

resource ftpCredentials 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: site
  name: 'ftp'
  properties: {
    allow: false
  }
  dependsOn: [
    scmCredentials
  ]
}

@description('Default host name of the app.')
output hostName string = site.properties.defaultHostName
