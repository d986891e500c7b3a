variable "subscription_id" {
  description = "Subscription that everything is created in."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", var.subscription_id))
    error_message = "The subscription id must be a GUID."
  }
}

variable "resource_group_name" {
  description = "Resource group that everything is created in."
  type        = string
  default     = "rg-vending"
}

variable "create_resource_group" {
  description = "Create the resource group; false takes an existing one."
  type        = bool
  default     = true
}

variable "location" {
  description = "Region of everything that is created."
  type        = string
}

variable "name" {
  description = "Part of every resource name: 3 to 16 lower-case letters, digits and hyphens."
  type        = string
  default     = "vending"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,14}[a-z0-9]$", var.name))
    error_message = "The name must be 3 to 16 lower-case letters, digits and hyphens; it begins with a letter and ends with no hyphen."
  }
}

variable "tags" {
  description = "Tags on every resource."
  type        = map(string)
  default     = {}
}

variable "python_version" {
  description = "Python of the function app."
  type        = string
  default     = "3.13"

  validation {
    condition     = contains(["3.11", "3.12", "3.13"], var.python_version)
    error_message = "The app runs on Python 3.11, 3.12 and 3.13."
  }
}

variable "instance_memory_mb" {
  description = "Memory of an instance in MB."
  type        = number
  default     = 2048

  validation {
    condition     = contains([512, 2048, 4096], var.instance_memory_mb)
    error_message = "Flex Consumption has instances of 512, 2048 and 4096 MB."
  }
}

variable "maximum_instance_count" {
  description = "Instances at most. A Basic or Standard registry answers about 166 token requests a second, which ten instances reach."
  type        = number
  default     = 10

  validation {
    condition     = var.maximum_instance_count >= local.bounds.maximumInstanceCount.min && var.maximum_instance_count <= local.bounds.maximumInstanceCount.max && floor(var.maximum_instance_count) == var.maximum_instance_count
    error_message = "maximum_instance_count must be a whole number from ${local.bounds.maximumInstanceCount.min} to ${local.bounds.maximumInstanceCount.max}."
  }
}

variable "http_concurrency" {
  description = "Requests that one instance handles at a time. Python defaults to 1 on Flex Consumption: an instance and a cold start for each."
  type        = number
  default     = 32

  validation {
    condition     = var.http_concurrency >= local.bounds.httpConcurrency.min && var.http_concurrency <= local.bounds.httpConcurrency.max && floor(var.http_concurrency) == var.http_concurrency
    error_message = "http_concurrency must be a whole number from ${local.bounds.httpConcurrency.min} to ${local.bounds.httpConcurrency.max}."
  }
}

variable "always_ready_instances" {
  description = "Instances that are kept warm. They are billed all day."
  type        = number
  default     = 0

  validation {
    condition     = var.always_ready_instances >= local.bounds.alwaysReadyInstances.min && var.always_ready_instances <= local.bounds.alwaysReadyInstances.max && floor(var.always_ready_instances) == var.always_ready_instances
    error_message = "always_ready_instances must be a whole number from ${local.bounds.alwaysReadyInstances.min} to ${local.bounds.alwaysReadyInstances.max}."
  }
}

variable "zone_redundant" {
  description = "Spread app and storage over availability zones, in a region that has them; needs at least two always-ready instances."
  type        = bool
  default     = false

  validation {
    condition     = !var.zone_redundant || var.always_ready_instances >= 2
    error_message = "zone_redundant needs always_ready_instances of 2 or more."
  }
}

variable "update_strategy" {
  description = "How a new package replaces the old one. Recreate: all instances at once. RollingUpdate: one after the other (in preview)."
  type        = string
  default     = "Recreate"

  validation {
    condition     = contains(["Recreate", "RollingUpdate"], var.update_strategy)
    error_message = "The strategy is Recreate or RollingUpdate."
  }
}

variable "public_url" {
  description = "How callers reach the service (https://…). Empty: the host name of the function app."
  type        = string
  default     = ""

  validation {
    condition     = var.public_url == "" || can(regex("^https://[a-z0-9.-]+(:[0-9]+)?$", var.public_url))
    error_message = "The public URL must be https://host in lower case, without a path."
  }
}

variable "docs_url" {
  description = "Page that explains the reasons of refusals; answers link to it. Empty: none."
  type        = string
  default     = ""

  validation {
    condition     = var.docs_url == "" || startswith(var.docs_url, "https://")
    error_message = "docs_url must begin with https://."
  }
}

