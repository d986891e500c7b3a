"""Say on standard error how far long work has come, once it has taken two seconds. Silent in a pipe of one's own."""

from __future__ import annotations

import sys
import time
from typing import Final

_QUIET_SECONDS: Final = 2.0
_EVERY_SECONDS: Final = 1.0


class Progress:
    """Tell of one piece of work; callable with what is done and how much there is."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._next = time.monotonic() + _QUIET_SECONDS
        self._shown = False

    def __call__(self, done: int, total: int) -> None:
        """Tell how much of how much is done."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _EVERY_SECONDS
        end = "\r" if sys.stderr.isatty() else "\n"
        sys.stderr.write(f"{self._what}: {done} of {total}{end}")
        sys.stderr.flush()
        self._shown = True

    def close(self) -> None:
        """Leave the line that was drawn over."""
        if self._shown and sys.stderr.isatty():
            sys.stderr.write("\n")
