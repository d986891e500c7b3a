# No provider is configured here, so that this folder is a module as well as a root: `for_each` and `count` work on it,
# and the environment (ARM_*, or `az login`) says who deploys. examples/ configures one.
terraform {
  required_version = ">= 1.9"

  required_providers {
    azapi = {
      source  = "azure/azapi"
      version = "~> 2.13"
    }
  }
}
