"""The managed-identity endpoint of App Service and Functions, on 127.0.0.1.

Speaks api-version 2019-08-01: `GET $IDENTITY_ENDPOINT?resource=&api-version=`, with `client_id`, `principal_id`,
`object_id`, `mi_res_id` or none of them, and the header `X-IDENTITY-HEADER` (Microsoft Learn, "How to use managed
identities for App Service and Azure Functions").
"""

import secrets
import uuid
from dataclasses import dataclass

from aiohttp import web

from devstack.entra.tenant import Tenant
from devstack.faults import FaultBoard
from devstack.keys import peek
from devstack.serving import LocalServer

API_VERSION = "2019-08-01"


@dataclass(frozen=True)
class ManagedIdentity:
    """A managed identity; `object_id` is what role assignments name, the others are what apps ask for it by."""

    object_id: str
    client_id: str
    resource_id: str

    @classmethod
    def new(cls, name: str) -> "ManagedIdentity":
        """Make an identity with random ids and a resource id that ends in `name`."""
        group = "/subscriptions/00000000-0000-0000-0000-00000000c0de/resourcegroups/vending"
        return cls(
            object_id=str(uuid.uuid4()),
            client_id=str(uuid.uuid4()),
            resource_id=f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}",
        )


class IdentityEndpoint(LocalServer):
    """The endpoint with a system-assigned identity and any number of user-assigned ones.

    `board` counts and spoils the endpoint `token`.
    """

    def __init__(self, tenant: Tenant, *, port: int = 0) -> None:
        super().__init__(port=port)
        self.tenant = tenant
        self.board = FaultBoard()
        self.header = secrets.token_urlsafe(16)
        self.system: ManagedIdentity | None = ManagedIdentity.new("system")
        """The system-assigned identity; None when the app has none."""
        self.user_assigned: list[ManagedIdentity] = [ManagedIdentity.new("vending")]
        self.lifetime: float = 24 * 3600
        """Seconds that new tokens live."""
        self.resources: list[str] = []
        """The resources asked for, in order."""

    @property
    def env(self) -> dict[str, str]:
        """What the platform sets for the app."""
        return {"IDENTITY_ENDPOINT": f"{self.url}/msi/token", "IDENTITY_HEADER": self.header}

    def application(self) -> web.Application:
        """Build the application with its one endpoint."""
        app = web.Application()

        async def handle(request: web.Request) -> web.StreamResponse:
            return await self.board.answer("token", request, self._token)

        app.router.add_get("/msi/token", handle)
        return app

    async def _token(self, request: web.Request) -> web.Response:
        offered = request.headers.get("X-IDENTITY-HEADER", "")
        if not secrets.compare_digest(offered.encode(), self.header.encode()):
            return _refusal(401, "The identity header is missing or wrong.")
        if request.query.get("api-version") != API_VERSION:
            return _refusal(400, f"The api-version must be {API_VERSION}.")
        resource = request.query.get("resource")
        if not resource:
            return _refusal(400, "The resource parameter is missing.")
        named = [name for name in ("client_id", "principal_id", "object_id", "mi_res_id") if name in request.query]
        if len(named) > 1:
            return _refusal(400, f"Only one of {', '.join(named)} may be given.")
        identity = self._find(named[0], request.query[named[0]]) if named else self.system
        if identity is None:
            return _refusal(400, "No managed identity was found for the specified ClientId/ResourceId/PrincipalId.")
        self.resources.append(resource)
        token = self.tenant.token(
            identity.object_id,
            identity.client_id,
            resource,
            lifetime=self.lifetime,
            xms_mirid=identity.resource_id,
        )
        claims = peek(token)
        return web.json_response(
            {
                "access_token": token,
                "client_id": identity.client_id,
                "expires_on": str(claims["exp"]),
                "not_before": str(claims["nbf"]),
                "resource": resource,
                "token_type": "Bearer",
            }
        )

    def _find(self, kind: str, value: str) -> ManagedIdentity | None:
        attribute = {"client_id": "client_id", "mi_res_id": "resource_id"}.get(kind, "object_id")
        for identity in self.user_assigned:
            if str(getattr(identity, attribute)).lower() == value.lower():
                return identity
        return None


def _refusal(status: int, message: str) -> web.Response:
    return web.json_response(
        {"statusCode": status, "message": message, "correlationId": str(uuid.uuid4())}, status=status
    )
