"""The operations log: one line of JSON for each thing that an operator should know, apart from the audit log.

The Functions host forwards a log record's text and level only, so the text carries the fields. Never pass a token, a
body or a URL with a query.

It forwards a record only while the request that wrote it is running, and drops those of other tasks and threads and of
import time without a trace (Azure/azure-functions-python-worker, issues 898, 1358 and 1860). What happens outside of a
request's own task is therefore kept, and written by the next request of any kind.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final, TypeAlias

_log = logging.getLogger("vending.operations")

MAX_KEPT: Final = 1000
"""Records that wait for a request, half a kilobyte each. More than that is an outage that the first ones describe."""

Field: TypeAlias = str | float | bool | list[str] | None


class _Deliveries:
    """Hold the records that no request could write yet, and the tasks of the requests that are running."""

    def __init__(self) -> None:
        self.by_requests = False
        self.tasks: set[asyncio.Task[object]] = set()
        self.kept: deque[tuple[int, str]] = deque()
        self.lost = 0

    def keep(self, level: int, event: str, fields: dict[str, Field]) -> None:
        """Keep a record with the time at which it was made. Called from any thread: a deque's methods are atomic."""
        if len(self.kept) >= MAX_KEPT:
            self.lost += 1
            return
        self.kept.append((level, json.dumps({"event": event, "time": _now(), **fields})))

    def write(self) -> None:
        """Write what was kept, each record once, whoever else writes at the same time."""
        while self.kept:
            try:
                level, line = self.kept.popleft()
            except IndexError:  # Another thread had the last one.
                break
            _log.log(level, "%s", line)
        if self.lost:
            lost, self.lost = self.lost, 0
            note(logging.WARNING, "records_lost", count=lost)


_deliveries: Final = _Deliveries()


def deliver_by_requests() -> None:
    """Write records from requests alone, from now on: the app runs under the Functions host."""
    _deliveries.by_requests = True


@contextmanager
def request() -> Iterator[None]:
    """Surround a request in its own task; write at its begin and its end what was kept meanwhile."""
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("a request runs in a task")
    _deliveries.tasks.add(task)
    try:
        _deliveries.write()
        yield
    finally:
        _deliveries.write()
        _deliveries.tasks.discard(task)


def note(level: int, event: str, **fields: Field) -> None:
    """Write one event. `level` is one of `logging`'s; field names and values become one JSON object."""
    if _deliveries.by_requests and not _in_a_request():
        _deliveries.keep(level, event, fields)
    elif _log.isEnabledFor(level):
        _log.log(level, "%s", json.dumps({"event": event, **fields}))


def note_bug(error: BaseException) -> None:
    """Write down an unexpected exception by its type and place; its text might quote what it choked on."""
    note(logging.ERROR, "internal_error", error=type(error).__name__, frames=frames_of(error))


def frames_of(error: BaseException) -> list[str]:
    """Name the places that an exception came through: file, line, function. Its text might quote what it choked on."""
    frames = []
    traceback = error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        frames.append(f"{code.co_filename.rpartition('/')[2]}:{traceback.tb_lineno} {code.co_name}")
        traceback = traceback.tb_next
    return frames[-12:]


def _in_a_request() -> bool:
    """Return whether this is the task of a running request: not one that it started, which may outlive it."""
    try:
        return asyncio.current_task() in _deliveries.tasks
    except RuntimeError:  # Another thread.
        return False


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
