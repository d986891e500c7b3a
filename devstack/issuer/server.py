"""OIDC issuers on 127.0.0.1 that mint CI-shaped tokens: discovery, key sets, rotation and the runners' own endpoints.

One server hosts several issuers, each under a path of its own. It knows nothing of who verifies the tokens.
"""

import secrets
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from devstack import recording
from devstack.faults import FaultBoard
from devstack.issuer import claims as shapes
from devstack.keys import Claims, Header, SigningKey, encode
from devstack.serving import LocalServer
from vending.policy.providers.presets import PRESETS

DEFAULT_AUDIENCE = "https://vend.contoso.example"
AZURE_DEVOPS_AUDIENCE = "api://AzureADTokenExchange"
"""Azure DevOps offers no choice of audience."""


@dataclass(frozen=True)
class Job:
    """A CI job that may ask for tokens: its claims, its secret, and the variables that its runner would set."""

    issuer: "Issuer"
    claims: Mapping[str, Any]
    secret: str

    @property
    def github_env(self) -> dict[str, str]:
        """What GitHub sets for a job with `permissions: id-token: write`; append `&audience=` to the URL."""
        return {
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{self.issuer.url}/runner/github?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": self.secret,
        }

    @property
    def azure_devops_env(self) -> dict[str, str]:
        """What Azure Pipelines sets; `api-version` is appended by the caller."""
        return {
            "SYSTEM_OIDCREQUESTURI": f"{self.issuer.url}/runner/azure-devops",
            "SYSTEM_ACCESSTOKEN": self.secret,
        }


