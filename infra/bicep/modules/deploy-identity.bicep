// An identity that a GitHub workflow takes by OIDC to deploy code. Who deploys code can vend anything: guard its environment.

param location string
param tags object
param name string
param subject string
param siteName string

var roles = loadJsonContent('../../shared/roles.json')

resource site 'Microsoft.Web/sites@2025-03-01' existing = {
  name: siteName
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

output clientId string = identity.properties.clientId
