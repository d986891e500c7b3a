"""The operations log: one line of JSON for each thing that an operator should know, apart from the audit log.

The Functions host forwards a log record's text and level only, so the text carries the fields. Never pass a token, a
body or a URL with a query.
"""

from __future__ import annotations

import json
import logging

_log = logging.getLogger("vending.operations")


def frames_of(error: BaseException) -> list[str]:
    """Name the places that an exception came through: file, line, function. Its text might quote what it choked on."""
    frames = []
    traceback = error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        frames.append(f"{code.co_filename.rpartition('/')[2]}:{traceback.tb_lineno} {code.co_name}")
        traceback = traceback.tb_next
    return frames[-12:]


def note(level: int, event: str, **fields: str | float | bool | list[str] | None) -> None:
    """Write one event. `level` is one of `logging`'s; field names and values become one JSON object."""
    if _log.isEnabledFor(level):
        _log.log(level, "%s", json.dumps({"event": event, **fields}))


def note_bug(error: BaseException) -> None:
    """Write down an unexpected exception by its type and place; its text might quote what it choked on."""
    note(logging.ERROR, "internal_error", error=type(error).__name__, frames=frames_of(error))
