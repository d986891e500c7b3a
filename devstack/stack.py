"""The local stack as a whole: `Upstreams` is what the service talks to, `Stack` adds a policy and the service itself.

Both are context managers.
"""

import contextlib
import tempfile
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from devstack.entra.identity import IdentityEndpoint
from devstack.host.processes import HostProcess
from devstack.issuer.server import IssuerServer
from devstack.policy import policy_text
from devstack.registry.server import Registry
from devstack.upstreams import Upstreams

__all__ = ["PROJECT", "Stack", "Upstreams"]

PROJECT = Path(__file__).resolve().parent.parent
DEFAULT_PORT = 7071
_BODY_LIMIT = "1048576"


class Stack:
    """The service with a policy of its own in front of upstreams, which it starts unless they are given.

    `policy` is a text, or a function from the upstreams to one; `settings` are added to the app's, and an empty value
    takes one away. `start_host=False` leaves the service out; `show_log` passes its log on to standard error.
    """

    def __init__(
        self,
        upstreams: Upstreams | None = None,
        *,
        policy: str | Callable[[Upstreams], str] = policy_text,
        settings: Mapping[str, str] | None = None,
        policy_name: str = "policy.yaml",
        app: Path = PROJECT,
        port: int = 0,
        start_host: bool = True,
        show_log: bool = False,
    ) -> None:
        self._cleanup = contextlib.ExitStack()
        self.upstreams = upstreams or self._cleanup.enter_context(Upstreams())
        self._policy = policy
        self._policy_name = policy_name
        self._extra = dict(settings or {})
        self._app = app
        self._port = port
        self._start_host = start_host
        self._show_log = show_log
        self.hosts: list[HostProcess] = []
        """The running instances of the service; the first is `host`."""

    @property
    def issuers(self) -> IssuerServer:
        """The OIDC issuers."""
        return self.upstreams.issuers

    @property
    def identity(self) -> IdentityEndpoint:
        """The managed-identity endpoint."""
        return self.upstreams.identity

    @property
    def registry(self) -> Registry:
        """The emulated ACR."""
        return self.upstreams.registry

    @property
    def host(self) -> HostProcess:
        """The first instance of the service."""
        return self.hosts[0]

    @property
    def url(self) -> str:
        """Where the first instance of the service answers."""
        return self.host.url

    @property
    def audience(self) -> str:
        """The `aud` that tokens for the service carry."""
        return self.upstreams.audience

    @cached_property
    def directory(self) -> Path:
        """A directory of this stack alone."""
        return Path(self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="devstack-app-")))

    @property
    def policy_path(self) -> Path:
        """The policy file that the service reads."""
        return self.directory / self._policy_name

    def write_policy(self, text: str) -> None:
        """Replace the policy file in one step."""
        fresh = self.policy_path.with_suffix(".new")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(self.policy_path)

    @property
    def settings(self) -> dict[str, str]:
        """The app settings of the service."""
        settings = {
            "VENDING_POLICY": str(self.policy_path),
            "VENDING_ALLOW_LOOPBACK": "1",
            "AzureWebJobsDisableHomepage": "true",
            "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": _BODY_LIMIT,
            **self.identity.env,
            **self._extra,
        }
        return {name: value for name, value in settings.items() if value}

    def add_host(self, settings: Mapping[str, str] | None = None) -> HostProcess:
        """Start one more instance of the service, with further settings; it ends with the stack."""
        port = 0 if self.hosts else self._port
        host = HostProcess(self.settings | dict(settings or {}), app=self._app, port=port, show_log=self._show_log)
        self._cleanup.callback(host.close)
        self.hosts.append(host.start())
        return host

    def start(self) -> Self:
        """Write the policy and start the service."""
        self.write_policy(self._policy if isinstance(self._policy, str) else self._policy(self.upstreams))
        if self._start_host:
            self.add_host()
        return self

    def close(self) -> None:
        """Stop everything that this stack has started."""
        self._cleanup.close()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
