"""Which of the app's log records the platform forwards: those that name an invocation which is still running.

From Azure/azure-functions-host, `GrpcWorkerChannel.Log`, and Azure/azure-functions-python-worker, issues 898, 1158,
1358 and 1860: a record of import time, of another thread or executor, or of a task that outlives its request names no
running invocation and is dropped without a trace. What is printed is not a log record and always appears.
"""

import contextlib
import contextvars
import logging
import threading
from collections.abc import Iterator

_current: contextvars.ContextVar[str | None] = contextvars.ContextVar("invocation", default=None)

HOST_LOGGERS = ("devstack.", "uvicorn")
"""Loggers of the host itself, which need no forwarding."""


class Forwarding(logging.Filter):
    """A filter for the handler that stands for the platform's log."""

    def __init__(self) -> None:
        super().__init__()
        self._running: dict[str, int] = {}

    @contextlib.contextmanager
    def invocation(self, invocation_id: str) -> Iterator[None]:
        """Count an invocation as running on this thread until the block ends."""
        token = _current.set(invocation_id)
        self._running[invocation_id] = threading.get_ident()
        try:
            yield
        finally:
            del self._running[invocation_id]
            _current.reset(token)

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is forwarded. Runs in the thread and task that log it."""
        if record.name.startswith(HOST_LOGGERS):
            return True
        invocation_id = _current.get()
        # The worker finds the invocation through the running task or the thread: a copied context alone is not enough.
        return invocation_id is not None and self._running.get(invocation_id) == threading.get_ident()
