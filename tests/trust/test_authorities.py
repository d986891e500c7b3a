"""The same authorities are trusted on every interpreter, each for the same reason, whatever its own defaults are."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.trust.authorities import Constellation, table
from vending.connection import SENTENCES, Cause

ROOT = Path(__file__).parents[2]
SUPPORTED = ("3.11", "3.12", "3.13")
TABLE = table()


def interpreters() -> dict[str, str]:
    """Find one interpreter of each supported version: this one, those on the PATH, and pyenv's."""
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = {running: sys.executable}
    for version in SUPPORTED:
        for candidate in _candidates(version):
            if version not in found and _is(version, candidate):
                found[version] = candidate
    return found


def _candidates(version: str) -> Iterator[str]:
    on_path = shutil.which(f"python{version}")
    if on_path:
        yield on_path
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from map(str, pyenv.glob(f"versions/{version}.*/bin/python{version}"))


def _is(version: str, candidate: str) -> bool:
    program = "import ssl, sys; print('%d.%d' % sys.version_info[:2])"
    ran = subprocess.run([candidate, "-c", program], capture_output=True, text=True, check=False)
    return ran.returncode == 0 and ran.stdout.strip() == version


FOUND = interpreters()


@cache
def outcomes(interpreter: str) -> dict[str, str]:
    ran = subprocess.run(
        [interpreter, "-m", "tests.trust.handshakes"],
        input=json.dumps([row.as_data() for row in TABLE]),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
    )
    told: dict[str, str] = json.loads(ran.stdout)
    return told


@pytest.mark.parametrize("version", FOUND)
@pytest.mark.parametrize("row", TABLE, ids=str)
def test_authority_is_trusted_or_refused_for_its_reason(row: Constellation, version: str) -> None:
    assert outcomes(FOUND[version])[row.name] == (row.cause or "trusted")


def test_every_cause_has_a_sentence() -> None:
    assert set(SENTENCES) == set(Cause)
