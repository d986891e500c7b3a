"""Run the app under the real Python worker library of Azure Functions, `azure-functions-runtime`, on Python 3.13.

The library lives in a virtual environment of its own, `.venv-3.13`, which is made on demand from the app's locked
requirements. The calls themselves happen in `devstack/host/worker_driver.py`, in that interpreter.
"""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devstack.tools import Unavailable, lock, may_install

PROJECT = Path(__file__).resolve().parents[2]
RUNTIME = "azure-functions-runtime==1.3.0"
_VENV = PROJECT / ".venv-3.13"
_DRIVER = Path(__file__).with_name("worker_driver.py")
_INSTALL_TIMEOUT = 900
_RUN_TIMEOUT = 120


@dataclass(frozen=True)
class Invocation:
    """A request as the host hands it to a function: `function` is its name; headers are in lower case."""

    function: str
    method: str = "GET"
    url: str = "https://vend.contoso.example/"
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    route: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Response:
    """What the function answered; `error` is set instead when it raised, and the host would send a bare 500."""

    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    error: str | None = None

    def json(self) -> Any:
        """Parse the body."""
        return json.loads(self.body)


@dataclass(frozen=True)
class WorkerRun:
    """A run of the worker: its Python version, the functions it indexed, and the responses in order."""

    python: str
    functions: Mapping[str, list[dict[str, Any]]]
    """The bindings of each function by its name."""
    responses: list[Response]
    forwarded: list[str]
    """The messages of the log records that the host would forward, in order."""


def find_python() -> Path:
    """Return a Python 3.13 interpreter. Raise Unavailable when there is none."""
    candidates = [Path(found)] if (found := shutil.which("python3.13")) else []
    candidates += sorted(Path.home().glob(".pyenv/versions/3.13*/bin/python"), reverse=True)
    for candidate in candidates:
        # A pyenv shim is on the PATH even where it leads nowhere.
        command = [str(candidate), "-c", "import sys; raise SystemExit(sys.version_info[:2] != (3, 13))"]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return candidate
    raise Unavailable("there is no Python 3.13 on the PATH or in ~/.pyenv")


def ensure_venv() -> Path:
    """Return the interpreter of an environment with the worker library and the app's requirements.

    Make the environment when it is missing or older than requirements.txt. Raise Unavailable.
    """
    requirements = PROJECT / "requirements.txt"
    wanted = hashlib.sha256(requirements.read_bytes() + RUNTIME.encode()).hexdigest()
    marker, python = _VENV / ".ready", _VENV / "bin" / "python"
    with lock():
        if marker.exists() and marker.read_text() == wanted and python.exists():
            return python
        base = find_python()
        may_install(_VENV.name)
        print("devstack: preparing the environment of the real worker, .venv-3.13 …", file=sys.stderr, flush=True)
        _run([str(base), "-m", "venv", "--clear", str(_VENV)])
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "--require-hashes", "-r", str(requirements)])
        _run([*pip, RUNTIME])
        marker.write_text(wanted)
    return python


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise Unavailable(f"{' '.join(command[1:4])} failed: {lines[-1] if lines else done.returncode}")


def run_worker(
    app: Path, settings: Mapping[str, str], invocations: Iterable[Invocation], *, python: Path | None = None
) -> WorkerRun:
    """Load the app in a fresh worker with exactly these settings and make the invocations one after the other.

    `python` is an interpreter that has the library; `ensure_venv` finds it unless given. Raise RuntimeError, with what
    the worker wrote, when the app cannot be loaded; raise Unavailable when there is no such interpreter.
    """
    calls = [_as_json(call) for call in invocations]
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ} | dict(settings)
    done = subprocess.run(
        [python or ensure_venv(), "-P", _DRIVER],
        input=json.dumps({"app": str(app.resolve()), "invocations": calls}),
        env=environment,
        cwd=app,
        capture_output=True,
        text=True,
        timeout=_RUN_TIMEOUT,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the worker ended with status {done.returncode}:\n{done.stderr}")
    told = json.loads(done.stdout)
    functions = {function["name"]: function["bindings"] for function in told["functions"]}
    return WorkerRun(told["python"], functions, [_response(result) for result in told["results"]], told["log"])


def _as_json(call: Invocation) -> dict[str, Any]:
    """Return an invocation as JSON for the driver."""
    return {
        "function": call.function,
        "method": call.method,
        "url": call.url,
        "headers": dict(call.headers),
        "query": dict(call.query),
        "route": dict(call.route),
        "body": base64.b64encode(call.body).decode(),
    }


def _response(result: Mapping[str, Any]) -> Response:
    if "error" in result:
        return Response(error=result["error"])
    return Response(result["status"], result["headers"], base64.b64decode(result["body"]))
