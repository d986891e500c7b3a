"""Discovery and key sets that misbehave: each is named, costs a bounded amount, and never leads anywhere else."""

import asyncio
import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from devstack.certs import TestAuthority
from devstack.keys import OMIT
from tests.oidc.forge import Handler, Keys, Site, issuer_at, public_jwk
from vending.http_client import Http
from vending.oidc.discovery import MAX_ANSWER_BYTES, Failure, KeysNotFetched, discovery_url, fetch_key_set
from vending.oidc.keys import MAX_KEYS

F = Failure
DISCOVERY = "/issuer/.well-known/openid-configuration"
KEYS = "/keys"


@pytest.fixture
def trap() -> Iterator[Site]:
    with Site() as own:
        yield own


def answer(body: bytes, *, code: int = 200, headers: Mapping[str, str] | None = None) -> Handler:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(status=code, body=body, headers={"Content-Type": "application/json", **(headers or {})})

    return handle


def json_answer(value: object) -> Handler:
    return answer(json.dumps(value).encode())


async def stream_for_ever(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    try:
        while True:
            await response.write(b" " * 65536)
    except ConnectionError:
        return response


async def hang_up(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def redirect_to(target: Callable[[Site, Site], str], code: int = 302) -> Callable[[Site, Site], Handler]:
    def build(site: Site, trap: Site) -> Handler:
        return answer(b"", code=code, headers={"Location": target(site, trap)})

    return build


def to_the_trap(_site: Site, trap: Site) -> str:
    return f"{trap.url}/keys"


@dataclass(frozen=True)
class Case:
    """One way for an issuer to misbehave at one of its two addresses, and the failure it counts as."""

    name: str
    failure: Failure
    path: str
    handler: Callable[[Site, Site], Handler]

    def __str__(self) -> str:
        return self.name


def case(name: str, failure: Failure, path: str, handler: Handler) -> Case:
    return Case(name, failure, path, lambda _site, _trap: handler)


TOO_LONG = b'{"keys":[],"x":"' + b"x" * MAX_ANSWER_BYTES + b'"}'

BOTH = [
    ("404", F.BAD_STATUS, answer(b"{}", code=404)),
    ("500", F.BAD_STATUS, answer(b"{}", code=500)),
    ("204", F.BAD_STATUS, answer(b"", code=204)),
    ("401", F.BAD_STATUS, answer(b"{}", code=401)),
    ("more than 256 KiB", F.TOO_LARGE, answer(TOO_LONG)),
    ("a stream without end", F.TOO_LARGE, stream_for_ever),
    ("a gzip bomb", F.TOO_LARGE, answer(gzip.compress(b" " * 4_000_000), headers={"Content-Encoding": "gzip"})),
    ("a connection that breaks", F.UNREACHABLE, hang_up),
    ("a broken content encoding", F.UNREACHABLE, answer(b"not gzip", headers={"Content-Encoding": "gzip"})),
]

MALFORMED = [
    ("nothing", b""),
    ("HTML", b"<!doctype html><title>Sign in</title>"),
    ("a list", b"[]"),
    ("a string", b'"keys"'),
    ("null", b"null"),
    ("UTF-16", '{"keys":[]}'.encode("utf-16")),
    ("duplicate names", b'{"keys":[],"keys":[]}'),
    ("half a document", b'{"keys":[{"kty":"RSA"'),
    ("nesting without end", b"[" * 100_000),
]

CASES = [
    *[case(f"discovery: {name}", failure, DISCOVERY, handler) for name, failure, handler in BOTH],
    *[case(f"keys: {name}", failure, KEYS, handler) for name, failure, handler in BOTH],
    *[case(f"discovery: {name}", F.BAD_DISCOVERY, DISCOVERY, answer(body)) for name, body in MALFORMED],
    *[case(f"keys: {name}", F.BAD_KEY_SET, KEYS, answer(body)) for name, body in MALFORMED],
    case("keys: an object without keys", F.BAD_KEY_SET, KEYS, json_answer({})),
    case("keys: keys null", F.BAD_KEY_SET, KEYS, json_answer({"keys": None})),
    case("keys: keys an object", F.BAD_KEY_SET, KEYS, json_answer({"keys": {"kid": "rsa"}})),
    case("keys: one key without its set", F.BAD_KEY_SET, KEYS, json_answer({"kty": "RSA", "kid": "rsa"})),
    case("keys: a list of texts", F.BAD_KEY_SET, KEYS, json_answer({"keys": ["a", "b"]})),
    case("keys: more than 128", F.BAD_KEY_SET, KEYS, json_answer({"keys": [{}] * (MAX_KEYS + 1)})),
    case("keys: none", F.NO_KEYS, KEYS, json_answer({"keys": []})),
    *[
        Case(f"{label}: redirect to another host by {code}", F.REDIRECT_REFUSED, path, redirect_to(to_the_trap, code))
        for label, path in (("discovery", DISCOVERY), ("keys", KEYS))
        for code in (301, 302, 303, 307, 308)
    ],
    Case(
        "keys: redirect to the same host by another name",
        F.REDIRECT_REFUSED,
        KEYS,
        redirect_to(lambda site, _: f"http://localhost:{site.port}/moved"),
    ),
    Case("keys: redirect to another scheme", F.REDIRECT_REFUSED, KEYS, redirect_to(lambda *_: "file:///etc/passwd")),
    Case("keys: redirect to nowhere", F.REDIRECT_REFUSED, KEYS, redirect_to(lambda *_: "")),
    Case("keys: redirect with no scheme", F.REDIRECT_REFUSED, KEYS, redirect_to(lambda _, t: f"//127.0.0.1:{t.port}/")),
    Case("keys: redirect in a circle", F.REDIRECT_REFUSED, KEYS, redirect_to(lambda *_: KEYS)),
]


async def failure_of(http: Http, site: Site, *, allow_loopback: bool = True, **policy: Any) -> Failure | None:
    """Return what a fetch fails with, or None if it brings keys."""
    try:
        await fetch_key_set(http, issuer_at(site, **policy), now=0, allow_loopback=allow_loopback)
    except KeysNotFetched as error:
        return error.failure
    return None


@pytest.mark.parametrize("misbehaviour", CASES, ids=str)
async def test_misbehaving_issuer_brings_no_keys(misbehaviour: Case, site: Site, trap: Site, http: Http) -> None:
    site.misbehave[misbehaviour.path] = misbehaviour.handler(site, trap)
    assert await failure_of(http, site) is misbehaviour.failure
    assert trap.requests == []


async def test_redirect_on_the_same_host_is_followed(site: Site, http: Http) -> None:
    site.misbehave[KEYS] = answer(b"", code=302, headers={"Location": "/moved"})
    site.misbehave["/moved"] = json_answer({"keys": site.jwks})
    assert await failure_of(http, site) is None


async def test_byte_order_mark_before_a_document_means_nothing(site: Site, http: Http) -> None:
    site.misbehave[KEYS] = answer(b"\xef\xbb\xbf" + json.dumps({"keys": site.jwks}).encode())
    assert await failure_of(http, site) is None


async def test_answer_of_exactly_256_kib_is_read(site: Site, http: Http) -> None:
    body = json.dumps({"keys": site.jwks, "x": ""}).encode()
    site.misbehave[KEYS] = answer(body[:-2] + b"x" * (MAX_ANSWER_BYTES - len(body)) + b'"}')
    assert await failure_of(http, site) is None


async def test_slow_answer_is_given_up_after_five_seconds(site: Site, http: Http) -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b" ")
                await asyncio.sleep(0.2)
        except ConnectionError:
            return response

    site.misbehave[KEYS] = drip
    assert await failure_of(http, site) is F.TIMED_OUT


async def test_unusable_keys_do_not_spoil_the_good_one(site: Site, keys: Keys, http: Http) -> None:
    site.jwks = [None, "x", {"kty": "oct", "k": "AA", "kid": "o"}, public_jwk(keys.small_rsa, kid="s"), *site.jwks]
    key_set = await fetch_key_set(http, issuer_at(site), now=0, allow_loopback=True)
    assert [key.kid for key in key_set.keys] == ["rsa"]
    assert len(key_set.problems) == 4


# --- What the discovery document says ---------------------------------------------------------------------------------

DOCUMENTS: list[tuple[str, dict[str, Any], Failure]] = [
    ("no issuer", {"issuer": OMIT}, F.ISSUER_MISMATCH),
    ("issuer null", {"issuer": None}, F.ISSUER_MISMATCH),
    ("issuer a list", {"issuer": ["x"]}, F.ISSUER_MISMATCH),
    ("issuer of someone else", {"issuer": "https://token.actions.githubusercontent.com"}, F.ISSUER_MISMATCH),
    ("issuer a template", {"issuer": "https://login.microsoftonline.com/{tenantid}/v2.0"}, F.ISSUER_MISMATCH),
    ("no jwks_uri", {"jwks_uri": OMIT}, F.BAD_DISCOVERY),
    ("jwks_uri null", {"jwks_uri": None}, F.BAD_DISCOVERY),
    ("jwks_uri a number", {"jwks_uri": 1}, F.BAD_DISCOVERY),
    ("jwks_uri a list", {"jwks_uri": ["https://127.0.0.1/keys"]}, F.BAD_DISCOVERY),
    ("jwks_uri empty", {"jwks_uri": ""}, F.BAD_ADDRESS),
    ("jwks_uri relative", {"jwks_uri": "/keys"}, F.BAD_ADDRESS),
    ("jwks_uri without scheme", {"jwks_uri": "//127.0.0.1/keys"}, F.BAD_ADDRESS),
    ("jwks_uri of a file", {"jwks_uri": "file:///etc/passwd"}, F.BAD_ADDRESS),
    ("jwks_uri with data", {"jwks_uri": "data:application/json,{}"}, F.BAD_ADDRESS),
    ("jwks_uri by ftp", {"jwks_uri": "ftp://127.0.0.1/keys"}, F.BAD_ADDRESS),
    ("jwks_uri in plain http", {"jwks_uri": "http://keys.example/keys"}, F.BAD_ADDRESS),
    ("jwks_uri of the instance metadata", {"jwks_uri": "http://169.254.169.254/metadata"}, F.BAD_ADDRESS),
    ("jwks_uri on a name that only looks like loopback", {"jwks_uri": "http://localhost.example/"}, F.BAD_ADDRESS),
    ("jwks_uri on all interfaces", {"jwks_uri": "http://0.0.0.0/keys"}, F.BAD_ADDRESS),
    ("jwks_uri with a user name", {"jwks_uri": "https://user@127.0.0.1/keys"}, F.BAD_ADDRESS),
    ("jwks_uri with a password", {"jwks_uri": "https://user:secret@127.0.0.1/keys"}, F.BAD_ADDRESS),
    ("jwks_uri with a fragment", {"jwks_uri": "https://127.0.0.1/keys#x"}, F.BAD_ADDRESS),
    ("jwks_uri with a broken address", {"jwks_uri": "https://[::1/keys"}, F.BAD_ADDRESS),
    ("jwks_uri with a broken port", {"jwks_uri": "https://127.0.0.1:99999/keys"}, F.BAD_ADDRESS),
    ("jwks_uri of the instance metadata by https", {"jwks_uri": "https://169.254.169.254/metadata"}, F.BAD_ADDRESS),
    ("jwks_uri of the instance metadata as a number", {"jwks_uri": "https://2852039166/metadata"}, F.BAD_ADDRESS),
    ("jwks_uri of the instance metadata in hexadecimal", {"jwks_uri": "https://0xa9.254.43518/"}, F.BAD_ADDRESS),
    ("jwks_uri of the instance metadata in octal", {"jwks_uri": "https://0251.0376.0251.0376/"}, F.BAD_ADDRESS),
    ("jwks_uri of the instance metadata with a dot behind", {"jwks_uri": "https://169.254.169.254./"}, F.BAD_ADDRESS),
    ("jwks_uri of the instance metadata in other digits", {"jwks_uri": "https://１６９.254.169.254/"}, F.BAD_ADDRESS),
    ("jwks_uri of the instance metadata, encoded", {"jwks_uri": "https://%31%36%39.254.169.254/"}, F.BAD_ADDRESS),
    ("jwks_uri of the instance metadata, mapped", {"jwks_uri": "https://[::ffff:169.254.169.254]/"}, F.BAD_ADDRESS),
    ("jwks_uri of a link-local neighbour", {"jwks_uri": "https://[fe80::1]/keys"}, F.BAD_ADDRESS),
    ("jwks_uri of a link-local neighbour with its zone", {"jwks_uri": "https://[fe80::1%25eth0]/"}, F.BAD_ADDRESS),
    ("jwks_uri of an inner address", {"jwks_uri": "https://10.0.0.1/keys"}, F.BAD_ADDRESS),
    ("jwks_uri of a public address", {"jwks_uri": "https://20.1.2.3/keys"}, F.BAD_ADDRESS),
    ("jwks_uri of this machine by another address", {"jwks_uri": "http://127.0.0.2/keys"}, F.BAD_ADDRESS),
    ("jwks_uri of this machine, shortened", {"jwks_uri": "https://127.1/keys"}, F.BAD_ADDRESS),
    ("jwks_uri of this machine by its other family", {"jwks_uri": "http://[::1]/keys"}, F.BAD_ADDRESS),
    ("jwks_uri with a newline", {"jwks_uri": "https://127.0.0.1/\nkeys"}, F.UNREACHABLE),
]


@pytest.mark.parametrize(("document", "failure"), [d[1:] for d in DOCUMENTS], ids=[d[0] for d in DOCUMENTS])
async def test_discovery_document_that_lies_is_refused(
    document: dict[str, Any], failure: Failure, site: Site, http: Http
) -> None:
    site.discovery = document
    assert await failure_of(http, site) is failure
    assert site.fetches == 0


@pytest.mark.parametrize(
    "change", [str.upper, lambda url: url + "/", lambda url: url.replace("127.0.0.1", "localhost")]
)
async def test_issuer_of_the_document_is_compared_character_by_character(
    change: Callable[[str], str], site: Site, http: Http
) -> None:
    site.discovery = {"issuer": change(site.issuer_url)}
    assert await failure_of(http, site) is F.ISSUER_MISMATCH


@pytest.mark.parametrize(
    ("issuer", "address"),
    [
        ("https://gitlab.com", "https://gitlab.com/.well-known/openid-configuration"),
        ("https://idp.example/a/b", "https://idp.example/a/b/.well-known/openid-configuration"),
        ("https://sts.example/tenant/", "https://sts.example/tenant/.well-known/openid-configuration"),
        ("https://sts.example/tenant//", "https://sts.example/tenant//.well-known/openid-configuration"),
    ],
)
def test_discovery_address_is_the_issuer_and_the_well_known_path(issuer: str, address: str) -> None:
    assert discovery_url(issuer) == address


async def test_issuer_with_a_slash_behind_works(keys: Keys, http: Http) -> None:
    with Site(jwks=[public_jwk(keys.p256, kid="k")], path="/tenant/") as site:
        assert await failure_of(http, site) is None
    assert site.requests[0] == "/tenant/.well-known/openid-configuration"


# --- Transport --------------------------------------------------------------------------------------------------------


async def test_plain_http_is_refused_outside_local_work(site: Site, http: Http) -> None:
    assert await failure_of(http, site, allow_loopback=False) is F.BAD_ADDRESS
    assert site.requests == []


async def test_plain_http_is_refused_for_other_hosts_even_in_local_work(site: Site, http: Http) -> None:
    assert await failure_of(http, site, url="http://idp.example") is F.BAD_ADDRESS


@pytest.fixture(scope="module")
def tls_site(keys: Keys, authority: TestAuthority) -> Iterator[Site]:
    """An issuer with a certificate of a private authority."""
    with Site(jwks=[public_jwk(keys.p256, kid="k")], tls_context=authority.server_context()) as site:
        site.discovery = {"issuer": f"{site.tls_url}/issuer", "jwks_uri": f"{site.tls_url}/keys"}
        yield site


async def test_issuer_with_a_private_authority_is_trusted_through_its_ca(
    tls_site: Site, authority_pem: str, http: Http
) -> None:
    url = f"{tls_site.tls_url}/issuer"
    assert await failure_of(http, tls_site, url=url, ca_pem=authority_pem, allow_loopback=False) is None


async def test_certificate_of_an_unknown_authority_is_refused(tls_site: Site, http: Http) -> None:
    assert await failure_of(http, tls_site, url=f"{tls_site.tls_url}/issuer") is F.UNREACHABLE


async def test_private_authority_counts_for_its_own_issuer_only(
    tls_site: Site, authority_pem: str, http: Http, tmp_path: Path
) -> None:
    another = TestAuthority(tmp_path / "another").ca_file.read_text()
    url = f"{tls_site.tls_url}/issuer"
    assert await failure_of(http, tls_site, url=url, ca_pem=authority_pem) is None
    assert await failure_of(http, tls_site, url=url, ca_pem=another) is F.UNREACHABLE


async def test_detail_for_the_log_names_the_host_and_no_path(site: Site, http: Http) -> None:
    site.discovery = {"jwks_uri": f"{site.url}/missing?secret=1"}
    with pytest.raises(KeysNotFetched) as refused:
        await fetch_key_set(http, issuer_at(site), now=0, allow_loopback=True)
    assert refused.value.detail == f"127.0.0.1:{site.port}: HTTP 404 for the key set"


@pytest.mark.parametrize(
    ("jwks_uri", "told"),
    [
        ("http://keys.example/k?token=hunter2", "is http://keys.example/k: it is http, not https"),
        ("https://user:hunter2@keys.example/k", "is https://keys.example/k: it has a user name"),
        ("https://keys.example:port/k", "is https://keys.example:port/k: its host or port cannot be read"),
        ("/keys", "is /keys: it is no whole URL"),
        (
            "https://169.254.169.254/k",
            "is https://169.254.169.254/k: it is a link-local address, where",
        ),
        ("https://10.0.0.4/k", "is https://10.0.0.4/k: it is an IP address other than the issuer's own host"),
    ],
)
async def test_bad_address_is_told_with_the_document_it_stands_in(
    jwks_uri: str, told: str, site: Site, http: Http
) -> None:
    site.discovery = {"jwks_uri": jwks_uri}
    with pytest.raises(KeysNotFetched) as refused:
        await fetch_key_set(http, issuer_at(site), now=0, allow_loopback=True)
    assert refused.value.detail.startswith(f"jwks_uri of the discovery document {told}")
    assert "hunter2" not in refused.value.detail


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda url: url + "/", "they differ by the slash at the end"),
        (str.upper, "they differ by upper and lower case"),
        (lambda url: url + " ", "they differ by white space"),
    ],
)
async def test_both_names_of_an_issuer_are_told_and_how_they_differ(
    change: Callable[[str], str], told: str, site: Site, http: Http
) -> None:
    named = change(site.issuer_url)
    site.discovery = {"issuer": named}
    with pytest.raises(KeysNotFetched) as refused:
        await fetch_key_set(http, issuer_at(site), now=0, allow_loopback=True)
    both = f"the discovery document names the issuer {named}, the policy {site.issuer_url}"
    assert refused.value.detail == f"{both}: {told}"


async def test_members_of_a_discovery_document_that_are_null_are_missing(site: Site, http: Http) -> None:
    site.discovery = {"token_endpoint": None, "claims_supported": None}
    assert await failure_of(http, site) is None
