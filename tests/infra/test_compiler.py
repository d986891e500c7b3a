"""What only the Bicep compiler can say: the files are Bicep, in its own form, and what it made of them is current.

Collected where there is a compiler; one line says so where there is none, and what it wrote is tested all the same.
"""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.infra import compiler as bicep
from tests.infra.compiler import Compiler, Refused
from tests.infra.scenarios import SCENARIOS, Scenario, registry_id
from tests.infra.toolbox import BICEP, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.program("bicep")

FILES = sorted([*BICEP.rglob("*.bicep"), *BICEP.rglob("*.bicepparam")])
EACH = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
HINT = "run: python -m tests.infra.compiler"


@pytest.fixture(scope="module")
def compiler() -> Iterator[Compiler]:
    with Compiler() as running:
        yield running


@EACH
def test_snapshots_are_current(compiler: Compiler, scenario: Scenario) -> None:
    assert compiler.formatted(scenario.parameters) == scenario.parameters.read_text(), HINT
    assert scenario.parameters.read_text().split() == scenario.written().split(), HINT
    assert bicep.snapshot_text(compiler, scenario) == scenario.snapshot_file.read_text(), HINT


def test_the_compiled_template_is_current(compiler: Compiler) -> None:
    assert bicep.template_text(compiler) == bicep.TEMPLATE.read_text(), HINT


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_file_is_as_the_compiler_formats_it(compiler: Compiler, path: Path) -> None:
    assert compiler.formatted(path) == path.read_text()


RECIPES = sorted(f"recipes/{path.name}" for path in (BICEP / "recipes").glob("*.bicep"))


@pytest.mark.parametrize("entry", ["main.bicep", "azd.bicep", *RECIPES])
def test_build_and_every_rule_of_the_linter_are_silent(compiler: Compiler, entry: str) -> None:
    answer = compiler.compile(BICEP / entry)
    assert answer["diagnostics"] == []


@pytest.mark.parametrize(
    ("file", "good", "bad", "says"),
    [
        pytest.param("modules/app.bicep", "httpsOnly: true", "httpOnly: true", "BCP089", id="property"),
        pytest.param("modules/app.bicep", "httpsOnly: true", "httpsOnly: 'yes'", "BCP036", id="type"),
        pytest.param(
            "modules/host-storage.bicep",
            "guid(account.id, identityId,",
            "guid(account.id, identityPrincipalId,",
            "what-if-short-circuiting",
            id="name_that_what_if_cannot_know",
        ),
        pytest.param(
            "modules/app.bicep",
            "param allowedAddresses string[]",
            "param allowedAddresses array",
            "use-user-defined-types",
            id="untyped",
        ),
        pytest.param("main.bicep", "var blob =", "var unused = 1\nvar blob =", "no-unused-vars", id="unused"),
    ],
)
def test_the_compiler_finds_a_mistake(
    compiler: Compiler, tmp_path: Path, file: str, good: str, bad: str, says: str
) -> None:
    shutil.copytree(ROOT / "infra", tmp_path / "infra")
    path = tmp_path / "infra" / "bicep" / file
    assert good in path.read_text()
    path.write_text(path.read_text().replace(good, bad))
    answer = compiler.compile(tmp_path / "infra" / "bicep" / "main.bicep")
    assert says in {entry["code"] for entry in answer["diagnostics"]}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with infra/ in it, for parameters files of the tests."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "infra", folder / "infra")
    return folder


def evaluate(compiler: Compiler, folder: Path, parameters: list[str]) -> dict[str, Any]:
    path = folder / "given.bicepparam"
    lines = ["using 'infra/bicep/main.bicep'", "param storageSuffix = 'core.windows.net'", *parameters]
    path.write_text("\n".join(lines) + "\n")
    return compiler.snapshot(path)


