"""What holds for every token, not only for the ones that somebody thought of (hypothesis)."""

import contextlib
import json
from collections.abc import Coroutine
from typing import Any, TypeVar

from hypothesis import assume, example, given
from hypothesis import strategies as st

from devstack.keys import SigningKey, b64url
from tests.oidc.forge import AUDIENCE, NOW, Forge, Hands, to_json
from tests.support.examples import examples
from vending.base64url import EncodingError, decode_base64url
from vending.errors import Refusal
from vending.http_client import Http
from vending.oidc.claims import SKEW_SECONDS, check_claims
from vending.oidc.encoding import decode_json_object
from vending.oidc.keys import MAX_KEYS, parse_key_set, static_key_problems
from vending.oidc.token import peek
from vending.oidc.types import RawToken, VerifiedClaims
from vending.oidc.verify import Verifier, replay_key

T = TypeVar("T")

many = examples(300)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
registered = st.sampled_from(["iss", "aud", "exp", "nbf", "iat", "sub", "jti"])
near_now = st.integers(NOW - 2000, NOW + 2000) | st.floats(NOW - 2000, NOW + 2000)
claim_values = json_values | near_now | st.sampled_from([AUDIENCE, [AUDIENCE], [AUDIENCE, "x"], "", 0, -1, 10**20])
header_names = st.sampled_from(["alg", "kid", "typ", "cty", "crit", "b64", "zip", "enc", "jwk", "jku", "x5c", "x5u"])
header_values = json_values | st.sampled_from(["RS256", "ES256", "EdDSA", "none", "HS256", "rsa", "p256", "JWT", "jwt"])


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits: with static keys nothing is fetched."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("it waits for something")


def verify(forge: Forge, token: str) -> VerifiedClaims | Refusal:
    """Verify with static keys; let everything through but a refusal."""
    verifier = Verifier(Http(), Hands().clock, allow_loopback=False)
    try:
        return finish(verifier.verify(peek(RawToken(token)), forge.issuer(static_keys={"keys": forge.site.jwks})))
    except Refusal as refusal:
        return refusal


def is_refused(forge: Forge, token: str) -> bool:
    return isinstance(verify(forge, token), Refusal)


# --- Nothing but a refusal comes out of anything ----------------------------------------------------------------------


@given(text=st.text() | st.text(alphabet="AQgwey.-_=", max_size=200))
@example(text="..")
@example(text="e30.e30.")
@many
def test_any_text_is_refused_with_a_reason(text: str, forge: Forge) -> None:
    assert is_refused(forge, text)


@given(header=st.binary(max_size=200), payload=st.binary(max_size=200), signature=st.binary(max_size=80))
@many
def test_any_three_byte_strings_are_refused_with_a_reason(
    header: bytes, payload: bytes, signature: bytes, forge: Forge
) -> None:
    assert is_refused(forge, f"{b64url(header)}.{b64url(payload)}.{b64url(signature)}")


@given(members=st.dictionaries(header_names | st.text(), header_values, max_size=6))
@many
def test_any_header_gets_a_verdict(members: dict[str, Any], forge: Forge) -> None:
    text = f"{b64url(to_json({'alg': 'RS256', 'kid': 'rsa', **members}))}.{b64url(to_json(forge.claims()))}"
    signature = SigningKey("", "RS256", forge.keys.rsa).sign(text.encode())
    outcome = verify(forge, f"{text}.{b64url(signature)}")
    if isinstance(outcome, VerifiedClaims):
        assert members.get("alg", "RS256") == "RS256"
        assert not members.keys() & {"crit", "b64", "zip", "enc", "cty"}
        assert outcome.claims == forge.claims()


@given(changes=st.dictionaries(registered | st.text(), claim_values, max_size=6))
@many
def test_any_signed_claims_get_a_verdict_and_pass_only_if_they_are_ours(changes: dict[str, Any], forge: Forge) -> None:
    outcome = verify(forge, forge.token(to_json(forge.claims() | changes)))
    if isinstance(outcome, VerifiedClaims):
        claims = outcome.claims
        assert claims["iss"] == forge.site.issuer_url
        assert claims["aud"] in (AUDIENCE, [AUDIENCE])
        expiry, issued = claims["exp"], claims["iat"]
        assert isinstance(expiry, int | float)
        assert isinstance(issued, int | float)
        assert issued - SKEW_SECONDS <= NOW < expiry + SKEW_SECONDS
        assert 0 < expiry - issued <= forge.issuer().max_token_lifetime
        assert claims["jti"]


@given(claims=st.dictionaries(registered | st.text(), claim_values), now=st.floats(0, 4e9))
@many
def test_checks_of_claims_raise_nothing_but_refusals(claims: dict[str, Any], now: float, forge: Forge) -> None:
    with contextlib.suppress(Refusal):
        check_claims(claims, forge.issuer(), now)


jwks = st.dictionaries(
    st.sampled_from(["kty", "crv", "kid", "alg", "use", "key_ops", "n", "e", "x", "y", "d", "k"]) | st.text(max_size=3),
    json_values
    | st.sampled_from(["RSA", "EC", "OKP", "P-256", "Ed25519", "sig", "verify", "RS256", "AQAB", "AQ", "A" * 43])
    | st.binary(max_size=300).map(b64url),
)


