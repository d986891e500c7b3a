"""Signing keys and JSON Web Signatures for the servers of the local stack; it verifies nothing."""

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from devstack import recording

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey


class Omit:
    """The type of `OMIT`: as the value of a claim or header it leaves the name out."""

    def __repr__(self) -> str:
        return "OMIT"


OMIT: Final = Omit()

_CURVES: dict[str, ec.EllipticCurve] = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


def b64url(data: bytes) -> str:
    """Encode bytes as base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def libtrust_kid(public: PublicKey) -> str:
    """Compute the key id that docker registries and ACR put in `kid`: 12 groups of 4 characters."""
    spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    text = base64.b32encode(hashlib.sha256(spki).digest()[:30]).decode()
    return ":".join(text[i : i + 4] for i in range(0, len(text), 4))


@dataclass(frozen=True)
class SigningKey:
    """A private key with the id and the algorithm under which it is published."""

    kid: str
    algorithm: str
    private: PrivateKey

    @classmethod
    def generate(cls, algorithm: str = "RS256", *, kid: str | None = None, bits: int = 2048) -> "SigningKey":
        """Make a key for RS/PS/ES 256-512 or EdDSA (Ed25519); `bits` is the size of RSA keys."""
        private: PrivateKey
        if algorithm in _CURVES:
            private = ec.generate_private_key(_CURVES[algorithm])
        elif algorithm == "EdDSA":
            private = ed25519.Ed25519PrivateKey.generate()
        elif algorithm[:2] in ("RS", "PS"):
            private = rsa.generate_private_key(65537, bits)
        else:
            raise ValueError(f"no key can be made for the algorithm {algorithm!r}")
        return cls(kid or secrets.token_hex(8), algorithm, private)

    @property
    def public(self) -> PublicKey:
        """The public half."""
        return self.private.public_key()

    def jwk(self) -> dict[str, Any]:
        """Return the public key as a JSON Web Key with `kid`, `use` and `alg`."""
        algorithm = jwt.get_algorithm_by_name(self.algorithm)
        key: dict[str, Any] = algorithm.to_jwk(self.public, as_dict=True)
        key.pop("key_ops", None)
        return {**key, "kid": self.kid, "use": "sig", "alg": self.algorithm}

    def sign(self, data: bytes) -> bytes:
        """Sign raw bytes with the key's own algorithm."""
        signature: bytes = jwt.get_algorithm_by_name(self.algorithm).sign(data, self.private)
        return signature


Header = Mapping[str, Any]
Claims = Mapping[str, Any]


def without_omitted(values: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the entries whose value is `OMIT`."""
    return {name: value for name, value in values.items() if value is not OMIT}


def encode(claims: Claims | bytes, key: SigningKey, *, headers: Header | None = None) -> str:
    """Sign claims (or any payload bytes) as a compact JWS; `headers` overrides `alg`, `kid` and `typ`."""
    header = without_omitted({"alg": key.algorithm, "typ": "JWT", "kid": key.kid, **(headers or {})})
    payload = claims if isinstance(claims, bytes) else _json(without_omitted(claims))
    signing_input = f"{b64url(_json(header))}.{b64url(payload)}"
    return recording.secret(f"{signing_input}.{b64url(key.sign(signing_input.encode()))}")


def peek(token: str, part: Literal["header", "claims"] = "claims") -> dict[str, Any]:
    """Decode a part of a token without verifying anything; for printing and for tests."""
    text = token.split(".")[0 if part == "header" else 1]
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return decoded


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
