using '../../../infra/bicep/main.bicep'

param storageSuffix = 'core.windows.net'
param allowedAddresses = [
  '203.0.113.0/24'
  '198.51.100.7/32'
]
param updateStrategy = 'RollingUpdate'
param extraSettings = {
  FUNCTIONS_WORKER_PROCESS_COUNT: '1'
}
param monthlyBudget = 50
param budgetStart = '2027-01-01'
param logDailyCapGb = 1
param alertEmails = [
  'on-call@contoso.example'
]
