"""Where the policy comes from, and which one is in force: a file or a blob, polled off the request path, never widened.

A bad or unreachable policy keeps the last good one until that is too old; then every request fails closed. Nothing
falls back from a configured policy to another one.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

from vending.errors import Reason, Refusal
from vending.http_client import NetError
from vending.operations_log import frames_of, note
from vending.policy.engine.policy import digest_of_files
from vending.policy.language.problems import PolicyError
from vending.single_flight import SingleFlight

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from vending.clock import Clock
    from vending.http_client import Http
    from vending.policy import Environment, Policy

STORAGE_AUDIENCE: Final = "https://storage.azure.com"
_STORAGE_VERSION: Final = "2021-12-02"
_MAX_BYTES: Final = 32 * 1024 * 1024 + 1
"""One more than the largest policy in JSON, so that the loader itself says what is too large."""
_FETCH_SECONDS: Final = 10.0
_BAD_FILE_SECONDS: Final = 5.0
"""A file that cannot be used is not parsed again for each request, unless it changes."""
_SWITCH_SECONDS: Final = 0.0005


class Unavailable(Exception):
    """A source cannot be read right now; the text says why, without secrets."""


class PolicySource(Protocol):
    """Read a policy. `kind` is `file` or `blob`."""

    kind: str

    async def fetch(self) -> Policy | None:
        """Return the policy if it is not the one that this call returned last; None where that one still stands.

        Raises `PolicyError` for a bad policy, `Unavailable` where it cannot be read.
        """


class FileSource:
    """Read a file or a directory; it has changed when its content, or that of a file it names, has."""

    kind = "file"

    def __init__(self, path: Path, environment: Environment) -> None:
        self._path = path
        self._environment = environment
        self._seen: str | None = None
        self._beside: tuple[Path, ...] = ()
        self._bad: tuple[str, float, PolicyError] | None = None

    async def fetch(self) -> Policy | None:
        """Read and parse in a thread: neither runs on the event loop."""
        return await asyncio.to_thread(self._fetch)

    def _fetch(self) -> Policy | None:
        found = self._digest_of_policy()
        content = found + self._digest_of_side_files()
        if content == self._seen:
            return None
        if self._bad is not None and self._bad[0] == content and time.monotonic() < self._bad[1] + _BAD_FILE_SECONDS:
            raise PolicyError(self._bad[2].problems)
        try:
            policy = _load(self._path, self._environment)
        except PolicyError as error:
            self._bad = (content, time.monotonic(), error)
            raise
        self._beside = policy.files
        # What counts is what was read, so that a change meanwhile is found next time.
        self._seen = found + policy.files_sha256
        return policy

    def _digest_of_policy(self) -> str:
        try:
            names = [path for path in self._path.iterdir() if path.is_file()] if self._path.is_dir() else [self._path]
            return digest_of_files({path: path.read_bytes() for path in names})
        except OSError as error:
            raise Unavailable(f"{self._path.name}: {error.strerror or type(error).__name__}") from None

    def _digest_of_side_files(self) -> str:
        try:
            return digest_of_files({path: path.read_bytes() for path in self._beside})
        except OSError:
            return ""  # One is gone, which is a change; the loader says what is missing.


class BlobSource:
    """Read one blob with the app's identity, asking for it only if it has changed (`If-None-Match`)."""

    kind = "blob"

    def __init__(
        self, url: str, environment: Environment, http: Http, storage_token: Callable[[], Awaitable[str]]
    ) -> None:
        self._url = url
        self._environment = environment
        self._http = http
        self._storage_token = storage_token
        self._etag: str | None = None
        self._bad: PolicyError | None = None
        """What is wrong with the blob of `_etag`; None where it is in force."""

    async def fetch(self) -> Policy | None:
        """Get the blob; parse it in a thread."""
        headers = {
            "Authorization": f"Bearer {await self._token()}",
            "x-ms-version": _STORAGE_VERSION,
        }
        if self._etag is not None:
            headers["If-None-Match"] = self._etag
        try:
            answer = await self._http.request(
                "GET", self._url, headers=headers, max_bytes=_MAX_BYTES, timeout_seconds=_FETCH_SECONDS
            )
        except NetError as error:
            raise Unavailable(str(error)) from None
        if answer.status == 304 and self._etag is not None:
            if self._bad is not None:
                raise PolicyError(self._bad.problems)
            return None
        if answer.status != 200:
            raise Unavailable(f"the blob's server answered {answer.status}")
        name = urlsplit(self._url).path.rpartition("/")[2]
        self._etag, self._bad = None, None
        try:
            policy = await asyncio.to_thread(_parse, answer.body, name, self._environment)
        except PolicyError as error:
            self._bad = error
            raise
        finally:
            self._etag = answer.headers.get("etag")
        return policy

    async def _token(self) -> str:
        try:
            return await self._storage_token()
        except Refusal as refusal:
            raise Unavailable(str(refusal)) from None


