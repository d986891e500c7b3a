"""The attack suite: each case is one way to get past verification, and the reason with which it must fail.

Every attack runs against the whole of steps 2 to 4, with keys fetched over a socket, and a trap server that tokens
point to must never be called.
"""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from devstack.keys import OMIT, b64url
from tests.oidc.forge import AUDIENCE, EVERY_ALGORITHM, LIFETIME, NOW, Forge, Hands, public_jwk, to_json
from vending.errors import Reason, Refusal
from vending.oidc.keys import MAX_KID_LENGTH
from vending.oidc.token import MAX_TOKEN_LENGTH, peek
from vending.oidc.types import RawToken
from vending.oidc.verify import Verifier
from vending.policy.providers.presets import PRESETS

R = Reason


@dataclass(frozen=True)
class Attack:
    """A token that an attacker might send, and how it must be refused; `policy` changes the issuer's entry."""

    name: str
    reason: Reason
    token: Callable[[Forge], str]
    policy: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


def malformed(name: str, token: Callable[[Forge], str]) -> Attack:
    return Attack(name, R.TOKEN_MALFORMED, token)


def header(name: str, reason: Reason = R.TOKEN_MALFORMED, /, **members: Any) -> Attack:
    """Put these members into the header of an otherwise good token."""
    return Attack(f"header {name}", reason, lambda f: f.token(**members))


def header_bytes(name: str, text: bytes) -> Attack:
    return malformed(f"header {name}", lambda f: f.token(header_bytes=text))


def payload(name: str, text: bytes) -> Attack:
    return malformed(f"payload {name}", lambda f: f.token(text))


def claim(name: str, reason: Reason, /, policy: dict[str, Any] | None = None, **claims: Any) -> Attack:
    """Sign an otherwise good token with these claims."""
    return Attack(name, reason, lambda f: f.token(f.claims(**claims)), policy or {})


def key(name: str, kid: Any, algorithm: str = "RS256", reason: Reason = R.KEY_UNKNOWN) -> Attack:
    """Sign with the issuer's own private key, and name a published key that must not be used."""
    return Attack(f"key {name}", reason, lambda f: f.token(kid=kid, alg=algorithm))


# --- Token shape: counted before anything is split, decoded or parsed -------------------------------------------------

HUGE = "A" * (MAX_TOKEN_LENGTH + 1)

SHAPE = [
    Attack("one character more than 16 KiB", R.TOKEN_TOO_LARGE, lambda _: HUGE),
    Attack("a megabyte of dots", R.TOKEN_TOO_LARGE, lambda _: "." * 1_000_000),
    Attack("a good token with a megabyte of signature", R.TOKEN_TOO_LARGE, lambda f: f.token() + "A" * 1_000_000),
    malformed("16 KiB of dots", lambda _: "." * MAX_TOKEN_LENGTH),
    malformed("nothing", lambda _: ""),
    malformed("one dot", lambda _: "."),
    malformed("two dots", lambda _: ".."),
    malformed("one part", lambda f: f.parts()[0]),
    malformed("two parts, no signature separator", lambda f: ".".join(f.parts()[:2])),
    malformed("four parts", lambda f: f.token() + "."),
    malformed("five parts, as an encrypted token has", lambda f: f.token() + ".A.A"),
    malformed("an empty header", lambda f: "." + ".".join(f.parts()[1:])),
    malformed("an empty payload", lambda f: f"{f.parts()[0]}..{f.parts()[2]}"),
    malformed("leading blank", lambda f: " " + f.token()),
    malformed("trailing blank", lambda f: f.token() + " "),
    malformed("trailing newline", lambda f: f.token() + "\n"),
    malformed("leading newline", lambda f: "\n" + f.token()),
    malformed("Bearer in front", lambda f: "Bearer " + f.token()),
    malformed("NUL at the end", lambda f: f.token() + "\0"),
    malformed("newline inside the payload", lambda f: f.token().replace(".", ".\n", 1)),
    malformed("quotes around it", lambda f: f'"{f.token()}"'),
    malformed("full-width dots", lambda f: f.token().replace(".", "．")),
    malformed("a letter outside ASCII", lambda f: f.token()[:-4] + "éAAA"),
    malformed("a lone surrogate", lambda f: f.token()[:-4] + "\ud800AAA"),
    malformed("standard base64 alphabet in the signature", lambda f: ".".join(f.parts()[:2]) + ".+/+/"),
    malformed("padding in the header", lambda f: ".".join([pad(f.parts()[0]), *f.parts()[1:]])),
    malformed("padding in the payload", lambda f: ".".join([f.parts()[0], pad(f.parts()[1]), f.parts()[2]])),
    malformed("padding in the signature", lambda f: f.token() + "=="),
    malformed("impossible length of the signature", lambda f: ".".join(f.parts()[:2]) + ".AAAAA"),
    malformed("stray bits in the signature", lambda f: stray(f.token())),
    malformed("stray bits in the header", lambda f: ".".join([stray(b64url(b'{"alg":"RS256"}'[:14])), *f.parts()[1:]])),
    malformed("signature longer than any key makes", lambda f: ".".join(f.parts()[:2]) + "." + "A" * 1368),
    malformed("JSON serialisation, general", lambda f: json_serialisation(f, general=True)),
    malformed("JSON serialisation, flattened", lambda f: json_serialisation(f, general=False)),
    malformed("JSON serialisation with two dots", lambda f: json_serialisation(f, general=False, extra="..")),
    malformed("a SAML assertion", lambda _: base64.b64encode(b"<saml:Assertion/>").decode()),
    malformed("a PASETO token", lambda _: "v4.public.eyJhIjoxfQ"),
    malformed("16 KiB of good alphabet in three parts", lambda _: f"{'A' * 8000}.{'A' * 8000}.AAAA"),
]


def pad(text: str) -> str:
    return text + "=" * (-len(text) % 4) if len(text) % 4 else text + "===="


