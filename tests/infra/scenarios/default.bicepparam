using '../../../infra/bicep/main.bicep'

param storageSuffix = 'core.windows.net'
