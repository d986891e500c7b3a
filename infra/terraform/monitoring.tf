# Log Analytics and Application Insights, written to with Entra tokens only; alert rules and the workbook, from the
# same files as Bicep's.

resource "azurerm_log_analytics_workspace" "main" {
  name                = "log-${var.name}-${local.token}"
  location            = var.location
  resource_group_name = local.group_name
  tags                = var.tags

  sku                             = "PerGB2018"
  retention_in_days               = var.log_retention_days
  local_authentication_enabled    = false
  allow_resource_only_permissions = true
}

resource "azurerm_application_insights" "main" {
  name                = "appi-${var.name}-${local.token}"
  location            = var.location
  resource_group_name = local.group_name
  tags                = var.tags

  application_type             = "web"
  workspace_id                 = azurerm_log_analytics_workspace.main.id
  local_authentication_enabled = false
  ip_masking_enabled           = true
}

resource "azurerm_role_assignment" "telemetry" {
  scope              = azurerm_application_insights.main.id
  role_definition_id = local.role_ids.monitoringMetricsPublisher
  principal_id       = azurerm_user_assigned_identity.host.principal_id
  principal_type     = "ServicePrincipal"
}

resource "azurerm_monitor_action_group" "main" {
  count = var.alerts_enabled && length(var.alert_emails) > 0 ? 1 : 0

  name                = "ag-${var.name}-${local.token}"
  resource_group_name = local.group_name
  short_name          = "acrvending"
  tags                = var.tags

  dynamic "email_receiver" {
    for_each = var.alert_emails

    content {
      name                    = "email-${email_receiver.key}"
      email_address           = email_receiver.value
      use_common_alert_schema = true
    }
  }
}

resource "azurerm_monitor_scheduled_query_rules_alert_v2" "main" {
  for_each = var.alerts_enabled ? { for alert in jsondecode(file("${local.shared}/alerts.json")) : alert.name => alert } : {}

  name                = "alert-${each.key}-${var.name}-${local.token}"
  location            = var.location
  resource_group_name = local.group_name
  tags                = var.tags

  display_name            = each.value.displayName
  description             = each.value.description
  enabled                 = true
  severity                = each.value.severity
  evaluation_frequency    = each.value.frequency
  window_duration         = each.value.window
  auto_mitigation_enabled = true
  scopes                  = [azurerm_application_insights.main.id]

  criteria {
    query                   = join("\n", each.value.query)
    time_aggregation_method = "Count"
    operator                = "GreaterThan"
    threshold               = each.value.threshold

    failing_periods {
      number_of_evaluation_periods             = 1
      minimum_failing_periods_to_trigger_alert = 1
    }
  }

  action {
    action_groups = azurerm_monitor_action_group.main[*].id
  }
}

resource "azurerm_application_insights_workbook" "main" {
  name                = uuidv5("url", "${local.group_id}/vending/${var.name}")
  location            = var.location
  resource_group_name = local.group_name
  tags                = var.tags

  category     = "workbook"
  display_name = "ACR token vending (${var.name}-${local.token})"
  data_json    = file("${local.shared}/workbook.json")
  source_id    = lower(azurerm_application_insights.main.id)
}
