"""Cold start on every interpreter present: imports, the first `/healthz`, the first `/token`, and calls in a row.

CPU time is the process's own; elapsed time is of the whole machine. Each start is a fresh process, and the kinds take
turns. Each interpreter gets a virtual environment with what is deployed and no more, made once.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from bench.processes import cpu_seconds
from bench.report import Chart, Effort, Report, Row, median, most
from bench.rig import PROJECT, Rig
from bench.upstream import in_a_row
from devstack import tools

_VERSIONS: Final = ("3.11", "3.12", "3.13")
_BASE: Final = "import azure.functions"
_APP: Final = "import azure.functions, function_app; function_app.app.get_functions()"
_DELAY_SECONDS: Final = 0.1
_LATER_SECONDS: Final = 1.0
"""What is imported ahead is there by then, as it is on the platform, which takes longer to the first request."""
_INSTALL_SECONDS: Final = 600
_OF_THE_HOST: Final = ("uvicorn", "httptools", "cryptography")
_IMPORTS: Final = "the app's own modules: each is small, and there are many"
_FIRST: Final = (
    "imports that the first token needs: aiohttp, which at import reads the certificate authorities twice for TLS "
    "contexts that the app does not use; the policy's models; azure-identity with msal and requests"
)
_ROW: Final = "calls that could run side by side wait for one another"


@dataclass
class _Starts:
    """Collect what the starts of one interpreter took, in milliseconds but for the calls in a row."""

    base: list[float] = field(default_factory=list)
    app: list[float] = field(default_factory=list)
    healthz: list[float] = field(default_factory=list)
    token: list[float] = field(default_factory=list)
    token_cpu: list[float] = field(default_factory=list)
    later_cpu: list[float] = field(default_factory=list)
    far: list[float] = field(default_factory=list)
    in_a_row: list[float] = field(default_factory=list)


def run(effort: Effort) -> Report:
    """Measure each interpreter that is there; say which are not."""
    found, notes = _interpreters(effort)
    starts = {version: _Starts() for version in found}
    for python in found.values():
        for code in (_BASE, _APP):
            _import_cpu(python, code)  # Writes the bytecode.
    with Rig() as near, Rig(delay_seconds=_DELAY_SECONDS) as far:
        for _ in range(effort.choose(5, 1)):
            for version, python in found.items():
                _start(starts[version], python, near, far)
    rows = [row for version, seen in starts.items() for row in _rows(version, seen)]
    chart = Chart(
        "cold",
        "A fresh process, by interpreter",
        "ms",
        list(starts),
        {
            "import azure.functions, CPU": [median(seen.base) for seen in starts.values()],
            "import function_app, CPU": [median(seen.app) for seen in starts.values()],
            "start to first /healthz": [median(seen.healthz) for seen in starts.values()],
            "first /token, instant upstreams": [median(seen.token) for seen in starts.values()],
            "first /token, 100 ms for each call": [median(seen.far) for seen in starts.values()],
        },
    )
    return Report(rows, [chart], notes)


def _rows(version: str, seen: _Starts) -> list[Row]:
    ratios = [app / base for app, base in zip(seen.app, seen.base, strict=True)]
    return [
        Row(f"{version}: import azure.functions, CPU", seen.base, "ms"),
        Row(f"{version}: import and index function_app, CPU", seen.app, "ms"),
        Row(f"{version}: function_app / azure.functions", ratios, "times", most(1.7, _IMPORTS)),
        Row(f"{version}: start to first /healthz, local host included", seen.healthz, "ms"),
        Row(f"{version}: first /token, instant upstreams", seen.token, "ms"),
        Row(f"{version}: first /token, own CPU", seen.token_cpu, "ms", most(120, _FIRST)),
        Row(f"{version}: first /token a second after /healthz, own CPU", seen.later_cpu, "ms", most(120, _FIRST)),
        Row(f"{version}: first /token, 100 ms for each upstream call", seen.far, "ms"),
        Row(f"{version}: upstream calls in a row", seen.in_a_row, "calls", most(3, _ROW)),
    ]


@dataclass(frozen=True)
class _First:
    """What one fresh process took, in milliseconds: to its first `/healthz`, and for the first `/token` after that."""

    healthz: float
    token: float
    token_cpu: float


def _start(seen: _Starts, python: Path, near: Rig, far: Rig) -> None:
    seen.base.append(_import_cpu(python, _BASE))
    seen.app.append(_import_cpu(python, _APP))
    first = _first_token(python, near)
    seen.healthz.append(first.healthz)
    seen.token.append(first.token)
    seen.token_cpu.append(first.token_cpu)
    seen.later_cpu.append(_first_token(python, near, pause=_LATER_SECONDS).token_cpu)
    near.calls()
    seen.far.append(_first_token(python, far).token)
    seen.in_a_row.append(in_a_row(far.calls()))


def _first_token(python: Path, rig: Rig, *, pause: float = 0.0) -> _First:
    """Start a process, ask for `/healthz`, and for a token so many seconds later."""
    started = time.perf_counter()
    host = rig.service(python=python)
    _get(f"{host.url}/healthz")
    healthz = (time.perf_counter() - started) * 1000
    time.sleep(pause)
    before = cpu_seconds(host.pid)
    token = _vend(host.url, rig)
    token_cpu = (cpu_seconds(host.pid) - before) * 1000
    host.close()
    return _First(healthz, token, token_cpu)


def _vend(url: str, rig: Rig) -> float:
    request = Request(f"{url}/token", rig.forms(1)[0].encode())
    started = time.perf_counter()
    try:
        with urlopen(request) as answer:
            answer.read()
    except HTTPError as error:
        raise RuntimeError(f"the first token was refused: {error.read()!r}") from None
    return (time.perf_counter() - started) * 1000


def _get(url: str) -> None:
    with urlopen(url) as answer:
        answer.read()


def _import_cpu(python: Path, code: str) -> float:
    """Run code in a fresh interpreter; return the CPU milliseconds that it took, with the interpreter's own start."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {"PATH": os.environ["PATH"], "WEBSITE_HOSTNAME": "localhost"}
    subprocess.run([python, "-c", code], env=environment, check=True, capture_output=True, cwd=PROJECT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def _interpreters(effort: Effort) -> tuple[dict[str, Path], list[str]]:
    """Find an interpreter of each version that has what the app and the local host need."""
    if effort.quick:
        return {f"{sys.version_info.major}.{sys.version_info.minor}": Path(sys.executable)}, []
    found: dict[str, Path] = {}
    notes = []
    for version in _VERSIONS:
        try:
            found[version] = _environment(version)
        except (tools.Unavailable, subprocess.SubprocessError) as error:
            notes.append(f"Python {version} was not measured: {error}.")
    return found, notes


def _environment(version: str) -> Path:
    """Return the interpreter of a virtual environment with what is deployed and the local host, making it if need be.

    The development environment has more, and httpx imports a command line of 35 ms where click and rich are installed.
    """
    python = tools.TOOLS_DIRECTORY.resolve() / f"bench-{version}" / "bin" / "python"
    locked = (PROJECT / "requirements.txt").read_text() + " ".join(_OF_THE_HOST)
    ready = python.with_name("ready")
    if ready.exists() and ready.read_text() == locked:
        return python
    base = _base(version)
    tools.may_install(f"a virtual environment of Python {version}")
    print(f"bench: making a virtual environment of Python {version} …", file=sys.stderr, flush=True)
    subprocess.run([base, "-m", "venv", "--clear", python.parents[1]], check=True, timeout=_INSTALL_SECONDS)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", str(PROJECT / "requirements.txt")], check=True, timeout=_INSTALL_SECONDS)
    subprocess.run([*pip, *_OF_THE_HOST], check=True, timeout=_INSTALL_SECONDS)
    ready.write_text(locked)
    return python


def _base(version: str) -> Path:
    """Find a program of this version: on the PATH, or among pyenv's. Raise Unavailable."""
    candidates = [shutil.which(f"python{version}"), *Path.home().glob(f".pyenv/versions/{version}.*/bin/python")]
    for candidate in candidates:
        if candidate is None:
            continue
        done = subprocess.run([candidate, "-c", "import ssl"], capture_output=True, check=False)
        if done.returncode == 0:
            return Path(candidate)
    raise tools.Unavailable("it is not installed here")
