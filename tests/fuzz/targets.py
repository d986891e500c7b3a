"""The fuzz targets: each takes bytes and fails only where a promise is broken. Knows nothing of fuzzing engines.

A target returns quietly for input that is refused; any exception but the module's own error is a finding, and so is
a broken invariant.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, TypeVar

from tests.fuzz import policies
from vending import request
from vending.acr import scope
from vending.clock import Clock
from vending.errors import Refusal
from vending.http_client import Http
from vending.oidc.keys import parse_key_set
from vending.oidc.signature import ALGORITHMS
from vending.oidc.token import peek
from vending.oidc.types import Issuer, RawToken, VerifiedClaims
from vending.oidc.verify import Verifier

T = TypeVar("T")
Target = Callable[[bytes], None]

# RFC 8037 appendix A.2: a key whose private half nobody here has, so that no input can be rightly accepted.
_KEY: Final = {"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
_ISSUER: Final = Issuer(
    name="fuzz",
    url="https://idp.example",
    audience="https://vend.example",
    algorithms=frozenset(ALGORITHMS),
    max_token_lifetime=900,
    replay="once",
    static_keys={"keys": [_KEY]},
)
_VERIFIER: Final = Verifier(Http(), Clock(now=lambda: 1.8e9, monotonic=lambda: 0.0), allow_loopback=False)


def _outcome(work: Callable[[], T]) -> T | Refusal:
    """Return what comes of it; any exception but a refusal is a finding."""
    try:
        return work()
    except Refusal as refusal:
        return refusal


def _finish(work: Coroutine[Any, Any, VerifiedClaims]) -> VerifiedClaims:
    """Run a coroutine that never waits: with static keys nothing is fetched."""
    try:
        work.send(None)
    except StopIteration as done:
        verified: VerifiedClaims = done.value
        return verified
    raise AssertionError("verification with static keys waits for something")


def _verify(token: str) -> None:
    outcome = _outcome(lambda: _finish(_VERIFIER.verify(peek(RawToken(token)), _ISSUER)))
    assert isinstance(outcome, Refusal), "a token that nobody signed was accepted"
    assert outcome.entry.about_token, outcome.reason
    assert outcome.description.isascii(), "RFC 6749 section 5.2"


def fuzz_token(data: bytes) -> None:
    """Verify the input as it is."""
    _verify(data.decode("utf-8", errors="surrogateescape"))


def fuzz_token_parts(data: bytes) -> None:
    """Verify a token whose parts are pieces of the input, so that the JSON behind base64url is reached."""
    parts = [*data.split(b"\0", 2), b"", b""][:3]
    _verify(".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts))


def fuzz_key_set(data: bytes) -> None:
    """Parse the input as an issuer's key set."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return
    if not isinstance(document, dict):
        return
    try:
        key_set = parse_key_set(document)
    except ValueError:
        return
    for key in key_set.keys:
        found = {algorithm: key_set.find(key.kid, algorithm) for algorithm in key.algorithms}
        assert all(other is None or algorithm in other.algorithms for algorithm, other in found.items())


def fuzz_form(data: bytes) -> None:
    """Parse the input as the body of a token request."""
    outcome = _outcome(lambda: request.parse(query="", content_type=request.MEDIA_TYPE, body=data, authorization=None))
    if isinstance(outcome, Refusal):
        assert not outcome.entry.about_token, outcome.reason
    else:
        assert outcome.subject_token
        assert outcome.scopes is None or 0 < len(outcome.scopes) <= outcome.scope_count


def fuzz_scope(data: bytes) -> None:
    """Parse the input as the value of `scope`."""
    scopes = _outcome(lambda: scope.parse(data.decode("utf-8", errors="surrogateescape")))
    if isinstance(scopes, Refusal):
        return
    text = scope.render(scopes)
    assert scope.parse(text) == scopes, "rendering and parsing are not each other's inverse"
    assert "*" not in text.replace(str(scope.CATALOG), ""), "ACR would honour a wildcard"
    assert len({(one.type, one.name) for one in scopes}) == len(scopes), "a duplicate repository"


TARGETS: Final[Mapping[str, Target]] = {
    "token": fuzz_token,
    "token-parts": fuzz_token_parts,
    "key-set": fuzz_key_set,
    "form": fuzz_form,
    "scope": fuzz_scope,
    **policies.TARGETS,
}

_HEADER: Final = b'{"alg":"EdDSA","kid":"k","typ":"JWT"}'
_CLAIMS: Final = (
    b'{"iss":"https://idp.example","aud":"https://vend.example","iat":1800000000,"exp":1800000300,"jti":"1",'
    b'"sub":"repo:a/b:ref:refs/heads/main","k":{"a":[1,2.5,null,true]}}'
)
_TOKEN: Final = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (_HEADER, _CLAIMS, b"\1" * 64))
_SCOPE: Final = b"repository:web/api:pull,push repository:a.b-c__d:metadata_read registry:catalog:*"

SEEDS: Final[Mapping[str, tuple[bytes, ...]]] = {
    "token": (_TOKEN, b"..", b"e30.e30."),
    "token-parts": (b"\0".join((_HEADER, _CLAIMS, b"\1" * 64)), b"{}\0{}\0"),
    "key-set": (
        json.dumps({"keys": [_KEY]}).encode(),
        b'{"keys":[{"kty":"EC","crv":"P-256","kid":"k","alg":"ES256","use":"sig","key_ops":["verify"],"x":"","y":""}]}',
        b'{"keys":[{"kty":"RSA","kid":"k","n":"AQAB","e":"AQAB"}]}',
    ),
    "form": (
        b"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=" + _TOKEN
        + b"&audience=prod&scope=repository%3Aweb%2Fapi%3Apull",
        b"a=b&a=c",
    ),
    "scope": (_SCOPE, b"repository:a:*"),
    **policies.SEEDS,
}  # fmt: skip
"""Where an engine starts from: good inputs of each target, one change away from the interesting ones."""
