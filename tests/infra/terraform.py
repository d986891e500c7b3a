"""Run the real Terraform on infra/terraform, with the providers' published schemas in place of the providers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.infra.terraform_provider import schema
from tests.infra.toolbox import (
    CACHE,
    HERE,
    LOCKS,
    TERRAFORM,
    bindings,
    once,
    parsed_terraform,
    python_tools,
    run,
    succeed,
)

PROVIDERS = {"azurerm": "hashicorp/azurerm", "azapi": "azure/azapi"}


def resources(provider: str) -> list[str]:
    """Name the resource types of one provider that the configuration uses."""
    return sorted(
        {
            kind
            for content in parsed_terraform().values()
            for kind in content.get("resource", {})
            if kind.startswith(f"{provider}_")
        }
    )


def stand_ins() -> Path:
    """Make an executable for each provider that serves its schema, and a CLI configuration that names them."""
    folder = CACHE / "providers"
    wheels, python = bindings(), python_tools("schemas") / "python"
    server = HERE / "terraform_provider" / "server.py"

    def make() -> None:
        for provider in PROVIDERS:
            [wheel] = wheels.glob(f"cdktn_provider_{provider}-*.whl")
            described = folder / f"{provider}.json"
            described.write_text(json.dumps(schema.read(wheel, f"{provider}_", resources(provider))))
            executable = folder / f"terraform-provider-{provider}"
            executable.write_text(f'#!/bin/sh\nexec "{python}" "{server}" "{described}"\n')
            executable.chmod(0o755)
        overrides = "\n".join(f'    "{source}" = "{folder}"' for source in PROVIDERS.values())
        (folder / "cli.tfrc").write_text(
            "disable_checkpoint = true\n"
            f"provider_installation {{\n  dev_overrides {{\n{overrides}\n  }}\n  direct {{}}\n}}\n"
        )

    inputs = [LOCKS / "bindings.txt", HERE / "terraform_provider" / "schema.py", *sorted(TERRAFORM.glob("*.tf"))]
    return once(folder, inputs, make)


def versions() -> dict[str, str]:
    """Tell which provider versions the schemas are of."""
    return {p: json.loads((stand_ins() / f"{p}.json").read_text())["version"] for p in PROVIDERS}


@dataclass(frozen=True)
class Terraform:
    """A working copy of Terraform's state for one configuration."""

    configuration: Path
    data: Path

    def __call__(self, *arguments: str) -> str:
        """Run a subcommand that has to succeed."""
        return succeed(["terraform", *arguments], cwd=self.configuration, env=self.environment)

    def refuse(self, *arguments: str) -> str:
        """Run a subcommand that has to fail, and give what it said."""
        done = run(["terraform", *arguments], cwd=self.configuration, env=self.environment)
        assert done.returncode, done.stdout
        return done.stdout + done.stderr

    @property
    def environment(self) -> dict[str, str]:
        return {
            "TF_CLI_CONFIG_FILE": str(stand_ins() / "cli.tfrc"),
            "TF_DATA_DIR": str(self.data),
            "TF_IN_AUTOMATION": "1",
            "TF_CLI_ARGS": "-no-color",
            "HOME": str(CACHE),
        }

    def plan(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Plan with the given variables and give the plan as JSON."""
        given, plan = self.data / "given.tfvars.json", self.data / "plan"
        given.write_text(json.dumps(variables))
        self("plan", "-input=false", "-lock=false", f"-var-file={given}", f"-out={plan}")
        planned: dict[str, Any] = json.loads(self("show", "-json", str(plan)))
        return planned


def prepare(configuration: Path, data: Path) -> Terraform:
    """Install the modules of a configuration; the providers need no `init`."""
    data.mkdir(parents=True, exist_ok=True)
    terraform = Terraform(configuration, data)
    terraform("get")
    return terraform
