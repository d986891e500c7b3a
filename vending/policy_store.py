"""Where the policy comes from, and which one is in force: a file or a blob, polled off the request path, never widened.

A bad or unreachable policy keeps the last good one until that is too old; then every request fails closed. Nothing
falls back from a configured policy to another one.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias
from urllib.parse import urlsplit

from vending.errors import Reason, Refusal
from vending.http_client import NetError
from vending.operations_log import note, note_bug
from vending.policy.engine.policy import digest_of_files
from vending.policy.language.problems import PolicyError
from vending.single_flight import SingleFlight

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from vending.clock import Clock, Mark
    from vending.connection import Cause
    from vending.http_client import Answer, Http
    from vending.policy import Environment, Policy

STORAGE_AUDIENCE: Final = "https://storage.azure.com"
_STORAGE_VERSION: Final = "2021-12-02"
_MAX_BYTES: Final = 32 * 1024 * 1024 + 1
"""One more than the largest policy in JSON, so that the loader itself says what is too large."""
_FETCH_SECONDS: Final = 10.0
_BAD_FILE_SECONDS: Final = 5.0
"""A file that cannot be used is not parsed again for each request, unless it changes."""
LONGEST_CHECK_SECONDS: Final = 2.0
"""How long a request waits for a check while there is a policy that may be used: longer than a healthy source takes."""
_FIRST_PAUSE_SECONDS: Final = 5.0
_LONGEST_PAUSE_SECONDS: Final = 60.0
"""While no policy is in force, anybody's requests could make the app ask its source as often as they come."""
_SWITCH_SECONDS: Final = 0.0005


class Unavailable(Exception):
    """A source cannot be read right now; the text says why, without secrets.

    `refused` says that somebody answered, and did not hand it out; `cause` what went wrong below HTTP.
    """

    def __init__(self, message: str, *, refused: bool = False, cause: Cause | None = None) -> None:
        self.refused = refused
        self.cause = cause
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Fetched:
    """Hold a policy that loaded, and what its source calls this version of it."""

    policy: Policy
    version: str


class PolicySource(Protocol):
    """Read a policy. `kind` is `file` or `blob`."""

    kind: Literal["file", "blob"]

    async def fetch(self, in_force: Fetched | None) -> Fetched | None:
        """Return the policy unless it is the one in force; None says that the source still has exactly that one.

        Raises `PolicyError` for a bad policy, `Unavailable` where it cannot be read.
        """


class FileSource:
    """Read a file or a directory; it has changed when its content, or that of a file it names, has."""

    kind: Literal["file", "blob"] = "file"

    def __init__(self, path: Path, environment: Environment) -> None:
        self._path = path
        self._environment = environment
        self._bad: tuple[str, float, PolicyError] | None = None

    async def fetch(self, in_force: Fetched | None) -> Fetched | None:
        """Read and parse in a thread: neither runs on the event loop."""
        return await asyncio.to_thread(self._fetch, in_force)

    def _fetch(self, in_force: Fetched | None) -> Fetched | None:
        found = self._digest_of_policy()
        content = found + _digest_of_side_files(() if in_force is None else in_force.policy.files)
        if in_force is not None and content == in_force.version:
            return None
        if self._bad is not None and self._bad[0] == content and time.monotonic() < self._bad[1] + _BAD_FILE_SECONDS:
            raise PolicyError(self._bad[2].problems)
        try:
            policy = _load(self._path, self._environment)
        except PolicyError as error:
            self._bad = (content, time.monotonic(), error)
            raise
        # What counts is what was read, so that a change meanwhile is found next time, and one that is undone too.
        if self._path.is_dir():
            if self._digest_of_policy() != found:
                raise Unavailable(f"{self._path.name} changed while it was read")
            return Fetched(policy, found + policy.files_sha256)
        return Fetched(policy, policy.sha256 + policy.files_sha256)

    def _digest_of_policy(self) -> str:
        try:
            if not self._path.is_dir():
                return hashlib.sha256(self._path.read_bytes()).hexdigest()
            return digest_of_files({path: path.read_bytes() for path in self._path.iterdir() if path.is_file()})
        except OSError as error:
            message = f"{self._path.name}: {error.strerror or type(error).__name__}"
            raise Unavailable(message, refused=isinstance(error, PermissionError)) from None


