"""The custom roles under infra/ are as `az role definition create` takes them, and cover what the templates do."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.infra.arm_types import known_types
from tests.infra.scenarios import SCENARIOS
from tests.infra.toolbox import HERE, ROOT

FILES = sorted((ROOT / "infra").glob("role-*.json"))
LISTS = ("Actions", "NotActions", "DataActions", "NotDataActions", "AssignableScopes")


def role(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "infra" / f"role-{name}.json").read_text())
    return found


def allows(actions: list[str], wanted: str) -> bool:
    return any(re.fullmatch(re.escape(each).replace(r"\*", ".*"), wanted, re.IGNORECASE) for each in actions)


def test_there_is_one_for_each_job() -> None:
    assert [path.stem for path in FILES] == ["role-deliver", "role-deploy", "role-what-if"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_has_what_the_command_asks_for(path: Path) -> None:
    definition = json.loads(path.read_text())
    assert set(definition) == {"Name", "Description", *LISTS}
    assert all(isinstance(definition[name], list) for name in LISTS)
    assert definition["DataActions"] == []
    for scope in definition["AssignableScopes"]:
        assert re.fullmatch(r"/subscriptions/[0-9a-f-]{36}/resourceGroups/[\w-]+", scope)
    for action in definition["Actions"]:
        assert re.fullmatch(r"\*/read|Microsoft\.\w+(/\w+)*/(read|write|delete|\*|\w+/action)", action), action


def test_every_action_was_read_somewhere() -> None:
    """A misspelt action is refused, or worse, grants nothing: `actions.json` says where each was read."""
    sources: dict[str, str] = json.loads((HERE / "actions.json").read_text())
    named = {action for path in FILES for action in json.loads(path.read_text())["Actions"]} - {"*/read"}
    assert named == set(sources)
    published = {name.split("@")[0] for name in known_types()}
    for action, source in sources.items():
        if source == "verb of a published resource type":
            kind, _, verb = action.rpartition("/")
            assert kind.lower() in published, action
            assert verb in {"write", "delete"}, action


def test_deploying_covers_every_type_that_the_templates_write() -> None:
    actions = role("deploy")["Actions"]
    for scenario in SCENARIOS:
        for resource in scenario.snapshot()["predictedResources"]:
            assert allows(actions, f"{resource['type']}/write"), resource["type"]
            assert allows(actions, f"{resource['type']}/read"), resource["type"]
    for needed in (
        "Microsoft.Authorization/roleAssignments/delete",
        "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action",
        "Microsoft.Resources/deployments/write",
        "Microsoft.Resources/deployments/whatIf/action",
        "Microsoft.Resources/deploymentStacks/manageDenySetting/action",
        # `az stack group create` validates before it creates, since Azure CLI 2.61 (azure-cli pull request 28605).
        "Microsoft.Resources/deploymentStacks/validate/action",
        "Microsoft.Resources/deploymentStacks/write",
    ):
        assert allows(actions, needed), needed


def test_what_if_changes_nothing() -> None:
    actions = role("what-if")["Actions"]
    assert allows(actions, "Microsoft.Resources/deployments/whatIf/action")
    for verb in ("write", "delete"):
        assert not allows(actions, f"Microsoft.Web/sites/{verb}")
        assert not allows(actions, f"Microsoft.Resources/deployments/{verb}")


def test_delivering_reaches_the_site_alone() -> None:
    actions = role("deliver")["Actions"]
    assert allows(actions, "Microsoft.Web/serverfarms/read")
    assert all(action.startswith("Microsoft.Web/") for action in actions)
    assert not allows(actions, "Microsoft.Web/sites/delete")
    assert not allows(actions, "Microsoft.Authorization/roleAssignments/write")


def test_no_role_is_a_wildcard_for_everything() -> None:
    for path in FILES:
        assert not set(json.loads(path.read_text())["Actions"]) & {"*", "*/write", "*/delete", "Microsoft.Web/*"}


def test_the_button_opens_the_compiled_template() -> None:
    readme = (ROOT / "README.md").read_text()
    [link] = re.findall(r"portal\.azure\.com/#create/Microsoft\.Template/uri/(\S+?)\)", readme)
    assert link.endswith("main%2Finfra%2Fazuredeploy.json")
    assert (ROOT / "infra" / "azuredeploy.json").is_file()
