"""Attacks on the HTTP surface: what anybody can send besides a token, and what must come back.

Each case names the attack and the answer it expects; what holds for every answer is checked in `assert_well_formed`.
"""

from __future__ import annotations

import gzip
import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import httpx
import pytest

from devstack import plain
from devstack.keys import OMIT, SigningKey, b64url
from devstack.stack import Stack
from tests.support.caller import GRANT_TYPE

pytestmark = pytest.mark.e2e

FORM: Final = "application/x-www-form-urlencoded"
PULL: Final = "repository:api/server:pull"
DESCRIPTION: Final = re.compile(r"[\x20\x21\x23-\x5B\x5D-\x7E]+")
"""RFC 6749 section 5.2: what `error_description` may hold."""


class Surface:
    """Speak to the service by hand. Tokens are GitLab's: they may be used again, so that each case starts alike."""

    def __init__(self, stack: Stack, client: httpx.Client) -> None:
        self.stack = stack
        self.client = client

    def token(self, **changes: Any) -> str:
        return self.stack.issuers.gitlab.token(**changes)

    def fields(self, **changes: Any) -> dict[str, str]:
        """Return the parameters of a good request, with changes."""
        honest = {"grant_type": GRANT_TYPE, "subject_token": self.token(), "scope": PULL}
        return {name: value for name, value in {**honest, **changes}.items() if value is not OMIT}

    def post(self, path: str = "/token", *, headers: Mapping[str, str] | None = None, **changes: Any) -> httpx.Response:
        """Send a request that is good but for the changes."""
        return self.send(urlencode(self.fields(**changes)).encode(), path=path, headers=headers)

    def send(
        self, body: bytes, *, path: str = "/token", headers: Mapping[str, str] | None = None, method: str = "POST"
    ) -> httpx.Response:
        """Send these bytes."""
        chosen = {"Content-Type": FORM, **(headers or {})}
        return self.client.request(method, path, content=body, headers={k: v for k, v in chosen.items() if v})

    def with_more(self, more: str, path: str = "/token") -> httpx.Response:
        """Send a good request with something appended to the body as it is."""
        return self.send(f"{urlencode(self.fields())}&{more}".encode(), path=path)


@pytest.fixture(scope="module")
def surface(stack: Stack) -> Iterator[Surface]:
    with plain.Client(base_url=stack.url) as client:
        yield Surface(stack, client)


def assert_well_formed(answer: httpx.Response) -> None:
    """Check what holds for every answer."""
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Pragma"] == "no-cache"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", answer.headers["X-Request-Id"])
    if answer.request.method == "HEAD":
        assert answer.content == b""
        return
    assert answer.headers["Content-Type"].split(";")[0] == "application/json"
    body = answer.json()
    if answer.status_code >= 400 and "reason" in body:
        assert body["request_id"] == answer.headers["X-Request-Id"]
        assert DESCRIPTION.fullmatch(body["error_description"])
        assert "eyJ" not in answer.text, "it quotes a token"


@dataclass(frozen=True)
class Attack:
    """One thing that anybody might send, and the answer to it."""

    name: str
    status: int
    reason: str
    send: Callable[[Surface, str], httpx.Response]

    def __str__(self) -> str:
        return self.name


def parameters(name: str, reason: str, /, status: int = 400, **changes: Any) -> Attack:
    return Attack(name, status, reason, lambda s, path: s.post(path, **changes))


def body(name: str, reason: str, content: bytes, status: int = 400) -> Attack:
    return Attack(name, status, reason, lambda s, path: s.send(content, path=path))


def appended(name: str, reason: str, more: str, status: int = 400) -> Attack:
    return Attack(name, status, reason, lambda s, path: s.with_more(more, path))


def headers(name: str, reason: str, status: int = 400, /, **more: str) -> Attack:
    named = {key.replace("_", "-"): value for key, value in more.items()}
    return Attack(name, status, reason, lambda s, path: s.post(path, headers=named))


