"""A server that answers a line a second, for ever: every client gives up within about a minute."""

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
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


ANSWERS = {"headers": HEADERS, "body": BODY}
CASES = [(answer, program) for answer in ANSWERS for program in (*PROGRAMS, "wget")]

Ends = dict[tuple[str, str], "Future[subprocess.CompletedProcess[str]]"]


def ask(directory: Path, answer: str, program: str) -> subprocess.CompletedProcess[str]:
    """Let a client ask a server that drips."""
    directory.mkdir()
    with speaking(dripping(*ANSWERS[answer])) as url:
        environment = job(directory, Server(url), ACR_VENDING_MAX_ATTEMPTS="1")
        if program == "wget":
            environment["PATH"] = path_without(directory, clients=("wget", "timeout"))
        name = "acr-token.sh" if program == "wget" else program
        return run([str(CLIENTS / name), "token"], environment, directory)


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ends]:
    """Start every client at once: each of them only waits, for about a minute."""
    place = tmp_path_factory.mktemp("slow")
    with ThreadPoolExecutor(len(CASES)) as pool:
        yield {case: pool.submit(ask, place / "-".join(case), *case) for case in CASES}


@pytest.mark.parametrize(("answer", "program"), CASES)
def test_an_answer_that_drips_is_none(ends: Ends, answer: str, program: str) -> None:
    done = ends[answer, program].result()
    assert done.returncode == 1
    assert "no answer from" in done.stdout
