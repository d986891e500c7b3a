"""Where to mint: a registry's origin, the names it goes by, and whose rights are used. Talks to nobody."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias
from urllib.parse import urlsplit

from vending.settings import is_loopback

Key: TypeAlias = tuple[Hashable, str, str | None]


class NamedRegistry(Protocol):
    """What a registry's entry in the policy says about it."""

    @property
    def login_server(self) -> str: ...

    @property
    def service(self) -> str | None: ...

    @property
    def token_audience(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Target:
    """Say where to mint, and with whose rights.

    `service` is None where the policy leaves it open: then it is the login server, or what the registry's own challenge
    says if that is refused. `identity` is the resolved identity with its audience, as a part of cache keys.
    """

    origin: str
    login_server: str
    service: str | None
    identity: Hashable = field(repr=False)

    @classmethod
    def of(cls, registry: NamedRegistry, identity: Hashable, *, allow_loopback: bool) -> Target:
        """Build the target for a registry of the policy and the identity that mints for it."""
        return cls(
            origin=origin(registry.login_server, allow_loopback=allow_loopback),
            login_server=registry.login_server,
            service=registry.service,
            identity=(identity, registry.token_audience),
        )

    @property
    def key(self) -> Key:
        """What a refresh token is cached under."""
        return (self.identity, self.login_server, self.service)


def origin(login_server: str, *, allow_loopback: bool) -> str:
    """Return the origin to talk to: https, or plain http for a registry on this machine where that is allowed."""
    local = allow_loopback and is_loopback(urlsplit(f"//{login_server}").hostname)
    return f"{'http' if local else 'https'}://{login_server}"
