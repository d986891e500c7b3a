// An API of your API Management that hands every request on to the app.
targetScope = 'resourceGroup'

@description('Name of the API Management service, in this resource group.')
param serviceName string

@description('Host name of the function app (func-….azurewebsites.net).')
param appHostName string

@description('Path below the name of the service; empty: all of it.')
param path string = ''

resource service 'Microsoft.ApiManagement/service@2024-05-01' existing = {
  name: serviceName
}

resource api 'Microsoft.ApiManagement/service/apis@2024-05-01' = {
  parent: service
  name: 'acr-vending'
  properties: {
    displayName: 'ACR token vending'
    path: path
    protocols: [
      'https'
    ]
    serviceUrl: 'https://${appHostName}'
    // The caller's OIDC token is the credential.
    subscriptionRequired: false
  }
}

resource operations 'Microsoft.ApiManagement/service/apis/operations@2024-05-01' = [
  for method in ['GET', 'HEAD', 'POST']: {
    parent: api
    name: toLower(method)
    properties: {
      displayName: method
      method: method
      urlTemplate: '/*'
    }
  }
]

resource policy 'Microsoft.ApiManagement/service/apis/policies@2024-05-01' = {
  parent: api
  name: 'policy'
  properties: {
    format: 'rawxml'
    value: loadTextContent('api-management.xml')
  }
}
