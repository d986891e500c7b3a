"""Say on standard error how far long work has come, once it has taken two seconds.

A terminal shows one line that changes; a log gets a line now and then, which tells that the work is alive.
"""

from __future__ import annotations

import sys
import time
from typing import Final

_QUIET_SECONDS: Final = 2.0
_EVERY_SECONDS: Final = 1.0
_EVERY_SECONDS_IN_A_LOG: Final = 10.0


class Progress:
    """Tell of one piece of work; callable with what is done and how much there is."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._next = time.monotonic() + _QUIET_SECONDS
        self._shown = False

    def __call__(self, done: int, total: int | None = None) -> None:
        """Tell how much is done, of how much where that is known."""
        now = time.monotonic()
        if now < self._next:
            return
        is_terminal = sys.stderr.isatty()
        self._next = now + (_EVERY_SECONDS if is_terminal else _EVERY_SECONDS_IN_A_LOG)
        of = "" if total is None else f" of {total}"
        sys.stderr.write(f"{self._what}: {done}{of}" + ("\r" if is_terminal else "\n"))
        sys.stderr.flush()
        self._shown = True

    def close(self) -> None:
        """Leave the line that was drawn over."""
        if self._shown and sys.stderr.isatty():
            sys.stderr.write("\n")