variable "policy_delivery" {
  description = "bundled: policy.yaml of the deployed package. blob: a blob in a storage account of its own."
  type        = string
  default     = "bundled"

  validation {
    condition     = contains(["bundled", "blob"], var.policy_delivery)
    error_message = "The policy is delivered bundled or as a blob."
  }
}

variable "policy_blob_name" {
  description = "Name of the policy blob; one that ends in .json is read as JSON."
  type        = string
  default     = "policy.yaml"

  validation {
    condition     = can(regex("^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$", var.policy_blob_name))
    error_message = "The blob's name holds letters, digits, dots, hyphens, underscores and slashes between them."
  }
}

variable "policy_writer_principal_id" {
  description = "Object id of who may write the policy blob. Empty: nobody is granted it here."
  type        = string
  default     = ""

  validation {
    condition     = var.policy_writer_principal_id == "" || can(regex("^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", var.policy_writer_principal_id))
    error_message = "An object id is a GUID."
  }
}

variable "policy_writer_principal_type" {
  description = "Kind of that principal."
  type        = string
  default     = "Group"

  validation {
    condition     = contains(["Group", "ServicePrincipal", "User"], var.policy_writer_principal_type)
    error_message = "The kind of principal is Group, ServicePrincipal or User."
  }
}

variable "policy_refresh_seconds" {
  description = "Seconds between two looks at the policy."
  type        = number
  default     = 60

  validation {
    condition     = var.policy_refresh_seconds >= local.bounds.policyRefreshSeconds.min && var.policy_refresh_seconds <= local.bounds.policyRefreshSeconds.max && floor(var.policy_refresh_seconds) == var.policy_refresh_seconds
    error_message = "policy_refresh_seconds must be a whole number from ${local.bounds.policyRefreshSeconds.min} to ${local.bounds.policyRefreshSeconds.max}."
  }
}

variable "policy_max_stale_seconds" {
  description = "Seconds after which an unconfirmed policy is no longer used."
  type        = number
  default     = 3600

  validation {
    condition     = var.policy_max_stale_seconds >= local.bounds.policyMaxStaleSeconds.min && var.policy_max_stale_seconds <= local.bounds.policyMaxStaleSeconds.max && floor(var.policy_max_stale_seconds) == var.policy_max_stale_seconds
    error_message = "policy_max_stale_seconds must be a whole number from ${local.bounds.policyMaxStaleSeconds.min} to ${local.bounds.policyMaxStaleSeconds.max}."
  }
}

variable "replay_store" {
  description = "table: a token presented twice is refused by every instance. memory: by the process that saw it."
  type        = string
  default     = "table"

  validation {
    condition     = contains(["memory", "table"], var.replay_store)
    error_message = "Seen tokens are kept in memory or in a table."
  }
}

variable "deadline_seconds" {
  description = "Seconds that one request may take; the host ends a worker after 60."
  type        = number
  default     = 20

  validation {
    condition     = var.deadline_seconds >= local.bounds.deadlineSeconds.min && var.deadline_seconds <= local.bounds.deadlineSeconds.max && floor(var.deadline_seconds) == var.deadline_seconds
    error_message = "deadline_seconds must be a whole number from ${local.bounds.deadlineSeconds.min} to ${local.bounds.deadlineSeconds.max}."
  }
}

variable "custom_hosts" {
  description = "Exact hosts that `cloud: custom` registries may name."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for host in var.custom_hosts : can(regex("^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*(:[0-9]{1,5})?$", host))])
    error_message = "Write exact host names in lower case, without https://."
  }
}

variable "key_vault_references" {
  description = "Secrets of service principals: name after VENDING_SECRET_ to Key Vault secret URI. The value never passes through Terraform."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.key_vault_references) : can(regex("^[A-Za-z0-9_]+$", name))])
    error_message = "Names of secrets are letters, digits and underscores."
  }

  validation {
    condition     = alltrue([for uri in values(var.key_vault_references) : can(regex("^https://[^/]+/secrets/[A-Za-z0-9-]+(/[0-9a-f]+)?/?$", uri))])
    error_message = "Each value must be the URI of a Key Vault secret, not a secret."
  }
}