MEDIA_TYPE = [
    headers(f"media type {value or 'missing'}", "unsupported_media_type", 415, Content_Type=value)
    for value in (
        "",
        "application/json",
        "multipart/form-data; boundary=x",
        "text/plain",
        "application/x-www-form-urlencoded; charset=utf-16",
        "application/x-www-form-urlencoded; charset=utf-7",
        "application/x-www-form-urlencoded; charset=iso-8859-1",
        "application/x-www-form-urlencoded, application/json",
        "application/x-www-form-urlencodedx",
        "application/jwt",
    )
]

FORM_BODY = [
    body("no body", "missing_parameter", b""),
    body("only separators", "missing_parameter", b"&&&&"),
    body("a JSON object", "missing_parameter", json.dumps({"grant_type": GRANT_TYPE}).encode()),
    body("a broken percent escape", "malformed_request", b"grant_type=%zz"),
    body("a percent sign at the end", "malformed_request", b"grant_type=a%"),
    body("bytes that are not UTF-8", "malformed_request", b"grant_type=\xff\xfe"),
    body("escapes that are not UTF-8", "malformed_request", b"grant_type=%C3%28"),
    body("overlong UTF-8", "malformed_request", b"grant_type=%C0%AF"),
    body("an escaped surrogate", "malformed_request", b"grant_type=%ED%A0%80"),
    body("101 parameters", "malformed_request", b"&".join(b"p%d=" % n for n in range(101))),
    body("10,000 parameters", "malformed_request", b"&".join(b"p%d=" % n for n in range(8000))),
    body("a gzip stream", "malformed_request", gzip.compress(b"grant_type=x" * 100)),
    body("64 KiB and one byte", "body_too_large", b"a=" + b"x" * (64 * 1024 - 1), 413),
    body("half a megabyte", "body_too_large", b"x" * 500_000, 413),
    Attack(
        "a compressed body that says so",
        400,
        "malformed_request",
        lambda s, path: s.send(gzip.compress(b"x" * 9), path=path, headers={"Content-Encoding": "gzip"}),
    ),
    *[
        appended(f"{name} twice", "duplicate_parameter", f"{name}=x")
        for name in ("grant_type", "subject_token", "scope")
    ],
    appended("scope twice, alike", "duplicate_parameter", f"scope={quote(PULL)}"),
    appended("scope twice, once escaped", "duplicate_parameter", "%73cope=repository%3Aweb%2Fapi%3Apush"),
    appended("scope twice, once empty", "duplicate_parameter", "scope="),
    appended("an unknown parameter twice", "duplicate_parameter", "x=1&x=2"),
    appended("audience twice", "multiple_registries", "audience=prod&audience=prod"),
    appended("resource twice", "multiple_registries", "resource=https%3A%2F%2Fa&resource=https%3A%2F%2Fb"),
    appended("delegation", "malformed_request", "actor_token=x"),
    appended("delegation by type", "malformed_request", "actor_token_type=jwt"),
]  # fmt: skip

GRANT = [
    parameters("no grant type", "missing_parameter", grant_type=OMIT),
    parameters("an empty grant type", "missing_parameter", grant_type=""),
    *[
        parameters(f"grant type {value!r}", "unsupported_grant_type", grant_type=value)
        for value in (
            "password",
            "client_credentials",
            "refresh_token",
            "authorization_code",
            GRANT_TYPE + " ",
            GRANT_TYPE.upper(),
            GRANT_TYPE + "\0",
            "urn:ietf:params:oauth:grant-type:jwt-bearer",
        )
    ],
    *[
        parameters(f"subject token type {value}", "unsupported_token_type", subject_token_type=value)
        for value in (
            "urn:ietf:params:oauth:token-type:saml2",
            "urn:ietf:params:oauth:token-type:access_token",
            "urn:ietf:params:oauth:token-type:refresh_token",
            "jwt",
        )
    ],
    *[
        parameters(f"requested token type {value}", "unsupported_token_type", requested_token_type=value)
        for value in (
            "urn:ietf:params:oauth:token-type:refresh_token",
            "urn:ietf:params:oauth:token-type:id_token",
            "urn:ietf:params:oauth:token-type:jwt",
        )
    ],
]

