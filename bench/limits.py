"""What one caller's flood costs another: the victim's latency when all is quiet, and while somebody else floods.

The flood asks over several connections without a pause, and all but its allowance is refused. Three processes share the
machine: the service, this one with the victim and the registry, and the flood.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from typing import IO, TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit

import httpx

from bench.report import Row, median, percentile
from devstack.policy import policy_text
from devstack.stack import PROJECT, Stack, Upstreams

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROUNDS: Final = 5
_REQUESTS: Final = 200
"""Of the victim, in each round and state; ten rounds stay within its allowance."""
_PER_MINUTE: Final = 2400
_CONNECTIONS: Final = 4
_GRANT: Final = "urn:ietf:params:oauth:grant-type:token-exchange"


def run() -> list[Row]:
    """Measure in turns, quiet and flooded, so that whatever else the machine does falls on both."""
    quiet: list[float] = []
    flooded: list[float] = []
    refused = seconds = 0.0
    with Upstreams() as upstreams:
        policy = f"{policy_text(upstreams)}\nlimits: {{requests_per_minute: {_PER_MINUTE}}}\n"
        with Stack(upstreams, policy=policy) as stack:
            _victim(stack, 20)
            with _flood(stack):
                pass  # Its burst is used up from here on.
            for _ in range(_ROUNDS):
                quiet += _victim(stack, _REQUESTS)
                start = time.perf_counter()
                with _flood(stack) as counts:
                    flooded += _victim(stack, _REQUESTS)
                seconds += time.perf_counter() - start
                refused += counts.get("429", 0)
    before, during = percentile(sorted(quiet), 0.99), percentile(sorted(flooded), 0.99)
    return [
        Row("victim, quiet, median", median(quiet), "ms"),
        Row("victim, flooded, median", median(flooded), "ms"),
        Row("victim, quiet, p99", before, "ms"),
        Row("victim, flooded, p99", during, "ms"),
        Row("victim's p99, flooded / quiet", during / before, "times", "at most 2"),
        Row(f"flood over {_CONNECTIONS} connections, refused", refused / seconds, "per s"),
    ]


def _victim(stack: Stack, requests: int) -> list[float]:
    """Vend `requests` tokens, one after the other; return their durations in milliseconds. Every one must succeed."""
    form = {
        "grant_type": _GRANT,
        "scope": "repository:api/server:pull",
        "subject_token": stack.issuers.gitlab.token(),
    }
    durations = []
    with httpx.Client(timeout=60) as client:
        for _ in range(requests):
            start = time.perf_counter()
            answer = client.post(f"{stack.url}/token", data=form)
            durations.append((time.perf_counter() - start) * 1000)
            answer.raise_for_status()
            time.sleep(0.005)  # A caller that waits a little, as any real one does.
    return durations


@contextlib.contextmanager
def _flood(stack: Stack) -> Iterator[dict[str, int]]:
    """Run the flood in a process of its own; it has used up its allowance when the body begins.

    Yields its answers by status, filled in when the body has ended.
    """
    token = stack.issuers.cluster.token()
    command = [sys.executable, "-m", "bench.limits", stack.url]
    counts: dict[str, int] = {}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the flood has no pipes")
        try:
            process.stdin.write(token + "\n")
            process.stdin.flush()
            process.stdout.readline()
            yield counts
        finally:
            process.stdin.close()
            counts.update(json.loads(process.stdout.readline()))


def _flood_until_told(url: str) -> None:
    """Ask without a pause until standard input ends; say when the first refusal came, then count all by status."""
    os.nice(10)  # A real flood has machines of its own; this one must not win by taking the service's core.
    token = sys.stdin.readline().strip()
    parts = urlsplit(url)
    body = urlencode({"grant_type": _GRANT, "scope": "repository:web/api:pull", "subject_token": token})
    head = (
        f"POST /token HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
    )
    request = (head + body).encode()
    counts: dict[str, int] = {}
    ended, refused, lock = threading.Event(), threading.Event(), threading.Lock()

    def ask() -> None:
        with socket.create_connection((parts.hostname or "", parts.port or 80)) as connection:
            answers = connection.makefile("rb")
            while not ended.is_set():
                connection.sendall(request)
                status = _read_answer(answers)
                with lock:
                    counts[status] = counts.get(status, 0) + 1
                if status == "429":
                    refused.set()

    threads = [threading.Thread(target=ask) for _ in range(_CONNECTIONS)]
    for thread in threads:
        thread.start()
    refused.wait()
    print("refused", flush=True)
    sys.stdin.read()
    ended.set()
    for thread in threads:
        thread.join()
    print(json.dumps(counts), flush=True)


def _read_answer(stream: IO[bytes]) -> str:
    status = stream.readline().split()[1].decode()
    length = 0
    while (line := stream.readline()) not in (b"\r\n", b""):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    stream.read(length)
    return str(status)


if __name__ == "__main__":
    _flood_until_told(sys.argv[1])
