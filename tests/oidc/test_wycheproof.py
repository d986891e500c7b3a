"""Wycheproof's JOSE vectors against our parser of keys and our check of signatures, where the files can be had.

They are in no package: `WYCHEPROOF_DIR` names a directory `testvectors_v1` of a checkout (see `docs/security.md`). The
same runner always goes over vectors of our own in the same form, so that it cannot fall asleep.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from devstack.keys import SigningKey, b64url
from tests.oidc.forge import ROCA_MODULUS, Keys, public_jwk, to_json
from vending.base64url import EncodingError, decode_base64url
from vending.oidc.encoding import decode_json_object
from vending.oidc.keys import parse_key_set
from vending.oidc.signature import ALGORITHMS, is_signed

FILES: Final = ("json_web_signature_test.json", "json_web_key_test.json", "json_web_crypto_test.json")


@dataclass(frozen=True)
class Vector:
    """One JWS with the key set that it is checked against."""

    name: str
    jws: str
    jwks: list[Any]
    valid: bool

    def verifies(self) -> bool:
        """Check the JWS as a token is checked, but for its payload, which is no claims set."""
        try:
            head, payload, signature = self.jws.split(".")
            header = decode_json_object(head)
            decode_base64url(payload)
            raw = decode_base64url(signature)
        except (ValueError, EncodingError):
            return False
        algorithm, kid = header.get("alg"), header.get("kid", "")
        if algorithm not in ALGORITHMS or not {"crit", "b64", "zip", "enc"}.isdisjoint(header):
            return False
        key = parse_key_set({"keys": self.jwks}).find(str(kid), str(algorithm))
        return key is not None and is_signed(f"{head}.{payload}".encode(), raw, str(algorithm), key)


def vectors(document: Mapping[str, Any]) -> Iterator[Vector]:
    for group in document["testGroups"]:
        held = group.get("public") or group.get("private") or group.get("key") or {}
        keys = held.get("keys", [held])
        for test in group["tests"]:
            if "jws" not in test or not isinstance(test["jws"], str):
                continue  # Encryption, and JSON serialisations, which are no strings.
            # A JWS that names no key is checked against the group's only one, as Wycheproof means it.
            named = [{**public_half(key), "kid": key.get("kid") or kid_of(test["jws"])} for key in keys]
            name = f"{group.get('comment', '')} {test['tcId']} {test.get('comment', '')}"
            yield Vector(name, test["jws"], named, test["result"] == "valid")


def public_half(jwk: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what a published key does not have; symmetric keys stay as they are, to be refused."""
    private = {"d", "p", "q", "dp", "dq", "qi"}
    return {name: value for name, value in jwk.items() if jwk.get("kty") == "oct" or name not in private}


def kid_of(jws: str) -> str:
    try:
        return str(decode_json_object(jws.split(".")[0]).get("kid", ""))
    except EncodingError:
        return ""


def ours(keys: Keys) -> dict[str, Any]:
    """Write vectors in Wycheproof's form."""

    def jws(algorithm: str, kid: str) -> str:
        text = f"{b64url(to_json({'alg': algorithm, 'kid': kid}))}.Zm9v"
        return f"{text}.{b64url(SigningKey('', algorithm, keys.for_algorithm(algorithm)).sign(text.encode()))}"

    good = jws("RS256", "k")
    rsa, p256 = public_jwk(keys.rsa, kid="k"), public_jwk(keys.p256, kid="k")
    weak = public_jwk(keys.rsa, kid="k", n=b64url(ROCA_MODULUS.to_bytes(256, "big")))
    rows = [
        (rsa, good, "valid"),
        (p256, jws("ES256", "k"), "valid"),
        (rsa, f"{good[:-4]}AAAA", "invalid"),
        (rsa, f"{good}==", "invalid"),
        (rsa, good.replace("Zm9v", "Zm9w"), "invalid"),
        (weak, good, "invalid"),
        (p256, good, "invalid"),
        (rsa, f"{b64url(to_json({'alg': 'none', 'kid': 'k'}))}.Zm9v.", "invalid"),
    ]
    groups = [
        {"public": key, "tests": [{"tcId": number, "jws": text, "result": result}]}
        for number, (key, text, result) in enumerate(rows)
    ]
    return {"testGroups": groups}


def check(document: Mapping[str, Any]) -> tuple[int, int]:
    """Run a file; return how many vectors verified, and how many valid ones of our algorithms there are."""
    found = list(vectors(document))
    verified = [vector for vector in found if vector.verifies()]
    assert [vector.name for vector in verified if not vector.valid] == []
    expected = [vector.name for vector in found if vector.valid and is_ours(vector)]
    assert [vector.name for vector in verified] == expected
    return len(verified), len(expected)


def is_ours(vector: Vector) -> bool:
    """Return whether a valid vector is of an algorithm and with a key that may be used here."""
    try:
        algorithm = decode_json_object(vector.jws.split(".")[0]).get("alg")
    except EncodingError:
        return False  # A JSON serialisation, which is no token here.
    # Two vectors are signed with PS384, and their key says PS256 (RFC 7517 section 4.4): what a key says counts here.
    named = {jwk.get("alg", algorithm) for jwk in vector.jwks}
    return algorithm in ALGORITHMS and algorithm in named and bool(parse_key_set({"keys": vector.jwks}).keys)


def test_runner_tells_the_valid_from_the_invalid(keys: Keys) -> None:
    assert check(ours(keys)) == (2, 2)


def test_runner_finds_a_vector_that_verifies_and_must_not(keys: Keys) -> None:
    document = ours(keys)
    document["testGroups"][0]["tests"][0]["result"] = "invalid"
    with pytest.raises(AssertionError):
        check(document)


@pytest.mark.parametrize("directory", [os.environ[name] for name in ("WYCHEPROOF_DIR",) if name in os.environ] or ["-"])
def test_no_invalid_vector_of_wycheproof_verifies(directory: str) -> None:
    paths = [] if directory == "-" else [Path(directory, name) for name in FILES]
    counts = [check(json.loads(path.read_text())) for path in paths]
    assert all(verified > 0 for verified, _ in counts)