def _digest_of_side_files(files: Iterable[Path]) -> str:
    try:
        return digest_of_files({path: path.read_bytes() for path in files})
    except OSError:
        return ""  # One is gone, which is a change; the loader says what is missing.


class BlobSource:
    """Read one blob with the app's identity, asking for it only if it has changed (`If-None-Match`)."""

    kind: Literal["file", "blob"] = "blob"

    def __init__(
        self, url: str, environment: Environment, http: Http, storage_token: Callable[[], Awaitable[str]]
    ) -> None:
        self._url = url
        self._environment = environment
        self._http = http
        self._storage_token = storage_token
        self._bad: tuple[str, PolicyError] | None = None
        """The ETag of a blob that did not load, and what is wrong with it: it is not fetched and parsed again."""

    async def fetch(self, in_force: Fetched | None) -> Fetched | None:
        """Get the blob; parse it in a thread. Only a 304 to the ETag of the policy in force confirms that policy."""
        known = self._bad[0] if self._bad is not None else "" if in_force is None else in_force.version
        answer = await self._get(known)
        if answer.status == 304 and known:
            if self._bad is not None:
                raise PolicyError(self._bad[1].problems)
            return None
        if answer.status != 200:
            refused = answer.status < 500 and answer.status not in {408, 429}
            raise Unavailable(f"the blob's server answered {answer.status}", refused=refused)
        name = urlsplit(self._url).path.rpartition("/")[2]
        etag = answer.headers.get("etag", "")
        self._bad = None
        try:
            policy = await asyncio.to_thread(_parse, answer.body, name, self._environment)
        except PolicyError as error:
            self._bad = (etag, error) if etag else None
            raise
        return Fetched(policy, etag)

    async def _get(self, known: str) -> Answer:
        headers = {"Authorization": f"Bearer {await self._token()}", "x-ms-version": _STORAGE_VERSION}
        if known:
            headers["If-None-Match"] = known
        try:
            return await self._http.request(
                "GET", self._url, headers=headers, max_bytes=_MAX_BYTES, timeout_seconds=_FETCH_SECONDS
            )
        except NetError as error:
            raise Unavailable(str(error), cause=error.cause) from None

    async def _token(self) -> str:
        try:
            return await self._storage_token()
        except Refusal as refusal:
            raise Unavailable(str(refusal), refused=refusal.reason is Reason.IDENTITY_REFUSED) from None


# The loader's models cost some 100 ms to import: in the thread that needs them, not at the start.


def _load(path: Path, environment: Environment) -> Policy:
    from vending.policy.compiler.load import load

    with _yielding():
        return load(path, environment)


def _parse(data: bytes, name: str, environment: Environment) -> Policy:
    from vending.policy.compiler.load import load_bytes

    with _yielding():
        return load_bytes(data, name=name, environment=environment, directory=None)


@contextmanager
def _yielding() -> Iterator[None]:
    """Let the event loop interrupt this thread ten times as often as usual.

    Requests go on while a large policy is parsed; at Python's usual 5 ms each of their steps would wait that long.
    """
    usual = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


ReloadFailure: TypeAlias = Literal["unreachable", "refused", "invalid"]
"""Why a reload failed: nobody answered, somebody answered without the policy, or what came is none."""


