# Log Analytics and Application Insights, written to with Entra tokens only; alert rules and the workbook, from the
# same files as Bicep's.

locals {
  workspace_id  = var.workspace_id != "" ? var.workspace_id : azapi_resource.workspace[0].id
  alerts        = var.alerts_enabled ? { for alert in jsondecode(file("${local.shared}/alerts.json")) : alert.name => alert } : {}
  action_groups = concat(azapi_resource.action_group[*].id, var.action_group_ids)
  tested        = var.alerts_enabled && !var.inbound_private && length(var.availability_test_locations) > 0
  tested_url    = var.public_url != "" ? var.public_url : "https://${azapi_resource.site.output.properties.defaultHostName}"
}

resource "azapi_resource" "workspace" {
  count = var.workspace_id == "" ? 1 : 0

  type                   = "Microsoft.OperationalInsights/workspaces@2025-07-01"
  name                   = "log-${local.suffix}"
  parent_id              = local.parent_id
  location               = var.location
  tags                   = var.tags
  response_export_values = []

  body = {
    properties = {
      sku = {
        name = "PerGB2018"
      }
      retentionInDays = var.log_retention_days
      # Beyond it nothing is kept until the next day, audit events included: high enough that only a flood reaches it.
      workspaceCapping = {
        dailyQuotaGb = var.log_daily_cap_gb
      }
      features = {
        disableLocalAuth                            = true
        enableLogAccessUsingOnlyResourcePermissions = true
      }
    }
  }
}

resource "azapi_resource" "component" {
  type                   = "Microsoft.Insights/components@2020-02-02"
  name                   = "appi-${local.suffix}"
  parent_id              = local.parent_id
  location               = var.location
  tags                   = var.tags
  response_export_values = ["properties.ConnectionString"]

  body = {
    kind = "web"
    properties = {
      Application_Type    = "web"
      WorkspaceResourceId = local.workspace_id
      DisableLocalAuth    = true
      DisableIpMasking    = false
      # Audit events are traces: none may be sampled away.
      SamplingPercentage = 100
    }
  }
}

resource "azapi_resource" "telemetry_rights" {
  type                             = "Microsoft.Authorization/roleAssignments@2022-04-01"
  name                             = uuidv5(local.guid_namespace, join("-", [azapi_resource.component.id, local.identity_id, local.roles.monitoringMetricsPublisher]))
  parent_id                        = azapi_resource.component.id
  response_export_values           = []
  retry                            = local.replication
  replace_triggers_external_values = local.principal_triggers

  body = {
    properties = {
      principalId      = local.identity_principal
      principalType    = "ServicePrincipal"
      roleDefinitionId = "/subscriptions/${var.subscription_id}/providers/Microsoft.Authorization/roleDefinitions/${local.roles.monitoringMetricsPublisher}"
    }
  }
}

resource "azapi_resource" "action_group" {
  count = var.alerts_enabled && length(var.alert_emails) > 0 ? 1 : 0

  type                   = "Microsoft.Insights/actionGroups@2023-01-01"
  name                   = "ag-${local.suffix}"
  parent_id              = local.parent_id
  location               = "global"
  tags                   = var.tags
  response_export_values = []

  body = {
    properties = {
      enabled        = true
      groupShortName = "acrvending"
      emailReceivers = [for index, email in var.alert_emails : {
        name                 = "email-${index}"
        emailAddress         = email
        useCommonAlertSchema = true
      }]
    }
  }
}

resource "azapi_resource" "alert" {
  for_each = local.alerts

  type                   = "Microsoft.Insights/scheduledQueryRules@2023-12-01"
  name                   = "alert-${each.key}-${local.suffix}"
  parent_id              = local.parent_id
  location               = var.location
  tags                   = var.tags
  ignore_null_property   = true
  response_export_values = []

  body = {
    kind = "LogAlert"
    properties = {
      displayName         = each.value.displayName
      description         = each.value.description
      enabled             = true
      severity            = each.value.severity
      evaluationFrequency = each.value.frequency
      windowSize          = each.value.window
      autoMitigate        = true
      # A component has no tables before its first record.
      skipQueryValidation = true
      scopes              = [azapi_resource.component.id]
      criteria = {
        allOf = [{
          query           = join("\n", each.value.query)
          timeAggregation = "Count"
          operator        = "GreaterThan"
          threshold       = each.value.threshold
          failingPeriods = {
            numberOfEvaluationPeriods = 1
            minFailingPeriodsToAlert  = 1
          }
        }]
      }
      actions = length(local.action_groups) == 0 ? null : {
        actionGroups = local.action_groups
      }
    }
  }
}

