"""What a benchmark returns, and how the results are shown and kept. Measures nothing."""

from __future__ import annotations

import json
import platform
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RESULTS: Final = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True, slots=True)
class Row:
    """Hold one measured number, with the goal it is held against, if there is one."""

    what: str
    value: float
    unit: str
    goal: str = ""


def timed(call: Callable[[], object], *, seconds: float = 0.5, least: int = 50) -> list[float]:
    """Call again and again for about `seconds`; return each call's duration in microseconds, sorted."""
    durations: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(durations) < least:
        start = time.perf_counter_ns()
        call()
        durations.append((time.perf_counter_ns() - start) / 1000)
    return sorted(durations)


def percentile(values: Sequence[float], fraction: float) -> float:
    """Return the value below which `fraction` of the sorted values lie."""
    return values[min(int(len(values) * fraction), len(values) - 1)]


def median(values: Sequence[float]) -> float:
    """Return the middle of the values."""
    return statistics.median(values)


def show(results: dict[str, list[Row]]) -> str:
    """Lay results out as a table of plain text."""
    rows = [(row.what, f"{row.value:,.1f} {row.unit}", row.goal) for rows in results.values() for row in rows]
    widths = [max(len(row[column]) for row in [("what", "measured", "goal"), *rows]) for column in range(3)]
    lines = [("what", "measured", "goal"), tuple("-" * width for width in widths), *rows]
    return "\n".join(f"{what:<{widths[0]}}  {value:>{widths[1]}}  {goal}".rstrip() for what, value, goal in lines)


def keep(results: dict[str, list[Row]]) -> Path:
    """Write results as JSON beside those of earlier runs; return the file."""
    RESULTS.mkdir(exist_ok=True)
    report: dict[str, Any] = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "results": {name: [asdict(row) for row in rows] for name, rows in results.items()},
    }
    path = RESULTS / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.json"
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return path
