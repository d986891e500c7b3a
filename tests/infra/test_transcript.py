"""docs/deploy.md leads from nothing to a token: its commands are run as written.

The Azure CLI and Azure's names are imitated; git, the Bicep compiler, Terraform, `infra/deliver.py` and curl are real,
and what answers in the end is the real service with the policy that was delivered.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from devstack.registry.tokens import Rights
from devstack.stack import Stack, Upstreams
from tests.infra import front
from tests.infra.azure_cli import AzureCli, on_the_path
from tests.infra.compiler import Compiler
from tests.infra.resource_manager import ResourceManager
from tests.infra.scenarios import GROUP, SUBSCRIPTION, registry_id
from tests.infra.terraform import PROVIDERS, deployer
from tests.infra.toolbox import ROOT, succeed

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (ROOT / "docs" / "deploy.md").read_text()
AUDIENCE = "https://vending.fabrikam.example"
REGISTRY = registry_id("contoso")
OWNED = {f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}" for group in (GROUP, "rg-images")}
EDITOR = """#!/bin/sh
for file; do cp "$PREPARED/$(basename "$file")" "$file"; done
"""
POLICY = """version: 1
audience: {audience}
registries: {{prod: {{login_server: "{login_server}"}}}}
issuers: {{github: {{preset: github, issuer: "{issuer}"}}}}
rules:
  - name: web
    issuer: github
    when: {{repository_id: "777", repository_owner_id: "88"}}
    grant: [{{registry: prod, repositories: ["web/*"], actions: [pull, push]}}]
"""
needs_bicep = pytest.mark.program("bicep")


def block(heading: str, number: int = 0, kind: str = "sh") -> str:
    """Give a fenced block of a section of the page."""
    section = PAGE[PAGE.index(f"\n## {heading}\n") :]
    section = section[: section.find("\n## ", 1)]
    found: list[str] = re.findall(rf"^```{kind}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return found[number]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is checked out here, as a repository to clone."""
    folder = tmp_path_factory.mktemp("origin")
    for name in succeed(["git", "ls-files", "--cached", "--others", "--exclude-standard"]).splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    git: list[str | Path] = ["git", "-C", folder, "-c", "user.name=t", "-c", "user.email=t@example.com"]
    succeed(["git", "init", "--quiet", folder])
    succeed([*git, "add", "--all"])
    succeed([*git, "commit", "--quiet", "--message", "x"])
    return folder


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """The service before it has a policy of its own, and a registry in ABAC mode."""
    settings = {"VENDING_PUBLIC_URL": "https://func.azurewebsites.net", "VENDING_POLICY_REFRESH_SECONDS": "1"}
    with Upstreams() as upstreams:
        identity = upstreams.identity.system
        assert identity
        upstreams.registry.tokens.mode = "abac"
        upstreams.registry.allow(identity.object_id, Rights([("web/*", frozenset({"pull", "push", "metadata_read"}))]))
        with Stack(upstreams, settings=settings) as running:
            yield running


def shell(commands: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run lines as somebody pastes them, and stop at the first that fails."""
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def prepared(folder: Path, stack: Stack, parameters: str) -> dict[str, str]:
    """Write what the engineer would write in the editor, and give the environment of the terminal."""
    files, programs = folder / "prepared", folder / "bin"
    files.mkdir()
    programs.mkdir(exist_ok=True)
    policy = POLICY.format(audience=AUDIENCE, login_server=stack.registry.login_server, issuer=stack.issuers.github.url)
    (files / "policy.yaml").write_text(policy)
    (files / "main.bicepparam").write_text(parameters)
    (programs / "editor").write_text(EDITOR)
    (programs / "editor").chmod(0o755)
    return {
        "EDITOR": "editor",
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PREPARED": str(files),
        "VENDING_ALLOW_LOOPBACK": "1",  # For the registry here, where the policy is compiled.
        "HOME": str(folder),
    }


def from_github(repository: Path) -> dict[str, str]:
    """Have git find the page's repository here."""
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{repository}.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/contoso/acr-token-vending.git",
    }