def stray(token: str) -> str:
    """Flip a bit that belongs to no byte: the same signature, written otherwise."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    part = token.rpartition(".")[2]
    assert len(part) % 4, "this part has no spare bits"
    return token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]


def json_serialisation(f: Forge, *, general: bool, extra: str = "") -> str:
    head, body, signature = f.parts()
    signed = {"protected": head, "signature": signature}
    return json.dumps({"payload": body, **({"signatures": [signed]} if general else signed), "x": extra})


# --- Decoding: one text means one thing -------------------------------------------------------------------------------

DECODING = [
    header_bytes("that is no JSON", b"not json"),
    header_bytes("that is a list", b'["alg","RS256"]'),
    header_bytes("that is a string", b'"RS256"'),
    header_bytes("that is null", b"null"),
    header_bytes("in UTF-16", '{"alg":"RS256"}'.encode("utf-16")),
    header_bytes("with a byte-order mark", b'\xef\xbb\xbf{"alg":"RS256","kid":"rsa"}'),
    header_bytes("that is not UTF-8", b'{"alg":"RS256","kid":"rsa\xff"}'),
    header_bytes("with alg twice, the bad one first", b'{"alg":"none","alg":"RS256","kid":"rsa"}'),
    header_bytes("with alg twice, the bad one last", b'{"alg":"RS256","kid":"rsa","alg":"none"}'),
    header_bytes("with alg twice, once escaped", b'{"alg":"RS256","kid":"rsa","\\u0061lg":"none"}'),
    header_bytes("with kid twice", b'{"alg":"RS256","kid":"rsa","kid":"rsa"}'),
    header_bytes("with a name twice further down", b'{"alg":"RS256","kid":"rsa","x":{"y":1,"y":2}}'),
    header_bytes("with half a surrogate pair", b'{"alg":"RS256","kid":"\\ud800"}'),
    header_bytes("with a comment", b'{"alg":"RS256","kid":"rsa"}//'),
    header_bytes("with a trailing comma", b'{"alg":"RS256","kid":"rsa",}'),
    header_bytes("with single quotes", b"{'alg':'RS256','kid':'rsa'}"),
    header_bytes("with NaN", b'{"alg":"RS256","kid":"rsa","x":NaN}'),
    header_bytes("followed by a second object", b'{"alg":"RS256","kid":"rsa"}{}'),
    header_bytes("with a raw newline in a string", b'{"alg":"RS256","kid":"rsa\n"}'),
    payload("that is no JSON", b"iss=me"),
    payload("that is a list of claims", b'[{"iss":"x"}]'),
    payload("that is a string", b'"iss"'),
    payload("that is a number", b"1"),
    payload("with a byte-order mark", b'\xef\xbb\xbf{"iss":"x"}'),
    payload("in UTF-16", '{"iss":"x"}'.encode("utf-16-le")),
    payload("that is not UTF-8", b'{"iss":"\xc3\x28"}'),
    payload("with overlong UTF-8", b'{"iss":"\xc0\xaf"}'),
    payload("with a raw surrogate in UTF-8", b'{"iss":"\xed\xa0\x80"}'),
    payload("with iss twice", b'{"iss":"https://evil.example","iss":"https://good.example"}'),
    payload("with iss twice, alike", b'{"iss":"x","iss":"x"}'),
    payload("with aud twice, once escaped", b'{"iss":"x","aud":"a","a\\u0075d":"b"}'),
    payload("with a name twice in a nested object", b'{"iss":"x","a":{"b":[{"c":1,"c":2}]}}'),
    payload("with half a surrogate pair as a value", b'{"iss":"x","sub":"\\udc00"}'),
    payload("with half a surrogate pair as a name", b'{"iss":"x","\\ud83d":1}'),
    payload("with NaN", b'{"iss":"x","exp":NaN}'),
    payload("with Infinity", b'{"iss":"x","exp":Infinity}'),
    payload("with minus Infinity", b'{"iss":"x","nbf":-Infinity}'),
    payload("with a real number beyond any", b'{"iss":"x","exp":1e999}'),
    payload("with an integer of 33 digits", b'{"iss":"x","exp":' + b"9" * 33 + b"}"),
    payload("with an integer of 5,000 digits", b'{"iss":"x","exp":' + b"9" * 5000 + b"}"),
    payload("with a leading zero", b'{"iss":"x","exp":01800000000}'),
    payload("with a hexadecimal number", b'{"iss":"x","exp":0x10}'),
    payload("with lists 5,000 deep", b'{"iss":' + b"[" * 5000 + b"]" * 5000 + b"}"),
    payload("with objects 1,500 deep", b'{"a":' * 1500 + b"1" + b"}" * 1500),
    payload("with objects 257 deep", b'{"a":' * 257 + b"1" + b"}" * 257),
    payload("with 1,000 claims", to_json({f"c{i}": i for i in range(1000)})),
    payload("with 2,000 empty strings", to_json({"iss": [""] * 2000})),
    payload("with a thousand lists", to_json({"iss": [[]] * 1000})),
    payload("with a NUL behind it", b'{"iss":"x"}\0'),
    payload("with a vertical tab as white space", b'{"iss":\x0b"x"}'),
    payload("with a no-break space as white space", '{"iss":\u00a0"x"}'.encode()),
]

# --- Header: what a compact JWS of a CI platform does not have --------------------------------------------------------

HEADER = [
    header("without alg", alg=OMIT, sign_as="RS256"),
    header("with alg null", alg=None, sign_as="RS256"),
    header("with alg a list", alg=["RS256"], sign_as="RS256"),
    header("with alg a number", alg=256, sign_as="RS256"),
    header("with alg an object", alg={"RS256": True}, sign_as="RS256"),
    header("with crit", crit=["exp"]),
    header("with crit empty", crit=[]),
    header("with crit null", crit=None),
    header("with crit that names b64", crit=["b64"], b64=False),
    header("with crit that names an unknown extension", crit=["http://example.com/ext"]),
    header("with b64 false", b64=False),
    header("with b64 true", b64=True),
    header("with zip", zip="DEF"),
    header("with enc", enc="A256GCM"),
    header("with cty JWT, a nested token", cty="JWT"),
    header("with cty jwt in lower case", cty="jwt"),
    header("with cty json", cty="json"),
    header("with typ dpop+jwt", typ="dpop+jwt"),
    header("with typ logout+jwt", typ="logout+jwt"),
    header("with typ secevent+jwt", typ="secevent+jwt"),
    header("with typ JWE", typ="JWE"),
    header("with typ empty", typ=""),
    header("with typ null", typ=None),
    header("with typ a list", typ=["JWT"]),
    malformed("nested token as payload", lambda f: f.token(f.token().encode())),
    malformed("nested token as payload, in quotes", lambda f: f.token(to_json(f.token()))),
    malformed("encrypted token with an RSA-OAEP header", lambda f: f"{f.parts()[0]}.AA.AA.AA.AA"),
]

# --- Algorithms: only the policy chooses ------------------------------------------------------------------------------


def hmac_token(f: Forge, secret: bytes, algorithm: str = "HS256", **members: Any) -> str:
    """Sign with HMAC, where the "secret" is something that everyone can read."""
    digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}[algorithm]
    text = f.signing_input(alg=algorithm, **members)
    return f"{text}.{b64url(hmac.new(secret, text.encode(), digest).digest())}"


def public_bytes(f: Forge, encoding: Encoding, form: PublicFormat) -> bytes:
    return f.keys.rsa.public_key().public_bytes(encoding, form)


def unsigned_with(alg: Any, signature: bytes = b"") -> Attack:
    return Attack(
        f"alg {alg} with {'a' if signature else 'no'} signature",
        R.ALGORITHM_NOT_ALLOWED,
        lambda f: f.unsigned(signature, alg=alg),
    )


def hmac_with(name: str, secret: Callable[[Forge], bytes], algorithm: str = "HS256") -> Attack:
    return Attack(
        f"{algorithm} with {name} as secret", R.ALGORITHM_NOT_ALLOWED, lambda f: hmac_token(f, secret(f), algorithm)
    )


def misnamed(alg: str) -> Attack:
    return Attack(
        f"alg {alg}, which is not written like that",
        R.ALGORITHM_NOT_ALLOWED,
        lambda f: f.token(alg=alg, sign_as="RS256"),
    )


def only_rs256(alg: str, kid: str) -> Attack:
    return Attack(
        f"{alg} where the policy allows RS256 only",
        R.ALGORITHM_NOT_ALLOWED,
        lambda f: f.token(alg=alg, kid=kid),
        {"algorithms": frozenset({"RS256"})},
    )


ALGORITHM = [
    *[unsigned_with(alg) for alg in ("none", "None", "NONE", "nOnE", " none", "none ", "none\0", "")],
    unsigned_with("none", b"not empty"),
    Attack(
        "alg none with the signature of a good token", R.ALGORITHM_NOT_ALLOWED, lambda f: swap_header(f, alg="none")
    ),
    hmac_with("the public key in PEM", lambda f: public_bytes(f, Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)),
    hmac_with(
        "the public key in PEM without its last newline",
        lambda f: public_bytes(f, Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).rstrip(),
    ),
    hmac_with("the PKCS 1 public key in PEM", lambda f: public_bytes(f, Encoding.PEM, PublicFormat.PKCS1)),
    hmac_with("the public key in DER", lambda f: public_bytes(f, Encoding.DER, PublicFormat.SubjectPublicKeyInfo)),
    hmac_with("the PKCS 1 public key in DER", lambda f: public_bytes(f, Encoding.DER, PublicFormat.PKCS1)),
    hmac_with("the published JWK", lambda f: to_json(public_jwk(f.keys.rsa, kid="rsa", use="sig", alg="RS256"))),
    hmac_with("the bare JWK", lambda f: to_json(public_jwk(f.keys.rsa))),
    hmac_with("the modulus", lambda f: public_jwk(f.keys.rsa)["n"].encode()),
    hmac_with("the key's id", lambda _: b"rsa"),
    hmac_with("nothing", lambda _: b""),
    hmac_with(
        "the public key in PEM", lambda f: public_bytes(f, Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "HS384"
    ),
    hmac_with(
        "the public key in PEM", lambda f: public_bytes(f, Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "HS512"
    ),
    Attack(
        "HS256 with the published oct key",
        R.ALGORITHM_NOT_ALLOWED,
        lambda f: hmac_token(f, b"a secret of at least thirty-two bytes", kid="oct"),
    ),
    *[
        misnamed(alg)
        for alg in ("rs256", "Rs256", "RS256 ", " RS256", "RS-256", "RSA256", "ＲＳ256", "RS256\0", "SHA256withRSA")
    ],
    *[
        unsigned_with(alg, b"x")
        for alg in ("ES256K", "ES521", "RS1", "Ed25519", "HS1", "A128KW", "dir", "RSA-OAEP", "PBES2-HS256+A128KW")
    ],
    *[
        only_rs256(alg, kid)
        for alg, kid in [
            ("RS384", "rsa-any"),
            ("RS512", "rsa-any"),
            ("PS256", "rsa-any"),
            ("ES256", "p256"),
            ("ES384", "p384"),
            ("EdDSA", "ed25519"),
        ]
    ],
    Attack(
        "RS256 where the policy allows ES256 only",
        R.ALGORITHM_NOT_ALLOWED,
        lambda f: f.token(),
        {"algorithms": frozenset({"ES256"})},
    ),
    Attack(
        "none where the policy lists it by mistake",
        R.ALGORITHM_NOT_ALLOWED,
        lambda f: f.unsigned(alg="none"),
        {"algorithms": frozenset({"none", "RS256"})},
    ),
    Attack(
        "HS256 where the policy lists it by mistake",
        R.ALGORITHM_NOT_ALLOWED,
        lambda f: hmac_token(f, b"a secret of at least thirty-two bytes", kid="oct"),
        {"algorithms": frozenset({"HS256", "RS256"})},
    ),
    Attack("no algorithm allowed at all", R.ALGORITHM_NOT_ALLOWED, lambda f: f.token(), {"algorithms": frozenset()}),
]


def swap_header(f: Forge, **members: Any) -> str:
    """Change the header of a good token and keep its signature."""
    _, body, signature = f.parts()
    return f"{b64url(to_json(f.header(**members)))}.{body}.{signature}"


# --- Keys: only the issuer's, only as published -----------------------------------------------------------------------


def bring_key(name: str, reason: Reason, members: Callable[[Forge], dict[str, Any]]) -> Attack:
    """Sign with a key of one's own and offer it in the header."""
    return Attack(
        f"own key in {name}",
        reason,
        lambda f: f.token(key=f.keys.other_rsa, **members(f)),
        {"algorithms": EVERY_ALGORITHM},
    )


