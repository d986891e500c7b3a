// The second half of custom-domain.bicep: the name with its certificate.
targetScope = 'resourceGroup'

@description('Name of the function app.')
param siteName string

@description('The name.')
param hostName string

@description('Thumbprint of its certificate.')
param thumbprint string

resource site 'Microsoft.Web/sites@2025-03-01' existing = {
  name: siteName
}

resource binding 'Microsoft.Web/sites/hostNameBindings@2025-03-01' = {
  parent: site
  name: hostName
  properties: {
    siteName: siteName
    hostNameType: 'Verified'
    customHostNameDnsRecordType: 'CName'
    sslState: 'SniEnabled'
    thumbprint: thumbprint
  }
}
