"""The local stack as a whole: issuers, identity endpoint and registry in one thread, the function app beside them.

`Upstreams` is what the service talks to, `Stack` adds a policy and the service itself. Both are context managers.
"""

import contextlib
import tempfile
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from devstack import tools
from devstack.certs import TestAuthority
from devstack.entra.authority import Authority
from devstack.entra.identity import IdentityEndpoint
from devstack.entra.tenant import Tenant
from devstack.host.processes import HostProcess
from devstack.issuer.server import DEFAULT_AUDIENCE, IssuerServer
from devstack.policy import policy_text
from devstack.registry.server import Registry
from devstack.serving import LoopThread

PROJECT = Path(__file__).resolve().parent.parent
_BODY_LIMIT = "1048576"


class Upstreams:
    """Everything that the service talks to: `issuers`, `identity`, `registry`, and on demand a TLS `authority`.

    The identity endpoint's system-assigned identity and its first user-assigned one have all rights on the registry.
    With `docker_registry` the images lie in the real server; `registry_note` says when they do not, and why.
    """

    def __init__(self, *, docker_registry: bool = True, audience: str = DEFAULT_AUDIENCE) -> None:
        self._cleanup = contextlib.ExitStack()
        self.directory = Path(self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="devstack-")))
        self.audience = audience
        self.registry_note = ""
        self.tenant = Tenant()
        self._docker_registry = self._find_docker_registry() if docker_registry else None

    def _find_docker_registry(self) -> Path | None:
        try:
            return tools.ensure(tools.DOCKER_REGISTRY)
        except tools.Unavailable as reason:
            self.registry_note = str(reason)
            return None

    @cached_property
    def ca(self) -> TestAuthority:
        """The certificate authority of every TLS listener here."""
        return TestAuthority(self.directory / "ca")

    @cached_property
    def loop(self) -> LoopThread:
        """The thread that all servers share."""
        loop = LoopThread()
        self._cleanup.callback(loop.close)
        return loop

    @cached_property
    def issuers(self) -> IssuerServer:
        """The OIDC issuers."""
        return self._cleanup.enter_context(IssuerServer(audience=self.audience).start(self.loop))

    @cached_property
    def identity(self) -> IdentityEndpoint:
        """The managed-identity endpoint."""
        return self._cleanup.enter_context(IdentityEndpoint(self.tenant).start(self.loop))

    @cached_property
    def registry(self) -> Registry:
        """The emulated ACR, in plain HTTP and TLS."""
        return self.new_registry()

    @cached_property
    def authority(self) -> Authority:
        """The Entra token endpoint, over TLS."""
        authority = Authority(self.tenant, tls=self.ca.server_context())
        return self._cleanup.enter_context(authority.start(self.loop))

    def new_registry(self) -> Registry:
        """Start another registry with the same rights as the first."""
        registry = Registry(self.tenant, docker_registry=self._docker_registry, tls=self.ca.server_context())
        self._allow_identities(registry)
        return self._cleanup.enter_context(registry.start(self.loop))

    def _allow_identities(self, registry: Registry) -> None:
        for identity in (self.identity.system, *self.identity.user_assigned):
            if identity:
                registry.allow(identity.object_id)

    def heal(self) -> None:
        """Remove every fault and oddity that a test has left behind, and give the identities all rights again."""
        for board in (self.identity.board, *(issuer.board for issuer in self.issuers.all.values())):
            board.clear()
        self.registry.heal()
        self._allow_identities(self.registry)

    def start(self) -> Self:
        """Start the servers that every stack needs."""
        _ = (self.issuers, self.identity, self.registry)
        return self

    def close(self) -> None:
        """Stop everything and remove its files."""
        self._cleanup.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


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
        app: Path = PROJECT,
        port: int = 0,
        start_host: bool = True,
        show_log: bool = False,
    ) -> None:
        self._cleanup = contextlib.ExitStack()
        self.upstreams = upstreams or self._cleanup.enter_context(Upstreams())
        self._policy = policy
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
        return self.directory / "policy.yaml"

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