def own_jwk(f: Forge, **members: Any) -> dict[str, Any]:
    return public_jwk(f.keys.other_rsa, **members)


KEY = [
    bring_key("jwk", R.SIGNATURE_INVALID, lambda f: {"jwk": own_jwk(f)}),
    bring_key("jwk with the published kid", R.SIGNATURE_INVALID, lambda f: {"jwk": own_jwk(f, kid="rsa")}),
    bring_key("jwk and no kid", R.KEY_UNKNOWN, lambda f: {"jwk": own_jwk(f), "kid": OMIT}),
    bring_key("jwk with a kid of its own", R.KEY_UNKNOWN, lambda f: {"jwk": own_jwk(f, kid="mine"), "kid": "mine"}),
    bring_key("jku", R.SIGNATURE_INVALID, lambda f: {"jku": f"{f.trap.url}/keys"}),
    bring_key("jku and a kid of its own", R.KEY_UNKNOWN, lambda f: {"jku": f"{f.trap.url}/keys", "kid": "mine"}),
    bring_key("jku on the issuer's host", R.SIGNATURE_INVALID, lambda f: {"jku": f"{f.site.url}/upload/keys"}),
    bring_key("x5u", R.SIGNATURE_INVALID, lambda f: {"x5u": f"{f.trap.url}/cert.pem"}),
    bring_key("x5u and no kid", R.KEY_UNKNOWN, lambda f: {"x5u": f"{f.trap.url}/cert.pem", "kid": OMIT}),
    bring_key("x5c", R.SIGNATURE_INVALID, lambda _: {"x5c": [base64.b64encode(b"a certificate").decode()]}),
    bring_key("x5c and no kid", R.KEY_UNKNOWN, lambda _: {"x5c": ["AAAA"], "kid": OMIT}),
    bring_key("x5t", R.SIGNATURE_INVALID, lambda _: {"x5t": "AAAA", "x5t#S256": "AAAA"}),
    bring_key(
        "jwk, jku, x5u and x5c at once",
        R.SIGNATURE_INVALID,
        lambda f: {
            "jwk": own_jwk(f),
            "jku": f"{f.trap.url}/keys",
            "x5u": f"{f.trap.url}/cert.pem",
            "x5c": ["AAAA"],
        },
    ),
    bring_key("iss of the header", R.SIGNATURE_INVALID, lambda f: {"iss": f.trap.issuer_url}),
    bring_key("nothing but the published kid", R.SIGNATURE_INVALID, lambda _: {}),
    key("that nobody publishes", "never-heard-of"),
    key("id that is a path", "../../../dev/null"),
    key("id that is a URL to the trap", "http://127.0.0.1/keys"),
    key("id that is SQL", "rsa' OR '1'='1"),
    key("id that is a shell command", "rsa|curl 127.0.0.1"),
    key("id with a NUL", "rsa\0"),
    key("id in upper case", "RSA"),
    key("id with a blank", "rsa "),
    key("id that is a look-alike", "rѕa"),
    key("id that is empty", ""),
    key("id that is null", None),
    key("id that is a number", 7),
    key("id that is a boolean", True),
    key("id that is a list", ["rsa"]),
    key("id that is an object", {"rsa": 1}),
    key("id that is missing", OMIT),
    key("id of 257 characters, published", "x" * (MAX_KID_LENGTH + 1)),
    key("id of 10,000 characters", "x" * 10_000),
    key("id that is an attribute of objects", "__class__"),
    key("id that is a list's index", "0"),
    Attack("RSA key of 1,024 bits", R.KEY_UNKNOWN, lambda f: f.token(kid="rsa-1024", key=f.keys.small_rsa)),
    key("RSA exponent 1", "e-1"),
    key("RSA exponent 3", "e-3"),
    key("RSA exponent that is even", "e-even"),
    key("RSA exponent of 65 bits", "e-huge"),
    key("RSA modulus that is even", "n-even"),
    key("RSA modulus 0", "n-zero"),
    key("RSA modulus of 8,200 bits", "n-huge"),
    key("RSA modulus with padding", "n-padded"),
    key("RSA modulus as a number", "n-number"),
    key("RSA modulus missing", "n-missing"),
    key("RSA modulus that can be factored", "n-roca"),
    key("for encryption", "use-enc"),
    key("with use as a list", "use-list"),
    key("with key_ops that lacks verify", "ops-sign"),
    key("with key_ops empty", "ops-empty"),
    key("with key_ops as text", "ops-text"),
    key("for RSA-OAEP", "alg-oaep"),
    key("for RS512, used with RS256", "alg-rs512"),
    key("RSA, for ES256", "alg-es256"),
    key("with alg none", "alg-none"),
    key("RSA, called EC", "kty-ec"),
    key("with kty in lower case", "kty-lower"),
    key("without kty", "kty-missing"),
    key("published with its private half", "private"),
    key("published with one of its primes", "private-prime"),
    key("on P-256, published with its private half", "private-ec", "ES256"),
    key("id that two different keys share", "ambiguous"),
    key("that is symmetric", "oct"),
    key("that is symmetric and says RS256", "oct-rs256"),
    key("on secp256k1, used with ES256", "k256", "ES256"),
    key("whose curve does not fit its coordinates", "crv-lies", "ES256"),
    key("off the curve", "off-curve", "ES256"),
    key("at infinity", "infinity", "ES256"),
    key("with a short coordinate", "short-x", "ES256"),
    key("on X25519", "x25519", "EdDSA"),
    key("on Ed25519, too short", "ed-short", "EdDSA"),
    key("RSA, used with ES256", "rsa-any", "ES256"),
    key("RSA, used with EdDSA", "rsa-any", "EdDSA"),
    key("RSA for RS256, used with PS256", "rsa", "PS256"),
    key("RSA for RS256, used with RS384", "rsa", "RS384"),
    key("on P-256, used with ES384", "p256", "ES384"),
    key("on P-384, used with ES256", "p384", "ES256"),
    key("on P-521, used with ES256", "p521", "ES256"),
    key("on Ed25519, used with ES256", "ed25519", "ES256"),
    key("on P-256, used with RS256", "p256", "RS256"),
    Attack(
        "key of another issuer under the published kid", R.SIGNATURE_INVALID, lambda f: f.token(key=f.keys.other_rsa)
    ),
    Attack("key of another kid of the same issuer", R.SIGNATURE_INVALID, lambda f: f.token(alg="EdDSA", kid="ed448")),
]

