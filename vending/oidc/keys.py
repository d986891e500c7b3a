"""Turn a JWK set (RFC 7517) into verification keys, parsed once. Fetches nothing and verifies nothing.

A key that may not be used here (too small, private, for encryption, of another curve) is left out and named among the
set's problems; it never spoils the keys beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from vending.base64url import EncodingError, decode_base64url
from vending.errors import quote
from vending.json_document import present
from vending.oidc.roca import is_roca
from vending.oidc.types import Claims, JsonValue

PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey

MAX_KEYS: Final = 128
"""Issuers publish a handful, Entra about ten; a set with more than this many is refused whole."""

MIN_RSA_BITS: Final = 2048
"""NIST SP 800-131A: smaller moduli are disallowed; RFC 7518 section 3.3 asks for the same."""
MAX_RSA_BITS: Final = 8192
"""The time of a verification grows with the square of this; no platform signs with more than 4,096."""
_MIN_EXPONENT: Final = 65_537
_MAX_EXPONENT: Final = 2**32
"""FIPS 186-5 section A.1.1 wants an odd exponent above 2^16; OpenSSL refuses the very large ones for large moduli."""

MAX_KID_LENGTH: Final = 256

_PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth"})
"""RFC 7518 section 6: with any of these the private key can be had, by whoever reads the set."""

_RSA_ALGORITHMS: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES: Final[Mapping[str, tuple[str, ec.EllipticCurve, int]]] = {
    # RFC 7518 section 3.4: each ECDSA algorithm has exactly one curve. The number is the size of a coordinate in bytes.
    "P-256": ("ES256", ec.SECP256R1(), 32),
    "P-384": ("ES384", ec.SECP384R1(), 48),
    "P-521": ("ES512", ec.SECP521R1(), 66),
}
_EDWARDS: Final[Mapping[str, Callable[[bytes], PublicKey]]] = {
    "Ed25519": ed25519.Ed25519PublicKey.from_public_bytes,
    "Ed448": ed448.Ed448PublicKey.from_public_bytes,
}


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """Hold one public key, its id, and the algorithms it may be used with."""

    kid: str
    algorithms: frozenset[str]
    public_key: PublicKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class UnusableKey:
    """Say of one key of a set why it is not used. `private`: anybody who can read the set can sign with it."""

    index: int
    kid: str | None
    why: str
    private: bool = False

    def __str__(self) -> str:
        name = "" if self.kid is None else f" (kid {quote(self.kid)})"
        return f"keys[{self.index}]{name}: {self.why}"


@dataclass(frozen=True, slots=True)
class KeySet:
    """Hold the usable keys of one issuer, every id that it publishes, and what is wrong with those left out."""

    keys: tuple[VerificationKey, ...]
    kids: frozenset[str] = frozenset()
    """The ids of all keys, of those that may not be used as well: asking the issuer again would bring nothing new."""
    unusable: tuple[UnusableKey, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """A sentence for each key that is not used."""
        return tuple(str(key) for key in self.unusable)

    def find(self, kid: str, algorithm: str) -> VerificationKey | None:
        """Return the one key with this id that may be used with this algorithm.

        None also where several different keys fit: which of them the issuer means would be a guess. Keys that share an
        id but not an algorithm are told apart by it (RFC 7517 section 4.5).
        """
        fitting = [key for key in self.keys if key.kid == kid and algorithm in key.algorithms]
        return fitting[0] if len(fitting) == 1 else None

    def left_out(self, kid: str) -> UnusableKey | None:
        """Return the key with this id that is not used, the first where there are several."""
        return next((key for key in self.unusable if key.kid == kid), None)

    def without_use(self, algorithms: frozenset[str]) -> tuple[VerificationKey, ...]:
        """Return the keys that none of `algorithms`, those that the policy lists for the issuer, fits."""
        return tuple(key for key in self.keys if not key.algorithms & algorithms)


class _Unusable(ValueError):
    """This key may not be used; the message says why."""

    private = False


class _Private(_Unusable):
    """This key is no secret any more."""

    private = True


def parse_key_set(document: Mapping[str, JsonValue]) -> KeySet:
    """Parse a JWK set. Raises `ValueError` where it is none: no list `keys`, no object in it, or more than 128.

    An empty list is a set without keys and without problems.
    """
    members = document.get("keys")
    if not isinstance(members, list):
        raise ValueError("it has no list named keys")  # noqa: TRY004 - bad data, not a bad argument
    if len(members) > MAX_KEYS:
        raise ValueError(f"it has more than {MAX_KEYS} keys")
    if members and not any(isinstance(member, Mapping) for member in members):
        raise ValueError("its list named keys holds no key")
    keys: list[VerificationKey] = []
    places: list[int] = []
    unusable: list[UnusableKey] = []
    for index, member in enumerate(members):
        try:
            key = _parse(member)
            if key not in keys:  # A duplicate, exactly alike, is one key.
                keys.append(key)
                places.append(index)
        except _Unusable as problem:
            unusable.append(UnusableKey(index, _kid(member), str(problem), problem.private))
    unusable += _ambiguous(keys, places)
    kids = frozenset(kid for member in members if (kid := _kid(member)) is not None)
    return KeySet(tuple(keys), kids, tuple(unusable))


def static_key_problems(document: Mapping[str, JsonValue]) -> list[str]:
    """Say everything that is wrong with a JWK set written into the policy; an empty list means that all of it is fine.

    Stricter than at run time: whoever writes keys by hand wants to hear of each one that will not be used.
    """
    try:
        key_set = parse_key_set(document)
    except ValueError as problem:
        return [f"this is no JWK set: {problem}"]
    if not key_set.keys and not key_set.problems:
        return ["the JWK set has no keys"]
    return list(key_set.problems)


def _parse(member: JsonValue) -> VerificationKey:
    if not isinstance(member, Mapping):
        raise _Unusable("not an object")
    jwk = present(member)
    kty = jwk.get("kty")
    parser = _PARSERS.get(kty) if isinstance(kty, str) else None
    if parser is not None and not _PRIVATE_MEMBERS.isdisjoint(jwk):  # First of all: it is more than a key to leave out.
        raise _Private("the private key is published with it; replace this key pair")
    kid = jwk.get("kid")
    if not isinstance(kid, str) or not kid or len(kid) > MAX_KID_LENGTH:
        raise _Unusable(f"no kid, or none of 1 to {MAX_KID_LENGTH} characters")
    _check_purpose(jwk)
    if parser is None:
        raise _Unusable(f"kty {quote(kty)} is not RSA, EC or OKP")
    try:
        algorithms, public_key = parser(jwk)
    except (EncodingError, ValueError, UnsupportedAlgorithm) as error:
        raise error if isinstance(error, _Unusable) else _Unusable("its numbers make no valid public key") from None
    return VerificationKey(kid, _narrow(algorithms, jwk), public_key)


def _check_purpose(jwk: Claims) -> None:
    if jwk.get("use", "sig") != "sig":
        raise _Unusable(f"use is {quote(jwk['use'])}, not sig")
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise _Unusable("key_ops does not list verify")


def _narrow(algorithms: frozenset[str], jwk: Claims) -> frozenset[str]:
    if "alg" not in jwk:
        return algorithms
    own = jwk["alg"]
    if not isinstance(own, str) or own not in algorithms:
        raise _Unusable(f"alg {quote(own)} does not fit the key's type, or is not supported")
    return frozenset({own})


def _rsa(jwk: Claims) -> tuple[frozenset[str], PublicKey]:
    modulus, exponent = _number(jwk, "n"), _number(jwk, "e")
    if not MIN_RSA_BITS <= modulus.bit_length() <= MAX_RSA_BITS:
        raise _Unusable(f"RSA key of {modulus.bit_length()} bits, not {MIN_RSA_BITS} to {MAX_RSA_BITS}")
    if modulus % 2 == 0:
        raise _Unusable("RSA modulus that is even, so no product of two primes")
    if is_roca(modulus):
        raise _Unusable("RSA key of a library whose keys can be factored (CVE-2017-15361); replace this key pair")
    if exponent % 2 == 0 or not _MIN_EXPONENT <= exponent < _MAX_EXPONENT:
        raise _Unusable("RSA exponent that is even, smaller than 65537 or larger than 32 bits")
    return _RSA_ALGORITHMS, rsa.RSAPublicNumbers(exponent, modulus).public_key()


def _ec(jwk: Claims) -> tuple[frozenset[str], PublicKey]:
    crv = jwk.get("crv")
    if not isinstance(crv, str) or crv not in _CURVES:
        raise _Unusable(f"curve {quote(crv)} is not P-256, P-384 or P-521")
    algorithm, curve, size = _CURVES[crv]
    x, y = _bytes(jwk, "x"), _bytes(jwk, "y")
    if len(x) != size or len(y) != size:
        raise _Unusable(f"a coordinate that has not {size} bytes")
    numbers = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), curve)
    return frozenset({algorithm}), numbers.public_key()  # Refuses a point that is not on the curve.


def _okp(jwk: Claims) -> tuple[frozenset[str], PublicKey]:
    crv = jwk.get("crv")
    if not isinstance(crv, str) or crv not in _EDWARDS:
        raise _Unusable(f"curve {quote(crv)} is not Ed25519 or Ed448")
    return frozenset({"EdDSA"}), _EDWARDS[crv](_bytes(jwk, "x"))


_PARSERS: Final[Mapping[str, Callable[[Claims], tuple[frozenset[str], PublicKey]]]] = {
    "RSA": _rsa,
    "EC": _ec,
    "OKP": _okp,
}


def _bytes(jwk: Claims, name: str) -> bytes:
    value = jwk.get(name)
    if not isinstance(value, str):
        raise _Unusable(f"{name} is not a string")
    try:
        return decode_base64url(value)
    except EncodingError as error:
        raise _Unusable(f"{name} {error}") from None


def _number(jwk: Claims, name: str) -> int:
    return int.from_bytes(_bytes(jwk, name), "big")


def _ambiguous(keys: list[VerificationKey], places: list[int]) -> list[UnusableKey]:
    seen: set[tuple[str, str]] = set()
    twice: dict[str, int] = {}
    for key, index in zip(keys, places, strict=True):
        for algorithm in key.algorithms:
            if (key.kid, algorithm) in seen:
                twice[key.kid] = index
            seen.add((key.kid, algorithm))
    why = "its kid names several keys for one algorithm, so none of them is used for it"
    return [UnusableKey(index, kid, why) for kid, index in twice.items()]


def _kid(member: JsonValue) -> str | None:
    kid = member.get("kid") if isinstance(member, Mapping) else None
    return kid if isinstance(kid, str) else None
