"""What an attacker has at hand: every public key, keys of one's own, and a way to write any token. Verifies nothing."""

import json
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from devstack.keys import OMIT, PrivateKey, SigningKey, b64url, without_omitted
from devstack.serving import LocalServer
from vending.clock import Clock
from vending.oidc.signature import ALGORITHMS
from vending.oidc.types import Issuer

AUDIENCE: Final = "https://vend.contoso.example"
NOW: Final = 1_800_000_000
LIFETIME: Final = 300
EVERY_ALGORITHM: Final = frozenset(ALGORITHMS)
ROCA_MODULUS: Final = int(
    "be8bb74ae1d6de0c11fdbc409c8b21ee8f631e8874e8235d7ab6acd6303f0a3ef7c8d14a5e5bfba6e52690698a989a94493a"
    "c11c72f793e231e2ab110825d4837f203984c5e142f9ca224ba2dd945e73745eef01ccbf74bc55054cc2ccef7db4ac5618b1"
    "caa1a4e1db344dfd202b92af01e1fa54200dedecfec23805111f36da44a43f934bc2c8c55abc07cae6eb4ea8db25d923b4c9"
    "e4d7b0e13dbaabf11ee06f7ea5f8042ebf8ddb0b1570fcaae4218154aa89d363ffc60fc59adb5d1a3e39a60d06febfe7d9f9"
    "466c0d0702a591923d4009c6264d35fb982bd2265973360038a8e06d866bd5b3e299557802da3a81a5f82f4561d6bf21ef8f"
    "d8e2cf87edf9",
    16,
)
"""2,048 bits, made as the library of CVE-2017-15361 made them; its primes are forgotten."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Hands:
    """A clock that the test turns by hand; both of its hands move together."""

    wall: float = NOW
    steady: float = 1000.0

    def turn(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds

    @property
    def clock(self) -> Clock:
        return Clock(now=lambda: self.wall, monotonic=lambda: self.steady)


@dataclass(eq=False)
class Site(LocalServer):
    """An issuer on 127.0.0.1 that publishes exactly what a test tells it to, and counts who asks for what."""

    jwks: list[Any] = field(default_factory=list)
    discovery: dict[str, Any] = field(default_factory=dict)
    """Merged over the honest document; `OMIT` as a value leaves the name out."""
    path: str = "/issuer"
    requests: list[str] = field(default_factory=list)
    """The path of each request, in order."""
    misbehave: dict[str, Handler] = field(default_factory=dict)
    """What answers instead, by path."""
    tls_context: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        super().__init__(tls=self.tls_context)

    @property
    def fetches(self) -> int:
        """How many times the key set was asked for."""
        return self.requests.count("/keys")

    @property
    def issuer_url(self) -> str:
        return self.url + self.path

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/{anything:.*}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.path)
        if request.path in self.misbehave:
            return await self.misbehave[request.path](request)
        if request.path == f"{self.path.rstrip('/')}/.well-known/openid-configuration":
            honest = {"issuer": self.issuer_url, "jwks_uri": f"{self.url}/keys"}
            return web.json_response(without_omitted({**honest, **self.discovery}))
        if request.path == "/keys":
            return web.json_response({"keys": self.jwks})
        return web.Response(status=404)


def issuer_at(site: Site, **changes: Any) -> Issuer:
    """Return a policy's entry for a site: every algorithm, tokens of at most 15 minutes, used once; with changes."""
    entry = Issuer(
        name="ci",
        url=site.issuer_url,
        audience=AUDIENCE,
        algorithms=EVERY_ALGORITHM,
        max_token_lifetime=900,
        replay="once",
    )
    return replace(entry, **changes)


def public_jwk(private: PrivateKey, **members: Any) -> dict[str, Any]:
    """Write the public half as a JWK and nothing else; `members` are added, or left out where they are `OMIT`."""
    public = private.public_key()
    jwk: dict[str, Any]
    if isinstance(public, rsa.RSAPublicKey):
        jwk = RSAAlgorithm.to_jwk(public, as_dict=True)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        jwk = ECAlgorithm.to_jwk(public, as_dict=True)
    else:
        jwk = OKPAlgorithm.to_jwk(public, as_dict=True)
    jwk.pop("key_ops", None)
    return without_omitted({**jwk, **members})


