using '../../../infra/bicep/main.bicep'

param storageSuffix = 'core.windows.net'
param networkAccess = 'private'
param privateRegistryIds = [
  '/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/rg-images/providers/Microsoft.ContainerRegistry/registries/contoso'
]
param policyDelivery = 'blob'
param policyWriterPrincipalId = '11111111-1111-1111-1111-111111111111'
