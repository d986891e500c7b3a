using '../../../infra/bicep/main.bicep'

param storageSuffix = 'core.windows.net'
param tags = {
  'cost-center': '4711'
}
param networkAccess = 'private'
param appSubnetId = '/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/rg-hub/providers/Microsoft.Network/virtualNetworks/vnet-hub/subnets/vending'
param endpointSubnetId = '/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/rg-hub/providers/Microsoft.Network/virtualNetworks/vnet-hub/subnets/endpoints'
param privateDnsZonesGroupId = '/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/rg-hub'
param inboundPrivate = true
param vendingIdentity = {
  id: '/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/rg-hub/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-vending'
  clientId: '22222222-2222-2222-2222-222222222222'
  principalId: '33333333-3333-3333-3333-333333333333'
}
param workspaceId = '/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/rg-hub/providers/Microsoft.OperationalInsights/workspaces/log-hub'
param actionGroupIds = [
  '/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/rg-hub/providers/Microsoft.Insights/actionGroups/ag-hub'
]