SUBJECT = [
    parameters("no token", "missing_parameter", subject_token=OMIT),
    parameters("an empty token", "missing_parameter", subject_token=""),
    headers("two different tokens", "conflicting_tokens", Authorization="Bearer other"),
    Attack(
        "basic authentication only",
        400,
        "missing_parameter",
        lambda s, path: s.post(path, subject_token=OMIT, headers={"Authorization": "Basic dTpw"}),
    ),
    Attack(
        "a scheme without credentials",
        400,
        "missing_parameter",
        lambda s, path: s.post(path, subject_token=OMIT, headers={"Authorization": "Bearer"}),
    ),
    parameters("a token of 16 KiB and one byte", "token_too_large", subject_token="a" * 16_385),
    parameters("a token of dots", "token_malformed", subject_token="." * 16_384),
    parameters("garbage", "token_malformed", subject_token="not a token"),
    parameters("markup", "token_malformed", subject_token="<script>alert(1)</script>"),
    parameters("CR and LF", "token_malformed", subject_token="a\r\nX-Injected: 1\r\n\r\n"),
    parameters("letters outside ASCII", "token_malformed", subject_token="é.é.é"),
]

QUERY = [
    Attack("a query string", 400, "malformed_request", lambda s, path: s.post(f"{path}?x=1")),
    Attack(
        "the token in the URL", 400, "malformed_request", lambda s, path: s.post(f"{path}?subject_token={s.token()}")
    ),
    Attack(
        "a parameter in the URL", 400, "malformed_request", lambda s, path: s.post(f"{path}?scope={PULL}", scope=OMIT)
    ),
]

NAME = "repository:api/server"
SCOPE = [
    *[
        parameters(f"scope {value!r}", "wildcard_scope", scope=value)
        for value in (
            "repository:*:pull",
            "repository:**:pull",
            "repository:api/*:pull",
            f"{NAME}:*",
            f"{NAME}:pull,*",
            f"{PULL} repository:*:push",
            "registry:*:*",
            "registry:catalog:* repository:*:*",
            "*",
            "registry:catalog:**",
        )
    ],
    *[
        parameters(f"scope {value!r}", "malformed_scope", scope=value)
        for value in (
            " ",
            f" {PULL}",
            f"{PULL} ",
            f"{PULL}  {PULL}",
            f"{PULL}\trepository:web/api:push",
            f"{PULL}\nrepository:web/api:push",
            f"{PULL}\u00a0repository:web/api:push",
            f"{PULL}\0",
            f"{PULL}:push",
            f"{NAME}:",
            f"{NAME}:,pull",
            f"{NAME}:pull,",
            f"{NAME}:pull push",
            f"{NAME}:PULL",
            f"{NAME}:admin",
            f"{NAME}:metadata/read",
            f"{NAME}:content/read",
            NAME,
            "repository::pull",
            "repository:/:pull",
            "repository:/api:pull",
            "repository:api/:pull",
            "repository:api//server:pull",
            "repository:api/../server:pull",
            "repository:./api:pull",
            "repository:API/server:pull",
            "repository:api/sеrver:pull",
            "repository:api/server@sha256:pull",
            "repository:api%2Fserver:pull",
            "repository:api\\server:pull",
            f"repository:{'a' * 256}:pull",
            "repository(plugin):api/server:pull",
            "artifact-repository:api/server:pull",
            "registry:catalog:pull",
            "registry:catalog",
            "Repository:api/server:pull",
        )
    ],
    parameters("33 scopes of one repository", "too_many_scopes", scope=" ".join([PULL] * 33)),
    parameters("129 scopes", "too_many_scopes", scope=" ".join(f"repository:a{n}:pull" for n in range(129))),
]