def vend(stack: Stack, environment: dict[str, str], app: str) -> dict[str, Any]:
    """Ask the app by its public name for a token, as a job of the policy's repository."""
    token = stack.issuers.github.token(aud=AUDIENCE, repository_id="777", repository_owner_id="88")
    command = f"""curl --silent --show-error https://{app}.azurewebsites.net/token \
        --data-urlencode grant_type=urn:ietf:params:oauth:grant-type:token-exchange \
        --data-urlencode subject_token={token} --data-urlencode scope=repository:web/api:pull,push"""
    done = shell(command, ROOT, environment)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def parameters(**given: str) -> str:
    access = f"{{ id: '{REGISTRY}', pull: ['web/'], push: ['web/'] }}"
    given = {"registries": f"[{access}]", "alertEmails": "['on-call@fabrikam.example']", **given}
    return "\n".join(["using 'main.bicep'", *(f"param {name} = {value}" for name, value in given.items())]) + "\n"


@pytest.fixture
def azure() -> Iterator[AzureCli]:
    """A subscription in which the engineer owns a group and the registry's group, and nothing else."""
    manager = ResourceManager()
    manager.seed(REGISTRY)
    manager.put_there(f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}")
    with Compiler() as compiler:
        yield AzureCli(manager, compiler, groups=OWNED)


def register_providers(azure: AzureCli, folder: Path, environment: dict[str, str]) -> None:
    """Do what the subscription's owner does once."""
    azure.owner = True
    done = shell("az login\n" + block("From nothing to a token"), folder, environment)
    assert done.returncode == 0, done.stderr
    azure.owner, azure.signed_in = False, False


@needs_bicep
def test_ten_commands_lead_from_nothing_to_a_token(
    azure: AzureCli, stack: Stack, repository: Path, tmp_path: Path
) -> None:
    commands = block("From nothing to a token", 1)
    assert len([line for line in commands.splitlines() if line]) <= 10
    environment = {**prepared(tmp_path, stack, parameters()), **from_github(repository)}
    with on_the_path(azure, tmp_path / "bin"), front.front(stack, tmp_path) as names:
        register_providers(azure, tmp_path, environment)
        done = shell(f'{commands}\necho "$app"', tmp_path, {**environment, **names})
        assert done.returncode == 0, done.stdout + done.stderr
        app = done.stdout.splitlines()[-1]
        answer = vend(stack, names, app)
        assert answer["scope"] == "repository:web/api:pull,push", answer
        ready = shell(block("The first token"), tmp_path, {**names, "app": app})
    assert json.loads(ready.stdout)["reload_failure"] is None, ready.stderr


@needs_bicep
def test_the_page_says_what_must_be_registered_and_owned(azure: AzureCli, stack: Stack, tmp_path: Path) -> None:
    environment = prepared(tmp_path, stack, parameters())
    shutil.copytree(ROOT / "infra", tmp_path / "infra")
    shutil.copy(tmp_path / "prepared" / "main.bicepparam", tmp_path / "infra" / "bicep")
    [deploy] = [line for line in block("From nothing to a token", 1).splitlines() if "stack group create" in line]
    with on_the_path(azure, tmp_path / "bin"):
        unregistered = shell(f"az login\n{deploy}", tmp_path, environment)
        register_providers(azure, tmp_path, environment)
        azure.groups = {f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}"}
        foreign = shell(f"az login\n{deploy}", tmp_path, environment)
    assert "MissingSubscriptionRegistration" in unregistered.stderr
    assert "AuthorizationFailed" in foreign.stderr


