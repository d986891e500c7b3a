"""What the platform would forward of an app's log: the records that name an invocation which is still running."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from devstack.host.processes import HostProcess


def events(messages: Iterable[str]) -> list[dict[str, Any]]:
    """Return the events of the operations log among forwarded messages, in order."""
    found = []
    for message in messages:
        start = message.find("{")
        try:
            record = json.loads(message[start:]) if start >= 0 else None
        except ValueError:
            continue
        if isinstance(record, dict) and "event" in record:
            found.append(record)
    return found


def of_host(host: HostProcess) -> list[dict[str, Any]]:
    """Return the events that `devstack host` has forwarded so far: its log holds nothing that the platform drops."""
    return events(host.log.splitlines())
