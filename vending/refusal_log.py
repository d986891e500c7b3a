"""What is written about requests of the wrong shape: the first ones of each kind, then a count and a sample.

Anybody can send such requests, and each record costs more than the request did. They have no audit event, so nothing
but these records tells an operator of them. Knows no HTTP; writes into the operations log.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vending.operations_log import note

if TYPE_CHECKING:
    from vending.clock import Clock, Mark
    from vending.errors import Reason

FIRST: Final = 10
"""Refusals of one kind that are all written, within each `WINDOW_SECONDS`."""
EVERY: Final = 1000
"""After the first ones, one record for so many equal refusals."""
WINDOW_SECONDS: Final = 3600.0


@dataclass(slots=True)
class _Series:
    """Count equal refusals of one window; `unwritten` are those since the last record."""

    since: Mark
    written: int = 0
    unwritten: int = 0


class Sampler:
    """Say which of many equal things are written, and how many each record stands for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._series: dict[tuple[str, ...], _Series] = {}

    def __len__(self) -> int:
        return len(self._series)

    def count(self, *key: str) -> int:
        """Count one, and return how many have come since the last record where it is time for one; else 0.

        A new window begins with a record, which tells what the last one still had. There are as many series as keys.
        """
        series = self._series.get(key)
        if series is None or self._clock.since(series.since) >= WINDOW_SECONDS:
            unwritten = 0 if series is None else series.unwritten
            series = self._series[key] = _Series(self._clock.mark(), unwritten=unwritten)
        series.unwritten += 1
        if series.written >= FIRST and series.unwritten < EVERY:
            return 0
        count, series.unwritten = series.unwritten, 0
        series.written += 1
        return count


class RefusalLog:
    """Write down refusals of step 1. One for the life of the app."""

    def __init__(self, clock: Clock) -> None:
        self._sampler = Sampler(clock)

    def __len__(self) -> int:
        return len(self._sampler)

    def add(self, endpoint: str, reason: Reason) -> None:
        """Count one refusal, and write it, with those before it that were only counted, where it is time to."""
        count = self._sampler.count(endpoint, reason.value)
        if count:
            note(logging.INFO, "request_refused", endpoint=endpoint, reason=reason.value, count=count)