variable "extra_settings" {
  description = "Further app settings. A deployment replaces all settings, so one that is set elsewhere is gone after it."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.extra_settings) : can(regex("^[A-Za-z][A-Za-z0-9_]*$", name))])
    error_message = "Names of settings are letters, digits and underscores."
  }

  validation {
    condition     = alltrue([for name in keys(var.extra_settings) : !contains(local.refused_settings.names, name) && !anytrue([for prefix in local.refused_settings.prefixes : startswith(name, prefix)])])
    error_message = "extra_settings names what this configuration sets itself, or what Flex Consumption refuses: infra/shared/refused-settings.json lists both."
  }
}

variable "telemetry" {
  description = "OpenTelemetry from the Python worker. azure-monitor needs a package built with --telemetry: deploy that first."
  type        = string
  default     = "off"

  validation {
    condition     = contains(["azure-monitor", "off"], var.telemetry)
    error_message = "Telemetry is azure-monitor or off."
  }
}

variable "registries" {
  description = <<-EOT
    Registries to vend for, by a name of your own: objects of id, mode (abac or classic), pull, push, delete (repositories; a trailing / makes a prefix, * everything) and catalog (bool).
    Any, and not an object type: Terraform would drop a misspelt right without a word.
  EOT
  type        = any
  default     = {}

  validation {
    condition     = alltrue([for registry in values(var.registries) : length(setsubtract(keys(registry), ["id", "mode", "pull", "push", "delete", "catalog"])) == 0])
    error_message = "A registry has id, mode, pull, push, delete and catalog, and nothing else."
  }

  validation {
    condition     = alltrue([for registry in values(var.registries) : can(regex("^/subscriptions/[0-9a-fA-F-]{36}/resourceGroups/[^/]+/providers/Microsoft.ContainerRegistry/registries/[A-Za-z0-9]{5,50}$", registry.id))])
    error_message = "Each registry needs its full id, as `az acr show --query id` prints it."
  }

  validation {
    condition     = length(distinct([for registry in values(var.registries) : lower(registry.id)])) == length(var.registries)
    error_message = "A registry is listed twice: its rights belong into one entry."
  }

  validation {
    condition     = alltrue([for registry in values(var.registries) : contains(["abac", "classic"], try(registry.mode, "abac"))])
    error_message = "The mode of a registry is abac or classic."
  }

  validation {
    condition     = alltrue([for registry in values(var.registries) : can(tobool(try(registry.catalog, false))) && alltrue([for right in ["pull", "push", "delete"] : can(tolist(try(registry[right], [])))])])
    error_message = "pull, push and delete are lists of repositories; catalog is true or false."
  }
}

variable "new_registry_name" {
  description = "Name of a registry to create in the resource group. Empty: none."
  type        = string
  default     = ""

  validation {
    condition     = var.new_registry_name == "" || can(regex("^[A-Za-z0-9]{5,50}$", var.new_registry_name))
    error_message = "The name of a registry is 5 to 50 letters and digits."
  }
}

variable "new_registry_sku" {
  description = "Tier of the created registry; private endpoints need Premium."
  type        = string
  default     = "Basic"

  validation {
    condition     = contains(["Basic", "Premium", "Standard"], var.new_registry_sku)
    error_message = "The tiers are Basic, Standard and Premium."
  }
}

variable "new_registry_access" {
  description = "Rights on the created registry: pull, push, delete and catalog as in `registries`."
  type        = any
  default     = {}

  validation {
    condition     = length(setsubtract(keys(var.new_registry_access), ["pull", "push", "delete", "catalog"])) == 0
    error_message = "The rights are pull, push, delete and catalog, and nothing else."
  }
}

variable "new_registry_lock" {
  description = "Protect the created registry against deletion."
  type        = bool
  default     = true
}

variable "network_access" {
  description = "public: no virtual network. private: storage is reached over private endpoints only."
  type        = string
  default     = "public"

  validation {
    condition     = contains(["private", "public"], var.network_access)
    error_message = "Network access is private or public."
  }
}

variable "address_prefix" {
  description = "Address space of the virtual network."
  type        = string
  default     = "10.90.0.0/24"

  validation {
    condition     = can(cidrhost(var.address_prefix, 0))
    error_message = "The address space is written like 10.90.0.0/24."
  }
}

