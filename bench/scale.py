"""Scale out: 1, 2 and 4 instances on one table and one registry that throttles as ACR does, at 333 tokens a second.

Four promises are held, and an instance that breaks one fails the run: every token that is accepted gets exactly one
registry token, none is vended twice, and identities and key sets are fetched once for each instance. How a herd comes
back after a throttle is measured where it matters, at the registry.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.report import Chart, Effort, Report, Row, most
from bench.rig import Rig, drive
from bench.upstream import counted
from devstack.certs import TestAuthority
from devstack.entra.tenant import Tenant
from tests.support.azurite import Azurite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from devstack.host.processes import HostProcess

PER_SECOND: Final = 333
"""ACR Premium takes 20,000 token requests a minute."""
_INSTANCES: Final = (1, 2, 4)
_HERD: Final = (400, 80)
_PAIRS: Final = (100, 30)
_STEADY: Final = (1000, 200)
_AT_ONCE: Final = 128
_THROTTLE_SECONDS: Final = 2.0
_ROUNDS: Final = 30
_BIN_SECONDS: Final = 0.1
_MINT: Final = "/oauth2/token"


def run(effort: Effort) -> Report:
    """Measure each number of instances on fresh processes and a table of their own."""
    rows: list[Row] = []
    arrivals: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, Rig(per_second=PER_SECOND) as rig:
        authority = TestAuthority(Path(folder))
        with Azurite(Path(folder) / "azurite", authority, Tenant()) as azurite:
            for count in _INSTANCES:
                settings = {"VENDING_REPLAY_STORE": azurite.new_table(), "SSL_CERT_FILE": str(authority.ca_file)}
                hosts = [rig.service(settings, pinned=False) for _ in range(count)]
                some, seen = _measure(rig, hosts, effort)
                rows += some
                arrivals[_named(count)] = seen
                for host in hosts:
                    host.close()
    longest = max(map(len, arrivals.values()))
    labels = [f"{number / 10:.1f}" for number in range(longest)]
    series = {name: [*values, *[0.0] * (longest - len(values))] for name, values in arrivals.items()}
    title = "Calls to the registry in each tenth of a second, from the moment that its Retry-After named"
    return Report(rows, [Chart("herd", title, "calls", labels, series, "line")])


def _named(count: int) -> str:
    return "1 instance" if count == 1 else f"{count} instances"


def _measure(rig: Rig, hosts: Sequence[HostProcess], effort: Effort) -> tuple[list[Row], list[float]]:
    name = _named(len(hosts))
    urls = [f"{host.url}/token" for host in hosts]
    rig.calls()
    cold = _vend_all(rig, urls, 50 * len(hosts))
    fetched = _once_for_each_instance(rig, len(hosts))
    if len(hosts) > 1:
        _none_twice(rig, urls[:2], effort.choose(*_PAIRS))
    started = time.perf_counter()
    steady = effort.choose(*_STEADY)
    repeated = _vend_all(rig, urls, steady)
    rate = steady / (time.perf_counter() - started)
    statuses = Counter(status for _, _, path, status in rig.calls() if path == _MINT)
    herd, again = _herd(rig, urls, effort.choose(*_HERD))
    fullest = max(herd, default=0.0) / max(1.0, sum(herd))
    return [
        Row(f"{name}: key sets and identities fetched by a herd on cold instances", [fetched], "for each"),
        Row(f"{name}: requests repeated by callers, cold herd", [cold], ""),
        Row(f"{name}: vends under the limit of {PER_SECOND} a second", [rate], "per s"),
        Row(f"{name}: registry calls that were throttled meanwhile", [statuses[429] / statuses[200]], "for each vend"),
        Row(f"{name}: requests repeated by callers", [repeated], f"of {steady}"),
        Row(f"{name}: herd after a throttle, most calls in a tenth of a second", [max(herd, default=0.0)], "calls"),
        Row(
            f"{name}: share of the herd that came in the fullest tenth of a second",
            [fullest],
            "of all",
            most(0.25, "few calls are left in the last tenths"),
        ),
        Row(f"{name}: requests of the herd that callers had to repeat", [again], f"of {effort.choose(*_HERD)}"),
    ], herd


def _vend_all(rig: Rig, urls: Sequence[str], count: int) -> int:
    """Vend so many tokens, repeating what was refused for now, as clients do; return how many were repeated.

    Raises AssertionError where a token got none, or where two got the same.
    """
    waiting = rig.forms(count)
    token_ids: list[str] = []
    repeated = 0
    for _ in range(_ROUNDS):
        load = drive(urls, waiting, at_once=min(_AT_ONCE * len(urls), len(waiting)), tokens=True)
        token_ids += load.token_ids
        lost = set(load.reasons) - {"registry_throttled", "deadline_exceeded", "replay_store_unavailable"}
        if lost:
            raise AssertionError(f"tokens were refused: {load.reasons}")
        waiting = [waiting[place] for place in load.failed]
        if not waiting:
            break
        repeated += len(waiting)
        time.sleep(1)
    if len(token_ids) != count or len(set(token_ids)) != count:
        raise AssertionError(f"{count} tokens, {len(token_ids)} vended, {len(set(token_ids))} of them different")
    return repeated


def _once_for_each_instance(rig: Rig, instances: int) -> float:
    """Hold that key sets and identities were fetched once for each instance; return how often for each."""
    calls = counted(rig.calls())
    expected = {
        "/github/keys": 1,
        "/github/.well-known/openid-configuration": 1,
        "/oauth2/exchange": 1,
        "/msi/token": 2,
    }
    for path, times in expected.items():  # Two identity tokens: one for the registry, one for the table.
        if calls[path] != times * instances:
            raise AssertionError(f"{instances} instances asked {calls[path]} times for {path}")
    return calls["/github/keys"] / instances


def _none_twice(rig: Rig, urls: Sequence[str], count: int) -> None:
    """Present each token to two instances at once: exactly one of them vends."""
    pairs = [form for form in rig.forms(count) for _ in urls]
    load = drive(urls, pairs, at_once=2 * _AT_ONCE, tokens=True)
    answers = Counter(load.failed)
    # The body's place tells the pair: one of the two was refused, and for the one reason there is.
    refused = Counter(place // 2 for place in answers)
    throttled = load.reasons.get("registry_throttled", 0)
    if load.reasons.get("token_replayed", 0) + throttled + load.statuses.get("200", 0) != 2 * count:
        raise AssertionError(f"unexpected answers: {load.statuses} {load.reasons}")
    if any(refused[pair] == 0 for pair in range(count)):
        raise AssertionError("a token was vended twice")
    if not throttled and load.statuses.get("200", 0) != count:
        raise AssertionError(f"{count} tokens at two instances each brought {load.statuses}")


def _herd(rig: Rig, urls: Sequence[str], size: int) -> tuple[list[float], int]:
    """Let a herd run into a throttle; return its calls by tenths of a second from the throttle's end, and repeats."""
    rig.calls()
    rig.throttle(_THROTTLE_SECONDS)
    ends = time.monotonic() + _THROTTLE_SECONDS  # The clock of /proc/uptime: the same in every process.
    repeated = _vend_all(rig, urls, size)
    after = [arrived - ends for arrived, _, path, _ in rig.calls() if path == _MINT and arrived >= ends]
    bins = Counter(int(seconds / _BIN_SECONDS) for seconds in after)
    return [float(bins[number]) for number in range(max(bins, default=0) + 1)], repeated