@dataclass(frozen=True, slots=True)
class _InForce:
    """Hold the policy in force and when its source last confirmed it."""

    fetched: Fetched
    confirmed: Mark


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
        wait_seconds: float = LONGEST_CHECK_SECONDS,
    ) -> None:
        self.source = source.kind
        self.reload_failure: ReloadFailure | None = None
        """What became of the last reload; None where it went well."""
        self._source = source
        self._clock = clock
        self._refresh_seconds = refresh_seconds
        self._max_stale_seconds = max_stale_seconds
        self._on_change = on_change
        self._wait_seconds = wait_seconds
        self._in_force: _InForce | None = None
        self._checked: Mark | None = None
        self._pause_seconds = 0.0
        """How long nobody asks again after a check that left no policy in force."""
        self._flight: SingleFlight[str, None] = SingleFlight()

    async def get(self) -> Policy:
        """Return the policy in force, as fresh as the source's last answer allows.

        Where there is none that is fresh enough, waits for one shared load. Where it was not confirmed for two refresh
        periods, as on an instance that was idle, waits for a check, but not for long: a right that was taken away
        meanwhile is gone. Raises `Refusal` with `policy_unavailable`.
        """
        age = self.age_seconds()
        if age > self._max_stale_seconds:
            await self._load()
        elif "load" in self._flight or self._since_check() >= self._refresh_seconds:
            check = self._flight.start("load", self._check)
            if age > 2 * self._refresh_seconds:
                await asyncio.wait([check], timeout=self._wait_seconds)
        if self._in_force is None or self.age_seconds() > self._max_stale_seconds:
            raise Refusal(Reason.POLICY_UNAVAILABLE, retry_after=self._pause_left() or None)
        return self._in_force.fetched.policy

    @property
    def in_force(self) -> Policy | None:
        """The last good policy, however old; for showing, not for deciding."""
        return None if self._in_force is None else self._in_force.fetched.policy

    def age_seconds(self) -> float:
        """Seconds since the source last confirmed the policy in force; infinite where there is none."""
        return float("inf") if self._in_force is None else self._clock.since(self._in_force.confirmed)

    async def _load(self) -> None:
        """Wait for a load that others may share, unless the last one failed a moment ago."""
        if "load" in self._flight or self._pause_left() <= 0:
            await self._flight.wait("load", self._check)

    def _since_check(self) -> float:
        return float("inf") if self._checked is None else self._clock.since(self._checked)

    def _pause_left(self) -> float:
        return max(0.0, self._pause_seconds - self._since_check()) if self._pause_seconds else 0.0

    async def _check(self) -> None:
        """Ask the source once; whatever it says, what is in force afterwards is good."""
        started = self._checked = self._clock.mark()
        try:
            self._swap(await self._fetch(), started)
        except _Failed as failed:
            self.reload_failure = failed.failure
            note(
                logging.ERROR,
                "policy_reload_failed",
                source=self.source,
                failure=failed.failure,
                problems=failed.problems,
                cause=failed.cause,
            )
        if self.age_seconds() > self._max_stale_seconds:
            self._checked = self._clock.mark()
            self._pause_seconds = min(max(2 * self._pause_seconds, _FIRST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
        else:
            self._pause_seconds = 0.0

    async def _fetch(self) -> Fetched | None:
        try:
            return await self._source.fetch(None if self._in_force is None else self._in_force.fetched)
        except PolicyError as error:
            raise _Failed("invalid", [str(problem) for problem in error.problems[:10]]) from None
        except Unavailable as error:
            raise _Failed("refused" if error.refused else "unreachable", [str(error)], error.cause) from None
        except Exception as error:  # noqa: BLE001 - whatever it is, the last good policy stays, and it is said.
            note_bug(error)
            raise _Failed("invalid", [type(error).__name__]) from None

    def _swap(self, fetched: Fetched | None, started: Mark) -> None:
        """Put in force what was fetched, or confirm what is in force, as of when the source was asked."""
        if fetched is not None:
            self._on_change(fetched.policy)
            self._in_force = _InForce(fetched, started)
            note(logging.INFO, "policy_loaded", source=self.source, sha256=fetched.policy.sha256)
        elif self._in_force is not None:
            self._in_force = _InForce(self._in_force.fetched, started)
        self.reload_failure = None


class _Failed(Exception):
    """A reload that failed, and what to write into the log about it."""

    def __init__(self, failure: ReloadFailure, problems: list[str], cause: Cause | None = None) -> None:
        self.failure = failure
        self.cause = cause
        self.problems = problems
        super().__init__(failure)
