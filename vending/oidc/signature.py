"""Verify the signature of a peeked token with a key of its issuer. Looks at no claim and fetches nothing.

From the header it reads `alg` and `kid` only. `jwk`, `jku`, `x5c` and `x5u` are never looked at: a token does not get
to bring its own key, nor to say where one is fetched (CVE-2018-0114 in node-jose).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from jwt.algorithms import Algorithm, ECAlgorithm, OKPAlgorithm, RSAAlgorithm, RSAPSSAlgorithm

from vending.base64url import decode_base64url
from vending.errors import Reason, Refusal, quote
from vending.oidc.keys import MAX_KID_LENGTH

if TYPE_CHECKING:
    from vending.oidc.keys import VerificationKey
    from vending.oidc.types import Issuer, PeekedToken

ALGORITHMS: Final[Mapping[str, Algorithm]] = {
    # Written out instead of taken from the library's registry, so that an upgrade cannot add one. No `none` and no
    # HMAC: with either of them whoever knows a public key, or nothing at all, could sign.
    "RS256": RSAAlgorithm(RSAAlgorithm.SHA256),
    "RS384": RSAAlgorithm(RSAAlgorithm.SHA384),
    "RS512": RSAAlgorithm(RSAAlgorithm.SHA512),
    "PS256": RSAPSSAlgorithm(RSAPSSAlgorithm.SHA256),
    "PS384": RSAPSSAlgorithm(RSAPSSAlgorithm.SHA384),
    "PS512": RSAPSSAlgorithm(RSAPSSAlgorithm.SHA512),
    "ES256": ECAlgorithm(ECAlgorithm.SHA256),
    "ES384": ECAlgorithm(ECAlgorithm.SHA384),
    "ES512": ECAlgorithm(ECAlgorithm.SHA512),
    "EdDSA": OKPAlgorithm(),
}
"""The algorithms an issuer may list. The curve of an ECDSA key was fixed when the key was parsed (`keys.py`)."""


def allowed_algorithm(token: PeekedToken, issuer: Issuer) -> str:
    """Return the token's algorithm, compared with the issuer's list character by character.

    Raises `algorithm_not_allowed`.
    """
    algorithm = token.header["alg"]
    if not isinstance(algorithm, str) or algorithm not in issuer.algorithms or algorithm not in ALGORITHMS:
        allowed = ", ".join(sorted(issuer.algorithms & ALGORITHMS.keys()))
        raise Refusal(
            Reason.ALGORITHM_NOT_ALLOWED,
            f"The token is signed with {quote(algorithm)}; the policy allows {allowed} for its issuer.",
        )
    return algorithm


def key_id(token: PeekedToken) -> str:
    """Return the token's `kid`, a string of 1 to 256 characters. Raises `key_unknown`."""
    kid = token.header.get("kid")
    if not isinstance(kid, str) or not kid or len(kid) > MAX_KID_LENGTH:
        raise Refusal(
            Reason.KEY_UNKNOWN,
            f"The token's header has no kid of 1 to {MAX_KID_LENGTH} characters, so its key cannot be found; "
            "use the platform's OIDC token.",
        )
    return kid


def check_signature(token: PeekedToken, algorithm: str, key: VerificationKey) -> None:
    """Verify the signature over the bytes as they came in (RFC 7515 section 5.2). Raises `signature_invalid`.

    `algorithm` is one that `allowed_algorithm` returned.
    """
    signing_input, _, signature = token.raw.rpartition(".")
    if not is_signed(signing_input.encode("ascii"), decode_base64url(signature), algorithm, key):
        raise Refusal(Reason.SIGNATURE_INVALID)


def is_signed(message: bytes, signature: bytes, algorithm: str, key: VerificationKey) -> bool:
    """Return whether `signature` is one of `key` over `message`; never for an algorithm that the key is not for.

    ECDSA signatures are the raw R and S of RFC 7518 section 3.4, never DER.
    """
    return algorithm in key.algorithms and ALGORITHMS[algorithm].verify(message, key.public_key, signature)
