"""Warm requests: latency, throughput and CPU at 1, 16, 64 and 256 at once, beside the floors below it.

The floors are of the same run: an app that says hello on the same local host, a bare POST to the registry's endpoint by
the same client, a POST through the app's transport, and the verification of one RS256 signature.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from bench import transport
from bench.report import Chart, Effort, Report, Row, cpu_microseconds, least, median, most
from bench.rig import HELLO, SCOPE, Rig, all_granted, drive
from devstack.keys import SigningKey
from vending.oidc.keys import parse_key_set
from vending.oidc.signature import is_signed

if TYPE_CHECKING:
    from bench.rig import Load
    from devstack.host.processes import HostProcess

_REQUESTS: Final = {1: (300, 60), 16: (1000, 128), 64: (1500, 192), 256: (1500, 256)}
"""At once → how many in a round of a whole run, and of a quick one."""
_WARM_UP: Final = 300
_WITH_LIBRARY: Final = (1, 16)


@dataclass
class _Level:
    """Collect the rounds at one concurrency."""

    vends: list[Load] = field(default_factory=list)
    hellos: list[Load] = field(default_factory=list)
    posts: list[Load] = field(default_factory=list)
    library_vends: list[Load] = field(default_factory=list)
    library_hellos: list[Load] = field(default_factory=list)
    library_posts: list[Load] = field(default_factory=list)
    """By a client that goes through an ordinary library, whose own share a bare POST has as well."""
    transport: list[float] = field(default_factory=list)
    """CPU milliseconds of one POST through the transport."""

    @property
    def ratios(self) -> list[float]:
        """How much longer a vend takes than a bare POST, by their medians, in each round."""
        return [vend.median / post.median for vend, post in zip(self.library_vends, self.library_posts, strict=True)]


def run(effort: Effort) -> Report:
    """Measure in rounds of all kinds, so that whatever else the machine does falls on all alike."""
    levels = {at_once: _Level() for at_once in _REQUESTS}
    signature = [value / 1000 for value in verification_microseconds()]
    with Rig() as rig:
        service, hello = rig.service(), rig.service(app=HELLO)
        _round(rig, service, hello, _Level(), 16, _WARM_UP)
        for _ in range(effort.choose(3, 1)):
            for at_once, counts in _REQUESTS.items():
                _round(rig, service, hello, levels[at_once], at_once, effort.choose(*counts))
    rows = [row for at_once, level in levels.items() for row in _rows(at_once, level)]
    rows.append(Row("verification of one RS256 signature, CPU", [median(signature)], "ms"))
    return Report([*rows, *_goals(levels, median(signature))], _charts(levels, median(signature)))


def verification_microseconds() -> list[float]:
    """Measure the verification of one RS256 signature over a token's worth of bytes."""
    key = SigningKey.generate("RS256")
    message = b"x" * 1400
    signature = key.sign(message)
    public = parse_key_set({"keys": [key.jwk()]}).keys[0]
    return cpu_microseconds(lambda: is_signed(message, signature, "RS256", public))


def _round(rig: Rig, service: HostProcess, hello: HostProcess, level: _Level, at_once: int, count: int) -> None:
    forms = rig.forms(count)
    level.vends.append(all_granted(drive([f"{service.url}/token"], forms, at_once=at_once, pid=service.pid)))
    level.hellos.append(drive([f"{hello.url}/token"], forms[:1], at_once=at_once, count=count, pid=hello.pid))
    post = urlencode({"grant_type": "refresh_token", "service": rig.login_server, "scope": SCOPE, "refresh_token": "x"})
    level.posts.append(drive([f"{rig.origin}/oauth2/token"], [post], at_once=at_once, count=count))
    if at_once in _WITH_LIBRARY:
        url, forms = f"{service.url}/token", rig.forms(count)
        level.library_vends.append(all_granted(drive([url], forms, at_once=at_once, library=True)))
        url = f"{hello.url}/token"
        level.library_hellos.append(drive([url], forms[:1], at_once=at_once, count=count, library=True))
        url = f"{rig.origin}/oauth2/token"
        level.library_posts.append(drive([url], [post], at_once=at_once, count=count, library=True))
    level.transport.append(transport.app_milliseconds(f"{rig.origin}/oauth2/token", at_once, min(count, 512)))
    rig.calls()


