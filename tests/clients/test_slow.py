"""A server that answers a line a second, for ever: every client gives up within about a minute."""

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .platforms import CLIENTS, run
from .servers import Server, speaking
from .test_login import PROGRAMS, job, path_without


def dripping(head: bytes, drop: bytes) -> Callable[[socket.socket], None]:
    """Say a beginning, and then a bit each second."""

    def speak(client: socket.socket) -> None:
        client.sendall(head)
        while True:
            time.sleep(1)
            client.sendall(drop)

    return speak


HEADERS = (b"HTTP/1.1 200 OK\r\n", b"X-Filler: x\r\n")
BODY = (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{", b" ")


@pytest.mark.parametrize("program", [*PROGRAMS, "wget"])
@pytest.mark.parametrize("answer", [HEADERS, BODY], ids=["headers", "body"])
def test_an_answer_that_drips_is_none(tmp_path: Path, program: str, answer: tuple[bytes, bytes]) -> None:
    with speaking(dripping(*answer)) as url:
        environment = job(tmp_path, Server(url), ACR_VENDING_MAX_ATTEMPTS="1")
        if program == "wget":
            environment["PATH"] = path_without(tmp_path, clients=("wget", "timeout"))
        name = "acr-token.sh" if program == "wget" else program
        done = run([str(CLIENTS / name), "token"], environment, tmp_path)
    assert done.returncode == 1
    assert "no answer from" in done.stdout