class Keys:
    """The key pairs of the tests, made once: making RSA keys is slow."""

    def __init__(self) -> None:
        self.rsa = rsa.generate_private_key(65537, 2048)
        self.other_rsa = rsa.generate_private_key(65537, 2048)
        self.small_rsa = rsa.generate_private_key(65537, 1024)
        self.p256 = ec.generate_private_key(ec.SECP256R1())
        self.p384 = ec.generate_private_key(ec.SECP384R1())
        self.p521 = ec.generate_private_key(ec.SECP521R1())
        self.k256 = ec.generate_private_key(ec.SECP256K1())
        self.ed25519 = ed25519.Ed25519PrivateKey.generate()
        self.ed448 = ed448.Ed448PrivateKey.generate()

    def for_algorithm(self, algorithm: str) -> PrivateKey:
        special: dict[str, PrivateKey] = {
            "ES256": self.p256,
            "ES384": self.p384,
            "ES512": self.p521,
            "EdDSA": self.ed25519,
        }
        return special.get(algorithm, self.rsa)


class Forge:
    """Write tokens for the issuer at `site`, well-formed or not."""

    def __init__(self, keys: Keys, site: Site, trap: Site) -> None:
        self.keys = keys
        self.site = site
        self.trap = trap

    def issuer(self, **changes: Any) -> Issuer:
        """Return the policy's entry for the site, with changes."""
        return issuer_at(self.site, **changes)

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return the claims of a good token, with changes."""
        honest = {
            "iss": self.site.issuer_url,
            "aud": AUDIENCE,
            "sub": "repo:contoso/web:ref:refs/heads/main",
            "iat": NOW,
            "nbf": NOW,
            "exp": NOW + LIFETIME,
            "jti": "7f0c9d0e-0001",
        }
        return without_omitted({**honest, **changes})

    def header(self, **changes: Any) -> dict[str, Any]:
        """Return the header of a good token, with changes."""
        return without_omitted({"alg": "RS256", "typ": "JWT", "kid": "rsa", **changes})

    def token(
        self,
        claims: Mapping[str, Any] | bytes | None = None,
        *,
        key: PrivateKey | None = None,
        header_bytes: bytes | None = None,
        sign_as: str | None = None,
        **header: Any,
    ) -> str:
        """Sign a token; keywords change its header. `sign_as` signs with another algorithm than the header names."""
        head = self.header(**header)
        algorithm = sign_as or head["alg"]
        payload = claims if isinstance(claims, bytes) else to_json(self.claims() if claims is None else claims)
        signing_input = f"{b64url(header_bytes or to_json(head))}.{b64url(payload)}"
        private = key or self.keys.for_algorithm(algorithm)
        signature = SigningKey("", algorithm, private).sign(signing_input.encode())
        return f"{signing_input}.{b64url(signature)}"

    def unsigned(self, signature: bytes = b"", **header: Any) -> str:
        """Write a token with this signature, whatever it is."""
        return f"{self.signing_input(**header)}.{b64url(signature)}"

    def signing_input(self, **header: Any) -> str:
        """Write the first two parts of a token."""
        return f"{b64url(to_json(self.header(**header)))}.{b64url(to_json(self.claims()))}"

    def parts(self) -> tuple[str, str, str]:
        """Return the three parts of a good token."""
        header, payload, signature = self.token().split(".")
        return header, payload, signature


def to_json(value: object) -> bytes:
    """Write compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