@needs_bicep
def test_a_right_is_taken_off_a_locked_registry(azure: AzureCli, stack: Stack, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "infra", tmp_path / "infra")
    file = tmp_path / "infra" / "bicep" / "main.bicepparam"
    wider = parameters(newRegistryName="'fresh'", newRegistryAccess="{ pull: ['*'], push: ['apps/'] }")
    recipe = block("With `az`", 1).replace("<registry>", "fresh")
    lift, _, deploy = recipe.strip().splitlines()
    environment = prepared(tmp_path, stack, wider)
    rights = "/registries/fresh/providers/microsoft.authorization/roleassignments/"
    with on_the_path(azure, tmp_path / "bin"):
        register_providers(azure, tmp_path, environment)
        file.write_text(wider)
        assert shell(f"az login\n{deploy}", tmp_path, environment).returncode == 0
        file.write_text(wider.replace("pull: ['*'], ", ""))
        assert "ScopeLocked" in shell(deploy, tmp_path, environment).stderr
        # A run makes the lock before it deletes: to lift it is not enough.
        assert "ScopeLocked" in shell(f"{lift}\n{deploy}", tmp_path, environment).stderr
        done = shell(recipe, tmp_path, environment)
    assert done.returncode == 0, done.stderr
    assert len([name for name in azure.manager.resources if rights in name]) == 1
    assert [name for name in azure.manager.resources if name.endswith("/locks/holds-images")]


@needs_bicep
def test_what_was_deployed_goes_away_and_leaves_nothing(azure: AzureCli, stack: Stack, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "infra", tmp_path / "infra")
    given = parameters(newRegistryName="'fresh'", newRegistryAccess="{ push: ['apps/'] }")
    (tmp_path / "infra" / "bicep" / "main.bicepparam").write_text(given)
    section = PAGE[PAGE.index("\n## Removing\n") :]
    commands = [line.strip() for line in section.splitlines() if line.startswith("   az ")]
    lift, *remove = [line.replace("<registry>", "fresh") for line in commands]
    deploy = block("With `az`", 1).splitlines()[-1]
    environment = prepared(tmp_path, stack, given)
    with on_the_path(azure, tmp_path / "bin"):
        register_providers(azure, tmp_path, environment)
        assert shell(f"az login\n{deploy}", tmp_path, environment).returncode == 0
        assert azure.manager.left()
        assert "ScopeLocked" in shell("\n".join(remove), tmp_path, environment).stderr
        done = shell("\n".join([lift, *remove]), tmp_path, environment)
    assert done.returncode == 0, done.stderr
    assert azure.manager.left() == set()


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_page_leads_to_a_token_with_terraform(
    stack: Stack, repository: Path, tmp_path: Path, provider: str
) -> None:
    """But for the state's backend, which only Azure has."""
    variables, commands = block("With Terraform", 0, "hcl"), block("With Terraform", 1)
    written = re.sub(r'"/subscriptions/…[^"]*"', f'"{REGISTRY}"', variables).replace(
        "00000000-0000-0000-0000-000000000000", SUBSCRIPTION
    )
    with ExitStack() as context:
        terraform = context.enter_context(deployer(tmp_path / "terraform", provider))
        terraform.manager.seed(REGISTRY)
        azure = AzureCli(terraform.manager, signed_in=True)
        environment = {**terraform.environment, **prepared(tmp_path, stack, "")}
        context.enter_context(on_the_path(azure, tmp_path / "bin"))
        names = context.enter_context(front.front(stack, tmp_path))
        succeed(["git", "clone", "--quiet", repository, tmp_path / "clone"])
        folder = tmp_path / "clone" / "infra" / "terraform"
        shutil.copy(tmp_path / "prepared" / "policy.yaml", tmp_path / "clone")
        (folder / "vending.auto.tfvars").write_text(written)
        first, _, last = commands.partition("cd ../..\n")
        done = shell(f"terraform init -input=false\n{first}", folder, dict(environment))
        assert done.returncode == 0, done.stdout + done.stderr
        done = shell(last, tmp_path / "clone", {**environment, **names})
        assert done.returncode == 0, done.stdout + done.stderr
        [site] = [name for name in terraform.manager.resources if re.search(r"/sites/[^/]+$", name)]
        assert vend(stack, names, site.rsplit("/", 1)[1])["scope"] == "repository:web/api:pull,push"
