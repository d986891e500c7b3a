"""Fixtures for the checks of infra/: what each template deploys, worked out once for each session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.infra.bodies import Bodies, of_terraform
from tests.infra.scenarios import SCENARIOS
from tests.infra.terraform import Terraform, deployer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


@pytest.fixture(scope="session")
def applied(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Bodies, dict[str, Any]]]:
    """What Terraform makes, by scenario: bodies and outputs."""
    found = {}
    with deployer(tmp_path_factory.mktemp("applied")) as terraform:
        for scenario in SCENARIOS:
            terraform.apply(scenario.terraform)
            found[scenario.name] = of_terraform(terraform.state()), terraform.outputs()
            (terraform.folder / "terraform.tfstate").unlink()
            terraform.manager.start_again()
    return found


@pytest.fixture(scope="module")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terraform]:
    """Terraform with nothing deployed, for questions that deploy nothing."""
    with deployer(tmp_path_factory.mktemp("terraform")) as found:
        yield found
