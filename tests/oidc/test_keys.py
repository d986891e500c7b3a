"""Keys written into the policy: everything that will not be used is reported when the file is loaded."""

from typing import Any

import pytest

from devstack.keys import OMIT, b64url
from tests.oidc.forge import ROCA_MODULUS, Keys, public_jwk, published
from vending.oidc.keys import MAX_KEYS, parse_key_set, static_key_problems
from vending.oidc.roca import is_roca

FIRST_UNUSABLE = 15
"""In `published`: the keys before it are good."""


def test_good_static_keys_have_no_problems(keys: Keys) -> None:
    assert static_key_problems({"keys": published(keys)[:FIRST_UNUSABLE]}) == []


def one(**members: Any) -> dict[str, Any]:
    return {"keys": [{"kid": "a", **members}]}


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({}, "this is no JWK set: it has no list named keys"),
        ({"keys": {}}, "this is no JWK set: it has no list named keys"),
        ({"keys": []}, "the JWK set has no keys"),
        ({"keys": ["a"]}, "this is no JWK set: its list named keys holds no key"),
        ({"keys": [{}] * (MAX_KEYS + 1)}, "this is no JWK set: it has more than 128 keys"),
        ({"keys": [{"kty": "RSA"}]}, "keys[0]: no kid, or none of 1 to 256 characters"),
        (one(), "keys[0] (kid a): kty None is not RSA, EC or OKP"),
        (one(kty="oct", k="AA"), "keys[0] (kid a): kty oct is not RSA, EC or OKP"),
        (one(kty="RSA", use="enc"), "keys[0] (kid a): use is enc, not sig"),
        (one(kty="RSA", n="AQ", e="AQAB"), "keys[0] (kid a): RSA key of 1 bits, not 2048 to 8192"),
        (one(kty="EC", crv="P-192"), "keys[0] (kid a): curve P-192 is not P-256, P-384 or P-521"),
        (one(kty="OKP", crv="X448"), "keys[0] (kid a): curve X448 is not Ed25519 or Ed448"),
        (one(kty="EC", crv="P-256", x="A="), "keys[0] (kid a): x is not base64url without padding and stray bits"),
        (one(kty="EC", d="AA"), "keys[0] (kid a): the private key is published with it; replace this key pair"),
    ],
)
def test_problem_of_a_static_key_is_named(document: dict[str, Any], problem: str) -> None:
    assert static_key_problems(document) == [problem]


def test_every_problem_is_reported_at_once(keys: Keys) -> None:
    members = published(keys)
    problems = static_key_problems({"keys": members})
    unusable = len(members) - FIRST_UNUSABLE - 2
    assert len(problems) == unusable + 1, "one for each key, and one for the two that share an id"


def test_ambiguous_kid_is_a_problem_and_finds_nothing(keys: Keys) -> None:
    document = {"keys": [public_jwk(keys.rsa, kid="a"), public_jwk(keys.other_rsa, kid="a", alg="RS256")]}
    assert static_key_problems(document) == [
        "keys[1] (kid a): its kid names several keys for one algorithm, so none of them is used for it"
    ]
    key_set = parse_key_set(document)
    assert key_set.find("a", "RS256") is None
    assert key_set.find("a", "RS512") is not None, "only one of them may be used with it"


def test_same_key_twice_is_one_key(keys: Keys) -> None:
    jwk = public_jwk(keys.p256, kid="a")
    assert len(parse_key_set({"keys": [jwk, {**jwk, "x5c": ["AA"]}]}).keys) == 1


def test_leading_zeros_of_a_modulus_are_harmless(keys: Keys) -> None:
    n = keys.rsa.public_key().public_numbers().n
    jwk = public_jwk(keys.rsa, kid="a", n=b64url(b"\0" + n.to_bytes(256, "big")))
    assert parse_key_set({"keys": [jwk]}).keys == parse_key_set({"keys": [public_jwk(keys.rsa, kid="a")]}).keys


def test_key_shows_no_numbers_when_printed(keys: Keys) -> None:
    (key,) = parse_key_set({"keys": [public_jwk(keys.rsa, kid="a", alg=OMIT)]}).keys
    assert repr(key) == f"VerificationKey(kid='a', algorithms={key.algorithms!r})"


def test_members_that_are_null_are_not_there(keys: Keys) -> None:
    plain = public_jwk(keys.rsa, kid="a")
    nulls = dict.fromkeys(("use", "alg", "key_ops", "d", "p", "q", "dp", "dq", "qi", "oth", "x5c", "x5t"))
    assert parse_key_set({"keys": [{**nulls, **plain}]}) == parse_key_set({"keys": [plain]})


@pytest.mark.parametrize("name", ["kid", "kty", "n", "e"])
def test_member_that_is_needed_and_null_is_missing(name: str, keys: Keys) -> None:
    key_set = parse_key_set({"keys": [{**public_jwk(keys.rsa, kid="a"), name: None}]})
    assert (len(key_set.keys), len(key_set.unusable)) == (0, 1)


@pytest.mark.parametrize("name", ["d", "p", "q", "dp", "dq", "qi", "oth"])
@pytest.mark.parametrize("value", ["", "AQ", 0, False, []])
def test_private_member_with_any_value_but_null_is_a_private_key(name: str, value: object, keys: Keys) -> None:
    (left_out,) = parse_key_set({"keys": [public_jwk(keys.rsa, kid="a", use="enc", **{name: value})]}).unusable
    assert left_out.private


def test_private_key_is_told_before_anything_else_about_it(keys: Keys) -> None:
    (left_out,) = parse_key_set({"keys": [public_jwk(keys.rsa, kid=OMIT, use="enc", d="AQ")]}).unusable
    assert left_out.private


def test_only_moduli_of_the_flawed_library_have_its_fingerprint(keys: Keys) -> None:
    assert is_roca(ROCA_MODULUS)
    moduli = (keys.rsa, keys.other_rsa, keys.small_rsa)
    assert not any(is_roca(key.public_key().public_numbers().n) for key in moduli)


def test_left_out_key_is_found_by_its_id(keys: Keys) -> None:
    key_set = parse_key_set({"keys": [public_jwk(keys.small_rsa, kid="small"), public_jwk(keys.rsa, kid="good")]})
    assert [str(key_set.left_out(kid)) for kid in ("small", "good", "missing")] == [
        "keys[0] (kid small): RSA key of 1024 bits, not 2048 to 8192",
        "None",
        "None",
    ]


def test_keys_that_no_listed_algorithm_fits_are_told(keys: Keys) -> None:
    key_set = parse_key_set({"keys": [public_jwk(keys.rsa, kid="r"), public_jwk(keys.p256, kid="e")]})
    assert [key.kid for key in key_set.without_use(frozenset({"RS256", "PS256"}))] == ["e"]
