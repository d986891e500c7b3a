"""Fixtures of the policy's tests."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm


@pytest.fixture(scope="session")
def public_jwk() -> dict[str, str]:
    """A public RSA key as a JWK."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    made = json.loads(RSAAlgorithm.to_jwk(key))
    return {"kty": "RSA", "kid": "one", "use": "sig", "alg": "RS256", "n": made["n"], "e": made["e"]}
