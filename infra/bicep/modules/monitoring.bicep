// Log Analytics, unless the customer has one, and Application Insights, written to with Entra tokens only.

import { resourceTags } from '../types.bicep'

@description('Region of everything that is created.')
param location string

@description('Tags on every resource.')
param tags resourceTags

@description('Name of the workspace that is created.')
param workspaceName string

@description('Name of the Application Insights component.')
param componentName string

@description('Id of the workspace; it is created where `createWorkspace` says so.')
param workspaceId string

@description('Create the workspace.')
param createWorkspace bool

@description('Days that logs are kept.')
param retentionDays int

@description('Gigabytes of logs a day.')
param dailyCapGb int

@description('Id of the vending identity.')
param identityId string

@description('Object id of the vending identity.')
param identityPrincipalId string

var roles = loadJsonContent('../../shared/roles.json')

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' = if (createWorkspace) {
  name: workspaceName
  location: location
  tags: tags
  properties: {
    sku: {
      name: 'PerGB2018'
    }
    retentionInDays: retentionDays
    // Beyond it nothing is kept until the next day, audit events included: high enough that only a flood reaches it.
    workspaceCapping: {
      dailyQuotaGb: dailyCapGb
    }
    features: {
      disableLocalAuth: true
      enableLogAccessUsingOnlyResourcePermissions: true
    }
  }
}

resource component 'Microsoft.Insights/components@2020-02-02' = {
  name: componentName
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: workspaceId
    DisableLocalAuth: true
    DisableIpMasking: false
    // Audit events are traces: none may be sampled away.
    SamplingPercentage: 100
  }
  dependsOn: [
    workspace
  ]
}

resource publisher 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(component.id, identityId, roles.monitoringMetricsPublisher)
  scope: component
  properties: {
    principalId: identityPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId(
      'Microsoft.Authorization/roleDefinitions',
      roles.monitoringMetricsPublisher
    )
  }
}