# --- Signatures: over these bytes, in this form -----------------------------------------------------------------------


def resigned(f: Forge, change: Callable[[bytes], bytes], algorithm: str = "ES256", kid: str = "p256") -> str:
    """Change the signature of a good token."""
    token = f.token(alg=algorithm, kid=kid)
    text, _, signature = token.rpartition(".")
    return f"{text}.{b64url(change(base64.urlsafe_b64decode(signature + '==')))}"


def ecdsa(name: str, change: Callable[[bytes], bytes]) -> Attack:
    return Attack(f"ES256 signature {name}", R.SIGNATURE_INVALID, lambda f: resigned(f, change))


def rs256(name: str, change: Callable[[bytes], bytes]) -> Attack:
    return Attack(f"RS256 signature {name}", R.SIGNATURE_INVALID, lambda f: resigned(f, change, "RS256", "rsa"))


def der_of(f: Forge) -> str:
    """Sign as X.509 does: ASN.1 instead of the raw R and S."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    text = f.signing_input(alg="ES256", kid="p256")
    der = f.keys.p256.sign(text.encode(), ec.ECDSA(hashes.SHA256()))
    assert decode_dss_signature(der)
    return f"{text}.{b64url(der)}"


P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493
ORDER_BYTES = P256_ORDER.to_bytes(32, "big")
ONE = (1).to_bytes(32, "big")


def more_of_s(signature: bytes) -> bytes:
    """Add the group's order to S: the same equation holds, so a lax verifier accepts a second signature."""
    s = int.from_bytes(signature[32:], "little") + ED25519_ORDER
    return signature[:32] + s.to_bytes(32, "little")


