"""Tools that the checks of infra/ need, each made once from a lock file and kept in folders that git ignores.

Their requirements contradict the project's own and each other's, so each has an environment of its own.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devstack import tools

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
LOCKS = HERE / "tools"
CACHE = ROOT / ".tools" / "infra"
BICEP = ROOT / "infra" / "bicep"
TERRAFORM = ROOT / "infra" / "terraform"

# A cold download of the largest (checkov, 300 MB installed) took 40 s; a loaded machine may need many times that.
SETUP_SECONDS = 1200
RUN_SECONDS = 300


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
    text: str | None = None,
    seconds: int = RUN_SECONDS,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and give what it printed; a failure is the caller's to judge."""
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        input=text,
        stdin=None if text is not None else subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def succeed(command: Sequence[str | Path], **options: Any) -> str:
    """Run a command that has to succeed, and give its standard output."""
    done = run(command, **options)
    if done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}")
    return done.stdout


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Let one test process at a time make a tool."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def once(folder: Path, inputs: Sequence[Path], make: Callable[[], None]) -> Path:
    """Make `folder` unless it was made from the same inputs by the same Python, and say so while it takes its time."""
    digest = hashlib.sha256(sys.version.encode() + b"".join(path.read_bytes() for path in inputs)).hexdigest()
    marker = folder / ".made-from"
    with locked(folder.name):
        if not marker.exists() or marker.read_text() != digest:
            tools.may_install(folder.name)
            print(f"infra checks: setting up {folder.name} …", file=sys.__stderr__, flush=True)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            make()
            marker.write_text(digest)
    return folder


def python_tools(name: str) -> Path:
    """Give the bin folder of the environment that tools/<name>.txt locks; `release` is what the workflow installs."""
    requirements = ROOT / "infra" / "release" / "requirements.txt" if name == "release" else LOCKS / f"{name}.txt"
    folder = ROOT / f".venv-infra-{name}"

    def make() -> None:
        succeed([sys.executable, "-m", "venv", folder], seconds=SETUP_SECONDS)
        install: list[str | Path] = [
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--require-hashes",
            "-r",
            requirements,
        ]
        succeed([folder / "bin" / "python", "-m", "pip", *install], seconds=SETUP_SECONDS)

    return once(folder, [requirements], make) / "bin"


def node_tools() -> Path:
    """Give the folder whose node_modules tools/package-lock.json locks."""
    folder, inputs = CACHE / "node", [LOCKS / "package.json", LOCKS / "package-lock.json"]

    def make() -> None:
        for path in inputs:
            shutil.copy(path, folder)
        succeed(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder, seconds=SETUP_SECONDS)

    return once(folder, inputs, make)
