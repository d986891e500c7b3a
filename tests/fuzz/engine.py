"""Run one fuzz target for a time, in a process of its own: atheris where it is installed, else hypothesis.

`python -m tests.fuzz.engine TARGET SECONDS DIRECTORY`; the corpus and any finding lie in DIRECTORY. Exit code 0 means
that nothing was found.
"""

import importlib
import importlib.util
import sys
import time
from pathlib import Path
from typing import Any


def with_atheris(name: str, seconds: int, directory: Path) -> None:
    """Let libFuzzer search, guided by which lines of `vending` each input reaches. Does not return."""
    atheris: Any = importlib.import_module("atheris")  # Its stubs are a package of their own.
    with atheris.instrument_imports(include=["vending"]):
        from tests.fuzz.targets import SEEDS, TARGETS

    corpus = directory / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS[name]):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = [f"-max_total_time={seconds}", "-max_len=20000", "-print_final_stats=1", "-verbosity=1", "-timeout=10"]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={directory}/finding-", str(corpus)], TARGETS[name])
    atheris.Fuzz()


def with_hypothesis(name: str, seconds: int) -> None:
    """Let hypothesis vary the seeds; it sees no coverage, and runs where atheris has no build."""
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    from tests.fuzz.targets import SEEDS, TARGETS

    seeds = st.sampled_from(SEEDS[name])
    pieces = st.tuples(seeds, st.integers(0, 400), st.integers(0, 400), st.binary(max_size=40))
    inputs = st.binary() | pieces.map(lambda p: p[0][: p[1]] + p[3] + p[0][p[1] + p[2] :])

    @settings(max_examples=5000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(inputs)
    def search(data: bytes) -> None:
        TARGETS[name](data)

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        search()


def main() -> None:
    """Read the arguments and run."""
    name, seconds, directory = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    if importlib.util.find_spec("atheris"):
        with_atheris(name, seconds, directory)
    else:
        with_hypothesis(name, seconds)


if __name__ == "__main__":
    main()
