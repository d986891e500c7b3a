"""Environments of their own for what is installed.

uv makes them, because pip takes ten times as long; the tests of the action, the hook and pipx install with pip.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from devstack import tools
from tests.clients.tools import python_environment


def installers() -> Path:
    """Return the folder of programs with pipx, uv and uvx. Raise tools.Unavailable."""
    return python_environment("packaging-venv", Path(__file__).parent / "requirements-tools.txt").parent


def uv_variables() -> dict[str, str]:
    """Return the variables by which uv keeps what it downloads, and lends none of it to an environment."""
    return {**os.environ, "UV_CACHE_DIR": str(tools.TOOLS_DIRECTORY / "uv-cache"), "UV_LINK_MODE": "copy"}


def environment(folder: Path, interpreter: str, *requirements: str | Path) -> Path:
    """Make an environment of an interpreter with these requirements alone; return its folder of programs."""
    subprocess.run([interpreter, "-m", "venv", "--without-pip", folder], check=True)
    install: list[str | Path] = [
        installers() / "uv",
        "pip",
        "install",
        "--quiet",
        "--python",
        folder / "bin" / "python",
    ]
    subprocess.run([*install, *requirements], check=True, capture_output=True, env=uv_variables())
    return folder / "bin"


def installed_packages(programs: Path) -> str:
    """List what an environment holds, one package a line."""
    pip = [sys.executable, "-m", "pip", "--python", str(programs.parent), "--disable-pip-version-check"]
    done = subprocess.run([*pip, "list"], check=True, capture_output=True, text=True)
    return done.stdout.lower()
