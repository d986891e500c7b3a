"""What a benchmark returns, and how the results are shown and kept. Measures nothing."""

from __future__ import annotations

import json
import platform
import statistics
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

RESULTS: Final = Path(__file__).resolve().parent / "results"
_BATCH_SECONDS: Final = 0.01
"""A batch of calls is timed as one: the clock of CPU time costs as much as a quick call."""


@dataclass(frozen=True, slots=True)
class Effort:
    """Say how much a run may take: `quick` is for trying things, a whole run for figures that are kept."""

    quick: bool = False

    def choose(self, whole: int, quick: int) -> int:
        """Return the number of rounds or requests for this effort."""
        return quick if self.quick else whole


@dataclass(frozen=True, slots=True)
class Goal:
    """Hold a limit, in the unit of its row. `way` says what is in the way where the goal is not reached."""

    limit: float
    least: bool = False
    way: str = ""

    def reached(self, value: float) -> bool:
        """Return whether a measured value is within the goal."""
        return value >= self.limit if self.least else value <= self.limit

    def text(self, unit: str) -> str:
        """Write the goal out."""
        return f"at {'least' if self.least else 'most'} {number(self.limit)} {unit}"


def most(limit: float, way: str = "") -> Goal:
    """Make a goal that a value must not exceed."""
    return Goal(limit, way=way)


def least(limit: float, way: str = "") -> Goal:
    """Make a goal that a value must reach."""
    return Goal(limit, least=True, way=way)


@dataclass(frozen=True, slots=True)
class Row:
    """Hold one measured figure: the value of each run, their unit, and the goal that their median is held against."""

    what: str
    values: Sequence[float]
    unit: str
    goal: Goal | None = None

    @property
    def value(self) -> float:
        """The median of the runs."""
        return statistics.median(self.values)

    @property
    def spread(self) -> str:
        """The smallest and the largest value, where there were several runs."""
        return "" if len(self.values) == 1 else f"{number(min(self.values))} to {number(max(self.values))}"

    @property
    def verdict(self) -> str:
        """Whether the goal is reached; empty where there is none."""
        if self.goal is None:
            return ""
        return "reached" if self.goal.reached(self.value) else "not reached"


@dataclass(frozen=True, slots=True)
class Chart:
    """Describe a plot: for each series one value for each label. `name` becomes the name of its file."""

    name: str
    title: str
    unit: str
    labels: Sequence[str]
    series: Mapping[str, Sequence[float]]
    kind: Literal["bar", "line", "lying"] = "bar"


@dataclass(frozen=True, slots=True)
class Report:
    """Hold what one benchmark found out; `notes` are sentences about this run."""

    rows: Sequence[Row]
    charts: Sequence[Chart] = ()
    notes: Sequence[str] = field(default=())


def number(value: float) -> str:
    """Write a number with three significant digits, and no more than it has."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"


def cpu_microseconds(call: Callable[[], object], *, seconds: float = 0.3, least: int = 5) -> list[float]:
    """Call again and again for about `seconds` of CPU time; return the CPU time of a call in each batch, sorted.

    CPU time of this process, in microseconds: what else the machine does counts little.
    """
    start = time.process_time()
    call()
    each = max(1, int(_BATCH_SECONDS / max(time.process_time() - start, 1e-7)))
    durations: list[float] = []
    end = time.process_time() + seconds
    while time.process_time() < end or len(durations) < least:
        start = time.process_time()
        for _ in range(each):
            call()
        durations.append((time.process_time() - start) / each * 1e6)
    return sorted(durations)


def percentile(values: Sequence[float], fraction: float) -> float:
    """Return the value below which `fraction` of the sorted values lie."""
    return values[min(int(len(values) * fraction), len(values) - 1)]


def median(values: Sequence[float]) -> float:
    """Return the middle of the values."""
    return statistics.median(values)


def show(reports: Mapping[str, Report]) -> str:
    """Lay results out as a table of plain text."""
    head = ("what", "median", "runs", "goal", "")
    rows = [
        (
            row.what,
            f"{number(row.value)} {row.unit}",
            row.spread,
            "" if row.goal is None else row.goal.text(row.unit),
            row.verdict,
        )
        for report in reports.values()
        for row in report.rows
    ]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [head, tuple("-" * width for width in widths), *rows]
    table = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([*table, *(note for report in reports.values() for note in report.notes)])


def keep(reports: Mapping[str, Report]) -> Path:
    """Write results as JSON beside those of earlier runs; return the file."""
    RESULTS.mkdir(exist_ok=True)
    document: dict[str, Any] = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "results": {
            name: {
                "rows": [{**asdict(row), "median": row.value, "verdict": row.verdict or None} for row in report.rows],
                "notes": list(report.notes),
            }
            for name, report in reports.items()
        },
    }
    path = RESULTS / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.json"
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return path