# The loader's models cost some 100 ms to import: in the thread that needs them, not at the start.


def _load(path: Path, environment: Environment) -> Policy:
    from vending.policy.compiler.load import load

    with _giving_way():
        return load(path, environment)


def _parse(data: bytes, name: str, environment: Environment) -> Policy:
    from vending.policy.compiler.load import load_bytes

    with _giving_way():
        return load_bytes(data, name=name, environment=environment, directory=None)


@contextmanager
def _giving_way() -> Iterator[None]:
    """Let the event loop interrupt this thread ten times as often as usual.

    Requests go on while a large policy is parsed; at Python's usual 5 ms each of their steps would wait that long.
    """
    usual = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


@dataclass(frozen=True, slots=True)
class InForce:
    """Hold the policy in force and when its source last confirmed it, on the monotonic clock."""

    policy: Policy
    confirmed_at: float


class PolicyStore:
    """Keep the policy in force. Polled by requests, for there are no timers: at most every `refresh_seconds`."""

    def __init__(
        self,
        source: PolicySource,
        clock: Clock,
        *,
        refresh_seconds: float,
        max_stale_seconds: float,
        on_change: Callable[[Policy], None],
    ) -> None:
        self.source = source.kind
        self._source = source
        self._clock = clock
        self._refresh_seconds = refresh_seconds
        self._max_stale_seconds = max_stale_seconds
        self._on_change = on_change
        self._in_force: InForce | None = None
        self._next_check = 0.0
        self._flight: SingleFlight[str, None] = SingleFlight()

    async def get(self) -> Policy:
        """Return the policy in force; where there is none that is fresh enough, wait for one shared load.

        Raises `Refusal` with `policy_unavailable`.
        """
        if self.age_seconds() > self._max_stale_seconds:
            await self._flight.wait("load", self._check)
            if self._in_force is None or self.age_seconds() > self._max_stale_seconds:
                raise Refusal(Reason.POLICY_UNAVAILABLE)
        elif self._clock.monotonic() >= self._next_check:
            self._next_check = self._clock.monotonic() + self._refresh_seconds
            self._flight.start("load", self._check)
        if self._in_force is None:
            raise Refusal(Reason.POLICY_UNAVAILABLE)
        return self._in_force.policy

    @property
    def in_force(self) -> Policy | None:
        """The last good policy, however old; for showing, not for deciding."""
        return None if self._in_force is None else self._in_force.policy

    def age_seconds(self) -> float:
        """Seconds since the source last confirmed the policy in force; infinite where there is none."""
        if self._in_force is None:
            return float("inf")
        return self._clock.monotonic() - self._in_force.confirmed_at

    async def _check(self) -> None:
        """Ask the source once; whatever it says, what is in force afterwards is good."""
        started = self._clock.monotonic()
        self._next_check = started + self._refresh_seconds
        try:
            policy = await self._source.fetch()
        except PolicyError as error:
            note(
                logging.ERROR,
                "policy_reload_failed",
                source=self.source,
                problems=[str(problem) for problem in error.problems[:10]],
            )
        except Unavailable as error:
            note(logging.ERROR, "policy_reload_failed", source=self.source, problems=[str(error)])
        except Exception as error:  # noqa: BLE001 - whatever it is, the last good policy stays, and it is said.
            note(
                logging.ERROR,
                "policy_reload_failed",
                source=self.source,
                problems=[type(error).__name__],
                frames=frames_of(error),
            )
        else:
            if policy is not None:
                self._in_force = InForce(policy, started)
                self._on_change(policy)
                note(logging.INFO, "policy_loaded", source=self.source, sha256=policy.sha256)
            elif self._in_force is not None:
                self._in_force = InForce(self._in_force.policy, started)
