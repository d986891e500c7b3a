// Alert rules and the workbook, from the same files as Terraform's.

param location string
param tags object
param name string
param componentId string
param alertsEnabled bool
param emails array

var alerts = loadJsonContent('../../shared/alerts.json')
var receivers = [for (email, index) in emails: {
  name: 'email-${index}'
  emailAddress: email
  useCommonAlertSchema: true
}]

resource group 'Microsoft.Insights/actionGroups@2023-01-01' = if (alertsEnabled && !empty(emails)) {
  name: 'ag-${name}'
  location: 'global'
  tags: tags
  properties: {
    enabled: true
    groupShortName: 'acrvending'
    emailReceivers: receivers
  }
}

resource rules 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [for alert in alerts: if (alertsEnabled) {
  name: 'alert-${alert.name}-${name}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: alert.displayName
    description: alert.description
    enabled: true
    severity: alert.severity
    evaluationFrequency: alert.frequency
    windowSize: alert.window
    autoMitigate: true
    scopes: [
      componentId
    ]
    criteria: {
      allOf: [
        {
          query: join(alert.query, '\n')
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: alert.threshold
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: empty(emails) ? [] : [
        group.id
      ]
    }
  }
}]

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(componentId, 'vending')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    category: 'workbook'
    displayName: 'ACR token vending (${name})'
    serializedData: loadTextContent('../../shared/workbook.json')
    sourceId: toLower(componentId)
    version: 'Notebook/1.0'
  }
}
