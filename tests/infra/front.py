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
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509

from devstack.certs import server_pem
from tests.infra.serving import Handler, served

if TYPE_CHECKING:
    from devstack.stack import Stack

NAMES = ("*.azurewebsites.net", "*.scm.azurewebsites.net")
IN_FORCE_SECONDS = 30


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


class Site(Handler):
    """The app, which is the local stack's, and its SCM host."""

    stack: Stack

    def respond(self) -> None:
        content = self.content() or None
        if ".scm." not in self.headers["Host"]:
            kept = {name: self.headers[name] for name in ("Content-Type", "Authorization") if name in self.headers}
            status, body = call(f"{self.stack.url}{self.path}", content, kept)
        elif self.path.startswith("/api/publish"):
            run_package(self.stack, content or b"")
            status, body = 202, b'"1"'
        else:
            status, body = 200, b'{"status": 4}'
        self.reply(status, body)


class Proxy(Handler):
    """Tunnels to `site`, whatever host is named."""

    site: tuple[str, int]

    def respond(self) -> None:
        with socket.create_connection(self.site) as inner:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=relay, args=(inner, self.connection), daemon=True)
            back.start()
            relay(self.connection, inner)
            back.join()


def relay(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while content := source.recv(65_536):
            target.sendall(content)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextmanager
def front(stack: Stack, folder: Path) -> Iterator[dict[str, str]]:
    """Serve the names, and give the environment in which programs reach them."""
    path = folder / "front.pem"
    path.write_bytes(server_pem("front of the tests", map(x509.DNSName, NAMES)))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(path)
    with served(Site, tls, stack=stack) as site, served(Proxy, site=("127.0.0.1", site)) as port:
        proxy = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), f"http://127.0.0.1:{port}")
        direct = dict.fromkeys(("NO_PROXY", "no_proxy"), "")
        yield {**proxy, **direct, "SSL_CERT_FILE": str(path), "CURL_CA_BUNDLE": str(path)}
