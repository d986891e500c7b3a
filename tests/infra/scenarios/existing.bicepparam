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
