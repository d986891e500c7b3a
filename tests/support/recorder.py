"""A pytest plugin that records all that the app lets out during the run, and searches it at the end.

Every token and secret that the local stack issued must be nowhere in it: not in logs at debug level, not in audit
events, telemetry or answers. Every audit event must fit its JSON Schema. A finding is an error at the run's end.
"""

from __future__ import annotations

import json
import logging
import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jsonschema_rs
import pytest

from devstack import recording
from vending.audit_event import AUDIT_SCHEMA, SECURITY_SCHEMA

_OURS: Final = ("vending", "azure", "msal")
"""The loggers that matter of tests which run parts of the app in their own process."""
_RUN: Final = re.compile(r"[A-Za-z0-9_-]{24,}")
"""What a piece of a token looks like in a text; the dots between its parts and the quotes around it end a run."""
_HARMLESS: Final = re.compile(r"[0-9a-f-]+|[A-Z_]+|[a-z_]+|[a-z-]+")
"""Digests, UUIDs and words: base64url of two dozen characters or more always mixes cases."""
_EVENT: Final = re.compile(r"^(?:INFO|ERROR) vending\.audit (\{.*\})$", re.MULTILINE)


@dataclass(frozen=True)
class Leak:
    """A piece of a secret in a file of output; the text around it says what let it out."""

    file: str
    piece: str
    context: str


def find_leaks(directory: Path) -> list[Leak]:
    """Search all recorded output for pieces of recorded secrets."""
    secrets = set(_secrets(directory))
    haystack = "\n".join(secrets)
    short = {secret for secret in secrets if not _RUN.search(secret)}
    judged: dict[str, bool] = {}
    leaks = []
    for path in sorted(directory.glob(recording.OUTPUT)):
        text = path.read_text("utf-8", errors="replace")
        leaks += [_leak(path, text, text.index(secret), secret) for secret in short if secret in text]
        for found in _RUN.finditer(text):
            piece = found[0]
            if piece not in judged:
                judged[piece] = not _HARMLESS.fullmatch(piece) and piece in haystack
            if judged[piece]:
                leaks.append(_leak(path, text, found.start(), piece))
    return leaks


def _secrets(directory: Path) -> Iterator[str]:
    for path in directory.glob(recording.SECRETS):
        with path.open(encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                yield from (part for part in str(json.loads(line)).splitlines() if len(part) >= 6)


def _leak(path: Path, text: str, start: int, piece: str) -> Leak:
    before = text.rfind("\n", 0, start) + 1
    return Leak(path.name, piece[:12] + "…", text[max(before, start - 120) : start])


def events(texts: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Read all audit and security events out of logs."""
    for text in texts:
        for found in _EVENT.finditer(text):
            yield json.loads(found[1])


def find_misfits(directory: Path) -> tuple[Counter[str], list[str]]:
    """Check every recorded event against its schema; return how many there were of each kind, and what is wrong."""
    audit, security = jsonschema_rs.validator_for(AUDIT_SCHEMA), jsonschema_rs.validator_for(SECURITY_SCHEMA)
    seen: Counter[str] = Counter()
    wrong = []
    texts = (path.read_text("utf-8", errors="replace") for path in sorted(directory.glob(recording.OUTPUT)))
    for event in events(texts):
        seen[str(event.get("kind"))] += 1
        validator, order = (security, SECURITY_SCHEMA) if event.get("kind") == "security" else (audit, AUDIT_SCHEMA)
        wrong += [f"{error.message} at {list(error.instance_path)}" for error in validator.iter_errors(event)]
        if list(event) != list(order["properties"]):
            wrong.append(f"the fields are in another order: {list(event)}")
    return seen, wrong


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Name the directory to record in before anything starts; each worker of a parallel run has its own."""
    directory = tempfile.TemporaryDirectory(prefix="vending-recording-", ignore_cleanup_errors=True)
    config.add_cleanup(directory.cleanup)
    config.add_cleanup(recording.close)
    os.environ[recording.VARIABLE] = directory.name
    os.environ.setdefault("DEVSTACK_LOG_LEVEL", "DEBUG")


@pytest.fixture(scope="session", autouse=True)
def _nothing_secret_gets_out() -> Iterator[None]:
    """Record, and search at the very end: the first fixture of the run is the last to be finished."""
    directory = recording.directory()
    assert directory is not None
    handler = logging.FileHandler(directory / f"output-tests-{os.getpid()}.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
    for name in _OURS:
        logging.getLogger(name).addHandler(handler)
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield
    for name in _OURS:
        logging.getLogger(name).removeHandler(handler)
    handler.close()
    recording.close()
    leaks = find_leaks(directory)
    assert not leaks, f"{len(leaks)} pieces of secrets were let out, the first of them: {leaks[:5]}"
    _, wrong = find_misfits(directory)
    assert not wrong, f"{len(wrong)} audit events do not fit their schema, the first of them: {wrong[:5]}"