class Issuer:
    """One issuer: its keys, what it publishes, its faults and its tokens.

    `board` counts and spoils the endpoints `discovery`, `jwks`, `github-runner` and `azure-devops-runner`.
    """

    def __init__(
        self, url: str, shape: shapes.Shape, *, algorithm: str, jwks_path: str, audience: str = DEFAULT_AUDIENCE
    ) -> None:
        self.url = url
        self.shape = shape
        self.audience = audience
        self.jwks_path = jwks_path
        self.board = FaultBoard()
        self.discovery_overrides: dict[str, Any] = {}
        """Merged over the discovery document, to make it lie."""
        self.extra_jwks: list[dict[str, Any]] = []
        """Published beside the issuer's own keys, as they are."""
        self._algorithm = algorithm
        self._keys: list[SigningKey] = []
        self._published: set[str] = set()
        self._jobs: dict[str, Job] = {}

    @property
    def keys(self) -> list[SigningKey]:
        """The keys that are published, oldest first."""
        self._ensure_key()
        return [key for key in self._keys if key.kid in self._published]

    @property
    def key(self) -> SigningKey:
        """The key that signs new tokens: the youngest."""
        self._ensure_key()
        return self._keys[-1]

    def _ensure_key(self) -> None:
        if not self._keys:
            self.add_key()

    def add_key(
        self,
        algorithm: str | None = None,
        *,
        kid: str | None = None,
        publish: bool = True,
        key: SigningKey | None = None,
    ) -> SigningKey:
        """Make a key, or take one, that signs from now on; the older ones stay published. With `publish=False` nobody
        learns it.
        """
        key = key or SigningKey.generate(algorithm or self._algorithm, kid=kid)
        self._keys.append(key)
        if publish:
            self._published.add(key.kid)
        return key

    def publish(self, kid: str) -> None:
        """Publish a key again, or for the first time."""
        self._published.add(kid)

    def withdraw_key(self, kid: str) -> None:
        """Take a key out of the published set; it can still sign when named."""
        self._published.discard(kid)

    def rotate(self) -> SigningKey:
        """Add a new key and withdraw every older one."""
        new = self.add_key()
        self._published = {new.kid}
        return new

    def jwks(self) -> dict[str, Any]:
        """Return the published key set."""
        return {"keys": [key.jwk() for key in self.keys] + self.extra_jwks}

    def mint(self, claims: Claims | bytes, *, key: SigningKey | None = None, headers: Header | None = None) -> str:
        """Sign exactly these claims."""
        return encode(claims, key or self.key, headers=headers)

    def token(
        self,
        audience: Any = None,
        *,
        at: float | None = None,
        key: SigningKey | None = None,
        headers: Header | None = None,
        claims: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> str:
        """Mint a token of this issuer's shape.

        `at` is the time of issue (epoch seconds), `claims` and keyword arguments override the shape; `OMIT` as a
        value leaves a claim or header out.
        """
        chosen = self.audience if audience is None else audience
        return self.mint(self.shape(self.url, chosen, at=at, **{**(claims or {}), **more}), key=key, headers=headers)

    def job(self, **claims: Any) -> Job:
        """Register a CI job whose runner may ask this issuer for tokens with these claims."""
        job = Job(self, claims, recording.secret(secrets.token_urlsafe(24)))
        self._jobs[job.secret] = job
        return job

    def discovery(self) -> dict[str, Any]:
        """Return the discovery document (OpenID Connect Discovery 1.0 section 3)."""
        algorithms = sorted({key.algorithm for key in self.keys})
        return {
            "issuer": self.url,
            "jwks_uri": f"{self.url}{self.jwks_path}",
            "subject_types_supported": ["public"],
            "response_types_supported": ["id_token"],
            "id_token_signing_alg_values_supported": algorithms,
            "scopes_supported": ["openid"],
            **self.discovery_overrides,
        }

    def routes(self, prefix: str) -> Iterable[web.RouteDef]:
        """Return the routes of this issuer under `prefix`."""
        yield self._route("GET", f"{prefix}/.well-known/openid-configuration", "discovery", self._discovery)
        yield self._route("GET", f"{prefix}{self.jwks_path}", "jwks", self._jwks)
        yield self._route("GET", f"{prefix}/runner/github", "github-runner", self._github_runner)
        yield self._route("POST", f"{prefix}/runner/azure-devops", "azure-devops-runner", self._azure_devops_runner)

    def _route(self, method: str, path: str, endpoint: str, handler: Any) -> web.RouteDef:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await self.board.answer(endpoint, request, handler)

        return web.route(method, path, handle)

    async def _discovery(self, _request: web.Request) -> web.Response:
        return web.json_response(self.discovery())

    async def _jwks(self, _request: web.Request) -> web.Response:
        return web.json_response(self.jwks())

    def _job_of(self, request: web.Request) -> Job:
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        job = self._jobs.get(secret) if scheme.lower() == "bearer" else None
        if job is None:
            raise web.HTTPUnauthorized
        return job

    async def _github_runner(self, request: web.Request) -> web.Response:
        job = self._job_of(request)
        audience = request.query.get("audience", "https://github.com/contoso")
        value = self.token(audience, claims=job.claims)
        return web.json_response({"count": len(value), "value": value})

    async def _azure_devops_runner(self, request: web.Request) -> web.Response:
        job = self._job_of(request)
        if "api-version" not in request.query:
            raise web.HTTPBadRequest
        return web.json_response({"oidcToken": self.token(AZURE_DEVOPS_AUDIENCE, claims=job.claims)})


class IssuerServer(LocalServer):
    """A server of one issuer for each provider, and of `/other` (ES256), which no provider is known by.

    Each lies under the name of its preset, but for Kubernetes, which is `/cluster`.
    """

    def __init__(self, *, audience: str = DEFAULT_AUDIENCE, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(port=port, tls=tls)
        self.audience = audience
        self.github = self._issuer("github", shapes.github, jwks_path="/.well-known/jwks")
        self.gitlab = self._issuer("gitlab", shapes.gitlab, jwks_path="/oauth/discovery/keys")
        self.cluster = self._issuer("cluster", shapes.kubernetes, jwks_path="/openid/v1/jwks")
        self.azure_devops = self._issuer("azure-devops", shapes.azure_devops, jwks_path="/.well-known/jwks")
        self.other = self._issuer("other", shapes.generic, jwks_path="/jwks.json", algorithm="ES256")
        named = {
            "github": self.github,
            "gitlab": self.gitlab,
            "kubernetes": self.cluster,
            "azure-devops": self.azure_devops,
            "generic": self.other,
        }
        self._of_preset = named | {
            preset: self._issuer(preset, shapes.shape_of(preset), jwks_path="/.well-known/jwks.json")
            for preset in PRESETS
            if preset not in named
        }

    def _issuer(self, path: str, shape: shapes.Shape, *, jwks_path: str, algorithm: str = "RS256") -> Issuer:
        url = f"{self.url}/{path}"
        return Issuer(url, shape, algorithm=algorithm, jwks_path=jwks_path, audience=self.audience)

    @property
    def all(self) -> dict[str, Issuer]:
        """Every issuer by its path."""
        return {issuer.url.rpartition("/")[2]: issuer for issuer in self._of_preset.values()}

    def of(self, preset: str) -> Issuer:
        """Return the issuer whose tokens a preset describes."""
        return self._of_preset[preset]

    def application(self) -> web.Application:
        """Build the application that serves every issuer."""
        app = web.Application()
        for path, issuer in self.all.items():
            app.add_routes(issuer.routes(f"/{path}"))
        return app
