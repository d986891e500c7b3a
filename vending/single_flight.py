"""Single flight: concurrent identical needs share one call. Caches nothing; what it returns is gone with the flight."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """Run at most one call for each key at a time; everyone who asks meanwhile gets its outcome.

    The call runs in a task of its own: a caller that is cancelled or times out leaves it running for the others.
    """

    def __init__(self) -> None:
        self._flights: dict[K, asyncio.Task[V]] = {}

    def __contains__(self, key: K) -> bool:
        return key in self._flights

    def under_way(self, key: K) -> asyncio.Task[V] | None:
        """Return the flight for `key`, and None where there is none."""
        return self._flights.get(key)

    def start(self, key: K, call: Callable[[], Coroutine[Any, Any, V]]) -> asyncio.Task[V]:
        """Return the flight for `key`, starting it with `call` if there is none; nobody has to wait for it."""
        task = self._flights.get(key)
        if task is None:
            task = asyncio.create_task(call())
            self._flights[key] = task
            task.add_done_callback(lambda done: self._land(key, done))
        return task

    def wait(self, key: K, call: Callable[[], Coroutine[Any, Any, V]]) -> Awaitable[V]:
        """Join the flight for `key` and await its outcome, raising what it raised."""
        return asyncio.shield(self.start(key, call))

    def _land(self, key: K, task: asyncio.Task[V]) -> None:
        del self._flights[key]
        if not task.cancelled():
            task.exception()  # Nobody may be waiting any more; reading it keeps asyncio from complaining.
