// Entry point of `azd up`: makes the resource group and turns flat environment values into main.bicep's parameters.
targetScope = 'subscription'

@minLength(1)
@maxLength(64)
@description('Name of the azd environment.')
param environmentName string

@minLength(1)
@description('Region of everything that is created.')
param location string

@description('Id of an existing registry (`az acr show --query id`). Empty: none.')
param registryId string = ''

@description('How that registry decides.')
@allowed([
  'abac'
  'classic'
])
param registryMode string = 'abac'

@description('Name of a registry to create instead. Empty: none.')
param newRegistryName string = ''

@description('Repositories that may be pulled, comma-separated; a trailing / makes a prefix, * everything.')
param pullRepositories string = ''

@description('Repositories that may be pushed, likewise.')
param pushRepositories string = ''

@description('Who is told about alerts. Empty: nobody.')
param alertEmail string = ''

var tags = {
  'azd-env-name': environmentName
}
var pull = empty(pullRepositories) ? [] : split(pullRepositories, ',')
var push = empty(pushRepositories) ? [] : split(pushRepositories, ',')

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: tags
}

module main 'main.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    registries: empty(registryId)
      ? []
      : [
          {
            id: registryId
            mode: registryMode
            pull: pull
            push: push
          }
        ]
    newRegistryName: newRegistryName
    newRegistryAccess: empty(newRegistryName)
      ? {}
      : {
          pull: pull
          push: push
        }
    alertEmails: empty(alertEmail)
      ? []
      : [
          alertEmail
        ]
  }
}

@description('Resource group of the service.')
output AZURE_RESOURCE_GROUP string = group.name

@description('Name of the function app.')
output AZURE_FUNCTION_APP_NAME string = main.outputs.functionAppName

@description('How callers reach the service.')
output VENDING_PUBLIC_URL string = main.outputs.publicUrl

@description('What somebody should look at.')
output VENDING_WARNINGS string[] = main.outputs.warnings
