"""A clock for tests that runs with the real one, and can be turned on top."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from vending.clock import Clock


@dataclass
class RunningHands:
    """A clock that goes with the real one, plus what the test has turned it by; both hands move together."""

    turned: float = 0.0
    clock: Clock = field(init=False)

    def __post_init__(self) -> None:
        self.clock = Clock(now=lambda: time.time() + self.turned, monotonic=lambda: time.monotonic() + self.turned)

    def turn(self, seconds: float) -> None:
        """Let that much time pass at once."""
        self.turned += seconds