CONTOSO = registry_id("contoso")
PARTNER = "https://contoso.vault.azure.net/secrets/partner"


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        pytest.param(
            {
                "pythonVersion": "'3.14'",
                "deadlineSeconds": "51",
                "policyRefreshSeconds": "0",
                "policyMaxStaleSeconds": "100000",
                "registries": f"[{{ id: '{CONTOSO}', pul: ['a'] }}, {{ id: '{CONTOSO}', mode: 'rbac' }}]",
                "newRegistryAccess": "{ pul: ['a'] }",
            },
            ["3.14", "51", "minimum", "100000", '"pul" is not allowed', "'abac' | 'classic'"],
            id="types",
        ),
        pytest.param(
            {
                "name": "'Vending'",
                "zoneRedundant": "true",
                "alwaysReadyInstances": "1",
                "publicUrl": "'http://vend.contoso.example'",
                "customHosts": "['Registry.contoso.example']",
                "keyVaultReferences": "{ PARTNER: 'hunter2' }",
                "extraSettings": "{ 'MY-SETTING': '1' }",
                "policyBlobName": "'my policy.yaml'",
                "registries": "[{ id: 'contoso' }]",
                "newRegistryName": "'no'",
                "privateRegistryIds": f"['{CONTOSO}']",
                "appSubnetId": "'vnet'",
                "inboundPrivate": "true",
                "monthlyBudget": "10",
                "frontDoorId": "'AzureFrontDoor.Backend'",
            },
            [
                "name must be 3 to 16",
                "zoneRedundant needs alwaysReadyInstances",
                "publicUrl must be https://host",
                "exact host names in lower case",
                "must be the URI of a Key Vault secret",
                "The names of extraSettings",
                "policyBlobName holds",
                "Each registry needs its full id",
                "newRegistryName must be 5 to 50",
                "privateRegistryIds needs networkAccess private",
                "Give both subnets or none",
                "inboundPrivate needs networkAccess private",
                "A budget begins on the first day",
                "frontDoorId is a GUID",
            ],
            id="everything_at_once",
        ),
        pytest.param(
            {
                "name": "'my app'",
                "publicUrl": "'https://vend.contoso.example/'",
                "customHosts": "['https://registry.contoso.example']",
                "keyVaultReferences": f"{{ 'MY-PARTNER': '{PARTNER}' }}",
                "extraSettings": "{ VENDING_POLICY: 'x' }",
                "registries": f"[{{ id: '{CONTOSO}', pull: ['Team/App'] }}, {{ id: '{CONTOSO}' }}]",
            },
            [
                "name must be 3 to 16",
                "publicUrl must be https://host",
                "exact host names in lower case",
                "The names of keyVaultReferences",
                "what the template sets itself",
                "Each entry must be a repository name",
                "A registry is listed twice",
            ],
            id="less_obvious",
        ),
        pytest.param(
            {"registries": f"[{{ id: '{CONTOSO}', mode: 'classic', pull: ['team/'] }}]"},
            ["A classic registry has no rights by repository"],
            id="classic",
        ),
        pytest.param(
            {"registries": f"[{{ id: '{CONTOSO}', pull: ['a\\' OR \\'a'] }}]"},
            ["Each entry must be a repository name"],
            id="quote",
        ),
        pytest.param(
            {"registries": f"[{{ id: '{CONTOSO}', pull: ['team*'] }}]", "extraSettings": "{ WEBSITE_TIME_ZONE: 'x' }"},
            ["Each entry must be a repository name", "what the template sets itself"],
            id="glob",
        ),
    ],
)
def test_wrong_parameters_are_refused_with_what_to_write(
    compiler: Compiler, copy: Path, parameters: dict[str, str], says: list[str]
) -> None:
    with pytest.raises(Refused) as refused:
        evaluate(compiler, copy, [f"param {name} = {value}" for name, value in parameters.items()])
    said = str(refused.value).replace('\\"', '"').replace("\\u0027", "'")
    for sentence in says:
        assert sentence in said


@pytest.mark.parametrize("name", ["a.b_c__d-e--f/0", "x--y/", "tools/cli", "*"])
def test_every_form_of_a_repository_is_taken(compiler: Compiler, copy: Path, name: str) -> None:
    found = evaluate(compiler, copy, [f"param registries = [{{ id: '{CONTOSO}', pull: ['{name}'] }}]"])
    assert found["predictedResources"]


def test_the_page_calls_recipes_with_parameters_that_they_have(compiler: Compiler) -> None:
    page = (ROOT / "docs" / "deploy.md").read_text()
    called = re.findall(
        r"^az deployment group create .*--template-file infra/bicep/(\S+) --parameters (.*)$", page, re.MULTILINE
    )
    assert len(called) == 2
    for file, given in called:
        declared = json.loads(compiler.compile(BICEP / file)["contents"])["parameters"]
        names = set(re.findall(r"(?:^| )(\w+)=", given))
        assert {name for name, each in declared.items() if "defaultValue" not in each} <= names <= set(declared), file
    outputs = json.loads(compiler.compile(BICEP / "recipes" / "front-door.bicep")["contents"])["outputs"]
    assert "frontDoorId" in outputs


def test_azd_passes_on_what_its_environment_says(compiler: Compiler) -> None:
    text = (BICEP / "azd.bicepparam").read_text()
    passed = set(re.findall(r"^param (\w+) =", text, re.MULTILINE))
    declared = json.loads(compiler.compile(BICEP / "azd.bicep")["contents"])["parameters"]
    assert passed == set(declared)
