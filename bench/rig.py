"""The service between an instant upstream and a client, each a process of its own; measures what one run brought."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from bench.processes import cores, cpu_seconds
from bench.upstream import CONTROL, THROTTLE
from devstack.host.processes import HostProcess
from devstack.issuer import claims as shapes
from devstack.keys import SigningKey, encode
from devstack.serving import bind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

PROJECT: Final = Path(__file__).resolve().parent.parent
HELLO: Final = Path(__file__).resolve().parent / "hello"
AUDIENCE: Final = "https://vend.contoso.example"
GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
SCOPE: Final = "repository:team/app-7:pull,push"
_JWKS: Final = "/github/keys"
_DISCOVERY: Final = "/github/.well-known/openid-configuration"
_LIMIT: Final = 1_000_000
"""Requests a minute of one caller: a benchmark is one caller."""


@dataclass(frozen=True)
class Load:
    """Hold what one run of the client brought; `cpu_seconds` is what the process under load used meanwhile."""

    seconds: float
    milliseconds: list[float]
    statuses: dict[str, int]
    reasons: dict[str, int]
    token_ids: list[str] = field(repr=False)
    failed: list[int] = field(repr=False)
    cpu_seconds: float = 0.0

    @property
    def count(self) -> int:
        """How many requests were answered."""
        return len(self.milliseconds)

    @property
    def median(self) -> float:
        """The middle of the durations, in milliseconds."""
        return statistics.median(self.milliseconds)

    def quantile(self, fraction: float) -> float:
        """The duration below which this share of the requests stayed, in milliseconds."""
        return self.milliseconds[min(int(self.count * fraction), self.count - 1)]

    @property
    def cpu_milliseconds(self) -> float:
        """What one request cost the process under load."""
        return self.cpu_seconds * 1000 / self.count


def policy(
    rules: int = 100,
    /,
    *,
    login_server: str = "contoso.azurecr.io",
    issuer: Mapping[str, str] = MappingProxyType({}),
    **sections: Any,
) -> str:
    """Write a policy as JSON with a rule for each of so many repositories; `sections` take the place of its own."""
    document: dict[str, Any] = {
        "version": 1,
        "audience": AUDIENCE,
        "registries": {"prod": {"login_server": login_server}},
        "issuers": {"github": {"preset": "github", **issuer}},
        "rules": [
            {
                "name": f"rule-{number}",
                "issuer": "github",
                "when": {
                    "repository_id": str(number),
                    "repository_owner_id": "9919",
                    "ref": ["refs/heads/main", "refs/tags/v*"],
                },
                "grant": [{"registry": "prod", "repositories": [f"team/app-{number}"], "actions": ["pull", "push"]}],
            }
            for number in range(rules)
        ],
    }
    return json.dumps(document | sections)


class Rig:
    """The upstream and, once asked for, instances of the service. A context manager."""

    def __init__(
        self, *, delay_seconds: float = 0.0, per_second: float = 0, rules: int = 100, replay: str = "once"
    ) -> None:
        self._cleanup = contextlib.ExitStack()
        self._delay_seconds = delay_seconds
        self._per_second = per_second
        self._rules = rules
        self._replay = replay
        self._socket = bind()
        self.origin = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.login_server = self.origin.removeprefix("http://")
        self.key = SigningKey.generate("RS256")

    @cached_property
    def directory(self) -> Path:
        """A directory of this rig alone."""
        return Path(self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))

    def __enter__(self) -> Self:
        issuer = f"{self.origin}/github"
        documents = {
            _DISCOVERY: {"issuer": issuer, "jwks_uri": self.origin + _JWKS},
            _JWKS: {"keys": [self.key.jwk()]},
        }
        config = {
            "socket": self._socket.fileno(),
            "login_server": self.login_server,
            "documents": documents,
            "delay_seconds": self._delay_seconds,
            "per_second": self._per_second,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.upstream"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=PROJECT,
            pass_fds=[self._socket.fileno()],
        )
        self._cleanup.callback(_end, process)
        self._socket.close()
        _pipe(process.stdin).write(json.dumps(config) + "\n")
        _pipe(process.stdin).flush()
        if _pipe(process.stdout).readline() != "listening\n":
            raise RuntimeError("the upstream did not start")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._cleanup.close()

    @property
    def settings(self) -> dict[str, str]:
        """The app settings of the service."""
        path = self.directory / "policy.json"
        if not path.exists():
            path.write_text(self.policy(self._rules), encoding="utf-8")
        return {
            "VENDING_POLICY": str(path),
            "VENDING_ALLOW_LOOPBACK": "1",
            "IDENTITY_ENDPOINT": f"{self.origin}/msi/token",
            "IDENTITY_HEADER": "bench",
            "DEVSTACK_LOG_LEVEL": "WARNING",  # The audit log is written at any level, and goes to a file.
        }

    def service(
        self,
        settings: Mapping[str, str] | None = None,
        *,
        app: Path = PROJECT,
        python: Path = Path(sys.executable),
        pinned: bool = True,
    ) -> HostProcess:
        """Start the service, on the first core alone unless told otherwise; it ends with the rig."""
        host = HostProcess({**self.settings, **(settings or {})}, app=app, python=python)
        self._cleanup.callback(host.close)
        host.start()
        if pinned:
            os.sched_setaffinity(host.pid, cores()[0])
        return host

    def policy(self, rules: int = 100) -> str:
        """Write a policy of so many rules for this rig's issuer and registry."""
        return policy(
            rules,
            login_server=self.login_server,
            issuer={"issuer": f"{self.origin}/github", "replay": self._replay},
            limits={"requests_per_minute": _LIMIT},
        )

    def token(self, **more: Any) -> str:
        """Sign one subject token for the rule of `SCOPE`."""
        claims = {"repository_id": "7", "repository_owner_id": "9919", "ref": "refs/heads/main", **more}
        return encode(shapes.github(f"{self.origin}/github", AUDIENCE, **claims), self.key)

    def forms(self, count: int, scope: str = SCOPE) -> list[str]:
        """Make so many form bodies, each with a token of its own."""
        return [form(self.token(), scope) for _ in range(count)]

    def throttle(self, seconds: float) -> None:
        """Let the registry throttle everybody for so long, as if others had used up its limit."""
        with urlopen(Request(self.origin + THROTTLE, str(seconds).encode())):
            pass

    def calls(self) -> list[tuple[float, float, str, int]]:
        """Tell what the upstream was asked since the last time: arrival, answer, path and status of each call."""
        with urlopen(self.origin + CONTROL) as answer:
            calls: list[tuple[float, float, str, int]] = [tuple(call) for call in json.load(answer)]
            return calls