variable "app_subnet_prefix" {
  description = "Addresses of the app; Flex Consumption needs a /27 at least, and one address for each instance."
  type        = string
  default     = "10.90.0.0/25"

  validation {
    condition     = can(cidrhost(var.app_subnet_prefix, 0)) && tonumber(split("/", var.app_subnet_prefix)[1]) <= 27
    error_message = "The app needs a subnet of /27 or larger."
  }
}

variable "endpoint_subnet_prefix" {
  description = "Addresses of the private endpoints."
  type        = string
  default     = "10.90.0.128/26"

  validation {
    condition     = can(cidrhost(var.endpoint_subnet_prefix, 0))
    error_message = "The subnet is written like 10.90.0.128/26."
  }
}

variable "private_registry_ids" {
  description = "Ids of Premium registries to reach over a private endpoint; needs `network_access` private."
  type        = list(string)
  default     = []

  validation {
    condition     = length(var.private_registry_ids) == 0 || var.network_access == "private"
    error_message = "Private endpoints of registries need network_access private."
  }

  validation {
    condition     = alltrue([for id in var.private_registry_ids : can(regex("^/subscriptions/[0-9a-fA-F-]{36}/resourceGroups/[^/]+/providers/Microsoft.ContainerRegistry/registries/[A-Za-z0-9]{5,50}$", id))])
    error_message = "Each registry needs its full id, as `az acr show --query id` prints it."
  }
}

variable "app_subnet_id" {
  description = "Id of your own subnet for the app, delegated to Microsoft.App/environments. Empty: a network is created."
  type        = string
  default     = ""

  validation {
    condition     = var.app_subnet_id == "" || can(regex("^/subscriptions/[0-9a-fA-F-]{36}/resourceGroups/[^/]+/providers/Microsoft.Network/virtualNetworks/[^/]+/subnets/[^/]+$", var.app_subnet_id))
    error_message = "A subnet is given by its full id."
  }

  validation {
    condition     = (var.app_subnet_id == "") == (var.endpoint_subnet_id == "") && (var.app_subnet_id == "" || var.network_access == "private")
    error_message = "Give both subnets or none, and network_access private."
  }
}

variable "endpoint_subnet_id" {
  description = "Id of your own subnet for private endpoints. Empty: a network is created."
  type        = string
  default     = ""

  validation {
    condition     = var.endpoint_subnet_id == "" || can(regex("^/subscriptions/[0-9a-fA-F-]{36}/resourceGroups/[^/]+/providers/Microsoft.Network/virtualNetworks/[^/]+/subnets/[^/]+$", var.endpoint_subnet_id))
    error_message = "A subnet is given by its full id."
  }
}

variable "private_dns_zones_group_id" {
  description = "Id of the resource group that holds your private DNS zones. Empty: the zones are created."
  type        = string
  default     = ""

  validation {
    condition     = var.private_dns_zones_group_id == "" || can(regex("^/subscriptions/[0-9a-fA-F-]{36}/resourceGroups/[^/]+$", var.private_dns_zones_group_id))
    error_message = "A resource group is given by its full id."
  }
}

variable "private_dns_records" {
  description = "Register private endpoints in DNS zones; false leaves that to a policy of your landing zone."
  type        = bool
  default     = true
}

variable "inbound_private" {
  description = "Let callers reach the app over a private endpoint only; needs `network_access` private."
  type        = bool
  default     = false

  validation {
    condition     = !var.inbound_private || var.network_access == "private"
    error_message = "inbound_private needs network_access private."
  }

  validation {
    condition     = !var.inbound_private || length(var.allowed_addresses) == 0
    error_message = "With inbound_private no address on the internet can call: leave allowed_addresses empty."
  }
}

variable "allowed_addresses" {
  description = "Address ranges that may call the app. Empty: everybody, which hosted CI runners need."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for address in var.allowed_addresses : can(cidrhost(address, 0))])
    error_message = "Write each range like 203.0.113.0/24."
  }
}

variable "front_door_id" {
  description = "Id of your Front Door profile (its property frontDoorId), which then alone reaches the app, beside allowed_addresses. Empty: none."
  type        = string
  default     = ""

  validation {
    condition     = var.front_door_id == "" || (can(regex("^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", var.front_door_id)) && var.public_url != "" && !var.inbound_private)
    error_message = "front_door_id is a GUID; it needs public_url, the name that Front Door has, and no inbound_private."
  }
}

