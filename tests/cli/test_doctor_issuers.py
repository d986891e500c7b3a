"""The doctor names the cause in each of these broken issuers, and its advice, followed to the letter, fixes them."""

from __future__ import annotations

import json
import ssl
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from devstack.keys import OMIT, b64url
from devstack.registry.tokens import Rights
from devstack.stack import Upstreams
from tests.oidc.forge import ROCA_MODULUS, Keys, Site, public_jwk
from tests.trust.authorities import DAY, Party, make, server
from vending.cli.main import main
from vending.settings import SET_BY_THE_PLATFORM

DISCOVERY = "/issuer/.well-known/openid-configuration"
KEYS = Keys()
ROOT = make("root")
MIDDLE = make("middle", ROOT)
PAGE = b"<!doctype html><title>Sign in</title>"
WEB_PAGE = "the body is not JSON: it begins like a web page or XML (Content-Type text/html)"


@dataclass
class Patient:
    """An issuer, what its server sends as certificate, and what the policy says of it."""

    site: Site
    tls: ssl.SSLContext
    entry: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.entry = {"preset": "generic", "issuer": self.site.issuer_url, "identity_claims": ["sub"]}
        self.publish(public_jwk(KEYS.rsa, kid="good"))

    def write(self, **members: Any) -> None:
        """Change the policy's entry of the issuer."""
        self.entry.update(members)

    def publish(self, *jwks: Any) -> None:
        """Change the published key set."""
        self.site.jwks = list(jwks)

    def send(self, *chain: Party) -> None:
        """Change the server's certificate; the next connection gets it."""
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory, "server.pem")
            file.write_text("".join(party.pem for party in chain) + chain[0].key_pem)
            self.tls.load_cert_chain(file)

    def over_tls(self, *chain: Party, trusted: Party | None = ROOT) -> None:
        """Let the issuer go by its https name, with this chain, and the policy trust one authority."""
        self.send(*chain)
        self.site.discovery = {"issuer": f"{self.site.tls_url}/issuer", "jwks_uri": f"{self.site.tls_url}/keys"}
        self.write(issuer=f"{self.site.tls_url}/issuer", **({"ca": trusted.pem} if trusted else {}))

    def without_tls(self) -> None:
        """Let the policy name the plain port as an https one."""
        self.over_tls(good(), MIDDLE)
        self.write(issuer=f"https://localhost:{self.site.port}/issuer")

    def answers(self, path: str, body: bytes, kind: str = "application/json", status: int = 200, **more: Any) -> None:
        """Answer this instead of what is asked for."""

        async def handle(_: web.Request) -> web.Response:
            return web.Response(status=status, body=body, headers={"Content-Type": kind, **more})

        self.site.misbehave[path] = handle

    def hangs_up(self) -> None:
        """Close every connection without an answer."""

        async def handle(request: web.Request) -> web.Response:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()

        self.site.misbehave[DISCOVERY] = handle

    def recovers(self) -> None:
        """Answer honestly again, with a good key."""
        self.site.misbehave.clear()
        self.site.discovery.clear()
        self.publish(public_jwk(KEYS.rsa, kid="good"))

    def becomes_azure_devops(self) -> None:
        """Be an issuer whose tokens have one audience; its keys are in the policy, so nobody is called."""
        self.entry = {
            "preset": "azure-devops",
            "issuer": "https://vstoken.dev.azure.com/a1b2c3d4-0001-4000-8000-00000000000a",
            "jwks": {"keys": [public_jwk(KEYS.rsa, kid="good")]},
        }


Change: TypeAlias = Callable[[Patient], object]


@dataclass(frozen=True)
class Case:
    """What is broken, what the doctor says of it and advises, and what the advice comes to."""

    name: str
    breaks: Change
    message: str
    advice: str
    fixes: Change = Patient.recovers

    def __str__(self) -> str:
        return self.name


def good() -> Party:
    return server(MIDDLE)


def tls(name: str, message: str, advice: str, bad: Callable[[], Party]) -> Case:
    return Case(
        name, lambda p: p.over_tls(bad()), f"localhost:{{tls}}: {message}", advice, lambda p: p.send(good(), MIDDLE)
    )


def lies(name: str, message: str, advice: str, **document: Any) -> Case:
    return Case(name, lambda p: p.site.discovery.update(document), message, advice)


