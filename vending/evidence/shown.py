"""Write what events hold as text for people: who called, in which run. What a caller chose cannot pass for more."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vending.evidence.events import Event

_PLAIN = re.compile(r"[^\s\"'=]+")


def text(value: Any) -> str:
    """Return a value as text, and a dash for nothing."""
    return "-" if value in (None, "", []) else value if isinstance(value, str) else json.dumps(value)


def scopes(event: Event, name: str) -> str:
    """Return a list of an event, blanks between its entries."""
    return " ".join(event.get(name) or ()) or "-"


def caller(event: Event) -> str:
    """Name the caller of an event by its identity claims."""
    return named(event.get("caller"))


def job(event: Event) -> str:
    """Name the run of an event."""
    return " ".join(_pair(name, value) for name, value in (event.get("job") or {}).items()) or "-"


def named(pairs: Iterable[Mapping[str, str]] | None) -> str:
    """Return names and values."""
    return " ".join(_pair(pair["name"], pair["value"]) for pair in pairs or ()) or "-"


def _pair(name: str, value: Any) -> str:
    """Write a value in quotes where it could pass for several, as `web ref=refs/heads/main` could."""
    shown = value if isinstance(value, str) and _PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=False)
    return f"{name}={shown}"
