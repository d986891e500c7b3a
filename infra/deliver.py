"""Deliver the code: build the package, hand it to the app, and wait until the app runs it.

Usage: python infra/deliver.py --resource-group GROUP --name APP [--telemetry] [--with-dependencies]
--help has the rest.

The way is the deployment endpoint that the Azure CLI and Core Tools call themselves, `/api/publish` of the app's SCM
host, with an Entra token of `az`. `az functionapp deployment source config-zip` asks the host's /admin afterwards,
which is closed here, waits two minutes and exits with 1 although all is well. What counts is the app's own word:
/readyz has to answer 200 with the version of this checkout and, where the policy is bundled, with its SHA-256. Exit 1
otherwise. A package that carries its dependencies is published without the remote build.

`--settings-after` sets app settings once the package runs, as VENDING_TELEMETRY=azure-monitor needs: package first.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from package import ROOT, Refused, build, packed_policy, packed_python

FAILED, SUCCEEDED = 3, 4
"""Of the deployment's `status`; smaller numbers are on the way."""


class Undelivered(Exception):
    """Why the app does not run this package."""


def az(*arguments: str) -> str:
    """Run the Azure CLI, which has to succeed, and give what it printed."""
    done = subprocess.run(  # noqa: S603 - arguments of ours alone
        ["az", *arguments, "--output", "tsv"],  # noqa: S607 - wherever PATH has it
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Undelivered(f"az {arguments[0]} {arguments[1]}: {done.stderr.strip()}")
    return done.stdout.strip()


def ask(url: str, *, token: str | None = None, content: bytes | None = None, seconds: float = 60) -> tuple[int, Any]:
    """Send one request, and give status and body; a body that is no JSON comes as text."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if content is not None:
        headers["Content-Type"] = "application/zip"
    request = urllib.request.Request(url, data=content, headers=headers)  # noqa: S310 - hosts of the app
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:  # noqa: S310 - the same
            status, text = answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read().decode(errors="replace")
    except OSError as error:
        return 0, str(error)
    try:
        return status, json.loads(text)
    except ValueError:
        return status, text


def publish(scm: str, token: str, package: Path, *, remote_build: bool, attempts: int, pause: float) -> None:
    """Hand the package over, and wait until it is deployed, its dependencies installed. Raises `Undelivered`."""
    content = package.read_bytes()
    query = f"RemoteBuild={'true' if remote_build else 'false'}"
    status, answer = ask(f"{scm}/api/publish?{query}", token=token, content=content, seconds=600)
    if status not in {200, 202}:
        raise Undelivered(f"The package was not taken: {status} {answer}")
    identifier = answer if isinstance(answer, str) and answer else "latest"
    for _ in range(attempts):
        status, deployment = ask(f"{scm}/api/deployments/{identifier}", token=token)
        state = deployment.get("status") if isinstance(deployment, dict) else None
        if state == SUCCEEDED:
            return
        if state == FAILED:
            raise Undelivered(f"The build failed: {deployment.get('status_text') or deployment.get('message')}")
        time.sleep(pause)
    raise Undelivered(f"The build did not end: {status} {deployment}")


def wait_until_ready(url: str, version: str, sha256: str | None, *, attempts: int, pause: float) -> dict[str, Any]:
    """Wait until the app says that it runs this version with this policy. Raises `Undelivered` with its last words."""
    for _ in range(attempts):
        status, answer = ask(f"{url}/readyz")
        ours = status == 200 and isinstance(answer, dict) and answer["version"] == version
        if ours and sha256 in {None, answer["sha256"]}:
            found: dict[str, Any] = answer
            return found
        time.sleep(pause)
    raise Undelivered(f"{url}/readyz does not answer with version {version}, policy {sha256}: {status} {answer}")


def version_of(root: Path) -> str:
    found = re.search(r'__version__ = "([^"]+)"', (root / "vending" / "__init__.py").read_text())
    if found is None:
        raise Undelivered("vending/__init__.py names no version.")
    return found[1]


def host(where: tuple[str, ...], kind: str) -> str:
    """Give a host name of the app: `Standard`, where it is called, or `Repository`, where packages go.

    Of an app on Flex Consumption `az functionapp show` prints the resource as Azure Resource Manager has it, of others
    its properties (azure-cli 2.91.0, `show_functionapp`). Raises `Undelivered`.
    """
    found = az(
        "functionapp", "show", *where, "--query", f"(properties || @).hostNameSslStates[?hostType=='{kind}'].name | [0]"
    )
    if not found:
        raise Undelivered(f"az functionapp show names no host of the type {kind}")
    return found


def check_python(package: Path, where: tuple[str, ...]) -> bool:
    """Tell whether a package has its dependencies. Raises `Undelivered` where they are not for the app's Python.

    An app that tells no version, since it is not on Flex Consumption, takes any; it would answer 503 `misconfigured`.
    """
    packed = packed_python(package)
    if packed is None:
        return False
    runs = az("functionapp", "show", *where, "--query", "(properties || @).functionAppConfig.runtime.version")
    if runs not in {"", packed}:
        raise Undelivered(
            f"{package} has dependencies for Python {packed}, but the app runs on {runs}: name one of that by --python"
        )
    return True


def deliver(given: argparse.Namespace) -> dict[str, Any]:
    """Do all of it, and give the answer of /readyz."""
    where = ("--resource-group", given.resource_group, "--name", given.name)
    scm = given.scm or f"https://{host(where, 'Repository')}"
    url = given.url or f"https://{host(where, 'Standard')}"
    query = "to_string([?name=='VENDING_POLICY'])"
    settings = json.loads(az("functionapp", "config", "appsettings", "list", *where, "--query", query))
    bundled = not settings or "://" not in settings[0]["value"]
    if not given.prebuilt:
        policy: Path | None = given.policy if bundled else None
        build(
            given.package,
            policy=policy,
            telemetry=given.telemetry,
            python=given.python,
            with_dependencies=given.with_dependencies,
        )
    remote_build = not check_python(given.package, where)
    token = az("account", "get-access-token", "--query", "accessToken")
    publish(scm, token, given.package, remote_build=remote_build, attempts=given.attempts, pause=given.pause)
    if given.settings_after:
        az("functionapp", "config", "appsettings", "set", *where, "--settings", *given.settings_after)
    packed = packed_policy(given.package) if bundled else None
    sha256 = None if packed is None else packed[1]
    return wait_until_ready(url, version_of(ROOT), sha256, attempts=given.attempts, pause=given.pause)


def main() -> None:
    parser = argparse.ArgumentParser(description="Deliver the code to a function app, and wait until it runs.")
    parser.add_argument("--resource-group", required=True)
    parser.add_argument("--name", required=True, help="the function app")
    parser.add_argument("--package", type=Path, default=Path("app.zip"), help="where to build it (app.zip)")
    parser.add_argument("--policy", type=Path, default=ROOT / "policy.yaml", help="bundle this policy (policy.yaml)")
    parser.add_argument("--prebuilt", action="store_true", help="the package is there: do not build it")
    parser.add_argument("--python", metavar="PROGRAM", default=sys.executable, help="the Python that the app runs on")
    parser.add_argument("--telemetry", action="store_true", help="with the requirements for OpenTelemetry")
    parser.add_argument("--with-dependencies", action="store_true", help="pack them: no remote build, for one Python")
    parser.add_argument("--settings-after", nargs="*", default=[], metavar="K=V", help="app settings to set afterwards")
    parser.add_argument("--url", help="where the app is reached, if not at its own host name")
    parser.add_argument("--scm", help="where packages are handed over, if not at its own SCM host")
    parser.add_argument("--attempts", type=int, default=80, help="looks at the build, and at /readyz (80)")
    parser.add_argument("--pause", type=float, default=15, help="seconds between two looks (15)")
    given = parser.parse_args()
    try:
        ready = deliver(given)
    except (Refused, Undelivered) as problem:
        sys.exit(str(problem))
    sys.stdout.write(json.dumps(ready) + "\n")


if __name__ == "__main__":
    main()
