"""The app's settings, read once from the environment. Knows names, defaults and how to parse; opens nothing."""

from __future__ import annotations

import ipaddress
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

APP_ROOT: Final = Path(__file__).resolve().parent.parent
"""The folder of `host.json`."""

SECRET_PREFIX: Final = "VENDING_SECRET_"

KNOWN_SETTINGS: Final = frozenset(
    {
        "VENDING_POLICY",
        "VENDING_PUBLIC_URL",
        "VENDING_POLICY_REFRESH_SECONDS",
        "VENDING_POLICY_MAX_STALE_SECONDS",
        "VENDING_REPLAY_STORE",
        "VENDING_DEADLINE_SECONDS",
        "VENDING_CUSTOM_HOSTS",
        "VENDING_ALLOW_LOOPBACK",
        "VENDING_TELEMETRY",
        "AZURE_CLIENT_ID",
    }
)
"""Every setting that the app itself reads, besides those that begin with `VENDING_SECRET_`."""

_TABLE = re.compile(r"[A-Za-z][A-Za-z0-9]{2,62}")
_TABLE_HOST = re.compile(r"[a-z0-9]{3,24}\.table\.core\.(windows\.net|usgovcloudapi\.net|chinacloudapi\.cn)")
_HOST = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*(:[0-9]{1,5})?")


class SettingsError(Exception):
    """Say which setting cannot be used, and what to write instead; the app does not start."""


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address (no port, no brackets) is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host) in _LOOPBACK
    except ValueError:
        return False


class _Loopback:
    """127.0.0.1 and ::1, the only addresses that `VENDING_ALLOW_LOOPBACK` is about."""

    _addresses = frozenset({ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")})

    def __contains__(self, address: object) -> bool:
        return address in self._addresses


_LOOPBACK = _Loopback()
