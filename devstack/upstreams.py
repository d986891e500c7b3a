"""What the service talks to, in one thread: issuers, identity endpoint, registry and, on demand, Entra's authority."""

import contextlib
import tempfile
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from devstack import tools
from devstack.certs import TestAuthority
from devstack.entra.authority import Authority
from devstack.entra.identity import IdentityEndpoint
from devstack.entra.tenant import Tenant
from devstack.issuer.server import DEFAULT_AUDIENCE, IssuerServer
from devstack.registry.server import Registry
from devstack.serving import LoopThread


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