def login_server(name: str, pattern: str) -> Attack:
    def send(s: Surface, path: str) -> httpx.Response:
        return s.post(path, audience=pattern.format(s.stack.registry.login_server))

    return Attack(f"login server that {name}", 400, "unknown_registry", send)


TARGET = [
    *[
        parameters(f"registry {value!r}", "unknown_registry", audience=value)
        for value in ("evil.azurecr.io", "PROD", "prod ", "*", "prod.azurecr.io", "https://vend.contoso.example", "\0")
    ],
    login_server("continues in another domain", "{}.evil.example"),
    login_server("is the user of another host", "{}@evil.example"),
    login_server("has a path", "{}/v2/api"),
    login_server("has a scheme", "https://{}"),
    *[
        parameters(f"resource {value!r}", "unknown_registry", resource=value)
        for value in ("https://evil.azurecr.io", "file:///etc/passwd", "prod", "https://", "//prod", "javascript:1")
    ],
    Attack(
        "resource that continues ours",
        400,
        "unknown_registry",
        lambda s, path: s.post(path, resource=f"https://{s.stack.registry.login_server}/v2/api"),
    ),
]  # fmt: skip

ATTACKS = [*MEDIA_TYPE, *FORM_BODY, *GRANT, *SUBJECT, *QUERY, *SCOPE, *TARGET]


@pytest.mark.parametrize("path", ["/token", "/explain"])
@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_attack_meets_its_answer(attack: Attack, path: str, surface: Surface) -> None:
    answer = attack.send(surface, path)
    assert_well_formed(answer)
    assert (answer.status_code, answer.json()["reason"]) == (attack.status, attack.reason)


def test_attacks_have_names_of_their_own() -> None:
    names = [attack.name for attack in ATTACKS]
    assert len(names) == len(set(names))


@dataclass(frozen=True)
class Variant:
    """A request that looks odd and is fine."""

    name: str
    changes: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


VARIANTS = [
    Variant("plain"),
    Variant("empty parameters", {"audience": "", "resource": "", "actor_token": "", "subject_token_type": ""}),
    Variant("unknown parameters", {"x": "1", "client_id": "me"}),
    Variant("charset in upper case", headers={"Content-Type": f"{FORM}; charset=UTF-8"}),
    Variant("media type in upper case", headers={"Content-Type": FORM.upper()}),
    Variant("all types spelt out", {
        "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
        "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
    }),
    Variant("override headers", headers={"X-HTTP-Method-Override": "DELETE", "X-Original-URL": "/admin"}),
]  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_odd_but_good_request_is_served(variant: Variant, surface: Surface) -> None:
    answer = surface.post(headers=variant.headers, **variant.changes)
    assert_well_formed(answer)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_token_may_come_in_the_header(scheme: str, surface: Surface) -> None:
    answer = surface.post(subject_token=OMIT, headers={"Authorization": f"{scheme} {surface.token()}"})
    assert answer.status_code == 200, answer.text


def test_same_token_in_both_places_is_fine(surface: Surface) -> None:
    token = surface.token()
    assert surface.post(subject_token=token, headers={"Authorization": f"Bearer {token}"}).status_code == 200


def test_bare_question_mark_is_no_query(surface: Surface) -> None:
    assert surface.post("/token?").status_code == 200


# --- Methods and paths ------------------------------------------------------------------------------------------------

READABLE = ["/.well-known/oauth-authorization-server", "/openapi.json", "/healthz", "/readyz"]


