// An identity that a GitHub workflow takes by OIDC to deploy code. Who deploys code can vend anything: guard its environment.

import { resourceTags } from '../types.bicep'

@description('Region of everything that is created.')
param location string

@description('Tags on every resource.')
param tags resourceTags

@description('Name, or the part of names that is this deployment\'s own.')
param name string

@description('Subject of the OIDC token, exactly as GitHub sends it.')
param subject string

@description('Name of the function app.')
param siteName string

@description('Name of its plan.')
param planName string

var roles = loadJsonContent('../../shared/roles.json')

resource site 'Microsoft.Web/sites@2025-03-01' existing = {
  name: siteName
}

resource plan 'Microsoft.Web/serverfarms@2025-03-01' existing = {
  name: planName
}

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: name
  location: location
  tags: tags
}

resource credential 'Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials@2024-11-30' = {
  parent: identity
  name: 'github'
  properties: {
    issuer: 'https://token.actions.githubusercontent.com'
    subject: subject
    audiences: [
      'api://AzureADTokenExchange'
    ]
  }
}

resource rights 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(site.id, identity.id, roles.websiteContributor)
  scope: site
  properties: {
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.websiteContributor)
  }
}

// The site's plan is looked at before a package is sent: without this right the CLI waits for it in vain.
resource readsPlan 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(plan.id, identity.id, roles.reader)
  scope: plan
  properties: {
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.reader)
  }
}

@description('Client id of the identity.')
output clientId string = identity.properties.clientId