SIGNATURE = [
    Attack("RS256 signature missing", R.SIGNATURE_INVALID, lambda f: f.unsigned()),
    Attack("ES256 signature in DER", R.SIGNATURE_INVALID, der_of),
    ecdsa("of zeros (CVE-2022-21449)", lambda _: b"\0" * 64),
    ecdsa("with R zero", lambda s: b"\0" * 32 + s[32:]),
    ecdsa("with S zero", lambda s: s[:32] + b"\0" * 32),
    ecdsa("with R and S the group's order", lambda _: ORDER_BYTES * 2),
    ecdsa("with R one and S one", lambda _: ONE * 2),
    ecdsa("with R beyond the order", lambda s: b"\xff" * 32 + s[32:]),
    ecdsa("with R and S exchanged", lambda s: s[32:] + s[:32]),
    ecdsa("one byte short", lambda s: s[:-1]),
    ecdsa("one byte long", lambda s: s + b"\0"),
    ecdsa("with both numbers a byte longer", lambda s: b"\0" + s[:32] + b"\0" + s[32:]),
    ecdsa("empty", lambda _: b""),
    ecdsa("twice", lambda s: s * 2),
    rs256("with one bit flipped", lambda s: s[:-1] + bytes([s[-1] ^ 1])),
    rs256("without its last byte", lambda s: s[:-1]),
    rs256("with a zero in front", lambda s: b"\0" + s),
    rs256("with a zero behind", lambda s: s + b"\0"),
    rs256("of zeros", lambda s: b"\0" * len(s)),
    rs256("of ones", lambda s: b"\xff" * len(s)),
    rs256("that is the number one", lambda s: b"\0" * (len(s) - 1) + b"\x01"),
    Attack(
        "Ed25519 signature with S plus the order",
        R.SIGNATURE_INVALID,
        lambda f: resigned(f, more_of_s, "EdDSA", "ed25519"),
    ),
    Attack(
        "Ed25519 signature of zeros",
        R.SIGNATURE_INVALID,
        lambda f: resigned(f, lambda _: b"\0" * 64, "EdDSA", "ed25519"),
    ),
    Attack("Ed25519 signature for an Ed448 key", R.SIGNATURE_INVALID, lambda f: f.token(alg="EdDSA", kid="ed448")),
    Attack("PS256 signature called RS256", R.SIGNATURE_INVALID, lambda f: f.token(kid="rsa-any", sign_as="PS256")),
    Attack(
        "RS256 signature called PS256",
        R.SIGNATURE_INVALID,
        lambda f: f.token(alg="PS256", kid="rsa-any", sign_as="RS256"),
    ),
    Attack(
        "RS256 signature called RS512",
        R.SIGNATURE_INVALID,
        lambda f: f.token(alg="RS512", kid="rsa-any", sign_as="RS256"),
    ),
    Attack("header changed after signing", R.SIGNATURE_INVALID, lambda f: swap_header(f, kid="rsa", x=1)),
    Attack("payload changed after signing", R.SIGNATURE_INVALID, lambda f: swap_claims(f, sub="repo:contoso/other")),
    Attack("payload of another token", R.SIGNATURE_INVALID, lambda f: swap_claims(f, jti="another")),
    Attack("claims in another order", R.SIGNATURE_INVALID, lambda f: reorder_claims(f)),
    Attack("white space added to the payload", R.SIGNATURE_INVALID, lambda f: respace_claims(f)),
]


def swap_claims(f: Forge, **claims: Any) -> str:
    head, _, signature = f.parts()
    return f"{head}.{b64url(to_json(f.claims(**claims)))}.{signature}"


def reorder_claims(f: Forge) -> str:
    head, _, signature = f.parts()
    return f"{head}.{b64url(to_json(dict(reversed(f.claims().items()))))}.{signature}"


def respace_claims(f: Forge) -> str:
    head, _, signature = f.parts()
    return f"{head}.{b64url(json.dumps(f.claims(), indent=1).encode())}.{signature}"


# --- Registered claims: of the right type, for us, now ----------------------------------------------------------------

OTHER = "https://other.example"
WORKSPACE = "ari:cloud:bitbucket::workspace/a1b2c3d4-0001-4000-8000-00000000000a"
WORKSPACE_ID = "{A1B2C3D4-0001-4000-8000-00000000000a}"
WORKSPACES = PRESETS["bitbucket"].extra_audience
"""What Bitbucket appends to the audience that a step asks for."""


def bad_date(name: str, value: Any) -> Attack:
    return Attack(f"{name} {value!r}", R.CLAIM_INVALID, lambda f: f.token(f.claims(**{name: value})))


