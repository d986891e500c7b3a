using '../../../infra/bicep/main.bicep'

param storageSuffix = 'core.windows.net'
param newRegistryName = 'fresh'
param newRegistryAccess = {
  pull: [
    '*'
  ]
  push: [
    'apps/'
  ]
}
