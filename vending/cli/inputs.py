"""Read what commands take: policies, claims, tokens, points in time. Decides nothing, prints nothing.

Claims and tokens are read with the readers of the running app, so that what they accept here they accept there.
"""

from __future__ import annotations

import base64
import datetime
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vending.acr import scope as scopes
from vending.base64url import EncodingError
from vending.cli.report import UsageError
from vending.clock import Clock
from vending.errors import Refusal
from vending.oidc.encoding import decode_json_object
from vending.oidc.token import MAX_TOKEN_LENGTH, peek
from vending.oidc.types import Claims, PeekedToken, RawToken
from vending.policy import Environment, load_with_source
from vending.settings import Settings, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vending.acr.scope import Scope
    from vending.evidence.events import Event, Tally
    from vending.policy import Loaded

STDIN: Final = "-"
MAX_CLAIMS_BYTES: Final = 4 * MAX_TOKEN_LENGTH
"""Claims that no token has room for are not worth explaining; an answer of `/explain` has more beside them."""

_EXPLANATION: Final = frozenset({"allowed", "registry", "granted", "missing", "rules", "claims", "request_id"})
"""Keys of an answer of `/explain`, which no token has together."""

_POLICY_SETTINGS: Final = ("VENDING_CUSTOM_HOSTS", "VENDING_ALLOW_LOOPBACK")


def policy_environment() -> Environment:
    """Return what the app's settings contribute to loading a policy. Raises `UsageError`.

    The app's own reader parses them; the public URL, which it requires, means nothing to a policy.
    """
    present = {name: os.environ[name] for name in _POLICY_SETTINGS if name in os.environ}
    try:
        settings = Settings.from_environment({"VENDING_PUBLIC_URL": "https://localhost", **present})
    except SettingsError as error:
        raise UsageError(str(error)) from None
    return Environment(custom_hosts=settings.custom_hosts, allow_loopback=settings.allow_loopback)


def load_policy(path: Path) -> Loaded:
    """Load a policy from a file or a directory. Raises `UsageError` where none is, `PolicyError` for a bad one."""
    return load_with_source(existing(path), policy_environment())


def existing(path: Path) -> Path:
    """Return the path. Raises `UsageError` where nothing is there."""
    if not path.exists():
        raise UsageError(f"{path}: there is no such file or directory")
    return path


def read_text(path: str, limit: int) -> bytes:
    """Read a file, or standard input for `-`. Raises `UsageError`, also for more than `limit` bytes."""
    try:
        if path == STDIN:
            data = sys.stdin.buffer.read(limit + 1)
        else:
            with Path(path).open("rb") as file:
                data = file.read(limit + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or type(error).__name__}") from None
    if len(data) > limit:
        raise UsageError(f"{path}: this has more than {limit // 1024} KiB")
    return data


def read_claims(path: str) -> Claims:
    """Read a JSON object of claims as strictly as the payload of a token, or the answer of `/explain` that has one.

    Raises `UsageError`.
    """
    payload = base64.urlsafe_b64encode(read_text(path, MAX_CLAIMS_BYTES)).rstrip(b"=").decode("ascii")
    try:
        read = decode_json_object(payload)
    except EncodingError as error:
        raise UsageError(f"{path}: the file {error}; write the claims as a JSON object") from None
    claims = read.get("claims")
    return claims if isinstance(claims, dict) and read.keys() >= _EXPLANATION else read


def read_token(path: str) -> PeekedToken:
    """Read a token without verifying it. Raises `UsageError`, whose text never holds any of it."""
    try:
        text = read_text(path, MAX_TOKEN_LENGTH + 2).decode("ascii").strip()
        return peek(RawToken(text))
    except UnicodeDecodeError:
        raise UsageError(f"{path}: this is no token") from None
    except Refusal as refusal:
        raise UsageError(f"{path}: {refusal.description}") from None


def read_events(files: list[str], tally: Tally) -> Iterator[Event]:
    """Yield the audit events of files, and tell how far the reading has come. Raises `UsageError`."""
    from vending.cli.progress import Progress
    from vending.evidence.events import read

    progress = Progress("rows read")
    try:
        yield from read(files, tally, progress)
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror or type(error).__name__}") from None
    finally:
        progress.close()


def parse_scope(text: str | None) -> tuple[Scope, ...] | None:
    """Parse the scopes of a request; None asks for everything that can be listed. Raises `Refusal`."""
    return None if text is None else scopes.parse(text)


def parse_time(text: str) -> float:
    """Read a point in time, in seconds since the epoch: a date (its first second, UTC) or a time in RFC 3339.

    Raises `ValueError`.
    """
    moment = datetime.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        if len(text) > len("2026-11-22"):
            raise ValueError("a time needs its zone, as in 2026-11-22T12:00:00Z")
        moment = moment.replace(tzinfo=datetime.UTC)
    return moment.timestamp()


def now() -> float:
    """Tell the time, in seconds since the epoch."""
    return Clock().now()


def places(loaded: Loaded, section: str = "rules") -> dict[str, str]:
    """Return where each entry of a section is written, by its name, as `file:line:column`."""
    from vending.policy.language.problems import Finding

    names = [entry.name for entry in getattr(loaded.model, section)]
    found = {}
    for number, name in enumerate(names):
        origin = loaded.document.origin((section, number))
        if origin is not None:
            found[name] = origin
    missing = [(number, name) for number, name in enumerate(names) if name not in found]
    located = loaded.document.place(Finding((section, number), "", name) for number, name in missing)
    found |= {problem.message: f"{problem.file}:{problem.line}:{problem.column}" for problem in located}
    return found
