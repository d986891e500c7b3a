"""An Entra token endpoint over TLS on localhost: client credentials for apps with a secret, certificate or federation.

`POST /{tenant}/oauth2/v2.0/token` (Microsoft identity platform, "OAuth 2.0 client credentials flow"), and the
discovery documents that MSAL may ask for. Errors carry the AADSTS codes that Entra uses.
"""

import ssl
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from devstack.entra.tenant import Tenant
from devstack.faults import FaultBoard, Handler
from devstack.keys import PublicKey, SigningKey
from devstack.serving import LocalServer

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
EXCHANGE_AUDIENCE = "api://AzureADTokenExchange"
_LIFETIME = 3599


@dataclass(frozen=True)
class FederatedCredential:
    """Whose tokens an app accepts as its own: exact issuer and subject; `published` yields the issuer's keys."""

    issuer: str
    subject: str
    published: Callable[[], Iterable[SigningKey]]
    audience: str = EXCHANGE_AUDIENCE


@dataclass
class Application:
    """A registered app and what it may prove itself with."""

    client_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    object_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    secrets: list[str] = field(default_factory=list)
    certificates: list[x509.Certificate] = field(default_factory=list)
    federated: list[FederatedCredential] = field(default_factory=list)


class Refused(Exception):
    """Entra says no: HTTP status, OAuth error and AADSTS code."""

    def __init__(self, status: int, error: str, code: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.error = error
        self.code = code
        self.text = text


class Authority(LocalServer):
    """The token endpoint of one or more tenants. `board` counts and spoils `token` and `metadata`.

    `applications` are looked up by tenant id and client id; a token's `tid` is the tenant's in the path.
    """

    def __init__(self, tenant: Tenant, *, tls: ssl.SSLContext) -> None:
        super().__init__(plain=False, tls=tls)
        self.board = FaultBoard()
        self.tenants: dict[str, Tenant] = {tenant.tenant_id: tenant}
        self.applications: dict[tuple[str, str], Application] = {}
        self.resources = {"https://containerregistry.azure.net", "https://management.azure.com"}
        """Resources that exist; another one is AADSTS500011."""

    @property
    def host(self) -> str:
        """`localhost:port`, as `AZURE_AUTHORITY_HOST` without its scheme."""
        return f"localhost:{self.tls_port}"

    def register(self, application: Application, tenant_id: str | None = None) -> Application:
        """Add an app to a tenant: the first one unless named; a new one shares the first one's signing key."""
        first = next(iter(self.tenants.values()))
        chosen = tenant_id or first.tenant_id
        self.tenants.setdefault(chosen, Tenant(chosen, first.key))
        self.applications[chosen, application.client_id] = application
        return application

    def application(self) -> web.Application:
        """Build the application of the token endpoint and the discovery documents."""
        app = web.Application()
        app.router.add_post("/{tenant}/oauth2/v2.0/token", self._endpoint("token", self._token))
        for path in ("/{tenant}/v2.0/.well-known/openid-configuration", "/{tenant}/.well-known/openid-configuration"):
            app.router.add_get(path, self._endpoint("metadata", self._configuration))
        app.router.add_get("/common/discovery/instance", self._endpoint("metadata", self._instances))
        return app

    def _endpoint(self, name: str, handler: Handler) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await self.board.answer(name, request, handler)

        return handle

    async def _configuration(self, request: web.Request) -> web.Response:
        base = f"{self.tls_url}/{request.match_info['tenant']}"
        return web.json_response(
            {
                "issuer": f"{base}/v2.0",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
            }
        )

    async def _instances(self, request: web.Request) -> web.Response:
        tenant = next(iter(self.tenants))
        metadata = [{"preferred_network": self.host, "preferred_cache": self.host, "aliases": [self.host]}]
        endpoint = f"{self.tls_url}/{tenant}/v2.0/.well-known/openid-configuration"
        return web.json_response({"tenant_discovery_endpoint": endpoint, "api-version": "1.1", "metadata": metadata})

    async def _token(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        try:
            return web.json_response(self._grant(request.match_info["tenant"], form))
        except Refused as refusal:
            return _refusal(refusal)

    def _grant(self, tenant_id: str, form: Mapping[str, str]) -> dict[str, Any]:
        tenant = self.tenants.get(tenant_id)
        if tenant is None:
            raise Refused(400, "invalid_request", 90002, f"Tenant '{tenant_id}' not found.")
        if form.get("grant_type") != "client_credentials":
            raise Refused(400, "unsupported_grant_type", 70003, "The app requested an unsupported grant type.")
        application = self.applications.get((tenant_id, form.get("client_id", "")))
        if application is None:
            raise Refused(400, "unauthorized_client", 700016, "Application was not found in the directory.")
        self._authenticate(tenant_id, application, form)
        resource, separator, rest = form.get("scope", "").partition("/.default")
        if not separator or rest:
            raise Refused(400, "invalid_scope", 1002012, "The scope must be a resource followed by /.default.")
        if resource not in self.resources:
            raise Refused(400, "invalid_resource", 500011, f"The resource principal named {resource} was not found.")
        token = tenant.token(application.object_id, application.client_id, resource, lifetime=_LIFETIME, appidacr="1")
        return {"token_type": "Bearer", "expires_in": _LIFETIME, "ext_expires_in": _LIFETIME, "access_token": token}

    def _authenticate(self, tenant_id: str, application: Application, form: Mapping[str, str]) -> None:
        if "client_assertion" in form:
            if form.get("client_assertion_type") != ASSERTION_TYPE:
                raise Refused(400, "invalid_request", 900144, "The client_assertion_type is missing or wrong.")
            self._check_assertion(tenant_id, application, form["client_assertion"])
        elif "client_secret" not in form:
            raise Refused(401, "invalid_client", 7000218, "client_assertion or client_secret is required.")
        elif form["client_secret"] not in application.secrets:
            raise Refused(401, "invalid_client", 7000215, "Invalid client secret provided.")

    def _check_assertion(self, tenant_id: str, application: Application, assertion: str) -> None:
        try:
            peeked = jwt.decode(assertion, options={"verify_signature": False})
        except jwt.InvalidTokenError:
            raise Refused(401, "invalid_client", 50027, "JWT token is invalid or malformed.") from None
        if peeked.get("iss") == application.client_id:
            endpoint = f"{self.tls_url}/{tenant_id}/oauth2/v2.0/token"
            keys: list[tuple[PublicKey, str]] = [
                (public, algorithm)
                for certificate in application.certificates
                if isinstance(public := certificate.public_key(), rsa.RSAPublicKey)
                for algorithm in ("PS256", "RS256")
            ]
            self._verify_assertion(assertion, keys, issuer=application.client_id, audience=endpoint)
            return
        for credential in application.federated:
            if (credential.issuer, credential.subject) == (peeked.get("iss"), peeked.get("sub")):
                keys = [(key.public, key.algorithm) for key in credential.published()]
                self._verify_assertion(assertion, keys, issuer=credential.issuer, audience=credential.audience)
                return
        raise Refused(401, "invalid_client", 700213, "No matching federated identity record found for the assertion.")

    def _verify_assertion(
        self, assertion: str, keys: Iterable[tuple[PublicKey, str]], *, issuer: str, audience: str
    ) -> None:
        reason = "no key"
        for key, algorithm in keys:
            try:
                jwt.decode(assertion, key, algorithms=[algorithm], issuer=issuer, audience=audience)
            except jwt.ExpiredSignatureError:
                raise Refused(401, "invalid_client", 700024, "Client assertion is not within its time range.") from None
            except jwt.InvalidTokenError as error:
                reason = type(error).__name__
            else:
                return
        raise Refused(401, "invalid_client", 700027, f"The assertion's signature or audience is wrong: {reason}.")


def _refusal(refusal: Refused) -> web.Response:
    trace = str(uuid.uuid4())
    now = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime())
    body = {
        "error": refusal.error,
        "error_description": f"AADSTS{refusal.code}: {refusal.text} Trace ID: {trace} Timestamp: {now}",
        "error_codes": [refusal.code],
        "timestamp": now,
        "trace_id": trace,
        "correlation_id": str(uuid.uuid4()),
    }
    return web.json_response(body, status=refusal.status)