def publishes(name: str, message: str, advice: str, *jwks: Any) -> Case:
    return Case(name, lambda p: p.publish(*jwks), message, advice)


def answers(name: str, path: str, message: str, advice: str, body: bytes, *how: Any, **more: Any) -> Case:
    return Case(name, lambda p: p.answers(path, body, *how, **more), message, advice)


READ_DISCOVERY = "Check the issuer's URL: its discovery document must be there, as JSON in UTF-8"
READ_KEYS = "What jwks_uri points to must be a JWK set, as JSON in UTF-8"
ADDRESS = "The issuer must publish its keys at an https URL with a host name"
PUBLISH = "The issuer must publish a key with a kid: RSA of 2048 bits or more"
EXACTLY = "Write the issuer exactly as its discovery document and its tokens have it"
LIST = "List the algorithm that the issuer signs with under algorithms"
BY = "jwks_uri of the discovery document is"

CONNECTIONS = [
    tls(
        "an expired certificate",
        "its certificate, or one of its authority's, has expired",
        "Renew the expired certificate",
        lambda: server(ROOT, begins=-3 * DAY, ends=-DAY),
    ),
    tls(
        "a certificate of tomorrow",
        "its certificate, or one of its authority's, is not valid yet",
        "Check the clock of this machine and that of whoever issued the certificate",
        lambda: server(ROOT, begins=DAY, ends=2 * DAY),
    ),
    tls(
        "a certificate for another name",
        "its certificate is for another name",
        "issue one for this name",
        lambda: server(ROOT, sans=[x509.DNSName("other.example")]),
    ),
    tls(
        "a weak key in the certificate",
        "a certificate of its chain has a key or a signature that is too weak",
        "Issue certificates with RSA keys of 2,048 bits or more",
        lambda: server(ROOT, key=rsa.generate_private_key(65537, 1024)),
    ),
    tls(
        "a certificate for clients",
        "a certificate of its chain may not be used as it is used there",
        "Issue the certificate anew: for servers",
        lambda: server(ROOT, purposes=[ExtendedKeyUsageOID.CLIENT_AUTH]),
    ),
    tls(
        "a server that keeps its intermediate to itself",
        "its certificate is of an authority that is not trusted, or comes without its chain",
        "Let the server send its intermediate certificates",
        lambda: server(MIDDLE),
    ),
    Case(
        "a private authority that the policy does not name",
        lambda p: p.over_tls(good(), MIDDLE, trusted=None),
        "its certificate is of an authority that is not trusted",
        "write that one's certificate at the issuer with ca or ca_file",
        lambda p: p.write(ca=ROOT.pem),
    ),
    Case(
        "a port without TLS",
        Patient.without_tls,
        "it speaks no TLS on this port",
        "Check the port",
        lambda p: p.write(issuer=f"{p.site.tls_url}/issuer"),
    ),
    Case(
        "a port where nobody listens",
        lambda p: p.write(issuer="http://127.0.0.1:9/issuer"),
        "127.0.0.1:9: it refuses connections on this port",
        "Check host and port, and that the server runs",
        lambda p: p.write(issuer=p.site.issuer_url),
    ),
    Case("a server that hangs up", Patient.hangs_up, "it closed the connection", "Something between hangs up"),
]

