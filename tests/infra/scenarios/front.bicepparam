using '../../../infra/bicep/main.bicep'

param storageSuffix = 'core.windows.net'
param name = 'vendblue'
param publicUrl = 'https://vend.contoso.example'
param frontDoorId = '44444444-4444-4444-8444-444444444444'
param allowedAddresses = [
  '203.0.113.0/24'
]
param alertEmails = [
  'on-call@contoso.example'
]
