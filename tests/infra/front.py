"""Azure's names on 127.0.0.1: a proxy that answers for *.azurewebsites.net in TLS, as the app and as its SCM host.

Programs reach it by HTTPS_PROXY and trust it by SSL_CERT_FILE; they and their addresses stay as they are.
"""

from __future__ import annotations

import hashlib
import io
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

if TYPE_CHECKING:
    from devstack.stack import Stack

NAMES = ("*.azurewebsites.net", "*.scm.azurewebsites.net")
IN_FORCE_SECONDS = 30


def certificate(path: Path) -> None:
    """Write a certificate for the names that vouches for itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "front of the tests")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in NAMES]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def call(url: str, content: bytes | None = None, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    request = urllib.request.Request(url, data=content, headers=headers or {})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def run_package(stack: Stack, package: bytes) -> None:
    """Give the running service the policy of a package, and wait until it goes by it."""
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        assert {"function_app.py", "host.json", "requirements.txt"} <= set(archive.namelist())
        policy = archive.read("policy.yaml")
    fresh = stack.policy_path.with_suffix(".new")
    fresh.write_bytes(policy)
    fresh.replace(stack.policy_path)
    end = time.monotonic() + IN_FORCE_SECONDS
    wanted = hashlib.sha256(policy).hexdigest().encode()
    while wanted not in call(f"{stack.url}/readyz")[1] and time.monotonic() < end:
        time.sleep(0.2)


class Site(BaseHTTPRequestHandler):
    """The app, which is the local stack's, and its SCM host."""

    stack: Stack

    def do_GET(self) -> None:
        self.respond()

    def do_POST(self) -> None:
        self.respond()

    def respond(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
        if ".scm." not in self.headers["Host"]:
            kept = {name: self.headers[name] for name in ("Content-Type", "Authorization") if name in self.headers}
            status, body = call(f"{self.stack.url}{self.path}", content, kept)
        elif self.path.startswith("/api/publish"):
            run_package(self.stack, content or b"")
            status, body = 202, b'"1"'
        else:
            status, body = 200, b'{"status": 4}'
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the name is http.server's
        pass


class Proxy(BaseHTTPRequestHandler):
    """Tunnels to `site`, whatever host is named."""

    site: tuple[str, int]

    def do_CONNECT(self) -> None:
        with socket.create_connection(self.site) as inner:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=relay, args=(inner, self.connection), daemon=True)
            back.start()
            relay(self.connection, inner)
            back.join()

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the name is http.server's
        pass


def relay(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while content := source.recv(65_536):
            target.sendall(content)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextmanager
def served(handler: type[BaseHTTPRequestHandler], tls: ssl.SSLContext | None = None) -> Iterator[tuple[str, int]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield "127.0.0.1", server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def front(stack: Stack, folder: Path) -> Iterator[dict[str, str]]:
    """Serve the names, and give the environment in which programs reach them."""
    path = folder / "front.pem"
    certificate(path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(path)
    bound = type("Bound", (Site,), {"stack": stack})
    with served(bound, tls) as site, served(type("Bound", (Proxy,), {"site": site})) as (host, port):
        proxy = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), f"http://{host}:{port}")
        direct = dict.fromkeys(("NO_PROXY", "no_proxy"), "")
        yield {**proxy, **direct, "SSL_CERT_FILE": str(path), "CURL_CA_BUNDLE": str(path)}