DOCUMENTS = [
    answers(
        "a login page in place of the discovery document",
        DISCOVERY,
        f"in place of the discovery document, {WEB_PAGE}",
        READ_DISCOVERY,
        PAGE,
        "text/html",
    ),
    answers(
        "a discovery document in UTF-16",
        DISCOVERY,
        "in place of the discovery document, the body is UTF-16, not UTF-8",
        READ_DISCOVERY,
        '{"issuer": "x"}'.encode("utf-16"),
    ),
    answers(
        "an empty discovery document of another type",
        DISCOVERY,
        "in place of the discovery document, the body is empty (Content-Type text/plain)",
        READ_DISCOVERY,
        b"",
        "text/plain",
    ),
    answers(
        "a redirect to a login",
        DISCOVERY,
        "redirect to another host",
        "Redirects to another host are not followed",
        b"",
        "text/html",
        302,
        Location="https://login.example/",
    ),
    answers(
        "a discovery document that needs a login",
        DISCOVERY,
        "HTTP 401 for the discovery document",
        "where a document needs a login, let everybody read it",
        b"{}",
        "application/json",
        401,
    ),
    answers(
        "a discovery document that is too large",
        DISCOVERY,
        "more than 262144 bytes",
        "check the issuer's URL",
        b" " * 300_000,
    ),
    Case(
        "an issuer without its path",
        lambda p: p.write(issuer=p.site.url),
        "HTTP 404 for the discovery document",
        "Check the issuer's URL",
        lambda p: p.write(issuer=p.site.issuer_url),
    ),
    Case(
        "an issuer with a slash too many",
        lambda p: p.write(issuer=p.site.issuer_url + "/"),
        "names the issuer {issuer}, the policy {issuer}/: they differ by the slash at the end",
        EXACTLY,
        lambda p: p.write(issuer=p.site.issuer_url),
    ),
    lies(
        "a document of another issuer", "names the issuer https://evil.example", EXACTLY, issuer="https://evil.example"
    ),
    lies("no jwks_uri", "the discovery document has no jwks_uri", READ_DISCOVERY, jwks_uri=OMIT),
    lies("a jwks_uri that is null", "the discovery document has no jwks_uri", READ_DISCOVERY, jwks_uri=None),
    lies(
        "a jwks_uri with http",
        f"{BY} http://a.example/k: it is http, not https",
        ADDRESS,
        jwks_uri="http://a.example/k",
    ),
    lies(
        "a jwks_uri whose port is none",
        f"{BY} https://a.example:port/k: its host or port cannot be read",
        ADDRESS,
        jwks_uri="https://a.example:port/k",
    ),
    lies(
        "a jwks_uri at an inner address",
        f"{BY} https://10.0.0.4/k: it is an IP address other than the issuer's own host",
        ADDRESS,
        jwks_uri="https://10.0.0.4/k",
    ),
    lies("a jwks_uri without a host", f"{BY} /keys: it is no whole URL", ADDRESS, jwks_uri="/keys"),
]

KEY_SETS = [
    answers(
        "a login page in place of the keys",
        "/keys",
        f"in place of the key set, {WEB_PAGE}",
        READ_KEYS,
        PAGE,
        "text/html",
    ),
    answers(
        "a key in place of a key set",
        "/keys",
        "the document that jwks_uri names is no key set: it has no list named keys",
        READ_KEYS,
        json.dumps(public_jwk(KEYS.rsa, kid="good")).encode(),
    ),
    publishes("no keys", "the key set is empty", PUBLISH),
    publishes("keys that are too small", "0 usable keys published", PUBLISH, public_jwk(KEYS.small_rsa, kid="s")),
    publishes("keys without ids", "0 usable keys published", PUBLISH, public_jwk(KEYS.rsa)),
    publishes(
        "keys that can be factored",
        "0 usable keys published",
        PUBLISH,
        public_jwk(KEYS.rsa, kid="r", n=b64url(ROCA_MODULUS.to_bytes(256, "big"))),
    ),
    publishes(
        "a private key beside a good one",
        "keys[1] (kid p): the private key is published with it; replace this key pair",
        "switch the issuer off (enabled: false) until the key pair is replaced",
        public_jwk(KEYS.rsa, kid="good"),
        public_jwk(KEYS.other_rsa, kid="p", d=b64url(b"\x01" * 256)),
    ),
    Case(
        "keys for another algorithm",
        lambda p: p.publish(public_jwk(KEYS.p256, kid="e")),
        "1 usable key published, and none is for RS256, as the policy demands, but for ES256",
        LIST,
        lambda p: p.write(algorithms=["ES256"]),
    ),
    Case(
        "an audience that the platform does not give",
        Patient.becomes_azure_devops,
        "so none has https://vend.contoso.example, as the policy demands",
        "Write audience at this issuer as its tokens have it, for example api://AzureADTokenExchange",
        lambda p: p.write(audience="api://AzureADTokenExchange"),
    ),
]

