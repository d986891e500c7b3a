"""`deliver`: put a policy into the blob that a service reads, and wait until it is in force there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vending.cli.frame import add_command
from vending.cli.inputs import existing, policy_environment
from vending.cli.report import FINDINGS, FINE, Report, UsageError, line

if TYPE_CHECKING:
    import argparse

    from vending.cli.frame import Commands


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "deliver",
        run,
        description="Check a policy (a directory is compiled first), write it to the blob that the service reads, and\n"
        "wait until the service's /readyz shows it. If it does not, the previous version is put back.\n\n"
        "The identity is a federated one (AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_FEDERATED_TOKEN_FILE)\n"
        "or the Azure CLI's login; it needs Storage Blob Data Contributor on the container.",
        exit_status="Exit status: 0 in force, 1 not delivered (the old policy is in its place), 2 usage.",
    )
    parser.add_argument("policy", metavar="POLICY", type=Path, help="a policy file or a directory")
    parser.add_argument("--blob", metavar="URL", required=True, help="the blob, https://ACCOUNT/CONTAINER/policy.json")
    parser.add_argument("--service", metavar="URL", required=True, help="the service, https://vend.example")
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=float, default=300.0, help="how long to wait (default: 300)"
    )


def run(arguments: argparse.Namespace) -> Report:
    """Deliver, telling each step on standard error."""
    content = _content(existing(arguments.policy))
    for name in ("blob", "service"):
        if not getattr(arguments, name).startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
            raise UsageError(f"--{name}: write an https URL")
    import httpx

    from vending.delivery import BlobStore, DeliveryError, Service, deliver, storage_token

    with httpx.Client(timeout=30.0, follow_redirects=False) as client:
        try:
            store = BlobStore(arguments.blob, storage_token(), client)
            service = Service(arguments.service, client)
            digest = deliver(content, store, service, timeout_seconds=arguments.timeout, say=_say)
        except DeliveryError as error:
            return Report(FINDINGS, data={"delivered": False, "error": str(error)}, summary=(line(str(error)),))
    return Report(FINE, data={"delivered": True, "sha256": digest}, summary=(line(f"Delivered {digest}."),))


def _content(path: Path) -> bytes:
    """Return the bytes to deliver; raises `PolicyError` for a policy that does not load."""
    from vending.policy import load_bytes
    from vending.policy.compiler.load import compile_directory, read_bytes

    environment = policy_environment()
    if path.is_dir():
        content, name = compile_directory(path, environment), "policy.json"
    else:
        content, name = read_bytes(path), path.name
    load_bytes(content, name=name, environment=environment, directory=None)
    return content


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
