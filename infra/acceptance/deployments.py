"""Deploy into throw-away groups by Bicep, Terraform and azd: each twice, and away again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from world import ROOT, Failed, World, claims_of

ACCESS = {"pull": ["accept/"], "push": ["accept/"]}


@dataclass(frozen=True)
class Deployed:
    """What a deployment says of itself."""

    group: str
    app: str
    url: str
    registry: str
    container: str
    principal: str


def bicep_parameters(registry: str, writer: str) -> str:
    """Give the parameters file: a registry of its own, the policy as a blob that this workflow may write."""
    return f"""using 'main.bicep'

param newRegistryName = '{registry}'
param newRegistryLock = false
param newRegistryAccess = {{ pull: ['accept/'], push: ['accept/'] }}
param policyDelivery = 'blob'
param policyWriterPrincipalId = '{writer}'
param policyWriterPrincipalType = 'ServicePrincipal'
param policyRefreshSeconds = 15
param alertEmails = ['nobody@contoso.example']
"""


def deployer(world: World) -> str:
    """Give the object id of who runs this."""
    token = world.az("account", "get-access-token")["accessToken"]
    return str(claims_of(token)["oid"])


@contextmanager
def by_bicep(world: World) -> Iterator[Deployed]:
    """Deploy as a stack, hold that a second look changes nothing, and take all of it away."""
    group, registry = f"{world.prefix}-bicep", f"{world.prefix}bicep".replace("-", "")
    parameters = ROOT / "infra" / "bicep" / "accept.bicepparam"
    parameters.write_text(bicep_parameters(registry, deployer(world)))
    stack = ["--name", "vending", "--resource-group", group]
    how = [
        "--parameters",
        str(parameters),
        "--action-on-unmanage",
        "deleteAll",
        "--deny-settings-mode",
        "none",
        "--yes",
    ]
    outputs: dict[str, Any] = {}
    try:
        with world.claim("Bicep: the first deployment succeeds unchanged"):
            world.az("group", "create", "--name", group, "--location", world.location)
            outputs = world.az("stack", "group", "create", *stack, *how)["outputs"]
        with world.claim("Bicep: what-if after it finds no change, and names every resource") as seen:
            look = ["deployment", "group", "what-if", "--resource-group", group, "--parameters", str(parameters)]
            changes = world.az(*look, "--no-pretty-print")["changes"]
            changed = [
                c["resourceId"].rsplit("/", 2)[-2:]
                for c in changes
                if c["changeType"] in {"Create", "Modify", "Delete"}
            ]
            seen.append(f"{len(changes)} resources")
            if changed or not changes:
                raise Failed(f"changed: {changed}")
        with world.claim("Bicep: a second deployment succeeds"):
            world.az("stack", "group", "create", *stack, *how)
        yield deployed(group, registry, {name: each["value"] for name, each in outputs.items()})
    finally:
        parameters.unlink()
        with world.claim("Bicep: the stack goes away, and leaves nothing"):
            world.az("stack", "group", "delete", *stack, "--action-on-unmanage", "deleteAll", "--yes")
            gone(world, group)


@contextmanager
def by_terraform(world: World) -> Iterator[Deployed]:
    """Apply, plan again, and destroy."""
    group, registry = f"{world.prefix}-terraform", f"{world.prefix}tf".replace("-", "")
    folder = world.work / "terraform"
    shutil.copytree(ROOT / "infra", folder / "infra", dirs_exist_ok=True)
    root = folder / "infra" / "terraform"
    given = {
        "subscription_id": world.az("account", "show")["id"],
        "location": world.location,
        "resource_group_name": group,
        "new_registry_name": registry,
        "new_registry_access": ACCESS,
        "alert_emails": ["nobody@contoso.example"],
    }
    (root / "accept.auto.tfvars.json").write_text(json.dumps(given))
    outputs: dict[str, Any] = {}
    try:
        with world.claim("Terraform: the first apply succeeds unchanged"):
            world.run("terraform", "init", "-input=false", cwd=root)
            world.run("terraform", "apply", "-input=false", "-auto-approve", cwd=root)
            outputs = json.loads(world.run("terraform", "output", "-json", cwd=root))
        with world.claim("Terraform: the second plan is empty"):
            world.run("terraform", "plan", "-input=false", "-detailed-exitcode", cwd=root)
        with world.claim("Terraform: a right is taken off the locked registry"):
            (root / "accept.auto.tfvars.json").write_text(
                json.dumps({**given, "new_registry_access": {"pull": ["accept/"]}})
            )
            world.run("terraform", "apply", "-input=false", "-auto-approve", cwd=root)
        yield deployed(group, registry, {name: each["value"] for name, each in outputs.items()})
    finally:
        with world.claim("Terraform: destroy succeeds, and leaves nothing"):
            world.run("terraform", "destroy", "-input=false", "-auto-approve", cwd=root)
            gone(world, group)


@contextmanager
def by_azd(world: World) -> Iterator[Deployed]:
    """Provision twice, deploy the code, and take it down."""
    name, registry = f"{world.prefix}-azd", f"{world.prefix}azd".replace("-", "")
    group = f"rg-{name}"
    values: dict[str, str] = {}
    try:
        with world.claim("azd: the first provisioning succeeds unchanged"):
            subscription = world.az("account", "show")["id"]
            world.run(
                "azd", "env", "new", name, "--location", world.location, "--subscription", subscription, "--no-prompt"
            )
            for key, value in {
                "VENDING_NEW_REGISTRY_NAME": registry,
                "VENDING_PULL_REPOSITORIES": "accept/",
                "VENDING_PUSH_REPOSITORIES": "accept/",
                "VENDING_ALERT_EMAIL": "nobody@contoso.example",
            }.items():
                world.run("azd", "env", "set", key, value, "--environment", name)
            world.run("azd", "provision", "--no-prompt", "--environment", name)
            values = json.loads(world.run("azd", "env", "get-values", "--output", "json", "--environment", name))
        with world.claim("azd: a second provisioning changes nothing"):
            said = world.run("azd", "provision", "--no-prompt", "--environment", name)
            if "no changes" not in said.lower():
                raise Failed(said[-300:])
        with world.claim("azd: deploys the code"):
            world.run("azd", "deploy", "--no-prompt", "--environment", name)
        yield deployed(
            group,
            registry,
            {"functionAppName": values["AZURE_FUNCTION_APP_NAME"], "publicUrl": values["VENDING_PUBLIC_URL"]},
        )
    finally:
        with world.claim("azd: goes down, and leaves nothing"):
            world.run(
                "az",
                "lock",
                "delete",
                "--name",
                "holds-images",
                "--resource-group",
                group,
                "--resource-name",
                registry,
                "--resource-type",
                "Microsoft.ContainerRegistry/registries",
            )
            world.run("azd", "down", "--force", "--purge", "--no-prompt", "--environment", name)
            gone(world, group)


def deployed(group: str, registry: str, outputs: dict[str, Any]) -> Deployed:
    def get(bicep: str, terraform: str) -> str:
        return str(outputs.get(bicep) or outputs.get(terraform) or "")

    return Deployed(
        group,
        get("functionAppName", "function_app_name"),
        get("publicUrl", "public_url"),
        registry,
        get("policyContainerUrl", "policy_container_url"),
        get("vendingPrincipalId", "vending_principal_id"),
    )


def gone(world: World, group: str) -> None:
    """Take away the group, which holds only what Azure made beside it, and hold that it is gone."""
    if world.az("group", "exists", "--name", group):
        mine = [
            each["type"]
            for each in world.az("resource", "list", "--resource-group", group)
            if each["type"].lower() != "microsoft.alertsmanagement/smartdetectoralertrules"
            and each["name"] != "Application Insights Smart Detection"
        ]
        world.az("group", "delete", "--name", group, "--yes")
        if mine:
            raise Failed(f"left behind: {mine}")
    if world.az("group", "exists", "--name", group):
        raise Failed(f"{group} is still there")