CLAIMS = [
    claim("no iss", R.CLAIM_MISSING, iss=OMIT),
    *[claim(f"iss {value!r}", R.CLAIM_INVALID, iss=value) for value in (None, 1, True, ["x"], {"x": 1})],
    claim("no aud", R.CLAIM_MISSING, aud=OMIT),
    *[
        claim(f"aud {value!r}", R.CLAIM_INVALID, aud=value)
        for value in (None, 1, True, {AUDIENCE: True}, [AUDIENCE, 1], [[AUDIENCE]], [None])
    ],
    *[
        claim(f"aud {value!r}", R.AUDIENCE_MISMATCH, aud=value)
        for value in (
            "",
            [],
            [""],
            OTHER,
            [OTHER],
            [AUDIENCE, OTHER],
            [OTHER, AUDIENCE],
            [AUDIENCE, AUDIENCE],
            AUDIENCE + "/",
            AUDIENCE.upper(),
            AUDIENCE.replace("https", "http"),
            AUDIENCE + " ",
            " " + AUDIENCE,
            AUDIENCE + "\0",
            AUDIENCE[:-1],
            AUDIENCE + ".evil.example",
            f"{AUDIENCE} {OTHER}",
            f"{AUDIENCE},{OTHER}",
            AUDIENCE.replace("o", "о"),
            "*",
            "https://*",
            "https://github.com/contoso",
            "api://AzureADTokenExchange",
        )
    ],
    *[
        claim(
            f"aud of the workspace beside ours, of workspace {named}",
            R.AUDIENCE_MISMATCH,
            {"extra_audience": WORKSPACES},
            aud=[AUDIENCE, WORKSPACE],
            workspaceUuid=workspace,
        )
        for named, workspace in (
            ("another", "{a1b2c3d4-0001-4000-8000-00000000000b}"),
            ("unknown", OMIT),
            ("null", None),
            ("empty", ""),
            ("a list", [WORKSPACE_ID]),
        )
    ],
    claim(
        "aud of others only, extra audiences allowed", R.AUDIENCE_MISMATCH, {"allow_extra_audiences": True}, aud=[OTHER]
    ),
    claim("aud empty, extra audiences allowed", R.AUDIENCE_MISMATCH, {"allow_extra_audiences": True}, aud=[]),
    claim(
        "aud with a number beside ours, extra audiences allowed",
        R.CLAIM_INVALID,
        {"allow_extra_audiences": True},
        aud=[AUDIENCE, 7],
    ),
    *[
        claim(
            f"aud {named}",
            R.AUDIENCE_MISMATCH,
            {"extra_audience": WORKSPACES},
            aud=audiences,
            workspaceUuid=WORKSPACE_ID,
        )
        for named, audiences in (
            ("that the platform appends, alone", [WORKSPACE]),
            ("that the platform appends, as text", WORKSPACE),
            ("that the platform appends, beside another", [OTHER, WORKSPACE]),
            ("that the platform appends, beside ours and another", [AUDIENCE, OTHER, WORKSPACE]),
            ("like the one that the platform appends, longer", [AUDIENCE, f"{WORKSPACE}0"]),
            ("of ours twice, beside the one that the platform appends", [AUDIENCE, AUDIENCE, WORKSPACE]),
        )
    ],
    claim("aud with what another platform appends", R.AUDIENCE_MISMATCH, aud=[AUDIENCE, WORKSPACE]),
    claim("aud of the file where the issuer has its own", R.AUDIENCE_MISMATCH, {"audience": OTHER}),
    claim("no exp", R.CLAIM_MISSING, exp=OMIT),
    claim("no iat", R.CLAIM_MISSING, iat=OMIT),
    *[
        bad_date(name, value)
        for name in ("exp", "iat", "nbf")
        for value in (
            None,
            True,
            False,
            str(NOW),
            "",
            [NOW],
            {"t": NOW},
            -1,
            -0.5,
            10**15,
            10**31,
            1e300,
            253_402_300_800,
            NOW * 1000,
        )
    ],
    claim("exp before iat", R.CLAIM_INVALID, iat=NOW + 10, exp=NOW + 9),
    claim("exp equal to iat", R.CLAIM_INVALID, iat=NOW, exp=NOW),
    claim("exp a year ahead", R.TOKEN_LIFETIME_TOO_LONG, exp=NOW + 365 * 86_400),
    claim("exp in the year 9999", R.TOKEN_LIFETIME_TOO_LONG, exp=253_402_300_799),
    claim("exp 0", R.TOKEN_EXPIRED, exp=0),
    claim("iat 0, a token as old as time", R.TOKEN_LIFETIME_TOO_LONG, iat=0),
    claim("iat tomorrow", R.TOKEN_NOT_YET_VALID, iat=NOW + 86_400, exp=NOW + 86_700),
    claim("nbf tomorrow", R.TOKEN_NOT_YET_VALID, nbf=NOW + 86_400),
    *[claim(f"sub {value!r}", R.CLAIM_INVALID, sub=value) for value in (None, 1, True, ["x"], {"x": 1})],
    *[claim(f"jti {value!r}", R.CLAIM_INVALID, jti=value) for value in (None, 1, True, ["x"], {"x": 1})],
    claim("jti empty where tokens are used once", R.CLAIM_MISSING, jti=""),
    claim("no jti where tokens are used once", R.CLAIM_MISSING, jti=OMIT),
    claim("jti 1 where tokens are reused", R.CLAIM_INVALID, {"replay": "reuse"}, jti=1),
]

# --- Issuers: character by character ----------------------------------------------------------------------------------


def look_alike(name: str, change: Callable[[str], str]) -> Attack:
    return Attack(f"iss {name}", R.ISSUER_UNKNOWN, lambda f: f.token(f.claims(iss=change(f.site.issuer_url))))


ISSUER = [
    look_alike("with a slash behind", lambda url: url + "/"),
    look_alike("with two slashes", lambda url: url.replace("/issuer", "//issuer")),
    look_alike("in upper case", str.upper),
    look_alike("with another scheme", lambda url: url.replace("http:", "https:")),
    look_alike("without scheme", lambda url: url.partition("//")[2]),
    look_alike("with a blank behind", lambda url: url + " "),
    look_alike("with a blank in front", lambda url: " " + url),
    look_alike("with a newline behind", lambda url: url + "\n"),
    look_alike("with a NUL behind", lambda url: url + "\0"),
    look_alike("with a fragment", lambda url: url + "#"),
    look_alike("with a query", lambda url: url + "?x=1"),
    look_alike("with a user in front of the host", lambda url: url.replace("//", "//ci@")),
    look_alike("as the user of another host", lambda url: url + "@evil.example"),
    look_alike("as the subdomain of another host", lambda url: url + ".evil.example"),
    look_alike("with a dot behind the host", lambda url: url.replace("127.0.0.1", "127.0.0.1.")),
    look_alike("with the host by another name", lambda url: url.replace("127.0.0.1", "localhost")),
    look_alike("with the host as a number", lambda url: url.replace("127.0.0.1", "2130706433")),
    look_alike("with a path walked back", lambda url: url.replace("/issuer", "/x/../issuer")),
    look_alike("with a percent-encoded letter", lambda url: url.replace("issuer", "%69ssuer")),
    look_alike("with a letter of another script", lambda url: url.replace("issuer", "іssuer")),
    look_alike("with a zero-width space", lambda url: url + "\u200b"),
    look_alike("with a backslash", lambda url: url.replace("/issuer", "\\issuer")),
    look_alike("with a wildcard", lambda url: url.replace("issuer", "*")),
    look_alike("with a deeper path", lambda url: url + "/enterprise"),
    look_alike("cut short", lambda url: url[:-1]),
    look_alike("empty", lambda _: ""),
    Attack("switched off", R.ISSUER_DISABLED, lambda f: f.token(), {"enabled": False}),
    Attack("switched off, unsigned token", R.ISSUER_DISABLED, lambda f: f.unsigned(alg="none"), {"enabled": False}),
]

