"""What one caller's flood costs another: the victim's latency when all is quiet, and while somebody else floods.

The flood asks ten times as often as it may, so most of it is refused; a second one asks over several connections
without any pause. Three processes share the machine: the service, this one with the victims and the registry, and the
flood. What else the machine does lands in single rounds, so the p99 of each state is the middle one of its rounds.
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
from collections import Counter
from typing import IO, TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit

import httpx

from bench.report import Effort, Report, Row, median, most, percentile
from devstack.policy import policy_text
from devstack.stack import PROJECT, Stack, Upstreams

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROUNDS: Final = (3, 1)
_REQUESTS: Final = 120
"""Of the victims, in each round and state."""
_VICTIMS: Final = 40
"""Take turns, so that none of them comes near its own limit."""
_PER_MINUTE: Final = 600
_ONE_LOOP: Final = "one event loop answers all callers, and each refusal takes its share of it"
_TEN_TIMES: Final = 10 * _PER_MINUTE // 60
_CONNECTIONS: Final = 4
_GRANT: Final = "urn:ietf:params:oauth:grant-type:token-exchange"


def run(effort: Effort) -> Report:
    """Measure in turns, quiet and flooded, so that whatever else the machine does falls on all alike."""
    states: dict[int | None, list[list[float]]] = {None: [], _TEN_TIMES: [], 0: []}
    refused: Counter[int | None] = Counter()
    seconds: Counter[int | None] = Counter()
    with Upstreams() as upstreams, Stack(upstreams, policy=_policy) as stack:
        _victims(stack, 20)
        for _ in range(effort.choose(*_ROUNDS)):
            for rate, rounds in states.items():
                with _flood(stack, rate) as counts:
                    start = time.perf_counter()
                    rounds.append(_victims(stack, _REQUESTS))
                    seconds[rate] += round(time.perf_counter() - start)
                refused[rate] += counts["429"]
    medians = [[median(durations) for durations in rounds] for rounds in states.values()]
    tails = [[percentile(sorted(durations), 0.99) for durations in rounds] for rounds in states.values()]
    names = ["quiet", f"flood of {_TEN_TIMES} per s", "flood without pause"]
    rows = [
        *(Row(f"victim, {name}, median", values, "ms") for name, values in zip(names, medians, strict=True)),
        *(Row(f"victim, {name}, p99", values, "ms") for name, values in zip(names, tails, strict=True)),
        Row("p99, flooded / quiet", [median(tails[1]) / median(tails[0])], "times", most(2, _ONE_LOOP)),
        Row("p99, flooded without pause / quiet", [median(tails[2]) / median(tails[0])], "times"),
        Row("refused of the flood", [refused[_TEN_TIMES] / max(1, seconds[_TEN_TIMES])], "per s"),
        Row("refused of the flood without pause", [refused[0] / max(1, seconds[0])], "per s"),
    ]
    return Report(rows)


def _policy(upstreams: Upstreams) -> str:
    victims = ", ".join(f'"{number}"' for number in range(1, _VICTIMS + 1))
    return policy_text(upstreams).replace('project_id: "4200"', f"project_id: [{victims}]")


def _victims(stack: Stack, requests: int) -> list[float]:
    """Vend `requests` tokens, one after the other; return their durations in milliseconds. Every one must succeed."""
    tokens = [stack.issuers.gitlab.token(project_id=str(number + 1)) for number in range(_VICTIMS)]
    form = {"grant_type": _GRANT, "scope": "repository:api/server:pull"}
    durations = []
    with httpx.Client(timeout=60) as client:
        for number in range(requests):
            start = time.perf_counter()
            answer = client.post(f"{stack.url}/token", data={**form, "subject_token": tokens[number % _VICTIMS]})
            durations.append((time.perf_counter() - start) * 1000)
            answer.raise_for_status()
            time.sleep(0.005)  # As real callers do; nobody asks back to back.
    return durations


@contextlib.contextmanager
def _flood(stack: Stack, rate: int | None) -> Iterator[Counter[str]]:
    """Run a flood of `rate` requests per second in a process of its own; 0 is without pause, None is no flood.

    It has used up its allowance when the body begins. Yields its answers by status, filled in when the body has ended.
    """
    counts: Counter[str] = Counter()
    if rate is None:
        yield counts
        return
    token = stack.issuers.cluster.token()
    command = [sys.executable, "-m", "bench.limits", stack.url, str(rate)]
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


def _flood_until_told(url: str, rate: int) -> None:
    """Ask until standard input ends: without a pause at first, at `rate` after the first refusal; count by status."""
    os.nice(10)  # A real flood has machines of its own; this one must not win by taking the service's core.
    token = sys.stdin.readline().strip()
    parts = urlsplit(url)
    body = urlencode({"grant_type": _GRANT, "scope": "repository:web/api:pull", "subject_token": token})
    head = (
        f"POST /token HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
    )
    request = (head + body).encode()
    counts: Counter[str] = Counter()
    ended, refused, begun, lock = threading.Event(), threading.Event(), threading.Event(), threading.Lock()

    def ask() -> None:
        with socket.create_connection((parts.hostname or "", parts.port or 80)) as connection:
            answers = connection.makefile("rb")
            due = time.monotonic()
            while not ended.is_set():
                connection.sendall(request)
                status = _read_answer(answers)
                with lock:
                    counts[status] += begun.is_set()
                if status == "429":
                    refused.set()
                if rate and refused.is_set():
                    due = max(due + _CONNECTIONS / rate, time.monotonic() - 1)
                    time.sleep(max(0.0, due - time.monotonic()))

    threads = [threading.Thread(target=ask) for _ in range(_CONNECTIONS)]
    for thread in threads:
        thread.start()
    refused.wait()
    begun.set()
    print("refused", flush=True)
    sys.stdin.read()
    ended.set()
    for thread in threads:
        thread.join()
    print(json.dumps(counts), flush=True)


def _read_answer(stream: IO[bytes]) -> str:
    status = stream.readline().split()[1].decode()
    length = 0
    chunked = False
    while (line := stream.readline()) not in (b"\r\n", b""):
        name, _, value = line.lower().partition(b":")
        if name == b"content-length":
            length = int(value)
        chunked = chunked or (name == b"transfer-encoding" and b"chunked" in value)
    stream.read(length)
    while chunked and (size := int(stream.readline(), 16)):
        stream.read(size + 2)
    if chunked:
        stream.readline()
    return str(status)


if __name__ == "__main__":
    _flood_until_told(sys.argv[1], int(sys.argv[2]))
