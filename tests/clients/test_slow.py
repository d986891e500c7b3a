"""A server that answers a line a second, for ever: every client gives up within about a minute."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .platforms import CLIENTS, run
from .servers import Server
from .test_login import PROGRAMS, job, path_without


@contextmanager
def dripping(head: bytes, drop: bytes) -> Iterator[str]:
    """Serve a beginning, and then a bit each second until the client goes; return the address."""
    end = threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            try:
                self.request.sendall(head)
                while not end.wait(1):
                    self.request.sendall(drop)
            except OSError:
                pass

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            end.set()
            server.shutdown()
            thread.join()


HEADERS = (b"HTTP/1.1 200 OK\r\n", b"X-Filler: x\r\n")
BODY = (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{", b" ")


@pytest.mark.parametrize("program", [*PROGRAMS, "wget"])
@pytest.mark.parametrize("answer", [HEADERS, BODY], ids=["headers", "body"])
def test_an_answer_that_drips_is_none(tmp_path: Path, program: str, answer: tuple[bytes, bytes]) -> None:
    with dripping(*answer) as url:
        environment = job(tmp_path, Server(url), ACR_VENDING_MAX_ATTEMPTS="1")
        if program == "wget":
            environment["PATH"] = path_without(tmp_path, clients=("wget", "timeout"))
        name = "acr-token.sh" if program == "wget" else program
        done = run([str(CLIENTS / name), "token"], environment, tmp_path)
    assert done.returncode == 1
    assert "no answer from" in done.stdout
