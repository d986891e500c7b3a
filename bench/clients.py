"""The clients from the start of their process to a token, beside the start of `az acr login --expose-token`.

The Azure CLI comes from PyPI into a virtual environment of its own, made once; without it the rest is measured.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from bench.report import Effort, Report, Row, median, most
from bench.rig import AUDIENCE, PROJECT, SCOPE, Rig, all_granted, drive
from devstack import tools

_SCRIPT: Final = PROJECT / "clients" / "acr-token.sh"
_HELPER: Final = PROJECT / "clients" / "docker-credential-acr-vending"
_AZURE: Final = tools.TOOLS_DIRECTORY.resolve() / "azure-cli"
_AZURE_SECONDS: Final = 240


def run(effort: Effort) -> Report:
    """Start each client again and again; every start must bring a token."""
    rounds = effort.choose(7, 2)
    az, notes = _azure_cli(effort)
    commands = {
        "acr-token.sh token": ["sh", str(_SCRIPT), "token"],
        "docker-credential-acr-vending token": [sys.executable, str(_HELPER), "token"],
    }
    elapsed: dict[str, list[float]] = {name: [] for name in commands}
    used: dict[str, list[float]] = {name: [] for name in commands}
    az_elapsed: list[float] = []
    az_used: list[float] = []
    with Rig() as rig, tempfile.TemporaryDirectory() as home:
        service = rig.service()
        all_granted(drive([f"{service.url}/token"], rig.forms(50), at_once=4))
        for _ in range(rounds):
            for name, command in commands.items():
                milliseconds, cpu = _timed(command, _environment(service.url, rig.token(), home), must_succeed=True)
                elapsed[name].append(milliseconds)
                used[name].append(cpu)
            if az is not None:
                login = [str(az), "-m", "azure.cli", "acr", "login", "--name", "contoso", "--expose-token"]
                milliseconds, cpu = _timed(login, _environment(service.url, "", home), must_succeed=False)
                az_elapsed.append(milliseconds)
                az_used.append(cpu)
    rows = []
    for name in commands:
        goal = (
            most(median(az_elapsed), "the start of an interpreter, or of a dozen small programs")
            if az_elapsed
            else None
        )
        rows.append(Row(f"{name}, start to token", elapsed[name], "ms", goal))
        rows.append(Row(f"{name}, CPU", used[name], "ms"))
    if az_elapsed:
        rows.append(Row("az acr login --expose-token, start to its first error, not logged in", az_elapsed, "ms"))
        rows.append(Row("az acr login --expose-token, CPU", az_used, "ms"))
    return Report(rows, notes=notes)


def _environment(url: str, token: str, home: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": home,
        "ACR_VENDING_URL": url,
        "ACR_VENDING_SCOPE": SCOPE,
        "ACR_VENDING_AUDIENCE": AUDIENCE,
        "ACR_VENDING_ID_TOKEN": token,
        "AZURE_CORE_COLLECT_TELEMETRY": "no",
    }


def _timed(command: list[str], environment: dict[str, str], *, must_succeed: bool) -> tuple[float, float]:
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    elapsed = (time.perf_counter() - started) * 1000
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if must_succeed and done.returncode:
        raise RuntimeError(f"{command}: {done.stderr}")
    return elapsed, (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def _azure_cli(effort: Effort) -> tuple[Path | None, list[str]]:
    az = _AZURE / "bin" / "python"
    if (_AZURE / "ready").exists():
        return az, []
    if effort.quick:
        return None, ["The Azure CLI was not measured: a quick run does not install it."]
    try:
        tools.may_install("azure-cli")
        print("bench: installing the Azure CLI from PyPI …", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", _AZURE], check=True, timeout=_AZURE_SECONDS)
        pip = [
            str(_AZURE / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "azure-cli",
        ]
        subprocess.run(pip, check=True, timeout=_AZURE_SECONDS)
        (_AZURE / "ready").touch()
    except (tools.Unavailable, subprocess.SubprocessError) as error:
        return None, [f"The Azure CLI was not measured: {type(error).__name__} while it was installed from PyPI."]
    return az, []
