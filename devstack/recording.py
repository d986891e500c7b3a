"""Write down what the local stack issues in secret and what the app lets out, for a test that compares the two.

Does nothing unless DEVSTACK_RECORD names a directory. Each process appends to files of its own: secrets as one JSON
string a line, and whatever the app wrote as it was.
"""

import contextlib
import json
import os
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import IO

VARIABLE = "DEVSTACK_RECORD"
SECRETS = "secrets-*.jsonl"
OUTPUT = "output-*"
"""Patterns of the files' names."""

_lock = threading.Lock()
_files: dict[Path, IO[str]] = {}


def directory() -> Path | None:
    """Return where to record, or None."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else None


def secret(value: str) -> str:
    """Record a secret that was just issued; return it."""
    if (where := directory()) is not None:
        _append(where / f"secrets-{os.getpid()}.jsonl", json.dumps(value))
    return value


def answer(status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Record a response of the app."""
    if (where := directory()) is not None:
        lines = [str(status), *(f"{name}: {value}" for name, value in headers.items()), body.decode(errors="replace")]
        _append(where / f"output-answers-{os.getpid()}.txt", "\n".join(lines))


def output(what: str) -> Path | None:
    """Return the path of a new file for output of the app, or None."""
    where = directory()
    return where / f"output-{what}-{uuid.uuid4().hex}" if where else None


def close() -> None:
    """Close this process's files, so that all is written."""
    with _lock:
        for file in _files.values():
            with contextlib.suppress(OSError):
                file.close()
        _files.clear()


def _append(path: Path, line: str) -> None:
    with _lock:
        file = _files.get(path)
        if file is None:
            file = _files[path] = path.open("a", encoding="utf-8", errors="surrogateescape")
        file.write(line + "\n")
        file.flush()
