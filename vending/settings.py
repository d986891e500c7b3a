"""The app's settings, read once from the environment. Knows names, defaults and how to parse; opens nothing."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import SplitResult, urlsplit

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
        "VENDING_DOCS_URL",
        "VENDING_ALLOW_LOOPBACK",
        "VENDING_TELEMETRY",
        "AZURE_CLIENT_ID",
    }
)
"""Every setting that the app itself reads, besides those that begin with `VENDING_SECRET_`."""

SET_BY_THE_PLATFORM: Final = (
    "WEBSITE_INSTANCE_ID",
    "WEBSITE_SKU",
    "WEBSITE_POD_NAME",
    "CONTAINER_NAME",
    "WEBSITE_OWNER_NAME",
)
"""Where the app runs in Azure, some of these are set: Flex Consumption has no `WEBSITE_INSTANCE_ID` (azure-functions-
host, issue 11222). `WEBSITE_HOSTNAME` is no sign, for Core Tools set it on a laptop."""
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_MAX_SECONDS: Final = 86_400.0
_LONGEST_DEADLINE_SECONDS: Final = 50.0
"""The host ends a worker, with everybody's requests, at `functionTimeout` in host.json: one minute."""
_MOST_WORKER_PROCESSES: Final = 10
"""The host's own limit on worker processes of an instance."""
_TABLE_PATH = re.compile(r"/[A-Za-z][A-Za-z0-9]{2,62}")
# A storage token opens every account that the identity may read: it goes to Azure storage, and nowhere else.
_STORAGE = r"(core\.(windows\.net|usgovcloudapi\.net|chinacloudapi\.cn)|storage\.azure\.net)"
_BLOB_HOST = re.compile(rf"[a-z0-9]{{3,24}}(\.z[0-9]+)?\.blob\.{_STORAGE}")
_TABLE_HOST = re.compile(rf"[a-z0-9]{{3,24}}(\.z[0-9]+)?\.table\.{_STORAGE}")
_HOST = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*(:[0-9]{1,5})?")
_URI = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+")
"""What RFC 6749 section 5.2 allows in `error_uri`."""
_CLIENT_ID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


class SettingsError(Exception):
    """Say which setting cannot be used, and what to write instead; the app does not start."""


def is_loopback(host: str | None) -> bool:
    """Return whether a host (no port, no brackets) is one of those that `VENDING_ALLOW_LOOPBACK` is about."""
    return host in _LOOPBACK


@dataclass(frozen=True, slots=True)
class Settings:
    """Hold the settings, parsed. Durations are in seconds.

    `policy` is a path or the https URL of a blob; `replay_table` is None where the replay store is this process's
    memory; `environment` is what credentials and secrets are read from, and stays out of the repr.
    """

    policy: Path | str
    public_url: str
    policy_refresh_seconds: float = 60.0
    policy_max_stale_seconds: float = 3600.0
    replay_table: str | None = None
    deadline_seconds: float = 20.0
    custom_hosts: frozenset[str] = frozenset()
    docs_url: str | None = None
    allow_loopback: bool = False
    telemetry: bool = False
    client_id: str | None = None
    worker_processes: int = 1
    """How many processes of the app the host starts on each instance; what is kept in memory is kept in each of them.
    Where the host may add some as it likes, as many as it may have."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def replay_store(self) -> Literal["memory", "table"]:
        """Name the kind of replay store in force: `memory` or `table`."""
        return "memory" if self.replay_table is None else "table"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read every setting. Raises `SettingsError` naming the first one that cannot be used."""
        read = _Reader(environment)
        loopback = read.allow_loopback()
        return cls(
            policy=read.policy(loopback),
            public_url=read.public_url(loopback),
            policy_refresh_seconds=read.seconds("VENDING_POLICY_REFRESH_SECONDS", 60.0),
            policy_max_stale_seconds=read.seconds("VENDING_POLICY_MAX_STALE_SECONDS", 3600.0),
            replay_table=read.replay_table(loopback),
            deadline_seconds=read.seconds("VENDING_DEADLINE_SECONDS", 20.0, _LONGEST_DEADLINE_SECONDS),
            custom_hosts=read.custom_hosts(),
            docs_url=read.docs_url(loopback),
            allow_loopback=loopback,
            telemetry=read.telemetry(),
            client_id=read.client_id(),
            worker_processes=read.worker_processes(),
            environment=environment,
        )