def _rows(at_once: int, level: _Level) -> list[Row]:
    named = f"{at_once} at once"
    by_library = [
        Row(f"{what} by a client library, {named}, median", [load.median for load in loads], "ms")
        for what, loads in (
            ("vend", level.library_vends),
            ("hello", level.library_hellos),
            ("bare POST", level.library_posts),
        )
        if loads
    ]
    return [
        Row(f"vend, {named}, median", [load.median for load in level.vends], "ms"),
        Row(f"vend, {named}, p95", [load.quantile(0.95) for load in level.vends], "ms"),
        Row(f"vend, {named}, p99", [load.quantile(0.99) for load in level.vends], "ms"),
        Row(f"vends, {named}", [load.count / load.seconds for load in level.vends], "per s"),
        Row(f"vend, {named}, CPU of the service", [load.cpu_milliseconds for load in level.vends], "ms"),
        Row(f"hello, {named}, CPU of the host", [load.cpu_milliseconds for load in level.hellos], "ms"),
        Row(f"POST through the app's transport, {named}, CPU", level.transport, "ms"),
        Row(f"bare POST, {named}, median", [load.median for load in level.posts], "ms"),
        *by_library,
    ]


def _goals(levels: dict[int, _Level], signature: float) -> list[Row]:
    one, some, many = levels[1], levels[16], levels[64]
    floors = [
        hello.cpu_milliseconds + post + signature for hello, post in zip(many.hellos, many.transport, strict=True)
    ]
    of_floors = [vend.cpu_milliseconds / floor for vend, floor in zip(many.vends, floors, strict=True)]
    tails = [load.quantile(0.99) / load.median for load in some.vends]
    both = zip(some.library_vends, some.library_posts, strict=True)
    sixteen = [vend.seconds / post.seconds for vend, post in both]
    both = zip(one.library_vends, one.library_posts, strict=True)
    late = [vend.quantile(0.95) / post.median for vend, post in both]
    rates = [load.count / load.seconds for load in many.vends]
    return [
        Row("vends on one core, 64 at once", rates, "per s", least(1500, _CORE)),
        Row("CPU of a vend / (hello + POST + RS256), 64 at once", of_floors, "times", most(1.3, _CPU)),
        Row(
            "p99 / median of vends, 16 at once",
            tails,
            "times",
            most(3, "other work on the machine"),
        ),
        Row("time of vends / time of bare POSTs, 16 at once", sixteen, "times", most(2.2, _SIXTEEN)),
        Row("median of a vend / of a bare POST, 1 at once", one.ratios, "times", most(2.5, _LATENCY)),
        Row("p95 of a vend / median of a bare POST, 1 at once", late, "times", most(5, _LATENCY)),
    ]


_CORE: Final = "the CPU of a vend, which the next row takes apart"
_CPU: Final = "what is in no floor: two JSON texts, the decision, the claim, the registry's token, the audit event"
_SIXTEEN: Final = (
    "the bare POST is answered at once by a server that does nothing; a vend passes the function host, whose hello "
    "alone takes a multiple of it, and then waits for the same server"
)
_LATENCY: Final = _SIXTEEN


def _charts(levels: dict[int, _Level], signature: float) -> list[Chart]:
    labels = [str(at_once) for at_once in levels]
    each = list(levels.values())
    return [
        Chart(
            "latency",
            "Latency by requests at once",
            "ms",
            labels,
            {
                "vend, median": [median([load.median for load in level.vends]) for level in each],
                "vend, p99": [median([load.quantile(0.99) for load in level.vends]) for level in each],
                "bare POST, median": [median([load.median for load in level.posts]) for level in each],
            },
        ),
        Chart(
            "throughput",
            "Vends a second on one core",
            "per s",
            labels,
            {"vends": [median([load.count / load.seconds for load in level.vends]) for level in each]},
        ),
        Chart(
            "cpu",
            "CPU of one vend, beside its floors",
            "ms",
            labels,
            {
                "vend": [median([load.cpu_milliseconds for load in level.vends]) for level in each],
                "hello on the same host": [median([load.cpu_milliseconds for load in level.hellos]) for level in each],
                "one POST": [median(level.transport) for level in each],
                "one RS256 verification": [signature] * len(each),
            },
        ),
    ]
