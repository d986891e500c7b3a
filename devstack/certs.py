"""A throw-away certificate authority for TLS on localhost, and self-signed certificates for signing keys."""

import datetime as dt
import ipaddress
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from devstack.keys import PrivateKey

_VALIDITY = dt.timedelta(days=2)
_BACKDATED = dt.timedelta(hours=1)


def pem_of_key(key: PrivateKey) -> bytes:
    """Return a private key as unencrypted PKCS #8 PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _builder(subject: str, issuer: str) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + _VALIDITY)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def self_signed(key: PrivateKey, common_name: str, names: Iterable[x509.GeneralName] = ()) -> x509.Certificate:
    """Wrap a key in a certificate of its own, as `rootcertbundle` of docker-registry and service principals need it.

    A server needs `names`, for which clients that trust the certificate itself take it.
    """
    builder = _builder(common_name, common_name).public_key(key.public_key())
    if listed := list(names):
        builder = builder.add_extension(x509.SubjectAlternativeName(listed), critical=False)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else hashes.SHA256()
    return builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).sign(key, digest)


def server_pem(common_name: str, names: Iterable[x509.GeneralName]) -> bytes:
    """Make a server's certificate that vouches for itself; return it and its key in one PEM text."""
    key = ec.generate_private_key(ec.SECP256R1())
    return self_signed(key, common_name, names).public_bytes(Encoding.PEM) + pem_of_key(key)


@dataclass(frozen=True)
class SelfSigned:
    """An RSA key and its self-signed certificate: the credential of a service principal."""

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate

    @classmethod
    def new(cls, common_name: str) -> "SelfSigned":
        """Make one."""
        key = rsa.generate_private_key(65537, 2048)
        return cls(key, self_signed(key, common_name))

    @property
    def pem(self) -> bytes:
        """Key and certificate in one PEM text, as azure-identity reads them."""
        return pem_of_key(self.key) + self.certificate.public_bytes(Encoding.PEM)


class TestAuthority:
    """A certificate authority whose one server certificate is for localhost, 127.0.0.1 and ::1.

    `ca_file` in `directory` is what clients must trust.
    """

    __test__ = False  # not a test class, whatever pytest makes of the name

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        ca_key = ec.generate_private_key(ec.SECP256R1())
        name = "devstack test authority"
        ca_usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        ca = (
            _builder(name, name)
            .public_key(ca_key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(ca_usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
            .sign(ca_key, hashes.SHA256())
        )
        server_key = ec.generate_private_key(ec.SECP256R1())
        names = [
            x509.DNSName("localhost"),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
            x509.IPAddress(ipaddress.ip_address("::1")),
        ]
        server = (
            _builder("localhost", name)
            .public_key(server_key.public_key())
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
            .sign(ca_key, hashes.SHA256())
        )
        self.ca_file.write_bytes(ca.public_bytes(Encoding.PEM))
        self._chain_file.write_bytes(server.public_bytes(Encoding.PEM) + ca.public_bytes(Encoding.PEM))
        self._key_file.write_bytes(pem_of_key(server_key))
        self._key_file.chmod(0o600)

    @property
    def ca_file(self) -> Path:
        """The CA certificate, PEM. It is alone in its directory's `*.crt`, which skopeo's `--cert-dir` reads."""
        return self._directory / "ca.crt"

    @property
    def _chain_file(self) -> Path:
        return self._directory / "server.pem"

    @property
    def _key_file(self) -> Path:
        return self._directory / "server-key.pem"

    def server_context(self) -> ssl.SSLContext:
        """Build the TLS context of a server on localhost."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._chain_file, self._key_file)
        return context

    def client_context(self) -> ssl.SSLContext:
        """Build the TLS context of a client that trusts this authority alone."""
        return ssl.create_default_context(cafile=str(self.ca_file))
