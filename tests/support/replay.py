"""Replay stores as instances of the app have them, and a clock that tests can turn forward."""

from __future__ import annotations

import hashlib
import time
import uuid
from typing import TYPE_CHECKING

from vending.clock import Clock
from vending.replay.table import TableStore

if TYPE_CHECKING:
    from tests.support.azurite import Azurite
    from vending.http_client import Http


class Time:
    """Real time, plus what a test adds to it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return time.time() + self.ahead

    @property
    def clock(self) -> Clock:
        return Clock(now=self.now, monotonic=lambda: time.monotonic() + self.ahead)


def table_store(url: str, azurite: Azurite, http: Http, clock: Clock, budget_seconds: float = 20.0) -> TableStore:
    """Build a store as one instance of the app has it."""

    secret = azurite.token()

    async def token() -> str:
        return secret

    return TableStore(url, http, clock, token, budget_seconds=budget_seconds)


def new_key() -> str:
    """Make a key that nobody has claimed."""
    return hashlib.sha256(uuid.uuid4().bytes).hexdigest()


def soon() -> float:
    """Return a time at which the test is long over, in seconds since the epoch."""
    return time.time() + 300