ATTACKS = [*SHAPE, *DECODING, *HEADER, *ALGORITHM, *KEY, *SIGNATURE, *CLAIMS, *ISSUER]


async def refusal_of(verifier: Verifier, token: str, forge: Forge, **policy: Any) -> Refusal | None:
    """Return how a token is refused, or None if it passes."""
    try:
        await verifier.verify(peek(RawToken(token)), forge.issuer(**policy))
    except Refusal as refusal:
        return refusal
    return None


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
async def test_attack_is_refused_for_the_right_reason(attack: Attack, forge: Forge, verifier: Verifier) -> None:
    token = attack.token(forge)
    trapped = len(forge.trap.requests)

    refusal = await refusal_of(verifier, token, forge, **attack.policy)

    assert refusal is not None, "the attack succeeded"
    assert refusal.reason is attack.reason
    assert refusal.description.isascii()
    assert not any(len(part) > 8 and part in refusal.description for part in token.split(".")), "it quotes the token"
    assert len(forge.trap.requests) == trapped, "a token made the service call the trap"


def test_attacks_have_names_of_their_own() -> None:
    names = [attack.name for attack in ATTACKS]
    assert len(names) == len(set(names))


# --- The same tokens without the flaw pass: the attacks fail for their flaw alone -------------------------------------

GOOD: list[tuple[str, Callable[[Forge], str], dict[str, Any]]] = [
    ("a key whose other members are null", lambda f: f.token(kid="nulls"), {}),
    ("an EC key whose other members are null", lambda f: f.token(alg="ES256", kid="nulls-ec"), {}),
    ("as CI platforms send it", lambda f: f.token(), {}),
    ("without typ, as Kubernetes sends it", lambda f: f.token(typ=OMIT), {}),
    ("with typ application/jwt", lambda f: f.token(typ="application/jwt"), {}),
    ("with typ jwt in lower case", lambda f: f.token(typ="jwt"), {}),
    ("with typ JOSE, as SPIFFE may send it", lambda f: f.token(typ="JOSE"), {}),
    ("with typ at+jwt", lambda f: f.token(typ="at+jwt"), {}),
    ("with x5t and x5c, as Entra sends it", lambda f: f.token(x5t="AAAA", x5c=["AAAA"]), {}),
    ("with a key for verification", lambda f: f.token(kid="rsa-verify"), {}),
    ("with a kid that an ES256 key shares", lambda f: f.token(kid="twin"), {}),
    ("with a kid that an RS256 key shares", lambda f: f.token(alg="ES256", kid="twin"), {}),
    ("with a key that is published twice, alike", lambda f: f.token(kid="again"), {}),
    ("on Ed448", lambda f: f.token(alg="EdDSA", kid="ed448", key=f.keys.ed448), {}),
    ("with aud as a list of one", lambda f: f.token(f.claims(aud=[AUDIENCE])), {}),
    ("with further audiences, where allowed", lambda f: f.token(f.claims(aud=[OTHER, AUDIENCE])),
     {"allow_extra_audiences": True}),
    ("with the audience that the platform appends",
     lambda f: f.token(f.claims(aud=[AUDIENCE, WORKSPACE], workspaceUuid=WORKSPACE_ID)),
     {"extra_audience": WORKSPACES}),
    ("with the audience that the platform puts first",
     lambda f: f.token(f.claims(aud=[WORKSPACE, AUDIENCE], workspaceUuid=WORKSPACE_ID)),
     {"extra_audience": WORKSPACES}),
    ("without the audience that the platform may append", lambda f: f.token(f.claims(aud=AUDIENCE)),
     {"extra_audience": WORKSPACES}),
    ("without nbf", lambda f: f.token(f.claims(nbf=OMIT)), {}),
    ("without sub", lambda f: f.token(f.claims(sub=OMIT)), {}),
    ("with times that are not whole seconds", lambda f: f.token(f.claims(iat=NOW + 0.5, exp=NOW + 9.25)), {}),
    ("without jti, where tokens are reused", lambda f: f.token(f.claims(jti=OMIT)), {"replay": "reuse"}),
    ("with an empty jti, where tokens are reused", lambda f: f.token(f.claims(jti="")), {"replay": "reuse"}),
    ("with white space in its JSON", lambda f: f.token(json.dumps(f.claims(), indent=2).encode()), {}),
    ("with 200 groups", lambda f: f.token(f.claims(groups=[f"group-{i}" for i in range(200)])), {}),
    ("with an emoji written as two escapes", lambda f: f.token(f.claims(actor="\U0001f600")), {}),
    ("with a nested claim", lambda f: f.token(f.claims(k={"a": {"b": [1, 2.5, None, True]}})), {}),
]  # fmt: skip


@pytest.mark.parametrize(("token", "policy"), [case[1:] for case in GOOD], ids=[case[0] for case in GOOD])
async def test_good_token_passes(
    token: Callable[[Forge], str], policy: dict[str, Any], forge: Forge, verifier: Verifier
) -> None:
    assert await refusal_of(verifier, token(forge), forge, **policy) is None


KIDS = {"ES256": "p256", "ES384": "p384", "ES512": "p521", "EdDSA": "ed25519"}


@pytest.mark.parametrize("algorithm", sorted(EVERY_ALGORITHM))
async def test_each_algorithm_verifies_where_it_is_allowed(algorithm: str, forge: Forge, verifier: Verifier) -> None:
    token = forge.token(alg=algorithm, kid=KIDS.get(algorithm, "rsa-any"))
    assert await refusal_of(verifier, token, forge, algorithms=frozenset({algorithm})) is None


async def test_verified_claims_are_those_of_the_token(forge: Forge, verifier: Verifier) -> None:
    verified = await verifier.verify(peek(RawToken(forge.token())), forge.issuer())
    assert verified.issuer == "ci"
    assert verified.claims == forge.claims()


# --- Boundaries: inside, at and outside of each -----------------------------------------------------------------------

SKEW = 60
MAX = 900

