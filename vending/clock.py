"""The one clock: wall time for what tokens say, monotonic time for how old a cached value is. Tests pass their own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """Tell the time twice: `now` in seconds since the epoch, `monotonic` in seconds that never go back."""

    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
