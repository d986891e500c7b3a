// What `azd env set` has set.
using 'azd.bicep'

param environmentName = readEnvironmentVariable('AZURE_ENV_NAME')
param location = readEnvironmentVariable('AZURE_LOCATION')
param registryId = readEnvironmentVariable('VENDING_REGISTRY_ID', '')
param registryMode = readEnvironmentVariable('VENDING_REGISTRY_MODE', 'abac')
param newRegistryName = readEnvironmentVariable('VENDING_NEW_REGISTRY_NAME', '')
param pullRepositories = readEnvironmentVariable('VENDING_PULL_REPOSITORIES', '')
param pushRepositories = readEnvironmentVariable('VENDING_PUSH_REPOSITORIES', '')
param alertEmail = readEnvironmentVariable('VENDING_ALERT_EMAIL', '')