@pytest.mark.parametrize("path", ["/token", "/explain"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_exchange_is_a_post(method: str, path: str, surface: Surface) -> None:
    answer = surface.send(b"", path=path, method=method)
    assert_well_formed(answer)
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "POST"


@pytest.mark.parametrize("path", READABLE)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_documents_are_only_read(method: str, path: str, surface: Surface) -> None:
    answer = surface.send(b"", path=path, method=method)
    assert_well_formed(answer)
    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD"}


@pytest.mark.parametrize("path", READABLE)
def test_head_is_get_without_a_body(path: str, surface: Surface) -> None:
    head, get = surface.client.head(path), surface.client.get(path)
    assert_well_formed(head)
    assert_well_formed(get)
    assert head.status_code == get.status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/index.html",
        "/favicon.ico",
        "/robots.txt",
        "/.git/config",
        "/.env",
        "/policy.yaml",
        "/host.json",
        "/local.settings.json",
        "/api/token",
        "/Token",
        "/TOKEN",
        "/token/",
        "/token/x",
        "//token",
        "/token;x=1",
        "/token.json",
        "/token%20",
        "/explain/",
        "/healthz/",
        "/.well-known/openid-configuration",
        "/.well-known/",
        "/oauth2/token",
        "/oauth2/exchange",
        "/v2/",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc/passwd",
        "/é",
        "/" + "a" * 2000,
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_paths_are_not_found(method: str, path: str, surface: Surface) -> None:
    answer = surface.send(b"", path=path, method=method)
    assert_well_formed(answer)
    assert (answer.status_code, answer.json()["reason"]) == (404, "not_found")


# --- Headers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_id", ["a", "A-Z.0_9", "x" * 64])
def test_usable_request_id_is_kept(request_id: str, surface: Surface) -> None:
    answer = surface.client.get("/healthz", headers={"X-Request-Id": request_id})
    assert answer.headers["X-Request-Id"] == request_id


@pytest.mark.parametrize("request_id", ["", "x" * 65, "a b", "<b>", "a;b", "a\tb", "a,b", "ab\u00e9", "../x"])
def test_unusable_request_id_is_replaced(request_id: str, surface: Surface) -> None:
    answer = surface.client.get("/healthz", headers=[(b"X-Request-Id", request_id.encode())])
    assert_well_formed(answer)
    assert answer.headers["X-Request-Id"] != request_id


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"X-Forwarded-Host": "evil.example"},
        {"X-Forwarded-Proto": "gopher"},
        {"Forwarded": "host=evil.example"},
        {"X-Original-Host": "evil.example"},
    ],
    ids=lambda headers: next(iter(headers)),
)
def test_metadata_never_repeats_what_a_header_says(headers: dict[str, str], surface: Surface) -> None:
    answer = surface.client.get("/.well-known/oauth-authorization-server", headers=headers)
    assert_well_formed(answer)
    assert "evil.example" not in answer.text
    assert "gopher" not in answer.text


def raw(stack: Stack, request: bytes) -> bytes:
    """Send bytes that an HTTP client would refuse to send, and read what comes back."""
    where = urlsplit(stack.url)
    with socket.create_connection((where.hostname, where.port), timeout=30) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


def test_two_authorization_headers_never_open_the_door(stack: Stack, surface: Surface) -> None:
    """Whichever of them a server keeps, the two together are no good token."""
    content = urlencode(surface.fields(subject_token=OMIT))
    answer = raw(
        stack,
        (
            f"POST /token HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {FORM}\r\n"
            f"Authorization: Bearer garbage\r\nAuthorization: Bearer {surface.token()}x\r\n"
            f"Content-Length: {len(content)}\r\n\r\n{content}"
        ).encode(),
    )
    status = int(answer.split(b" ", 2)[1])
    assert 400 <= status < 500
    assert b"access_token" not in answer


# --- Tokens over HTTP -------------------------------------------------------------------------------------------------


def unsigned(s: Surface) -> str:
    text = b64url(b'{"alg":"none"}')
    return f"{text}.{s.token().split('.')[1]}."


