"""Certificate authorities as they are met, and what a client that is given one must make of its server."""

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from devstack.certs import pem_of_key
from vending.connection import Cause

Key: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

DAY = dt.timedelta(days=1)
NAMES = (x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True)
class Party:
    """A certificate with its private key."""

    certificate: x509.Certificate
    key: Key = field(repr=False)

    @property
    def pem(self) -> str:
        """The certificate alone."""
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        """The private key."""
        return pem_of_key(self.key).decode()


def usage(*names: str) -> x509.KeyUsage:
    """Make a key usage of the named bits."""
    return x509.KeyUsage(**{name: name in names for name in _USAGES})


def make(
    name: str,
    signer: Party | None = None,
    *,
    ca: bool = True,
    critical: bool = True,
    path_length: int | None = None,
    identifiers: bool = True,
    usages: x509.KeyUsage | None = None,
    sans: Sequence[x509.GeneralName] = (),
    purposes: Sequence[x509.ObjectIdentifier] = (),
    more: Sequence[x509.ExtensionType] = (),
    begins: dt.timedelta = -DAY,
    ends: dt.timedelta = DAY,
    key: Key | None = None,
) -> Party:
    """Make a certificate, self-signed where there is no `signer`."""
    own = key or ec.generate_private_key(ec.SECP256R1())
    by = signer.key if signer else own
    now = dt.datetime.now(dt.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder: Any = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer.certificate.subject if signer else subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=critical)
    )
    if usages is not None:
        builder = builder.add_extension(usages, critical=True)
    if identifiers:
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key())
        builder = builder.add_extension(authority, critical=False)
    if sans:
        builder = builder.add_extension(x509.SubjectAlternativeName(list(sans)), critical=False)
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(list(purposes)), critical=False)
    for extension in more:
        builder = builder.add_extension(extension, critical=True)
    return Party(builder.sign(by, hashes.SHA256()), own)


def server(signer: Party | None, **options: Any) -> Party:
    """Make a server's certificate for localhost."""
    return make("server", signer, **{"ca": False, "sans": NAMES, **options})


@dataclass(frozen=True)
class Constellation:
    """What the policy's `ca` holds, what the server sends, and what must come of it: None is trust."""

    name: str
    given: tuple[Party, ...]
    sent: tuple[Party, ...]
    cause: Cause | None

    def __str__(self) -> str:
        return self.name

    def as_data(self) -> dict[str, str]:
        """Return it as what a program on another interpreter needs."""
        return {
            "name": self.name,
            "ca": "".join(party.pem for party in self.given),
            "chain": "".join(party.pem for party in self.sent),
            "key": self.sent[0].key_pem,
        }


def table() -> list[Constellation]:
    """Make every constellation, with keys of its own."""
    made: list[Constellation] = []

    def row(name: str, cause: Cause | None, given: Sequence[Party], *sent: Party) -> None:
        made.append(Constellation(name, tuple(given), sent, cause))

    root = make("root", usages=usage("key_cert_sign", "crl_sign"))
    middle = make("middle", root, path_length=0, usages=usage("key_cert_sign"))
    leaf = server(middle)
    bare = make("bare", identifiers=False)
    lax = make("lax", critical=False)
    cluster = make("cluster", critical=False, identifiers=False)
    own = server(None)
    namesake = make("root")
    expired = make("expired", begins=-3 * DAY, ends=-DAY)
    signs_nothing = make("signs nothing", root, usages=usage("digital_signature"))
    ends_here = make("ends here", path_length=0)
    too_deep = make("too deep", ends_here)
    elsewhere = make(
        "elsewhere", more=[x509.NameConstraints(permitted_subtrees=[x509.DNSName("example")], excluded_subtrees=None)]
    )
    no_authority = server(root, ca=False)
    other = make("other")
    cross = make("middle", other, key=middle.key)

    row("the root of the chain", None, [root], leaf, middle)
    row("a root that signs the server itself", None, [root], server(root))
    row("a root among others", None, [other, namesake, root], leaf, middle)
    row("an authority without key identifiers", None, [bare], server(bare, identifiers=False))
    row("an authority whose basicConstraints are not critical", None, [lax], server(lax))
    row("an authority of a cluster, without either", None, [cluster], server(cluster, identifiers=False))
    row("only an intermediate, which the server sends", None, [middle], leaf, middle)
    row("only an intermediate, which the server does not send", None, [middle], leaf)
    row("an intermediate and a longer chain than it needs", None, [middle], leaf, middle, root)
    row("an intermediate that two roots have signed", None, [other], leaf, cross)
    row("the server's own certificate", None, [own], own)
    row("the server's certificate, not its authority", None, [leaf], leaf, middle)
    row("an authority that signs for a while longer than the server", None, [root], server(root, ends=DAY / 24))
    row("a root without the intermediate between", Cause.TLS_UNKNOWN_AUTHORITY, [root], leaf)
    row("another authority", Cause.TLS_UNKNOWN_AUTHORITY, [other], leaf, middle)
    row("another authority of the same name", Cause.TLS_UNKNOWN_AUTHORITY, [namesake], server(root))
    row("a self-signed server that nobody named", Cause.TLS_UNKNOWN_AUTHORITY, [root], own)
    row("the certificate of another server", Cause.TLS_UNKNOWN_AUTHORITY, [server(root)], server(root))
    row("a server that has expired", Cause.TLS_EXPIRED, [root], server(root, begins=-3 * DAY, ends=-DAY))
    row("an authority that has expired", Cause.TLS_EXPIRED, [expired], server(expired))
    row("a server that is not valid yet", Cause.TLS_NOT_YET_VALID, [root], server(root, begins=DAY, ends=2 * DAY))
    row("another name", Cause.TLS_WRONG_NAME, [root], server(root, sans=[x509.DNSName("other.example")]))
    row("a name in the subject alone", Cause.TLS_WRONG_NAME, [root], make("localhost", root, ca=False))
    row("a key of 1,024 bits", Cause.TLS_WEAK, [root], server(root, key=rsa.generate_private_key(65537, 1024)))
    row("an authority that is none", Cause.TLS_BAD_CHAIN, [root], server(no_authority), no_authority)
    row("an authority that may not sign", Cause.TLS_BAD_CHAIN, [root], server(signs_nothing), signs_nothing)
    row("a chain longer than allowed", Cause.TLS_BAD_CHAIN, [ends_here], server(too_deep), too_deep)
    row("an authority for other names", Cause.TLS_BAD_CHAIN, [elsewhere], server(elsewhere))
    row(
        "a certificate for clients",
        Cause.TLS_BAD_CHAIN,
        [root],
        server(root, purposes=[ExtendedKeyUsageOID.CLIENT_AUTH]),
    )
    return made
