"""Fixtures for the checks of infra/: what each template would deploy, worked out once for each session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.infra import bicep
from tests.infra.scenarios import SCENARIOS
from tests.infra.terraform import Terraform, prepare
from tests.infra.toolbox import TERRAFORM

if TYPE_CHECKING:
    from pathlib import Path

Planned = dict[str, dict[str, Any]]


@pytest.fixture(scope="session")
def deployments() -> dict[str, bicep.Deployment]:
    """What Bicep deploys, by scenario."""
    return {scenario.name: bicep.main(scenario.bicep) for scenario in SCENARIOS}


@pytest.fixture(scope="session")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """Terraform on infra/terraform. No package registry has it: where it is absent, its tests are not collected."""
    return prepare(TERRAFORM, tmp_path_factory.mktemp("terraform"))


@pytest.fixture(scope="session")
def plans(terraform: Terraform) -> dict[str, Planned]:
    """What Terraform plans, by scenario: address to the planned resource."""
    return {
        scenario.name: {change["address"]: change for change in terraform.plan(scenario.terraform)["resource_changes"]}
        for scenario in SCENARIOS
    }


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")