@given(document=st.fixed_dictionaries({"keys": st.lists(jwks | json_values, max_size=5) | json_values}) | jwks)
@many
def test_any_key_set_is_parsed_or_refused(document: dict[str, Any]) -> None:
    assert isinstance(static_key_problems(document), list)
    try:
        key_set = parse_key_set(document)
    except ValueError:
        return
    assert len(key_set.keys) + len(key_set.problems) >= len(document["keys"])
    assert len(key_set.keys) <= MAX_KEYS


# --- A valid token with anything changed is no valid token ------------------------------------------------------------

edits = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.sampled_from(["replace", "insert", "delete", "swap"]),
              st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=")),
    min_size=1, max_size=4,
)  # fmt: skip


def edited(token: str, changes: list[tuple[float, str, str]]) -> str:
    text = list(token)
    for where, how, letter in changes:
        at = int(where * len(text))
        if how == "replace":
            text[at] = letter
        elif how == "insert":
            text.insert(at, letter)
        elif how == "delete":
            del text[at]
        else:
            text[at - 1], text[at] = text[at], text[at - 1]
    return "".join(text)


@given(algorithm=st.sampled_from([("RS256", "rsa"), ("EdDSA", "ed25519")]), changes=edits)
@many
def test_edited_token_never_verifies(
    algorithm: tuple[str, str], changes: list[tuple[float, str, str]], forge: Forge
) -> None:
    good = forge.token(alg=algorithm[0], kid=algorithm[1])
    bad = edited(good, changes)
    assume(bad != good)
    assert not is_refused(forge, good)
    assert is_refused(forge, bad)


@given(changes=edits)
@many
def test_edited_es256_token_that_verifies_is_the_same_token_to_the_replay_guard(
    changes: list[tuple[float, str, str]], forge: Forge
) -> None:
    bad = edited(forge.token(alg="ES256", kid="p256"), changes)
    outcome = verify(forge, bad)
    assert isinstance(outcome, Refusal) or outcome.claims == forge.claims()


def test_es256_twin_signature_maps_to_the_same_replay_key(forge: Forge) -> None:
    """With R and S, R and n - S is a signature too; whoever sees a token can make its twin."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    token = forge.token(alg="ES256", kid="p256")
    text, _, signature = token.rpartition(".")
    raw = decode_base64url(signature)
    s = int.from_bytes(raw[32:], "big")
    twin = f"{text}.{b64url(raw[:32] + (order - s).to_bytes(32, 'big'))}"
    assert twin != token

    first, second = verify(forge, token), verify(forge, twin)

    assert isinstance(first, VerifiedClaims)
    assert isinstance(second, VerifiedClaims)
    keys = {replay_key(str(v.claims["iss"]), str(v.claims["jti"])) for v in (first, second)}
    assert len(keys) == 1


@given(name=registered, value=claim_values, part=st.sampled_from(["claims", "header"]))
@many
def test_changed_content_under_an_old_signature_never_verifies(name: str, value: Any, part: str, forge: Forge) -> None:
    signature = forge.parts()[2]
    claims, head = forge.claims(), forge.header()
    (claims if part == "claims" else head)[name] = value
    assume(claims != forge.claims() or head != forge.header())
    assert is_refused(forge, f"{b64url(to_json(head))}.{b64url(to_json(claims))}.{signature}")


# --- Encoding ---------------------------------------------------------------------------------------------------------


@given(st.binary())
@many
def test_base64url_comes_back_as_it_went(data: bytes) -> None:
    assert decode_base64url(b64url(data)) == data


@given(st.text(alphabet="ABQRgwez-_+/= ", max_size=12))
@many
def test_base64url_has_one_text_for_each_value(text: str) -> None:
    try:
        data = decode_base64url(text)
    except EncodingError:
        return
    assert b64url(data) == text


@given(value=st.dictionaries(st.text(), json_values, max_size=5), indent=st.none() | st.integers(0, 2))
@many
def test_json_is_read_as_everyone_reads_it(value: dict[str, Any], indent: int | None) -> None:
    data = json.dumps(value, indent=indent).encode()
    try:
        read = decode_json_object(b64url(data))
    except EncodingError:
        return  # Half a surrogate pair, or a number beyond 32 digits.
    assert read == json.loads(data)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9)), min_size=2, max_size=4))
def test_duplicate_names_are_refused_whatever_they_hold(members: list[tuple[str, int]]) -> None:
    assume(len({name for name, _ in members}) < len(members))
    text = "{" + ",".join(f'"{name}":{value}' for name, value in members) + "}"
    try:
        decode_json_object(b64url(text.encode()))
    except EncodingError:
        return
    raise AssertionError("a name stood twice")


# --- Replay keys ------------------------------------------------------------------------------------------------------


@given(first=st.tuples(st.text(alphabet="ab:/."), st.text()), second=st.tuples(st.text(alphabet="ab:/."), st.text()))
@example(first=("https://a", "b"), second=("https://", "ab"))
def test_different_tokens_have_different_replay_keys(first: tuple[str, str], second: tuple[str, str]) -> None:
    """`iss` is an issuer's URL, which has no NUL; so the NUL between the two tells where it ends."""
    assume(first != second)
    assume(not any("\ud800" <= letter <= "\udfff" for letter in first[1] + second[1]))
    assert replay_key(*first) != replay_key(*second)


def test_replay_key_is_sha256_of_issuer_nul_and_jti() -> None:
    assert replay_key("a", "b") == "59b271ae1bbcb1d31d41929817f4b16fb439eb4f31520b5ad1d5ce98920a7138"
