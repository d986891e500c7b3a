"""Watch the service's process from outside: memory, sockets, and the audit events that it writes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

_MEMORY_SLACK_KIB = 16 * 1024
_MEMORY_SLACK_SHARE = 0.10
"""What the later half may hold more than the earlier one: replay claims live for minutes, and allocators are lazy."""
_SOCKET_SLACK = 24
MOST_IDLE_SOCKETS = 110
"""Kept for another call: 64 to upstreams, 20 from the load, and the few that every process has."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What the process held at one moment."""

    memory_kib: int
    sockets: int


def sample(pid: int) -> Sample:
    """Read resident memory and open sockets of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    memory = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
    return Sample(memory, sum(_is_socket(link) for link in Path(f"/proc/{pid}/fd").iterdir()))


def _is_socket(link: Path) -> bool:
    try:
        return str(link.readlink()).startswith("socket:")
    except FileNotFoundError:
        return False  # closed since the directory was read


def growth(samples: Sequence[Sample]) -> list[str]:
    """Compare the second quarter of the samples with the last one; say what grew."""
    quarter = len(samples) // 4
    if quarter == 0:
        return ["too few samples to tell whether anything grows"]
    early, late = samples[quarter : 2 * quarter], samples[-quarter:]
    before, after = (median(sample.memory_kib for sample in part) for part in (early, late))
    problems = []
    if after > before * (1 + _MEMORY_SLACK_SHARE) + _MEMORY_SLACK_KIB:
        problems.append(f"memory grew from {before / 1024:.0f} to {after / 1024:.0f} MiB")
    # Those at the quietest moment: how many calls are under way is the load's affair.
    before, after = (min(sample.sockets for sample in part) for part in (early, late))
    if after > before + _SOCKET_SLACK:
        problems.append(f"open sockets grew from {before:.0f} to {after:.0f}")
    return problems


@dataclass
class AuditLog:
    """Follow what the process writes to standard error, and count its audit events."""

    pid: int
    keep: Path | None = None
    """Where everything that is read is kept."""
    outcomes: Counter[tuple[str, str, str | None]] = field(default_factory=Counter)
    """By kind, outcome and reason."""
    request_ids: Counter[str] = field(default_factory=Counter)
    internal_errors: list[str] = field(default_factory=list)
    _rest: str = ""

    def __post_init__(self) -> None:
        # A file description of its own, so that reading does not move the place where the process writes.
        self._file = Path(f"/proc/{self.pid}/fd/2").open(encoding="utf-8", errors="replace")  # noqa: SIM115 - closed below

    def read(self) -> None:
        """Read what was written since."""
        read = self._file.read()
        if self.keep is not None:
            with self.keep.open("a", encoding="utf-8") as kept:
                kept.write(read)
        lines = (self._rest + read).split("\n")
        self._rest = lines.pop()
        for line in lines:
            self._line(line)

    def _line(self, line: str) -> None:
        start = line.find("{")
        if start < 0:
            return
        try:
            event: Any = json.loads(line[start:])
        except ValueError:
            return
        if not isinstance(event, dict):
            return
        if event.get("kind") in ("token", "explain"):
            self.outcomes[event["kind"], event["outcome"], event["reason"]] += 1
            self.request_ids[event["request_id"]] += 1
        elif event.get("event") == "internal_error":
            self.internal_errors.append(line)

    def close(self) -> None:
        """Stop following."""
        self._file.close()
