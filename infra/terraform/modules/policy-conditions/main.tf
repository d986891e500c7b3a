# Which roles one registry needs, and the condition that bounds each by repository. No provider: plain text in, plain
# text out, so that it is tested anywhere. infra/bicep/modules/registry-access.bicep gives the same text.

variable "mode" {
  description = "abac: roles bounded by repository. classic: roles on the whole registry."
  type        = string

  validation {
    condition     = contains(["abac", "classic"], var.mode)
    error_message = "The mode is abac or classic."
  }
}

variable "pull" {
  description = "Repositories, prefixes ending in /, or * for all of them. Empty: no such right."
  type        = list(string)
}

variable "push" {
  description = "Likewise for pull and push."
  type        = list(string)
}

variable "delete" {
  description = "Likewise for pull, push and delete."
  type        = list(string)
}

variable "catalog" {
  description = "Whether the names of all repositories may be listed."
  type        = bool
}

locals {
  wanted    = { pull = var.pull, push = var.push, delete = var.delete }
  attribute = "@Request[Microsoft.ContainerRegistry/registries/repositories:name]"
  action    = "Microsoft.ContainerRegistry/registries/repositories"

  # Every data action of the role is listed here: the condition leaves an action that it does not name unrestricted.
  reader      = ["content/read", "metadata/read"]
  writer      = concat(local.reader, ["content/write", "metadata/write"])
  contributor = concat(local.writer, ["content/delete", "metadata/delete"])

  roles = {
    abac = {
      pull   = { role = "repositoryReader", actions = local.reader }
      push   = { role = "repositoryWriter", actions = local.writer }
      delete = { role = "repositoryContributor", actions = local.contributor }
    }
    classic = {
      pull   = { role = "acrPull", actions = [] }
      push   = { role = "acrPush", actions = [] }
      delete = { role = "acrDelete", actions = [] }
    }
  }

  guards = {
    for right, role in local.roles.abac : right => join(" AND ", [for name in role.actions : "!(ActionMatches{'${local.action}/${name}'})"])
  }
  clauses = {
    for right, names in local.wanted : right => join(" OR ", [
      for name in names : "${local.attribute} ${endswith(name, "/") ? "StringStartsWithIgnoreCase" : "StringEqualsIgnoreCase"} '${name}'"
    ])
  }
}

output "assignments" {
  description = "Role (a key of shared/roles.json) to its condition; null where the role holds for the whole registry."
  value = merge(
    {
      for right, names in local.wanted : local.roles[var.mode][right].role => {
        condition = contains(names, "*") ? null : "((${local.guards[right]}) OR (${local.clauses[right]}))"
      } if length(names) > 0
    },
    # Listing the catalog knows no condition. Classic registries list it with AcrPull.
    var.catalog && var.mode == "abac" ? { catalogLister = { condition = null } } : {},
  )

  precondition {
    condition = alltrue([
      for name in concat(var.pull, var.push, var.delete) :
      name == "*" || can(regex("^[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*)*/?$", name))
    ])
    error_message = "Each entry must be a repository name, a prefix of whole path components ending in /, or *."
  }

  precondition {
    condition     = var.mode == "abac" || alltrue([for names in values(local.wanted) : length(names) == 0 || join(",", names) == "*"])
    error_message = "A classic registry has no rights by repository; write [\"*\"]."
  }
}
