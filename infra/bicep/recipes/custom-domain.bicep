// A name of your own on the app itself, with the free managed certificate. Before it, make two DNS records: a CNAME to the
// app's host name, and the TXT record asuid.<name> with its customDomainVerificationId. Certificates of Flex Consumption
// belong to the site (in preview; apps created since May 2026), and a domain is bound before its certificate is made.
targetScope = 'resourceGroup'

@description('Name of the function app.')
param siteName string

@description('The name, as vend.contoso.example.')
param hostName string

@description('Region of the app.')
param location string = resourceGroup().location

resource site 'Microsoft.Web/sites@2025-03-01' existing = {
  name: siteName
}

resource unsecured 'Microsoft.Web/sites/hostNameBindings@2025-03-01' = {
  parent: site
  name: hostName
  properties: {
    siteName: siteName
    hostNameType: 'Verified'
    customHostNameDnsRecordType: 'CName'
    sslState: 'Disabled'
  }
}

resource certificate 'Microsoft.Web/sites/certificates@2025-03-01' = {
  parent: site
  name: hostName
  location: location
  // As `az functionapp config ssl create` makes it: the managed certificate is the one that has no password.
  properties: {
    canonicalName: hostName
    serverFarmId: site.properties.serverFarmId
    password: ''
  }
  dependsOn: [
    unsecured
  ]
}

// The same binding once more, now with the certificate: one template cannot name one resource twice, a module can.
module secured 'custom-domain-secured.bicep' = {
  params: {
    siteName: siteName
    hostName: hostName
    thumbprint: certificate.properties.thumbprint
  }
}
