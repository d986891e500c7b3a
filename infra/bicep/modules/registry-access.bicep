// The vending identity's rights on one registry: an upper bound for whatever the policy says.
// A registry in ABAC mode bounds each role by repository; a classic one knows only the whole registry.

param registryName string

@allowed([
  'abac'
  'classic'
])
param mode string
param principalId string

@description('Repositories, prefixes ending in /, or * for all of them. Empty: no such right.')
param pull array
param push array
param delete array
param catalog bool

var roles = loadJsonContent('../../shared/roles.json')
var abac = mode == 'abac'

// int() of a text stops the deployment and shows the text: templates have no other assertion that every Bicep parser knows.
var named = concat(pull, push, delete)
var checkedNames = contains(join(named, ','), '\'') ? int('repository names hold no quote: ${join(named, ',')}') : 0
var wide = '${join(pull, ',')}/${join(push, ',')}/${join(delete, ',')}'
var checkedMode = !abac && !empty(replace(replace(wide, '*', ''), '/', '')) ? int('a classic registry has no rights by repository; write ["*"]: ${wide}') : 0
var checked = checkedNames + checkedMode == 0

var attribute = '@Request[Microsoft.ContainerRegistry/registries/repositories:name]'
var action = 'Microsoft.ContainerRegistry/registries/repositories'

// Every data action of the role stands here: the condition leaves an action that it does not name unrestricted.
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
var readerGuards = [for name in readerActions: '!(ActionMatches{\'${action}/${name}\'})']
var writerGuards = [for name in writerActions: '!(ActionMatches{\'${action}/${name}\'})']
var contributorGuards = [for name in contributorActions: '!(ActionMatches{\'${action}/${name}\'})']

var pullClauses = [for name in pull: '${attribute} ${endsWith(name, '/') ? 'StringStartsWithIgnoreCase' : 'StringEqualsIgnoreCase'} \'${name}\'']
var pushClauses = [for name in push: '${attribute} ${endsWith(name, '/') ? 'StringStartsWithIgnoreCase' : 'StringEqualsIgnoreCase'} \'${name}\'']
var deleteClauses = [for name in delete: '${attribute} ${endsWith(name, '/') ? 'StringStartsWithIgnoreCase' : 'StringEqualsIgnoreCase'} \'${name}\'']

var pullCondition = contains(pull, '*') ? null : '((${join(readerGuards, ' AND ')}) OR (${join(pullClauses, ' OR ')}))'
var pushCondition = contains(push, '*') ? null : '((${join(writerGuards, ' AND ')}) OR (${join(pushClauses, ' OR ')}))'
var deleteCondition = contains(delete, '*') ? null : '((${join(contributorGuards, ' AND ')}) OR (${join(deleteClauses, ' OR ')}))'

var pullRole = abac ? roles.repositoryReader : roles.acrPull
var pushRole = abac ? roles.repositoryWriter : roles.acrPush
var deleteRole = abac ? roles.repositoryContributor : roles.acrDelete

resource registry 'Microsoft.ContainerRegistry/registries@2025-11-01' existing = {
  name: registryName
}

resource pullRights 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (checked && !empty(pull)) {
  name: guid(registry.id, principalId, pullRole)
  scope: registry
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', pullRole)
    condition: pullCondition
    conditionVersion: pullCondition == null ? null : '2.0'
  }
}

resource pushRights 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (checked && !empty(push)) {
  name: guid(registry.id, principalId, pushRole)
  scope: registry
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', pushRole)
    condition: pushCondition
    conditionVersion: pushCondition == null ? null : '2.0'
  }
}

resource deleteRights 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (checked && !empty(delete)) {
  name: guid(registry.id, principalId, deleteRole)
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
  name: guid(registry.id, principalId, roles.catalogLister)
  scope: registry
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.catalogLister)
  }
}