def published(keys: Keys) -> list[Any]:
    """Return the site's key set: good keys of each kind, and beside them every kind that must not be used."""
    small = keys.small_rsa
    n = keys.rsa.public_key().public_numbers().n
    numbers = keys.p256.private_numbers()
    return [
        public_jwk(keys.rsa, kid="rsa", use="sig", alg="RS256"),
        public_jwk(keys.rsa, kid="rsa-any"),
        public_jwk(keys.p256, kid="p256", use="sig", alg="ES256"),
        public_jwk(keys.p384, kid="p384"),
        public_jwk(keys.p521, kid="p521"),
        public_jwk(keys.ed25519, kid="ed25519", alg="EdDSA"),
        public_jwk(keys.ed448, kid="ed448"),
        public_jwk(keys.rsa, kid="rsa-verify", key_ops=["verify"]),
        public_jwk(keys.rsa, kid="twin", alg="RS256"),
        public_jwk(keys.p256, kid="twin", alg="ES256"),
        public_jwk(keys.rsa, kid="again", alg="RS256"),
        public_jwk(keys.rsa, kid="again", alg="RS256"),
        public_jwk(keys.rsa, kid="alg-rs512", alg="RS512"),
        # Some serialisers write null for what is not there: no use, no algorithm, and no private key either.
        public_jwk(
            keys.rsa,
            kid="nulls",
            use=None,
            alg=None,
            key_ops=None,
            d=None,
            p=None,
            q=None,
            dp=None,
            dq=None,
            qi=None,
            oth=None,
            x5c=None,
        ),
        public_jwk(keys.p256, kid="nulls-ec", d=None, alg=None),
        # From here on, none may be used.
        public_jwk(keys.rsa, kid="ambiguous"),
        public_jwk(keys.other_rsa, kid="ambiguous"),
        public_jwk(small, kid="rsa-1024", use="sig", alg="RS256"),
        public_jwk(keys.rsa, kid="e-1", e=b64url(b"\x01")),
        public_jwk(keys.rsa, kid="e-3", e=b64url(b"\x03")),
        public_jwk(keys.rsa, kid="e-even", e=b64url(b"\x01\x00\x02")),
        public_jwk(keys.rsa, kid="e-huge", e=b64url(b"\x01" * 9)),
        public_jwk(keys.rsa, kid="n-even", n=b64url((n - 1).to_bytes(256, "big"))),
        public_jwk(keys.rsa, kid="n-zero", n=b64url(b"\0" * 256)),
        public_jwk(keys.rsa, kid="n-huge", n=b64url(b"\xff" * 1025)),
        public_jwk(keys.rsa, kid="n-padded", n=b64url(n.to_bytes(256, "big")) + "=="),
        public_jwk(keys.rsa, kid="n-number", n=n % 1000),
        public_jwk(keys.rsa, kid="n-missing", n=OMIT),
        public_jwk(keys.rsa, kid="n-roca", n=b64url(ROCA_MODULUS.to_bytes(256, "big"))),
        public_jwk(keys.rsa, kid="use-enc", use="enc"),
        public_jwk(keys.rsa, kid="use-list", use=["sig"]),
        public_jwk(keys.rsa, kid="ops-sign", key_ops=["sign"]),
        public_jwk(keys.rsa, kid="ops-empty", key_ops=[]),
        public_jwk(keys.rsa, kid="ops-text", key_ops="verify"),
        public_jwk(keys.rsa, kid="alg-oaep", alg="RSA-OAEP-256"),
        public_jwk(keys.rsa, kid="alg-es256", alg="ES256"),
        public_jwk(keys.rsa, kid="alg-none", alg="none"),
        public_jwk(keys.rsa, kid="kty-ec", kty="EC"),
        public_jwk(keys.rsa, kid="kty-lower", kty="rsa"),
        public_jwk(keys.rsa, kid="kty-missing", kty=OMIT),
        public_jwk(keys.rsa, kid="private", d=b64url(b"\x01" * 256)),
        public_jwk(keys.rsa, kid="private-prime", p=b64url(b"\x01" * 128)),
        public_jwk(keys.p256, kid="private-ec", d=b64url(numbers.private_value.to_bytes(32, "big"))),
        public_jwk(keys.rsa, kid=""),
        public_jwk(keys.rsa, kid=7),
        public_jwk(keys.rsa, kid=OMIT),
        public_jwk(keys.rsa, kid="x" * 257),
        public_jwk(keys.k256, kid="k256"),
        public_jwk(keys.p384, kid="crv-lies", crv="P-256"),
        public_jwk(keys.p256, kid="off-curve", y=b64url(b"\x01" * 32)),
        public_jwk(keys.p256, kid="infinity", x=b64url(b"\0" * 32), y=b64url(b"\0" * 32)),
        public_jwk(keys.p256, kid="short-x", x=b64url(b"\x01" * 31)),
        public_jwk(keys.ed25519, kid="x25519", crv="X25519"),
        public_jwk(keys.ed25519, kid="ed-short", x=b64url(b"\x01" * 31)),
        {"kty": "oct", "kid": "oct", "k": b64url(b"a secret of at least thirty-two bytes"), "alg": "HS256"},
        {"kty": "oct", "kid": "oct-rs256", "k": b64url(b"a secret of at least thirty-two bytes"), "alg": "RS256"},
        "not a key",
        None,
        [],
    ]
