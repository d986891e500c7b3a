// Front Door before one app or several: one name, its own certificate, and a share of the traffic for each app. Two apps
// are blue and green, or two regions. Deploy this first and give the output `frontDoorId` to main.bicep.
targetScope = 'resourceGroup'

@description('An app behind Front Door.')
@sealed()
type origin = {
  @description('Name of the origin, as blue or westeurope.')
  name: string

  @description('Host name of the function app (func-….azurewebsites.net).')
  hostName: string

  @description('Share of the traffic among origins of the same priority; one without traffic is disabled instead.')
  @minValue(1)
  @maxValue(1000)
  weight: int

  @description('Where 1 is down, 2 is asked, and so on.')
  @minValue(1)
  @maxValue(5)
  priority: int

  @description('Whether it gets traffic.')
  enabled: bool
}

@description('Name of the profile, and of its endpoint.')
@minLength(2)
@maxLength(40)
param name string = 'vend'

@description('The apps.')
@minLength(1)
param origins origin[]

@description('Name that callers use, as vend.contoso.example: a CNAME to the output `endpointHostName`. Empty: the name of the endpoint itself.')
param hostName string = ''

resource profile 'Microsoft.Cdn/profiles@2025-06-01' = {
  name: name
  location: 'global'
  sku: {
    name: 'Standard_AzureFrontDoor'
  }
  properties: {
    // A vended token may take as long as VENDING_DEADLINE_SECONDS, 50 at most.
    originResponseTimeoutSeconds: 60
  }
}

resource endpoint 'Microsoft.Cdn/profiles/afdEndpoints@2025-06-01' = {
  parent: profile
  name: name
  location: 'global'
  properties: {
    enabledState: 'Enabled'
  }
}

resource apps 'Microsoft.Cdn/profiles/originGroups@2025-06-01' = {
  parent: profile
  name: 'apps'
  properties: {
    loadBalancingSettings: {
      sampleSize: 4
      successfulSamplesRequired: 3
      additionalLatencyInMilliseconds: 1000
    }
    // /readyz would take an app out of the rotation whose policy is stale; /healthz says that it runs.
    healthProbeSettings: {
      probePath: '/healthz'
      probeRequestType: 'HEAD'
      probeProtocol: 'Https'
      probeIntervalInSeconds: 60
    }
  }
}

resource app 'Microsoft.Cdn/profiles/originGroups/origins@2025-06-01' = [
  for each in origins: {
    parent: apps
    name: each.name
    properties: {
      hostName: each.hostName
      // App Service looks for the app by this name, not by the caller's.
      originHostHeader: each.hostName
      httpsPort: 443
      priority: each.priority
      weight: each.weight
      enabledState: each.enabled ? 'Enabled' : 'Disabled'
      enforceCertificateNameCheck: true
    }
  }
]

resource domain 'Microsoft.Cdn/profiles/customDomains@2025-06-01' = if (!empty(hostName)) {
  parent: profile
  name: replace(hostName, '.', '-')
  properties: {
    hostName: hostName
    tlsSettings: {
      certificateType: 'ManagedCertificate'
      minimumTlsVersion: 'TLS12'
    }
  }
}

// No cacheConfiguration: answers hold tokens.
resource route 'Microsoft.Cdn/profiles/afdEndpoints/routes@2025-06-01' = {
  parent: endpoint
  name: 'all'
  properties: {
    originGroup: {
      id: apps.id
    }
    customDomains: empty(hostName)
      ? []
      : [
          {
            id: domain.id
          }
        ]
    supportedProtocols: [
      'Https'
    ]
    patternsToMatch: [
      '/*'
    ]
    forwardingProtocol: 'HttpsOnly'
    httpsRedirect: 'Disabled'
    linkToDefaultDomain: empty(hostName) ? 'Enabled' : 'Disabled'
  }
  dependsOn: [
    app
  ]
}

@description('What main.bicep takes as frontDoorId.')
output frontDoorId string = profile.properties.frontDoorId

@description('What the CNAME names.')
output endpointHostName string = endpoint.properties.hostName

@description('The text of the TXT record _dnsauth.<hostName>, which proves the domain; empty without one.')
output validationToken string = empty(hostName) ? '' : domain!.properties.validationProperties.validationToken
