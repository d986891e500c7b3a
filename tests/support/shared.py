"""Stacks whose instances share one replay table in Azurite, with the app's managed identity as the way in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devstack.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from devstack.stack import Upstreams


def table_settings(upstreams: Upstreams, table: str) -> dict[str, str]:
    """Return the settings of an instance that keeps its claims in `table`."""
    return {"VENDING_REPLAY_STORE": table, "SSL_CERT_FILE": str(upstreams.ca.ca_file)}


def two_instances(upstreams: Upstreams, table: str, settings: Mapping[str, str] | None = None) -> Stack:
    """Return a stack, to be started, of two instances that share `table`."""
    return _Pair(upstreams, settings={**table_settings(upstreams, table), **(settings or {})})


class _Pair(Stack):
    def start(self) -> _Pair:
        super().start()
        self.add_host()
        return self
