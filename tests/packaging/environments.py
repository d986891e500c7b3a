"""Environments of their own for what is installed, made without pip, whose installation would take longer than ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def environment(folder: Path, interpreter: str, *requirements: str | Path) -> Path:
    """Make an environment of an interpreter with these requirements alone; return its folder of programs."""
    subprocess.run([interpreter, "-m", "venv", "--without-pip", folder], check=True)
    subprocess.run([*_pip(folder), "install", "--quiet", *requirements], check=True, capture_output=True)
    return folder / "bin"


def installed_packages(programs: Path) -> str:
    """List what an environment holds, one package a line."""
    done = subprocess.run([*_pip(programs.parent), "list"], check=True, capture_output=True, text=True)
    return done.stdout.lower()


def _pip(folder: Path) -> list[str]:
    return [sys.executable, "-m", "pip", "--python", str(folder), "--disable-pip-version-check"]
