using '../../../infra/bicep/main.bicep'

param storageSuffix = 'core.windows.net'
param replayStore = 'memory'
param alertsEnabled = false
