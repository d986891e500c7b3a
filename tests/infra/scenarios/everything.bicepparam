using '../../../infra/bicep/main.bicep'

param storageSuffix = 'core.windows.net'
param registries = [
  {
    id: '/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/rg-images/providers/Microsoft.ContainerRegistry/registries/contoso'
    pull: [
      'team/'
      'tools/cli'
    ]
    push: [
      'team/'
    ]
    delete: [
      'team/old'
    ]
    catalog: true
  }
  {
    id: '/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-images/providers/Microsoft.ContainerRegistry/registries/legacy'
    mode: 'classic'
    pull: [
      '*'
    ]
    push: [
      '*'
    ]
    catalog: true
  }
]
param newRegistryName = 'fresh'
param newRegistryAccess = {
  pull: [
    '*'
  ]
  push: [
    'apps/'
  ]
}
param networkAccess = 'private'
param privateRegistryIds = [
  '/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/rg-images/providers/Microsoft.ContainerRegistry/registries/contoso'
]
param policyDelivery = 'blob'
param policyWriterPrincipalId = '11111111-1111-1111-1111-111111111111'
param alertEmails = [
  'on-call@contoso.example'
]
param deploySubject = 'repo:contoso@1/vending@2:environment:production'
param customHosts = [
  'registry.contoso.example'
  'login.contoso.example'
]
param keyVaultReferences = {
  PARTNER: 'https://contoso.vault.azure.net/secrets/partner'
}
param publicUrl = 'https://vend.contoso.example'
param docsUrl = 'https://docs.contoso.example/errors'
param pythonVersion = '3.12'
param instanceMemoryMB = 4096
param maximumInstanceCount = 100
param httpConcurrency = 16
param alwaysReadyInstances = 2
param zoneRedundant = true
param policyRefreshSeconds = 30
param policyMaxStaleSeconds = 600
param deadlineSeconds = 10
param telemetry = 'azure-monitor'
param logRetentionDays = 365
