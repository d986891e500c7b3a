# The condition language is exact: every data action of the role, prefixes that end in /, nothing else.

variables {
  mode    = "abac"
  pull    = []
  push    = []
  delete  = []
  catalog = false
}

run "nothing_asked_is_nothing_granted" {
  command = plan

  assert {
    condition     = length(output.assignments) == 0
    error_message = "An empty request must give no role."
  }
}

run "a_prefix_bounds_both_read_actions" {
  command = plan

  variables {
    pull = ["team/", "tools/cli"]
  }

  assert {
    condition     = output.assignments.repositoryReader.condition == "((!(ActionMatches{'Microsoft.ContainerRegistry/registries/repositories/content/read'}) AND !(ActionMatches{'Microsoft.ContainerRegistry/registries/repositories/metadata/read'})) OR (@Request[Microsoft.ContainerRegistry/registries/repositories:name] StringStartsWithIgnoreCase 'team/' OR @Request[Microsoft.ContainerRegistry/registries/repositories:name] StringEqualsIgnoreCase 'tools/cli'))"
    error_message = "The reader's condition is not the documented form."
  }

  assert {
    condition     = length(output.assignments) == 1
    error_message = "Pull must give one role."
  }
}

run "every_data_action_of_the_writer_and_contributor_is_named" {
  command = plan

  variables {
    push   = ["team/"]
    delete = ["team/old"]
  }

  assert {
    condition = alltrue([
      for action in ["content/read", "metadata/read", "content/write", "metadata/write"] :
      strcontains(output.assignments.repositoryWriter.condition, "!(ActionMatches{'Microsoft.ContainerRegistry/registries/repositories/${action}'})")
    ])
    error_message = "An action that the writer's condition leaves out is unrestricted."
  }

  assert {
    condition = alltrue([
      for action in ["content/read", "metadata/read", "content/write", "metadata/write", "content/delete", "metadata/delete"] :
      strcontains(output.assignments.repositoryContributor.condition, "!(ActionMatches{'Microsoft.ContainerRegistry/registries/repositories/${action}'})")
    ])
    error_message = "An action that the contributor's condition leaves out is unrestricted."
  }
}

run "everything_has_no_condition" {
  command = plan

  variables {
    pull = ["*"]
  }

  assert {
    condition     = output.assignments.repositoryReader.condition == null
    error_message = "* must hold for the whole registry."
  }
}

run "the_catalog_is_listed_only_when_asked" {
  command = plan

  variables {
    pull    = ["team/"]
    catalog = true
  }

  assert {
    condition     = output.assignments.catalogLister.condition == null
    error_message = "The catalog lister supports no condition."
  }
}

run "classic_roles_hold_for_the_registry" {
  command = plan

  variables {
    mode    = "classic"
    pull    = ["*"]
    push    = ["*"]
    delete  = ["*"]
    catalog = true
  }

  assert {
    condition     = join(" ", keys(output.assignments)) == "acrDelete acrPull acrPush"
    error_message = "A classic registry has AcrPull, AcrPush and AcrDelete only."
  }

  assert {
    condition     = alltrue([for assignment in values(output.assignments) : assignment.condition == null])
    error_message = "A classic role takes no condition."
  }
}

run "classic_refuses_repositories" {
  command = plan

  variables {
    mode = "classic"
    pull = ["team/"]
  }

  expect_failures = [output.assignments]
}

run "a_quote_is_refused" {
  command = plan

  variables {
    pull = ["team' OR 'a' StringEquals 'a"]
  }

  expect_failures = [output.assignments]
}

run "an_empty_prefix_is_refused" {
  command = plan

  variables {
    pull = ["/"]
  }

  expect_failures = [output.assignments]
}

run "a_wildcard_inside_a_name_is_refused" {
  command = plan

  variables {
    push = ["team*"]
  }

  expect_failures = [output.assignments]
}

run "an_unknown_mode_is_refused" {
  command = plan

  variables {
    mode = "rbac"
  }

  expect_failures = [var.mode]
}
