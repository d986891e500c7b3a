// A start for parameters of your own: `az deployment group create --parameters infra/bicep/main.bicepparam`.
using 'main.bicep'

param alertEmails = [
  'on-call@contoso.example'
]

param registries = [
  {
    id: '/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-images/providers/Microsoft.ContainerRegistry/registries/contoso'
    pull: [
      'web/'
      'tools/cli'
    ]
    push: [
      'web/'
    ]
  }
]
