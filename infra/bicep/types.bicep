// Types of the parameters, and what the type system cannot say: functions that tell whether a text has a form.

@export()
@description('One registry, and the rights of the vending identity on it.')
@sealed()
type registryAccess = {
  @description('Full id of the registry, as `az acr show --query id` prints it.')
  id: string

  @description('How the registry decides. abac (the default): by repository. classic: as a whole.')
  mode: ('abac' | 'classic')?

  @description('Repositories that may be pulled; a trailing / makes a prefix, * everything.')
  pull: string[]?

  @description('Repositories that may be pushed, likewise.')
  push: string[]?

  @description('Repositories that may be deleted from, likewise.')
  delete: string[]?

  @description('Whether the names of all repositories may be listed.')
  catalog: bool?
}

@export()
@description('Rights on the registry that is created.')
@sealed()
type newRegistryAccess = {
  @description('Repositories that may be pulled; a trailing / makes a prefix, * everything.')
  pull: string[]?

  @description('Repositories that may be pushed, likewise.')
  push: string[]?

  @description('Repositories that may be deleted from, likewise.')
  delete: string[]?

  @description('Whether the names of all repositories may be listed.')
  catalog: bool?
}

@export()
@description('A user-assigned identity that exists.')
@sealed()
type existingIdentity = {
  @description('Full id of the identity.')
  id: string

  @description('Its client id.')
  clientId: string

  @description('Its object id.')
  principalId: string
}

@export()
@description('Tags: name to value.')
type resourceTags = {
  @description('Value of a tag.')
  *: string
}

@export()
@description('App settings: name to value.')
type appSettings = {
  @description('Value of a setting.')
  *: string
}

@export()
@description('What private DNS zones are called.')
type cloud = {
  @description('After `privatelink.`, of registries.')
  registry: string

  @description('After `privatelink.`, of apps.')
  sites: string
}

var lower = 'abcdefghijklmnopqrstuvwxyz'
var digits = '0123456789'

@description('Whether a text holds nothing but the allowed characters.')
func onlyOf(text string, allowed string) bool =>
  empty(filter(map(range(0, length(text)), index => substring(text, index, 1)), letter => !contains(allowed, letter)))

@export()
@description('Whether a text is a name of 3 to 16 lower-case letters, digits and hyphens.')
func isName(text string) bool =>
  onlyOf(text, '${lower}${digits}-') && contains(lower, first(text)) && !endsWith(text, '-')

@export()
@description('Whether a text is a GUID.')
func isGuid(text string) bool =>
  onlyOf(toLower(text), '0123456789abcdef-') && join(map(split(text, '-'), part => length(part)), '-') == '8-4-4-4-12'

@export()
@description('Whether a text is a name of an app setting.')
func isSettingName(text string) bool =>
  !empty(text) && onlyOf(toLower(text), '${lower}${digits}_') && contains(lower, toLower(first(text)))

@export()
@description('Whether a text can follow VENDING_SECRET_.')
func isSecretName(text string) bool => !empty(text) && onlyOf(toLower(text), '${lower}${digits}_')

@export()
@description('Whether a text is the address of a Key Vault secret.')
func isSecretUri(text string) bool =>
  startsWith(text, 'https://') && split(text, '/')[?3] == 'secrets' && onlyOf(
    toLower(split(text, '/')[?4] ?? '!'),
    '${lower}${digits}-'
  ) && !empty(split(text, '/')[?4] ?? '') && length(split(text, '/')) <= 7

@description('Whether a text is one part of a host name.')
func isLabel(text string) bool =>
  !empty(text) && onlyOf(text, '${lower}${digits}-') && !startsWith(text, '-') && !endsWith(text, '-')

@export()
@description('Whether a text is a host in lower case, with or without a port.')
func isHost(text string) bool =>
  empty(filter(split(split(text, ':')[0], '.'), label => !isLabel(label))) && length(split(text, ':')) <= 2 && onlyOf(
    split(text, ':')[?1] ?? '0',
    digits
  ) && !endsWith(text, ':')

@export()
@description('Whether a text is https:// and a host.')
func isPublicUrl(text string) bool => startsWith(text, 'https://') && isHost(substring(text, 8))

@export()
@description('Whether a text is a name of a blob, in folders or not.')
func isBlobName(text string) bool =>
  onlyOf(toLower(text), '${lower}${digits}._-/') && empty(filter(split(text, '/'), part => empty(part)))

@description('Whether a text is one part of a repository name.')
func isComponent(text string) bool =>
  !empty(text) && contains('${lower}${digits}', first(text)) && contains('${lower}${digits}', last(text)) && onlyOf(
    text,
    '${lower}${digits}._-'
  ) && empty(filter(['..', '._', '_.', '.-', '-.', '_-', '-_', '___'], pair => contains(text, pair)))

@export()
@description('Whether a text is a repository name, a prefix of whole components that ends in /, or *.')
func isRepository(text string) bool =>
  text == '*' || empty(filter(
    split(endsWith(text, '/') ? take(text, length(text) - 1) : text, '/'),
    part => !isComponent(part)
  ))

@export()
@description('Whether a text is the full id of a resource of the given type: /subscriptions/…/resourceGroups/…/providers/<type>/<name>.')
func isId(text string, type string) bool =>
  length(split(text, '/')) == 9 && toLower(split(text, '/')[?1] ?? '') == 'subscriptions' && length(split(text, '/')[?2] ?? '') == 36 && toLower(split(
    text,
    '/'
  )[?3] ?? '') == 'resourcegroups' && toLower(split(text, '/')[?5] ?? '') == 'providers' && toLower('${split(text, '/')[?6]}/${split(text, '/')[?7]}') == toLower(type) && !empty(split(
    text,
    '/'
  )[?4]) && !empty(last(split(text, '/')))

@export()
@description('Whether a text is the name of a registry.')
func isRegistryName(text string) bool =>
  length(text) >= 5 && length(text) <= 50 && onlyOf(toLower(text), '${lower}${digits}')

@export()
@description('Whether a text is the full id of a registry.')
func isRegistryId(text string) bool =>
  isId(text, 'Microsoft.ContainerRegistry/registries') && isRegistryName(last(split(text, '/')))

@export()
@description('Whether a text is the full id of a subnet.')
func isSubnetId(text string) bool =>
  length(split(text, '/')) == 11 && toLower(split(text, '/')[?9] ?? '') == 'subnets' && isId(
    join(take(split(text, '/'), 9), '/'),
    'Microsoft.Network/virtualNetworks'
  )
