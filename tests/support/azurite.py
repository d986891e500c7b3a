"""Azurite, the storage emulator, over TLS and with Entra tokens, as the real service takes them."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import subprocess
import time
import uuid
from typing import TYPE_CHECKING, Self

import httpx

from devstack import tools
from devstack.serving import bind

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from devstack.certs import TestAuthority
    from devstack.entra.tenant import Tenant

START_TIMEOUT = 90.0
"""Seconds, with room for a slow and busy machine."""
ACCOUNT = "devstoreaccount1"
_VERSION = "2020-12-06"


class Azurite:
    """One emulator with its tables and blobs in memory; `stop` and `start` again makes an outage without data loss.

    The data outlives `stop` only with `persist`.
    """

    def __init__(self, directory: Path, ca: TestAuthority, tenant: Tenant, *, persist: bool = False) -> None:
        self._directory = directory
        self._ca = ca
        self._tenant = tenant
        self._persist = persist
        self._ports = [_free_port() for _ in range(3)]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def blob_endpoint(self) -> str:
        """The account's URL for blobs."""
        return f"https://localhost:{self._ports[0]}/{ACCOUNT}"

    @property
    def table_endpoint(self) -> str:
        """The account's URL for tables."""
        return f"https://localhost:{self._ports[2]}/{ACCOUNT}"

    @property
    def pid(self) -> int:
        """The process id of the running emulator."""
        if self._process is None:
            raise RuntimeError("Azurite is not running")
        return self._process.pid

    def token(self) -> str:
        """Mint an Entra token for storage, of an identity that may do anything."""
        return self._tenant.token(str(uuid.uuid4()), str(uuid.uuid4()), "https://storage.azure.com")

    def client(self) -> httpx.Client:
        """Return an HTTP client that trusts the emulator and carries a token."""
        headers = {"Authorization": f"Bearer {self.token()}", "x-ms-version": _VERSION}
        return httpx.Client(verify=self._ca.client_context(), headers=headers, timeout=60, trust_env=False)

    def new_table(self) -> str:
        """Create a table with a name of its own; return its URL."""
        name = f"replay{uuid.uuid4().hex}"
        with self.client() as client:
            answer = client.post(
                f"{self.table_endpoint}/Tables",
                json={"TableName": name},
                headers={"Accept": "application/json;odata=nometadata"},
            )
            answer.raise_for_status()
        return f"{self.table_endpoint}/{name}"

    def delete_table(self, url: str) -> None:
        """Delete a table that `new_table` has made."""
        endpoint, _, name = url.rpartition("/")
        with self.client() as client:
            client.delete(f"{endpoint}/Tables('{name}')", headers={"Accept": "application/json"}).raise_for_status()

    def rows(self, url: str) -> list[dict[str, object]]:
        """Return all entities of a table."""
        with self.client() as client:
            answer = client.get(f"{url}()", headers={"Accept": "application/json;odata=nometadata"})
            answer.raise_for_status()
            rows: list[dict[str, object]] = answer.json()["value"]
            return rows

    def new_blob(self, name: str, content: bytes) -> str:
        """Create a blob in a container of its own; return its URL."""
        container = f"{self.blob_endpoint}/policy{uuid.uuid4().hex}"
        with self.client() as client:
            client.put(f"{container}?restype=container").raise_for_status()
        self.put_blob(f"{container}/{name}", content)
        return f"{container}/{name}"

    def put_blob(self, url: str, content: bytes) -> None:
        """Write a blob, replacing what was there."""
        with self.client() as client:
            client.put(url, content=content, headers={"x-ms-blob-type": "BlockBlob"}).raise_for_status()

    def delete_blob(self, url: str) -> None:
        """Delete a blob."""
        with self.client() as client:
            client.delete(url).raise_for_status()

    def start(self) -> Self:
        """Start the emulator, and wait until it accepts connections."""
        program = tools.ensure(tools.AZURITE)
        names = ("blob", "queue", "table")
        listeners = [
            part
            for name, port in zip(names, self._ports, strict=True)
            for part in (f"--{name}Host", "127.0.0.1", f"--{name}Port", str(port))
        ]
        storage = ["--location", str(self._directory)] if self._persist else ["--inMemoryPersistence"]
        tls = ["--oauth", "basic", "--cert", str(self._ca._chain_file), "--key", str(self._ca._key_file)]
        self._directory.mkdir(parents=True, exist_ok=True)
        with (self._directory / "azurite.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(program), "--silent", "--skipApiVersionCheck", "--disableTelemetry", *listeners, *storage, *tls],
                stdout=log,
                stderr=log,
                cwd=self._directory,
                env={"PATH": os.environ["PATH"], "HOME": str(self._directory)},
            )
        deadline = time.monotonic() + START_TIMEOUT
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"Azurite did not start:\n{(self._directory / 'azurite.log').read_text()}")
            time.sleep(0.1)
        return self

    def _listens(self) -> bool:
        context = self._ca.client_context()
        for port in (self._ports[0], self._ports[2]):
            try:
                with (
                    socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
                    context.wrap_socket(plain, server_hostname="localhost"),
                ):
                    pass
            except (OSError, ssl.SSLError):
                return False
        return True

    def stop(self) -> None:
        """End the emulator."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()


def _free_port() -> int:
    with contextlib.closing(bind()) as sock:
        return int(sock.getsockname()[1])
