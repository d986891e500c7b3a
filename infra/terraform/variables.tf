variable "subscription_id" {
  description = "Subscription that everything is created in."
  type        = string
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
  description = "Part of every resource name: lower-case letters, digits and hyphens."
  type        = string
  default     = "vending"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,14}[a-z0-9]$", var.name))
    error_message = "The name must be 3 to 16 lower-case letters, digits and hyphens."
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
  description = "Instances at most."
  type        = number
  default     = 40

  validation {
    condition     = var.maximum_instance_count >= 40 && var.maximum_instance_count <= 1000
    error_message = "The number of instances must be 40 to 1000."
  }
}

variable "http_concurrency" {
  description = "Requests that one instance handles at a time. Python defaults to 1 on Flex Consumption: an instance and a cold start for each."
  type        = number
  default     = 32

  validation {
    condition     = var.http_concurrency >= 1 && var.http_concurrency <= 1000
    error_message = "The concurrency must be 1 to 1000."
  }
}

variable "always_ready_instances" {
  description = "Instances that are kept warm. They are billed all day."
  type        = number
  default     = 0

  validation {
    condition     = var.always_ready_instances >= 0 && var.always_ready_instances <= 100
    error_message = "The number of always-ready instances must be 0 to 100."
  }
}

variable "zone_redundant" {
  description = "Spread over availability zones; needs at least two always-ready instances."
  type        = bool
  default     = false

  validation {
    condition     = !var.zone_redundant || var.always_ready_instances >= 2
    error_message = "Zone redundancy needs at least two always-ready instances."
  }
}

variable "public_url" {
  description = "How callers reach the service (https://…). Empty: the host name of the function app."
  type        = string
  default     = ""

  validation {
    condition     = var.public_url == "" || can(regex("^https://[a-z0-9.-]+(:[0-9]+)?$", var.public_url))
    error_message = "The public URL must be https://host without a path."
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
}

variable "policy_writer_principal_id" {
  description = "Object id of who may write the policy blob. Empty: nobody is granted it here."
  type        = string
  default     = ""
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
}

variable "policy_max_stale_seconds" {
  description = "Seconds after which an unconfirmed policy is no longer used."
  type        = number
  default     = 3600
}

variable "replay_store" {
  description = "table: a token presented twice is refused by every instance. memory: by the instance that saw it."
  type        = string
  default     = "table"

  validation {
    condition     = contains(["memory", "table"], var.replay_store)
    error_message = "Seen tokens are kept in memory or in a table."
  }
}

variable "deadline_seconds" {
  description = "Seconds that one request may take."
  type        = number
  default     = 20

  validation {
    condition     = var.deadline_seconds >= 1 && var.deadline_seconds <= 200
    error_message = "The deadline must be 1 to 200 seconds: the platform cuts requests at 230."
  }
}

variable "custom_hosts" {
  description = "Exact hosts that `cloud: custom` registries may name."
  type        = list(string)
  default     = []
}

variable "key_vault_references" {
  description = "Secrets of service principals: name after VENDING_SECRET_ to Key Vault secret URI. The value never passes through Terraform."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for uri in values(var.key_vault_references) : can(regex("^https://[^/]+/secrets/[A-Za-z0-9-]+(/[0-9a-f]+)?/?$", uri))])
    error_message = "Each value must be the URI of a Key Vault secret, not a secret."
  }
}

variable "telemetry" {
  description = "OpenTelemetry from the Python worker."
  type        = string
  default     = "off"

  validation {
    condition     = contains(["azure-monitor", "off"], var.telemetry)
    error_message = "Telemetry is azure-monitor or off."
  }
}

variable "registries" {
  description = "Registries to vend for, by a name of your own. Repositories: a trailing / makes a prefix, * everything."
  type = map(object({
    id      = string
    mode    = optional(string, "abac")
    pull    = optional(list(string), [])
    push    = optional(list(string), [])
    delete  = optional(list(string), [])
    catalog = optional(bool, false)
  }))
  default = {}

  validation {
    condition     = alltrue([for registry in values(var.registries) : can(regex("^/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft.ContainerRegistry/registries/[^/]+$", registry.id))])
    error_message = "Each registry needs its full id, as `az acr show --query id` prints it."
  }
}

variable "new_registry_name" {
  description = "Name of a registry to create in the resource group. Empty: none."
  type        = string
  default     = ""
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
  type = object({
    pull    = optional(list(string), [])
    push    = optional(list(string), [])
    delete  = optional(list(string), [])
    catalog = optional(bool, false)
  })
  default = {}
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
}

variable "app_subnet_prefix" {
  description = "Addresses of the app; Flex Consumption needs a /27 at least, and one address for each instance."
  type        = string
  default     = "10.90.0.0/25"
}

variable "endpoint_subnet_prefix" {
  description = "Addresses of the private endpoints."
  type        = string
  default     = "10.90.0.128/26"
}

variable "private_registry_ids" {
  description = "Ids of Premium registries to reach over a private endpoint; needs `network_access` private."
  type        = list(string)
  default     = []

  validation {
    condition     = length(var.private_registry_ids) == 0 || var.network_access == "private"
    error_message = "Private endpoints of registries need network_access private."
  }
}

variable "log_retention_days" {
  description = "Days that logs are kept."
  type        = number
  default     = 90

  validation {
    condition     = var.log_retention_days >= 30 && var.log_retention_days <= 730
    error_message = "Logs are kept for 30 to 730 days."
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
}
