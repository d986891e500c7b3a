"""Cold start: how long importing and indexing the app takes, beyond what the worker imports anyway."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Final

from bench.report import Row, median

_RUNS: Final = 7
_BASE: Final = "import azure.functions"
_APP: Final = "import function_app; function_app.app.get_functions()"


def run() -> list[Row]:
    """Measure fresh interpreters, interleaved; the difference is the app's own share."""
    durations: dict[str, list[float]] = {_BASE: [], _APP: []}
    for code in [_BASE, _APP]:
        _spawn(code)  # Writes the bytecode.
    for _ in range(_RUNS):
        for code, values in durations.items():
            values.append(_spawn(code))
    worker, app = (median(durations[code]) for code in (_BASE, _APP))
    return [
        Row("import azure.functions (the worker does it)", worker, "ms"),
        Row("import and index the app", app, "ms"),
        Row("the app's own share", app - worker, "ms"),
    ]


def _spawn(code: str) -> float:
    environment = {**os.environ, "WEBSITE_HOSTNAME": "localhost"}
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
    return (time.perf_counter() - start) * 1000