variable "vending_identity" {
  description = "A user-assigned identity of your own: its id, client_id and principal_id. Null: one is created."
  type = object({
    id           = string
    client_id    = string
    principal_id = string
  })
  default = null

  validation {
    condition     = var.vending_identity == null || can(regex("^/subscriptions/[0-9a-fA-F-]{36}/resourceGroups/[^/]+/providers/Microsoft.ManagedIdentity/userAssignedIdentities/[^/]+$", var.vending_identity.id))
    error_message = "An identity is given by its full id."
  }
}

variable "workspace_id" {
  description = "Id of your own Log Analytics workspace. Empty: one is created."
  type        = string
  default     = ""

  validation {
    condition     = var.workspace_id == "" || can(regex("^/subscriptions/[0-9a-fA-F-]{36}/resourceGroups/[^/]+/providers/Microsoft.OperationalInsights/workspaces/[^/]+$", var.workspace_id))
    error_message = "A workspace is given by its full id."
  }
}

variable "log_retention_days" {
  description = "Days that logs are kept."
  type        = number
  default     = 90

  validation {
    condition     = var.log_retention_days >= local.bounds.logRetentionDays.min && var.log_retention_days <= local.bounds.logRetentionDays.max && floor(var.log_retention_days) == var.log_retention_days
    error_message = "log_retention_days must be a whole number from ${local.bounds.logRetentionDays.min} to ${local.bounds.logRetentionDays.max}."
  }
}

variable "log_daily_cap_gb" {
  description = "Gigabytes of logs a day; what comes after them is lost until the next day, audit events included."
  type        = number
  default     = 5

  validation {
    condition     = var.log_daily_cap_gb >= local.bounds.logDailyCapGb.min && var.log_daily_cap_gb <= local.bounds.logDailyCapGb.max && floor(var.log_daily_cap_gb) == var.log_daily_cap_gb
    error_message = "log_daily_cap_gb must be a whole number from ${local.bounds.logDailyCapGb.min} to ${local.bounds.logDailyCapGb.max}."
  }
}

variable "alerts_enabled" {
  description = "Create the alert rules. They are billed each."
  type        = bool
  default     = true
}

variable "alert_emails" {
  description = "Who is told about alerts."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for email in var.alert_emails : can(regex("^[^@ ]+@[^@ ]+$", email))])
    error_message = "Each is a mail address."
  }
}

variable "action_group_ids" {
  description = "Ids of your own action groups, which are told as well."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for id in var.action_group_ids : can(regex("^/subscriptions/[0-9a-fA-F-]{36}/resourceGroups/[^/]+/providers/Microsoft.Insights/actionGroups/[^/]+$", id))])
    error_message = "An action group is given by its full id."
  }
}

variable "availability_test_locations" {
  description = "Where /readyz is asked from every 15 minutes. Empty: from nowhere."
  type        = list(string)
  default     = ["emea-nl-ams-azr", "us-va-ash-azr", "apac-sg-sin-azr"]
}

variable "monthly_budget" {
  description = "Budget of the resource group a month, in the currency of your bill; reached or forecast, it is reported. 0: none."
  type        = number
  default     = 0

  validation {
    condition     = var.monthly_budget >= local.bounds.monthlyBudget.min && var.monthly_budget <= local.bounds.monthlyBudget.max && floor(var.monthly_budget) == var.monthly_budget
    error_message = "monthly_budget must be a whole number from ${local.bounds.monthlyBudget.min} to ${local.bounds.monthlyBudget.max}."
  }
}

variable "budget_start" {
  description = "First day of the month that the budget begins with, as 2027-01-01; with monthly_budget only."
  type        = string
  default     = ""

  validation {
    condition     = var.monthly_budget == 0 ? var.budget_start == "" : can(regex("^20[0-9]{2}-(0[1-9]|1[0-2])-01$", var.budget_start))
    error_message = "A budget begins on the first day of a month, written like 2027-01-01."
  }
}

variable "deploy_subject" {
  description = "Subject of the GitHub OIDC token that may deploy code, exactly as GitHub sends it. Empty: no deployment identity."
  type        = string
  default     = ""
}

variable "storage_suffix" {
  description = "DNS suffix of storage accounts in this cloud."
  type        = string
  default     = "core.windows.net"

  validation {
    condition     = contains(keys(local.zones_by_suffix), var.storage_suffix)
    error_message = "The suffixes are core.windows.net, core.usgovcloudapi.net and core.chinacloudapi.cn."
  }
}
