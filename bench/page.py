"""Write `docs/performance.md` from a run: the text of `bench/page.md`, with tables and plots where it asks for them."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.plots import draw, file_name
from bench.report import Report, number
from devstack.stack import PROJECT

if TYPE_CHECKING:
    from collections.abc import Mapping

_TEXT: Final = Path(__file__).with_name("page.md")
_PAGE: Final = PROJECT / "docs" / "performance.md"
_IMAGES: Final = PROJECT / "docs" / "images"
_PLACE: Final = re.compile(r"^<<(?P<what>[a-z]+)>>$", re.MULTILINE)


def write(reports: Mapping[str, Report]) -> str:
    """Write the page and its plots; return the page's path within the project."""
    for report in reports.values():
        draw(report.charts, _IMAGES)
    _PAGE.write_text(_PLACE.sub(lambda place: _filled(place["what"], reports), _TEXT.read_text()), encoding="utf-8")
    return str(_PAGE.relative_to(PROJECT))


def _filled(what: str, reports: Mapping[str, Report]) -> str:
    if what == "run":
        return _run()
    if what == "goals":
        return _goals(reports)
    report = reports.get(what)
    return "Not part of this run." if report is None else _figures(report)


def _run() -> str:
    """Say where and when the figures were taken."""
    processor = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    named = f", {processor[1]}" if processor else ""
    memory = int(re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())[1]) / 2**20  # type: ignore[index]
    day = time.strftime("%Y-%m-%d", time.gmtime())
    return (
        f"Taken on {day} at commit `{_commit()}`, with Python {platform.python_version()} on "
        f"{platform.system()} {platform.machine()}{named}: {os.cpu_count()} cores, {memory:.0f} GiB."
    )


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _goals(reports: Mapping[str, Report]) -> str:
    lines = ["| goal | measured | | what is in the way |", "| --- | --- | --- | --- |"]
    for report in reports.values():
        for row in report.rows:
            if row.goal is not None:
                way = "" if row.verdict == "reached" else row.goal.way
                measured = f"{number(row.value)} {row.unit}"
                lines.append(f"| {row.what}: {row.goal.text(row.unit)} | {measured} | {row.verdict} | {way} |")
    return "\n".join(lines)


def _figures(report: Report) -> str:
    lines = ["| what | median | runs |", "| --- | --- | --- |"]
    lines += [f"| {row.what} | {number(row.value)} {row.unit} | {row.spread} |" for row in report.rows]
    images = [f"![{chart.title}](images/{file_name(chart)})" for chart in report.charts]
    return "\n\n".join(["\n".join(lines), *report.notes, *images])
