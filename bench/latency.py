"""Latency of `/token` over HTTP on the local stack: alone, under concurrency, and while a large policy is reloaded."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, cycle
from typing import TYPE_CHECKING, Any, Final

import httpx

from bench.decide import policy_json
from bench.report import Row, median, percentile
from devstack.stack import Stack, Upstreams

if TYPE_CHECKING:
    from collections.abc import Iterator

_REQUESTS: Final = 300
_CONCURRENCY: Final = 8
_RULES: Final = 20_000
_FORM: Final = {
    "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
    "scope": "repository:team/app-7:pull,push",
}


def run() -> list[Row]:
    """Measure against the emulated registry: what is left is the service's own time and two calls on loopback."""
    with Upstreams() as upstreams:
        settings = {"VENDING_POLICY_REFRESH_SECONDS": "1"}
        with Stack(upstreams, policy=_policy(upstreams, 0), settings=settings) as stack:
            _measure(stack, 20, 1)
            quiet = _measure(stack, _REQUESTS, 1)
            crowded = _measure(stack, _REQUESTS, _CONCURRENCY)
            with _reloading(stack):
                reloading = _measure(stack, _REQUESTS, 1)
            idle = _health(stack, _REQUESTS)
    return [
        Row("/healthz, one at a time, median", median(idle), "ms"),
        Row("/token, one at a time, median", median(quiet), "ms"),
        Row("/token, one at a time, p99", percentile(quiet, 0.99), "ms"),
        Row(f"/token, {_CONCURRENCY} at a time, median", median(crowded), "ms"),
        Row(f"/token, {_CONCURRENCY} at a time, p99", percentile(crowded, 0.99), "ms"),
        Row(f"/token while {_RULES:,} rules reload, median", median(reloading), "ms", "as when quiet"),
        Row(f"/token while {_RULES:,} rules reload, p99", percentile(reloading, 0.99), "ms"),
    ]


def _policy(upstreams: Upstreams, version: int) -> str:
    """Write a policy of many rules for the local stack; JSON is YAML too, but is parsed as what its name says."""
    document: dict[str, Any] = json.loads(policy_json(_RULES if version else 100))
    document["audience"] = upstreams.audience
    document["registries"] = {"prod": {"login_server": upstreams.registry.login_server}}
    document["issuers"] = {"github": {"preset": "github", "issuer": upstreams.issuers.github.url}}
    document["limits"] = {"requests_per_minute": 100_000}
    document["rules"][-1]["description"] = f"version {version}"
    return json.dumps(document)


class _reloading:  # noqa: N801 - a context manager, used as a verb
    """Keep the service reloading a policy of many rules: a new file as soon as the last one is in force."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        # Written beforehand: making them here would hold up the measuring threads of this very process.
        self._policies = [_policy(stack.upstreams, version) for version in (1, 2)]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _write(self) -> None:
        for policy in cycle(self._policies):
            if self._stop.wait(0.5):
                return
            self._stack.write_policy(policy)


def _measure(stack: Stack, requests: int, concurrency: int) -> list[float]:
    """Vend `requests` tokens; return their durations in milliseconds, sorted. Every one must succeed."""
    tokens = iter([_token(stack) for _ in range(requests)])
    lock = threading.Lock()

    def work() -> Iterator[float]:
        with httpx.Client(timeout=60) as client:
            while True:
                with lock:
                    token = next(tokens, None)
                if token is None:
                    return
                start = time.perf_counter()
                answer = client.post(f"{stack.url}/token", data={**_FORM, "subject_token": token})
                yield (time.perf_counter() - start) * 1000
                answer.raise_for_status()

    with ThreadPoolExecutor(concurrency) as pool:
        return sorted(chain.from_iterable(pool.map(lambda _: list(work()), range(concurrency))))


def _token(stack: Stack) -> str:
    return stack.issuers.github.token(repository_id="7", repository_owner_id="9919", ref="refs/heads/main")


def _health(stack: Stack, requests: int) -> list[float]:
    durations = []
    with httpx.Client(timeout=60) as client:
        for _ in range(requests):
            start = time.perf_counter()
            client.get(f"{stack.url}/healthz").raise_for_status()
            durations.append((time.perf_counter() - start) * 1000)
    return sorted(durations)