# An app that does not start answers 404 on every path and logs nothing: only a look from outside notices.
resource "azapi_resource" "availability" {
  count = local.tested ? 1 : 0

  type                   = "Microsoft.Insights/webtests@2022-06-15"
  name                   = "ready-${local.suffix}"
  parent_id              = local.parent_id
  location               = var.location
  tags                   = merge(var.tags, { "hidden-link:${azapi_resource.component.id}" = "Resource" })
  response_export_values = []

  body = {
    kind = "standard"
    properties = {
      SyntheticMonitorId = "ready-${local.suffix}"
      Name               = "ready-${local.suffix}"
      Description        = "The service is up and has a policy that is fresh."
      Enabled            = true
      Kind               = "standard"
      Frequency          = 900
      Timeout            = 60
      RetryEnabled       = true
      Locations          = [for location in var.availability_test_locations : { Id = location }]
      Request = {
        RequestUrl             = "${local.tested_url}/readyz"
        HttpVerb               = "GET"
        ParseDependentRequests = false
        FollowRedirects        = false
      }
      ValidationRules = {
        ExpectedHttpStatusCode        = 200
        SSLCheck                      = true
        SSLCertRemainingLifetimeCheck = 7
      }
    }
  }
}

resource "azapi_resource" "unavailable" {
  count = local.tested ? 1 : 0

  type                   = "Microsoft.Insights/metricAlerts@2018-03-01"
  name                   = "alert-unavailable-${local.suffix}"
  parent_id              = local.parent_id
  location               = "global"
  tags                   = var.tags
  response_export_values = []

  body = {
    properties = {
      description         = "The app does not start, has no usable policy, or cannot be reached. Its /readyz tells, or answers 404 where the app did not start."
      severity            = 1
      enabled             = true
      autoMitigate        = true
      evaluationFrequency = "PT5M"
      windowSize          = "PT30M"
      scopes              = [azapi_resource.availability[0].id, azapi_resource.component.id]
      criteria = {
        "odata.type"        = "Microsoft.Azure.Monitor.WebtestLocationAvailabilityCriteria"
        webTestId           = azapi_resource.availability[0].id
        componentId         = azapi_resource.component.id
        failedLocationCount = min(2, length(var.availability_test_locations))
      }
      actions = [for id in local.action_groups : { actionGroupId = id }]
    }
  }
}

resource "azapi_resource" "workbook" {
  type                   = "Microsoft.Insights/workbooks@2023-06-01"
  name                   = uuidv5(local.guid_namespace, join("-", [azapi_resource.component.id, "vending"]))
  parent_id              = local.parent_id
  location               = var.location
  tags                   = var.tags
  response_export_values = []

  body = {
    kind = "shared"
    properties = {
      category       = "workbook"
      displayName    = "ACR token vending (${local.suffix})"
      serializedData = file("${local.shared}/workbook.json")
      sourceId       = lower(azapi_resource.component.id)
      version        = "Notebook/1.0"
    }
  }
}

resource "azapi_resource" "budget" {
  count = var.monthly_budget > 0 ? 1 : 0

  type                   = "Microsoft.Consumption/budgets@2024-08-01"
  name                   = "budget-${local.suffix}"
  parent_id              = local.parent_id
  response_export_values = []

  body = {
    properties = {
      category  = "Cost"
      amount    = var.monthly_budget
      timeGrain = "Monthly"
      timePeriod = {
        startDate = "${var.budget_start}T00:00:00Z"
      }
      notifications = {
        for kind, threshold in { Actual = 80, Forecasted = 100 } : lower(kind) => {
          enabled                       = true
          operator                      = "GreaterThanOrEqualTo"
          threshold                     = threshold
          thresholdType                 = kind
          contactEmails                 = var.alert_emails
          contactRoles                  = ["Owner"]
        }
      }
    }
  }
}

check "alerts_reach_somebody" {
  assert {
    condition     = !var.alerts_enabled || length(var.alert_emails) + length(var.action_group_ids) > 0
    error_message = "Alert rules are created, and nobody is told: set alert_emails or action_group_ids."
  }
}