TOKENS: list[tuple[str, Callable[[Surface], str]]] = [
    ("token_malformed", lambda _: "a.b.c"),
    ("token_too_large", lambda _: "a" * 16_385),
    ("issuer_unknown", lambda s: s.stack.issuers.other.token()),
    ("algorithm_not_allowed", unsigned),
    ("key_unknown", lambda s: s.token(headers={"kid": OMIT})),
    ("signature_invalid", lambda s: s.token()[:-6] + "AAAAAA"),
    ("audience_mismatch", lambda s: s.token(audience="https://other.example")),
    ("token_expired", lambda s: s.token(at=1_000_000_000)),
    ("token_not_yet_valid", lambda s: s.token(at=4_000_000_000)),
    ("token_lifetime_too_long", lambda s: s.token(exp=4_000_000_000)),
    ("claim_missing", lambda s: s.token(claims={"exp": OMIT})),
    ("claim_invalid", lambda s: s.token(claims={"exp": "tomorrow"})),
]


@pytest.mark.parametrize("path", ["/token", "/explain"])
@pytest.mark.parametrize(("reason", "make"), TOKENS, ids=[token[0] for token in TOKENS])
def test_bad_token_is_400_in_the_body_and_401_in_the_header(
    reason: str, make: Callable[[Surface], str], path: str, surface: Surface
) -> None:
    token = make(surface)

    in_body = surface.post(path, subject_token=token)
    in_header = surface.post(path, subject_token=OMIT, headers={"Authorization": f"Bearer {token}"})

    for answer in (in_body, in_header):
        assert_well_formed(answer)
        assert answer.json()["reason"] == reason
        assert answer.json()["error"] == "invalid_request"
    assert in_body.status_code == 400
    assert "WWW-Authenticate" not in in_body.headers
    assert in_header.status_code == 401
    challenge = in_header.headers["WWW-Authenticate"]
    assert challenge == f'Bearer error="invalid_token", error_description="{in_header.json()["error_description"]}"'


def test_unknown_issuer_is_never_called(surface: Surface) -> None:
    """CVE-2026-22772: a token must not choose whom the service talks to."""
    other = surface.stack.issuers.other
    before = other.board.requests.total()
    for headers in ({}, {"jku": f"{other.url}/jwks.json"}, {"x5u": f"{other.url}/jwks.json"}):
        assert surface.post(subject_token=other.token(headers=headers)).json()["reason"] == "issuer_unknown"
    own_key = SigningKey.generate("RS256", kid=surface.stack.issuers.gitlab.key.kid)
    steered = surface.token(key=own_key, headers={"jku": f"{other.url}/jwks.json"})
    assert surface.post(subject_token=steered).json()["reason"] == "signature_invalid"
    assert other.board.requests.total() == before


def test_hostile_claims_do_not_reach_the_answer_as_they_are(surface: Surface) -> None:
    hostile = '"><script>\r\nSet-Cookie: a=b\\\u202e' + "x" * 1000
    for changes in ({"audience": hostile}, {"project_path": hostile, "project_id": "1"}):
        answer = surface.post(subject_token=surface.token(**changes))
        assert_well_formed(answer)
        assert "Set-Cookie" not in answer.headers
        assert len(answer.json()["error_description"]) < 600


# --- The description of it all ----------------------------------------------------------------------------------------

CONFIGURATION = """\
[checks.negative_data_rejection]
expected-statuses = [400, 401, 405, 413, 415, 429]
"""


@pytest.mark.parametrize("with_token", [False, True], ids=["anonymous", "with a good token"])
def test_service_is_as_its_openapi_document_says(with_token: bool, surface: Surface, tmp_path: Path) -> None:
    """schemathesis: no 5xx, no undocumented status, header, media type or body.

    A made-up token is good as far as a schema can tell, so `positive_data_acceptance` has no place here. For a longer
    search raise --max-examples and drop --seed.
    """
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    url = surface.stack.url
    command = [str(Path(sys.executable).with_name("st")), "run", f"{url}/openapi.json", "--url", url]
    checks = ["--checks", "all", "--exclude-checks", "positive_data_acceptance"]
    options = ["--max-examples", "60", "--continue-on-failure", "--seed", "8693"]
    token = ["--header", f"Authorization: Bearer {surface.token()}"] if with_token else []
    run = subprocess.run(
        [*command, *checks, *options, *token], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"Tested: \d", run.stdout)
