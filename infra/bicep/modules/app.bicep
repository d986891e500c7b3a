// The Flex Consumption plan and the function app. Only `siteConfig` properties that Flex accepts are set.

param location string
param tags object
param siteName string
param planName string
param pythonVersion string
param instanceMemoryMB int
param maximumInstanceCount int
param httpConcurrency int
param alwaysReadyInstances int
param zoneRedundant bool
param subnetId string
param vendingIdentityId string
param vendingClientId string
param hostIdentityId string
param hostClientId string
param hostStorageName string
param packageContainerUrl string
param componentName string
param publicUrl string
param policyUrl string
param policyRefreshSeconds int
param policyMaxStaleSeconds int
param replayStore string
param deadlineSeconds int
param customHosts array
param keyVaultReferences object
param telemetry string

var fixedSettings = loadJsonContent('../../shared/settings.json')
var settings = union(
  fixedSettings,
  {
    APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${hostClientId};Authorization=AAD'
    AZURE_CLIENT_ID: vendingClientId
    AzureWebJobsStorage__accountName: hostStorageName
    AzureWebJobsStorage__clientId: hostClientId
    VENDING_DEADLINE_SECONDS: string(deadlineSeconds)
    VENDING_POLICY_MAX_STALE_SECONDS: string(policyMaxStaleSeconds)
    VENDING_POLICY_REFRESH_SECONDS: string(policyRefreshSeconds)
    VENDING_REPLAY_STORE: replayStore
    VENDING_TELEMETRY: telemetry
  },
  empty(publicUrl) ? {} : { VENDING_PUBLIC_URL: publicUrl },
  empty(policyUrl) ? {} : { VENDING_POLICY: policyUrl },
  empty(customHosts) ? {} : { VENDING_CUSTOM_HOSTS: join(customHosts, ',') }
)
var plainSettings = [for item in items(settings): {
  name: item.key
  value: item.value
}]
var secretSettings = [for item in items(keyVaultReferences): {
  name: 'VENDING_SECRET_${item.key}'
  value: '@Microsoft.KeyVault(SecretUri=${item.value})'
}]

resource component 'Microsoft.Insights/components@2020-02-02' existing = {
  name: componentName
}

resource plan 'Microsoft.Web/serverfarms@2025-03-01' = {
  // checkov:skip=CKV_AZURE_212: Flex Consumption has no fixed number of instances
  // checkov:skip=CKV_AZURE_225: zones cost two always-ready instances; a parameter
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
  // checkov:skip=CKV_AZURE_212: scaled to zero on purpose; always-ready instances are a parameter
  // checkov:skip=CKV_AZURE_17: callers have an OIDC token, not a client certificate
  // checkov:skip=CKV_AZURE_78: Flex rejects ftpsState; both basic publishing credentials are off below
  // checkov:skip=CKV_AZURE_213: health checks are not documented for Flex; /readyz is for the operator's own monitor
  // checkov:skip=CKV_AZURE_222: CI jobs call from the internet
  name: siteName
  location: location
  tags: union(tags, { 'azd-service-name': 'vending' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${vendingIdentityId}': {}
      '${hostIdentityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    publicNetworkAccess: 'Enabled'
    clientAffinityEnabled: false
    // Turns the host's /admin endpoints off. Documented, but missing from the published resource type.
    #disable-next-line BCP037
    functionsRuntimeAdminIsolationEnabled: true
    keyVaultReferenceIdentity: vendingIdentityId
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    outboundVnetRouting: empty(subnetId) ? null : {
      allTraffic: true
    }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: packageContainerUrl
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: hostIdentityId
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
        alwaysReady: alwaysReadyInstances == 0 ? [] : [
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
    }
    siteConfig: {
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      http20Enabled: true
      appSettings: concat(plainSettings, secretSettings, [
        {
          // An address, not a secret: the component takes Entra tokens only.
          name: 'APPLICATIONINSIGHTS_CONNECTION_STRING'
          value: component.properties.ConnectionString
        }
      ])
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

output siteName string = site.name
output hostName string = site.properties.defaultHostName
