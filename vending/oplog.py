"""The operations log: one line of JSON for each thing that an operator should know, apart from the audit log.

The Functions host forwards a log record's text and level only, so the text carries the fields. Never pass a token, a
body or a URL with a query.
"""

from __future__ import annotations

import json
import logging

_log = logging.getLogger("vending.operations")


def note(level: int, event: str, **fields: str | float | bool | list[str] | None) -> None:
    """Write one event. `level` is one of `logging`'s; field names and values become one JSON object."""
    if _log.isEnabledFor(level):
        _log.log(level, "%s", json.dumps({"event": event, **fields}))
