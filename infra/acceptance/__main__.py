"""The acceptance run: everything that only a subscription can show, as one Markdown page of claims with pass or fail.

Usage: python infra/acceptance --location westeurope --prefix accept1 --report accept.md [--ways bicep azd]

Runs in a GitHub workflow with `id-token: write`, signed in to Azure (`az login`, `azd auth login`) with Owner on the
subscription, since it makes and removes resource groups of its own. It never touches another group. Exit 1 where a
claim failed. `make accept` is the same. ACCEPT_ISSUER, ACCEPT_URL, ACCEPT_SCM, ACCEPT_REGISTRY, ACCEPT_REGISTRY_URL and
ACCEPT_NOWHERE name an emulator in place of GitHub, the app, its SCM host, the registry and one that is not there.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from deployments import by_azd, by_bicep, by_terraform
from service import Service
from unverified import of_facts
from world import World, report

WAYS = ["bicep", "packed", "terraform", "azd"]


def run(world: World, ways: list[str]) -> None:
    """Hold every claim; a failure ends its own claim only."""
    if "bicep" in ways:
        with by_bicep(world) as where:
            check_service(Service(world, where), packed="packed" in ways)
    if "terraform" in ways:
        with by_terraform(world):
            pass
    if "azd" in ways:
        with by_azd(world):
            pass


def check_service(service: Service, *, packed: bool) -> None:
    service.check_delivery(packed=packed)
    service.check_site()
    service.check_vending()
    service.check_bound()
    service.check_refusals()
    service.check_registry()
    service.check_faults()
    service.check_doctor()
    service.check_kill_switch()
    service.check_cold_start()
    service.check_logs()


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Deploy into throw-away groups, ask for everything, and write a report."
    )
    parser.add_argument("--location", default=os.environ.get("AZURE_LOCATION", "westeurope"))
    parser.add_argument("--prefix", default=f"accept{os.environ.get('GITHUB_RUN_ID', '0')[-6:]}")
    parser.add_argument("--report", type=Path, default=Path("acceptance.md"))
    parser.add_argument(
        "--ways",
        nargs="+",
        choices=WAYS,
        default=WAYS,
        help="packed: with bicep, the code is delivered with its dependencies too",
    )
    parser.add_argument("--pause", type=float, default=15, help="seconds between two looks")
    parser.add_argument("--attempts", type=int, default=40, help="looks at what takes its time")
    parser.add_argument("--policy-seconds", type=float, default=90, help="how long a policy may take to be in force")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        world = World(given.location, given.prefix, Path(folder), given.pause, given.attempts)
        world.pull_policy_seconds = given.policy_seconds
        world.issuer = os.environ.get("ACCEPT_ISSUER", world.issuer)
        world.url_override = os.environ.get("ACCEPT_URL", "")
        world.scm_override = os.environ.get("ACCEPT_SCM", "")
        world.registry_override = os.environ.get("ACCEPT_REGISTRY", "")
        world.registry_url = os.environ.get("ACCEPT_REGISTRY_URL", "")
        world.nowhere_override = os.environ.get("ACCEPT_NOWHERE", "")
        try:
            run(world, given.ways)
        finally:
            title = f"Acceptance of {given.prefix} in {given.location}"
            given.report.write_text(report(world.outcomes, of_facts(world.outcomes), title))
    failed = [each.claim for each in world.outcomes if each.result == "fail"]
    if failed:
        sys.exit("\n".join(["These claims failed:", *failed]))


if __name__ == "__main__":
    main()
