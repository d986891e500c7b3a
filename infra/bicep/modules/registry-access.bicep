// The vending identity's rights on one registry: an upper bound for whatever the policy says.
// A registry in ABAC mode bounds each role by repository; a classic one knows only the whole registry.
// main.bicep has checked the entries.

@description('Name of the registry.')
param registryName string

@description('How the registry decides.')
@allowed([
  'abac'
  'classic'
])
param mode string

@description('Id of the vending identity.')
param identityId string

@description('Object id of the vending identity.')
param principalId string

@description('Repositories, prefixes ending in /, or * for all of them. Empty: no such right.')
param pull string[]

@description('Likewise for pull and push.')
param push string[]

@description('Likewise for pull, push and delete.')
param delete string[]

@description('Whether the names of all repositories may be listed.')
param catalog bool

var roles = loadJsonContent('../../shared/roles.json')
var abac = mode == 'abac'

var attribute = '@Request[Microsoft.ContainerRegistry/registries/repositories:name]'
var action = 'Microsoft.ContainerRegistry/registries/repositories'

// Every data action of the role is listed here: the condition leaves an action that it does not name unrestricted.
var readerActions = [
  'content/read'
  'metadata/read'
]
var writerActions = concat(readerActions, [
  'content/write'
  'metadata/write'
])
var contributorActions = concat(writerActions, [
  'content/delete'
  'metadata/delete'
])

func guards(actions string[], action string) string =>
  join(map(actions, name => '!(ActionMatches{\'${action}/${name}\'})'), ' AND ')

func clauses(names string[], attribute string) string =>
  join(
    map(
      names,
      name =>
        '${attribute} ${endsWith(name, '/') ? 'StringStartsWithIgnoreCase' : 'StringEqualsIgnoreCase'} \'${name}\''
    ),
    ' OR '
  )

var pullCondition = contains(pull, '*') ? null : '((${guards(readerActions, action)}) OR (${clauses(pull, attribute)}))'
var pushCondition = contains(push, '*') ? null : '((${guards(writerActions, action)}) OR (${clauses(push, attribute)}))'
var deleteCondition = contains(delete, '*')
  ? null
  : '((${guards(contributorActions, action)}) OR (${clauses(delete, attribute)}))'

var pullRole = abac ? roles.repositoryReader : roles.acrPull
var pushRole = abac ? roles.repositoryWriter : roles.acrPush
var deleteRole = abac ? roles.repositoryContributor : roles.acrDelete

resource registry 'Microsoft.ContainerRegistry/registries@2025-11-01' existing = {
  name: registryName
}

resource pullRights 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(pull)) {
  name: guid(registry.id, identityId, pullRole)
  scope: registry
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', pullRole)
    condition: pullCondition
    conditionVersion: pullCondition == null ? null : '2.0'
  }
}

resource pushRights 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(push)) {
  name: guid(registry.id, identityId, pushRole)
  scope: registry
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', pushRole)
    condition: pushCondition
    conditionVersion: pushCondition == null ? null : '2.0'
  }
}

resource deleteRights 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(delete)) {
  name: guid(registry.id, identityId, deleteRole)
  scope: registry
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', deleteRole)
    condition: deleteCondition
    conditionVersion: deleteCondition == null ? null : '2.0'
  }
}

// Listing the catalog knows no condition. Classic registries list it with AcrPull.
resource catalogRights 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (catalog && abac) {
  name: guid(registry.id, identityId, roles.catalogLister)
  scope: registry
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.catalogLister)
  }
}
