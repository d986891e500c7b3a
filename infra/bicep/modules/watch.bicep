// Alert rules, the availability test, the workbook and the budget, from the same files as Terraform's.

import { resourceTags } from '../types.bicep'

@description('Region of everything that is created.')
param location string

@description('Tags on every resource.')
param tags resourceTags

@description('Name, or the part of names that is this deployment\'s own.')
param name string

@description('Name of the Application Insights component.')
param componentName string

@description('Create the alert rules.')
param alertsEnabled bool

@description('Who is told.')
param emails string[]

@description('Action groups that are told as well.')
param actionGroupIds string[]

@description('Where /readyz is asked from; empty: no test.')
param testLocations string[]

@description('Name of the function app.')
param siteName string

@description('How callers reach it; empty: its own host name.')
param publicUrl string

@description('Budget a month; 0: none.')
param monthlyBudget int

@description('First day of its first month.')
param budgetStart string

resource component 'Microsoft.Insights/components@2020-02-02' existing = {
  name: componentName
}

resource site 'Microsoft.Web/sites@2025-03-01' existing = {
  name: siteName
}

var alerts = loadJsonContent('../../shared/alerts.json')
var ownGroup = alertsEnabled && !empty(emails)
var tested = alertsEnabled && !empty(testLocations)
var groups = concat(ownGroup ? [resourceId('Microsoft.Insights/actionGroups', 'ag-${name}')] : [], actionGroupIds)
var workbookName = guid(component.id, 'vending')

resource group 'Microsoft.Insights/actionGroups@2023-01-01' = if (ownGroup) {
  name: 'ag-${name}'
  location: 'global'
  tags: tags
  properties: {
    enabled: true
    groupShortName: 'acrvending'
    emailReceivers: [
      for (email, index) in emails: {
        name: 'email-${index}'
        emailAddress: email
        useCommonAlertSchema: true
      }
    ]
  }
}

resource rules 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [
  for alert in alerts: if (alertsEnabled) {
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
      // A component has no tables before its first record.
      skipQueryValidation: true
      scopes: [
        component.id
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
      actions: empty(groups)
        ? null
        : {
            actionGroups: groups
          }
    }
    dependsOn: [
      group
    ]
  }
]

// An app that does not start answers 404 on every path and logs nothing: only a look from outside notices.
resource availability 'Microsoft.Insights/webtests@2022-06-15' = if (tested) {
  name: 'ready-${name}'
  location: location
  tags: union(tags, { 'hidden-link:${component.id}': 'Resource' })
  kind: 'standard'
  properties: {
    SyntheticMonitorId: 'ready-${name}'
    Name: 'ready-${name}'
    Description: 'The service is up and has a policy that is fresh.'
    Enabled: true
    Kind: 'standard'
    Frequency: 900
    Timeout: 60
    RetryEnabled: true
    Locations: [
      for location in testLocations: {
        Id: location
      }
    ]
    Request: {
      RequestUrl: empty(publicUrl) ? 'https://${site.properties.defaultHostName}/readyz' : '${publicUrl}/readyz'
      HttpVerb: 'GET'
      ParseDependentRequests: false
      FollowRedirects: false
    }
    ValidationRules: {
      ExpectedHttpStatusCode: 200
      SSLCheck: true
      SSLCertRemainingLifetimeCheck: 7
    }
  }
}

resource unavailable 'Microsoft.Insights/metricAlerts@2018-03-01' = if (tested) {
  name: 'alert-unavailable-${name}'
  location: 'global'
  tags: tags
  properties: {
    description: 'The app does not start, has no usable policy, or cannot be reached. Its /readyz tells, or answers 404 where the app did not start.'
    severity: 1
    enabled: true
    autoMitigate: true
    evaluationFrequency: 'PT5M'
    windowSize: 'PT30M'
    scopes: [
      availability.id
      component.id
    ]
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.WebtestLocationAvailabilityCriteria'
      webTestId: availability.id
      componentId: component.id
      failedLocationCount: min(2, length(testLocations))
    }
    actions: [
      for id in groups: {
        actionGroupId: id
      }
    ]
  }
  dependsOn: [
    group
  ]
}

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: workbookName
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    category: 'workbook'
    displayName: 'ACR token vending (${name})'
    serializedData: loadTextContent('../../shared/workbook.json')
    sourceId: toLower(component.id)
    version: 'Notebook/1.0'
  }
}

resource budget 'Microsoft.Consumption/budgets@2024-08-01' = if (monthlyBudget > 0) {
  name: 'budget-${name}'
  properties: {
    category: 'Cost'
    amount: monthlyBudget
    timeGrain: 'Monthly'
    timePeriod: {
      startDate: '${budgetStart}T00:00:00Z'
    }
    notifications: {
      actual: {
        enabled: true
        operator: 'GreaterThanOrEqualTo'
        threshold: 80
        thresholdType: 'Actual'
        contactEmails: emails
        contactRoles: ['Owner']
      }
      forecasted: {
        enabled: true
        operator: 'GreaterThanOrEqualTo'
        threshold: 100
        thresholdType: 'Forecasted'
        contactEmails: emails
        contactRoles: ['Owner']
      }
    }
  }
}