def form(token: str, scope: str = SCOPE) -> str:
    """Make the form body of one request."""
    return urlencode({"grant_type": GRANT_TYPE, "subject_token": token, "scope": scope})


def drive(
    urls: Sequence[str],
    bodies: Sequence[str],
    *,
    at_once: int,
    count: int | None = None,
    tokens: bool = False,
    library: bool = False,
    pid: int | None = None,
) -> Load:
    """Send the bodies from a process of its own, `at_once` at a time, to the URLs in turn; wait for all answers."""
    config = {
        "urls": list(urls),
        "at_once": at_once,
        "count": count or len(bodies),
        "tokens": tokens,
        "library": library,
    }
    before = 0.0 if pid is None else cpu_seconds(pid)
    output = subprocess.run(
        [sys.executable, "-m", "bench.client"],
        input="\n".join([json.dumps(config), *bodies]),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
    ).stdout
    used = 0.0 if pid is None else cpu_seconds(pid) - before
    return Load(**json.loads(output), cpu_seconds=used)


def all_granted(load: Load) -> Load:
    """Return the load where every request was granted; anything else makes the figures worthless."""
    if set(load.statuses) != {"200"}:
        raise RuntimeError(f"not every request was granted: {load.statuses} {load.reasons}")
    return load


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise RuntimeError("the process has no pipes")
    return pipe
