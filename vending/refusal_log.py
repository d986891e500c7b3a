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


class RefusalLog:
    """Write down refusals of step 1. One for the life of the app; as many series as endpoints have reasons."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._series: dict[tuple[str, Reason], _Series] = {}

    def __len__(self) -> int:
        return len(self._series)

    def add(self, endpoint: str, reason: Reason) -> None:
        """Count one refusal, and write it with those before it that were only counted, unless it is only counted too.

        A new window begins with a record, which tells what the last one still had.
        """
        series = self._series.get((endpoint, reason))
        if series is None or self._clock.since(series.since) >= WINDOW_SECONDS:
            unwritten = 0 if series is None else series.unwritten
            series = self._series[endpoint, reason] = _Series(self._clock.mark(), unwritten=unwritten)
        series.unwritten += 1
        if series.written < FIRST or series.unwritten >= EVERY:
            note(logging.INFO, "request_refused", endpoint=endpoint, reason=reason.value, count=series.unwritten)
            series.written += 1
            series.unwritten = 0
