"""Run the real Terraform on infra/terraform against the tests' Resource Manager.

The provider is an imitation (imitation/server.py) unless TERRAFORM_MIRROR names a filesystem mirror that holds the real
one, as `terraform providers mirror` writes it; then both are used, one after the other.
"""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from cryptography import x509

from devstack.certs import server_pem
from tests.infra.resource_manager import TENANT, ResourceManager, serve
from tests.infra.scenarios import HUB, OTHER_SUBSCRIPTION, SUBSCRIPTION, registry_id
from tests.infra.toolbox import HERE, ROOT, python_tools, run

MIRROR = os.environ.get("TERRAFORM_MIRROR")
PROVIDERS = ["imitation", *(["real"] if MIRROR else [])]
SCHEMA = HERE / "imitation" / "azapi.json"
SEEDED = [
    registry_id("legacy"),
    registry_id("contoso", OTHER_SUBSCRIPTION),
    f"{HUB}/providers/Microsoft.Network/virtualNetworks/vnet-hub",
    f"{HUB}/providers/Microsoft.Network/virtualNetworks/vnet-hub/subnets/vending",
]


@dataclass
class Terraform:
    """One configuration in a folder of its own, with its state, and the Resource Manager that it deploys to."""

    folder: Path
    environment: Mapping[str, str]
    manager: ResourceManager = field(default_factory=ResourceManager)

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run(["terraform", *arguments], cwd=self.folder, env=self.environment)

    def do(self, *arguments: str) -> str:
        """Run a subcommand that has to succeed."""
        done = self(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def given(self, variables: dict[str, Any]) -> str:
        path = self.folder / "given.tfvars.json"
        path.write_text(json.dumps(variables))
        return f"-var-file={path}"

    def apply(self, variables: dict[str, Any]) -> str:
        return self.do("apply", "-input=false", "-auto-approve", self.given(variables))

    def changes(self, variables: dict[str, Any]) -> list[str]:
        """Plan again, and give what would change: `<address> <what>`."""
        plan = str(self.folder / "plan")
        done = self("plan", "-input=false", "-detailed-exitcode", self.given(variables), f"-out={plan}")
        assert done.returncode in {0, 2}, done.stdout + done.stderr
        if done.returncode == 0:  # nothing would
            return []
        planned = json.loads(self.do("show", "-json", plan))
        return [
            f"{change['address']} {'+'.join(change['change']['actions'])}"
            for change in planned.get("resource_changes", [])
            if change["change"]["actions"] != ["no-op"]
        ]

    def refused(self, variables: dict[str, Any]) -> str:
        """Plan with variables that have to be refused, and give what Terraform said, on one line."""
        done = self("plan", "-input=false", "-refresh=false", "-lock=false", self.given(variables))
        assert done.returncode, done.stdout
        return " ".join((done.stdout + done.stderr).replace("│", " ").split())

    def destroy(self, variables: dict[str, Any]) -> str:
        return self.do("destroy", "-input=false", "-auto-approve", self.given(variables))

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "terraform.tfstate").read_text())
        return found

    def outputs(self) -> dict[str, Any]:
        return {name: each["value"] for name, each in self.state()["outputs"].items()}


def seeded() -> ResourceManager:
    """A Resource Manager with what the scenarios expect to exist."""
    manager = ResourceManager()
    for identifier in SEEDED:
        manager.seed(identifier)
    return manager


def environment(folder: Path) -> dict[str, str]:
    return {
        "CHECKPOINT_DISABLE": "1",
        "GOGC": "400",  # collecting garbage takes a sixth of the CPU of a run
        "HOME": str(folder),
        "TF_CLI_ARGS": "-no-color",
        "TF_DATA_DIR": str(folder / "data"),
        "TF_IN_AUTOMATION": "1",
    }


@contextmanager
def imitation(folder: Path, url: str) -> Iterator[dict[str, str]]:
    """Start the imitation of azapi, and give the environment in which Terraform uses it."""
    socket, python = folder / "azapi.sock", python_tools("provider") / "python"
    command: list[str | Path] = [python, HERE / "imitation" / "server.py", SCHEMA, socket, url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdin is not None
            assert process.stdout.readline() == "ready\n"
            attached = {
                "Protocol": "grpc",
                "ProtocolVersion": 6,
                "Pid": process.pid,
                "Test": True,
                "Addr": {"Network": "unix", "String": str(socket)},
            }
            yield {"TF_REATTACH_PROVIDERS": json.dumps({"azure/azapi": attached})}
        finally:
            process.kill()


def real(folder: Path, url: str) -> dict[str, str]:
    """Give the environment in which Terraform runs the provider of the mirror against a Resource Manager in TLS."""
    configuration = folder / "cli.tfrc"
    configuration.write_text(f'provider_installation {{\n  filesystem_mirror {{\n    path = "{MIRROR}"\n  }}\n}}\n')
    return {
        "ARM_ACTIVE_DIRECTORY_AUTHORITY_HOST": url,
        "ARM_CLIENT_ID": "22222222-2222-2222-2222-222222222222",
        "ARM_CLIENT_SECRET": "of the tests",
        "ARM_DISABLE_INSTANCE_DISCOVERY": "true",
        "ARM_RESOURCE_MANAGER_AUDIENCE": url,
        "ARM_RESOURCE_MANAGER_ENDPOINT": url,
        "ARM_SUBSCRIPTION_ID": SUBSCRIPTION,
        "ARM_TENANT_ID": TENANT,
        "ARM_USE_CLI": "false",
        "SSL_CERT_FILE": str(folder / "tls.pem"),
        "TF_CLI_CONFIG_FILE": str(configuration),
    }


@contextmanager
def deployer(folder: Path, provider: str = "imitation", root: str = "terraform") -> Iterator[Terraform]:
    """Copy infra/ into `folder`, and give Terraform in `root` of it, initialised, with an empty Resource Manager."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(ROOT / "infra", folder / "infra")
    with ExitStack() as stack:
        manager = seeded()
        if provider == "real":
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            (folder / "tls.pem").write_bytes(server_pem("127.0.0.1", [x509.IPAddress(IPv4Address("127.0.0.1"))]))
            tls.load_cert_chain(folder / "tls.pem")
            used = real(folder, stack.enter_context(serve(manager, tls)))
        else:
            used = stack.enter_context(imitation(folder, stack.enter_context(serve(manager))))
        terraform = Terraform(folder / "infra" / root, {**environment(folder), **used}, manager)
        terraform.do("init", "-input=false")
        yield terraform