BOUNDARIES: list[tuple[str, float, dict[str, Any], Reason | None]] = [
    ("exp: a second before exp + skew", LIFETIME + SKEW - 1, {}, None),
    ("exp: just before exp + skew", LIFETIME + SKEW - 0.01, {}, None),
    ("exp: at exp + skew", LIFETIME + SKEW, {}, R.TOKEN_EXPIRED),
    ("exp: a second after exp + skew", LIFETIME + SKEW + 1, {}, R.TOKEN_EXPIRED),
    ("nbf: a second before nbf - skew", 40 - SKEW - 1, {"nbf": NOW + 40, "iat": NOW - 100}, R.TOKEN_NOT_YET_VALID),
    ("nbf: just before nbf - skew", 40 - SKEW - 0.01, {"nbf": NOW + 40, "iat": NOW - 100}, R.TOKEN_NOT_YET_VALID),
    ("nbf: at nbf - skew", 40 - SKEW, {"nbf": NOW + 40, "iat": NOW - 100}, None),
    ("nbf: a second after nbf - skew", 40 - SKEW + 1, {"nbf": NOW + 40, "iat": NOW - 100}, None),
    ("iat: a second before iat - skew", 40 - SKEW - 1, {"iat": NOW + 40, "nbf": OMIT}, R.TOKEN_NOT_YET_VALID),
    ("iat: just before iat - skew", 40 - SKEW - 0.01, {"iat": NOW + 40, "nbf": OMIT}, R.TOKEN_NOT_YET_VALID),
    ("iat: at iat - skew", 40 - SKEW, {"iat": NOW + 40, "nbf": OMIT}, None),
    ("iat: a second after iat - skew", 40 - SKEW + 1, {"iat": NOW + 40, "nbf": OMIT}, None),
    ("lifetime: a second below the maximum", 0, {"exp": NOW + MAX - 1}, None),
    ("lifetime: at the maximum", 0, {"exp": NOW + MAX}, None),
    ("lifetime: just above the maximum", 0, {"exp": NOW + MAX + 0.01}, R.TOKEN_LIFETIME_TOO_LONG),
    ("lifetime: a second above the maximum", 0, {"exp": NOW + MAX + 1}, R.TOKEN_LIFETIME_TOO_LONG),
    ("exp and iat: a second apart", 0, {"exp": NOW + 1}, None),
    ("date: the last second of the year 9999", 0, {"nbf": 253_402_300_799}, R.TOKEN_NOT_YET_VALID),
    ("date: the first second of the year 10000", 0, {"nbf": 253_402_300_800}, R.CLAIM_INVALID),
    ("date: 1970", 0, {"nbf": 0}, None),
    ("date: before 1970", 0, {"nbf": -1}, R.CLAIM_INVALID),
]


@pytest.mark.parametrize(("offset", "claims", "reason"), [b[1:] for b in BOUNDARIES], ids=[b[0] for b in BOUNDARIES])
async def test_times_hold_to_the_second(
    offset: float, claims: dict[str, Any], reason: Reason | None, forge: Forge, verifier: Verifier, hands: Hands
) -> None:
    hands.wall = NOW + offset
    refusal = await refusal_of(verifier, forge.token(forge.claims(**claims)), forge)
    assert (refusal and refusal.reason) is reason


@pytest.mark.parametrize("length", [MAX_TOKEN_LENGTH - 1, MAX_TOKEN_LENGTH], ids=["inside", "at"])
async def test_token_of_up_to_16_kib_is_read(length: int, forge: Forge, verifier: Verifier) -> None:
    token = forge.token(forge.claims(pad=""))
    room = (length - len(token)) * 3 // 4
    token = forge.token(forge.claims(pad="x" * room))
    assert length - 3 <= len(token) <= length
    assert await refusal_of(verifier, token, forge) is None


# --- Order: cheap and local checks come first -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "header", "policy"),
    [
        (R.ISSUER_DISABLED, {}, {"enabled": False}),
        (R.ALGORITHM_NOT_ALLOWED, {"alg": "none", "sign_as": "RS256"}, {}),
        (R.KEY_UNKNOWN, {"kid": OMIT}, {}),
        (R.KEY_UNKNOWN, {"kid": 7}, {}),
    ],
    ids=["disabled issuer", "refused algorithm", "no kid", "unusable kid"],
)
async def test_refused_without_any_network_call(
    reason: Reason, header: dict[str, Any], policy: dict[str, Any], forge: Forge, verifier: Verifier
) -> None:
    before = len(forge.site.requests)
    refusal = await refusal_of(verifier, forge.token(**header), forge, **policy)
    assert refusal is not None
    assert refusal.reason is reason
    assert len(forge.site.requests) == before


async def test_claims_are_not_judged_before_the_signature(forge: Forge, verifier: Verifier) -> None:
    """An attacker learns nothing about the policy from a token it made up."""
    forged = forge.token(forge.claims(aud=OTHER, exp=1), key=forge.keys.other_rsa)
    refusal = await refusal_of(verifier, forged, forge)
    assert refusal is not None
    assert refusal.reason is R.SIGNATURE_INVALID


async def test_audience_mismatch_names_the_audience_to_ask_for(forge: Forge, verifier: Verifier) -> None:
    refusal = await refusal_of(verifier, forge.token(forge.claims(aud=["sts.amazonaws.com"])), forge)
    assert refusal is not None
    assert AUDIENCE in refusal.description
    assert "sts.amazonaws.com" in refusal.description


@pytest.mark.parametrize(
    ("lifetime", "written"),
    [(31_536_000, "365d"), (90_000, "25h"), (5400, "90m"), (5401, "5401s"), (3600.5, "3601s"), (1e12, "11574074")],
)
async def test_a_lifetime_is_written_as_in_a_policy(
    forge: Forge, verifier: Verifier, lifetime: float, written: str
) -> None:
    token = forge.token(forge.claims(iat=NOW, exp=min(NOW + lifetime, 253_402_300_799)))
    refusal = await refusal_of(verifier, token, forge, max_token_lifetime=900)
    assert refusal is not None
    assert refusal.description.startswith(f"The token lives for {written}") == (lifetime < 1e12)
    assert refusal.description.endswith("the policy allows 15m for its issuer.")
    assert "e+" not in refusal.description


async def test_hostile_values_are_cut_and_made_printable(forge: Forge, verifier: Verifier) -> None:
    refusal = await refusal_of(verifier, forge.token(forge.claims(aud='"\r\nSet-Cookie: x\\' + "é" * 5000)), forge)
    assert refusal is not None
    assert len(refusal.description) < 400
    assert not set('"\\\r\né') & set(refusal.description)


async def test_forged_tokens_do_not_disturb_good_ones(forge: Forge, verifier: Verifier) -> None:
    good, forged = forge.token(), forge.token(key=forge.keys.other_rsa)
    answers = await asyncio.gather(*(refusal_of(verifier, token, forge) for token in [good, forged] * 20))
    assert [answer and answer.reason for answer in answers] == [None, R.SIGNATURE_INVALID] * 20
