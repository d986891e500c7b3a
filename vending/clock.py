"""The one clock: wall time for what tokens say, monotonic time for how old a cached value is. Tests pass their own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


def timestamp(seconds: float) -> str:
    """Write a time in seconds since the epoch as RFC 3339 has it, in UTC and whole seconds: `2026-01-31T12:00:00Z`."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Mark:
    """Hold a point in time on both clocks."""

    now: float
    monotonic: float


@dataclass(frozen=True, slots=True)
class Clock:
    """Tell the time twice: `now` in seconds since the epoch, `monotonic` in seconds that never go back."""

    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic

    def mark(self) -> Mark:
        """Return this moment, for `since`."""
        return Mark(self.now(), self.monotonic())

    def since(self, mark: Mark) -> float:
        """Return the seconds since `mark` by the clock on which more have passed.

        The monotonic clock stands still while a virtual machine is suspended, and wall time may be set back.
        """
        return max(self.now() - mark.now, self.monotonic() - mark.monotonic)