WARNINGS = [
    publishes(
        "a small key beside a good one",
        "keys[1] (kid next): RSA key of 1024 bits, not 2048 to 8192",
        "let the issuer publish one that can be used in its place",
        public_jwk(KEYS.rsa, kid="good"),
        public_jwk(KEYS.small_rsa, kid="next"),
    ),
    Case(
        "a key beside a good one that no listed algorithm fits",
        lambda p: p.publish(public_jwk(KEYS.rsa, kid="good"), public_jwk(KEYS.p256, kid="next")),
        "kid next is for ES256, and the policy lists RS256: tokens of this key are refused",
        LIST,
        lambda p: p.write(algorithms=["RS256", "ES256"]),
    ),
]


@pytest.fixture(scope="module")
def own() -> Iterator[Upstreams]:
    with Upstreams(docker_registry=False) as started:
        assert started.identity.system is not None
        started.registry.allow(started.identity.system.object_id, Rights([("*", frozenset({"pull"}))]))
        yield started


@pytest.fixture
def patient() -> Iterator[Patient]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT@SECLEVEL=0")  # Servers may be weak; it is the service that refuses.
    with Site(tls_context=context) as site:
        yield Patient(site, context)


class Doctor:
    """Call the doctor to a policy with one issuer."""

    def __init__(
        self, own: Upstreams, directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.login_server = own.registry.login_server
        self.path = directory / "policy.json"
        self.capsys = capsys
        settings = {
            "VENDING_POLICY": str(self.path),
            "VENDING_PUBLIC_URL": "https://vend.contoso.example",
            "VENDING_ALLOW_LOOPBACK": "1",
            "VENDING_DEADLINE_SECONDS": "4",
            **own.identity.env,
        }
        for name in SET_BY_THE_PLATFORM:
            monkeypatch.delenv(name, raising=False)
        for name, value in settings.items():
            monkeypatch.setenv(name, value)

    def findings(self, patient: Patient, outcome: str) -> list[tuple[str, str]]:
        """Examine; return message and advice of what is found of the issuer with this outcome."""
        when = {"sub": "x"} if patient.entry["preset"] == "generic" else {"prj_id": "x"}
        grant = {"registry": "prod", "repositories": ["web/api"], "actions": ["pull"]}
        policy = {
            "version": 1,
            "audience": "https://vend.contoso.example",
            "registries": {"prod": {"login_server": self.login_server}},
            "issuers": {"ci": patient.entry},
            "rules": [{"name": "web", "issuer": "ci", "when": when, "grant": [grant]}],
        }
        self.path.write_text(json.dumps(policy))
        main(["doctor", "--format", "json"])
        report = json.loads(self.capsys.readouterr().out)
        assert report["findings"], report
        assert report["problems"] == []
        found = [finding for finding in report["findings"] if finding["check"] == "issuer"]
        assert {finding["name"] for finding in found} == {"ci"}, report
        return [(finding["message"], finding["advice"]) for finding in found if finding["outcome"] == outcome]


@pytest.fixture
def doctor(
    own: Upstreams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Doctor:
    return Doctor(own, tmp_path, monkeypatch, capsys)


def treat(doctor: Doctor, patient: Patient, case: Case, outcome: str) -> None:
    """Break an issuer, hear the doctor, follow the advice; then there is nothing left to say."""
    case.breaks(patient)
    told = case.message.replace("{tls}", str(patient.site.tls_port)).replace("{issuer}", patient.site.issuer_url)
    found = doctor.findings(patient, outcome)
    assert any(told in message and case.advice in advice for message, advice in found), found
    case.fixes(patient)
    assert doctor.findings(patient, outcome) == []


@pytest.mark.parametrize("case", [*CONNECTIONS, *DOCUMENTS, *KEY_SETS], ids=str)
def test_broken_issuer_is_fixed_by_the_advice(case: Case, patient: Patient, doctor: Doctor) -> None:
    treat(doctor, patient, case, "error")


@pytest.mark.parametrize("case", WARNINGS, ids=str)
def test_key_that_is_not_used_is_a_warning(case: Case, patient: Patient, doctor: Doctor) -> None:
    treat(doctor, patient, case, "warning")
    assert doctor.findings(patient, "error") == []


def test_member_that_is_null_is_nothing_to_mention(patient: Patient, doctor: Doctor) -> None:
    patient.publish(public_jwk(KEYS.rsa, kid="good", d=None, p=None, alg=None))
    assert doctor.findings(patient, "error") + doctor.findings(patient, "warning") == []