class _Reader:
    """Parse one environment; an empty value is an unset one, as app settings cannot be removed everywhere."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def _get(self, name: str) -> str | None:
        return self._environment.get(name, "").strip() or None

    def allow_loopback(self) -> bool:
        value = self._get("VENDING_ALLOW_LOOPBACK")
        if value is None:
            return False
        if value != "1":
            raise SettingsError("VENDING_ALLOW_LOOPBACK must be 1 or unset.")
        sign = next((name for name in SET_BY_THE_PLATFORM if self._get(name) is not None), None)
        if sign is not None:
            raise SettingsError(
                f"VENDING_ALLOW_LOOPBACK is for local work, and {sign} says that this is Azure; remove one of the two."
            )
        return True

    def seconds(self, name: str, default: float, most: float = _MAX_SECONDS) -> float:
        value = self._get(name)
        if value is None:
            return default
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not 1 <= number <= most:
            raise SettingsError(f"{name} must be a number of seconds from 1 to {most:g}.")
        return number

    def policy(self, loopback: bool) -> Path | str:
        value = self._get("VENDING_POLICY") or _bundled_policy()
        if "://" not in value:
            return APP_ROOT / value  # An absolute path stays what it is.
        parts = _url("VENDING_POLICY", value, loopback)
        if parts.query or parts.fragment:
            raise SettingsError(
                "VENDING_POLICY must have no query: the blob is read with the app's identity, never with a SAS."
            )
        local = loopback and is_loopback(parts.hostname)
        if not (local or _BLOB_HOST.fullmatch(parts.netloc)) or parts.path.count("/") < 2 or parts.path.endswith("/"):
            raise SettingsError(
                "VENDING_POLICY must name a blob: https://<account>.blob.core.windows.net/<container>/<blob>."
            )
        return value

    def public_url(self, loopback: bool) -> str:
        value = self._get("VENDING_PUBLIC_URL")
        if value is None:
            host = self._get("WEBSITE_HOSTNAME")
            if host is None:
                raise SettingsError(
                    "VENDING_PUBLIC_URL is not set; write the https URL at which callers reach the service."
                )
            value = f"https://{host}"
        parts = _url("VENDING_PUBLIC_URL", value, loopback)
        if parts.query or parts.fragment:
            raise SettingsError("VENDING_PUBLIC_URL must have no query and no fragment.")
        return value.rstrip("/")

    def replay_table(self, loopback: bool) -> str | None:
        value = self._get("VENDING_REPLAY_STORE")
        if value is None or value == "memory":
            return None
        form = "VENDING_REPLAY_STORE must be memory or https://<account>.table.core.windows.net/<table>"
        if "://" not in value:
            raise SettingsError(f"{form}.")
        parts = _url("VENDING_REPLAY_STORE", value, loopback)
        table = parts.path.rpartition("/")
        local = loopback and is_loopback(parts.hostname)
        known_host = local or _TABLE_HOST.fullmatch(parts.netloc) is not None
        # Azurite, the storage emulator, puts the account's name before the table's.
        one_level = local or not table[0]
        if not (known_host and one_level and _TABLE_PATH.fullmatch(f"/{table[2]}")) or parts.query or parts.fragment:
            raise SettingsError(f"{form}, without a query.")
        return value

    def custom_hosts(self) -> frozenset[str]:
        value = self._get("VENDING_CUSTOM_HOSTS")
        if value is None:
            return frozenset()
        hosts = [host.strip() for host in value.split(",")]
        bad = [host for host in hosts if not _HOST.fullmatch(host)]
        if bad:
            raise SettingsError("VENDING_CUSTOM_HOSTS must list exact lower-case host names, separated by commas.")
        return frozenset(hosts)

    def docs_url(self, loopback: bool) -> str | None:
        value = self._get("VENDING_DOCS_URL")
        if value is None:
            return None
        if _url("VENDING_DOCS_URL", value, loopback).fragment or not _URI.fullmatch(value):
            raise SettingsError("VENDING_DOCS_URL must have no fragment: the reason of an error becomes one.")
        return value

    def telemetry(self) -> bool:
        value = self._get("VENDING_TELEMETRY")
        if value not in {None, "off", "azure-monitor"}:
            raise SettingsError("VENDING_TELEMETRY must be off or azure-monitor.")
        return value == "azure-monitor"

    def worker_processes(self) -> int:
        """Read what the host reads, and as it does: what it cannot use is one process."""
        if (self._get("FUNCTIONS_WORKER_DYNAMIC_CONCURRENCY_ENABLED") or "").lower() in {"true", "1"}:
            return _MOST_WORKER_PROCESSES
        try:
            count = int(self._get("FUNCTIONS_WORKER_PROCESS_COUNT") or "1")
        except ValueError:
            return 1
        return min(max(count, 1), _MOST_WORKER_PROCESSES)

    def client_id(self) -> str | None:
        value = self._get("AZURE_CLIENT_ID")
        if value is not None and not _CLIENT_ID.fullmatch(value):
            raise SettingsError("AZURE_CLIENT_ID must be the client id (a GUID) of the user-assigned identity.")
        return value


def _bundled_policy() -> str:
    """Name the policy beside `host.json`: JSON, which is what `compile` writes, before YAML."""
    return "policy.json" if (APP_ROOT / "policy.json").is_file() else "policy.yaml"


def _url(name: str, value: str, loopback: bool) -> SplitResult:
    """Accept https, and http where the host is this machine and loopback is allowed; no credentials in the URL."""
    try:
        parts = urlsplit(value)
        usable = bool(parts.hostname) and parts.username is None and parts.password is None and parts.port != 0
    except ValueError:
        raise SettingsError(f"{name} is not a URL.") from None
    plain = parts.scheme == "http" and loopback and is_loopback(parts.hostname)
    if not usable or not (parts.scheme == "https" or plain) or not value.isascii() or any(c.isspace() for c in value):
        raise SettingsError(f"{name} must be an https URL without credentials in it.")
    return parts
