"""The fuzz targets themselves: their seeds are harmless, and both engines run and report what they find."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import SEEDS, TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_harmless(name: str) -> None:
    for seed in SEEDS[name]:
        TARGETS[name](seed)


def test_each_target_has_seeds() -> None:
    assert SEEDS.keys() == TARGETS.keys()


@pytest.mark.parametrize("engine", ["with_atheris", "with_hypothesis"])
def test_engine_reports_a_broken_promise(engine: str, tmp_path: Path) -> None:
    """A target that fails on its seed must end the search with an exit code other than 0."""
    arguments = "'scope', 5, Path('.')" if engine == "with_atheris" else "'scope', 5"
    program = (
        "from pathlib import Path; from tests.fuzz import engine, targets\n"
        "def broken(data): assert b'pull' not in data\n"
        f"targets.TARGETS['scope'] = broken; engine.{engine}({arguments})"
    )
    if engine == "with_atheris":
        pytest.importorskip("atheris")
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, timeout=120, check=False
    )
    assert run.returncode != 0
    assert b"AssertionError" in run.stdout + run.stderr
