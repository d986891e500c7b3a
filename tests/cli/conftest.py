"""Run the command line in this process, and write the files that it reads."""

from __future__ import annotations

import io
import json
import sys
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from vending.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

HEAD = """\
version: 1
audience: https://vend.contoso.example
registries:
  prod: {login_server: contoso.azurecr.io}
issuers:
  github: {preset: github}
"""

RULES = """\
rules:
  - name: web-release
    issuer: github
    when: {repository_id: "123456", ref: refs/heads/main}
    grant:
      - {registry: prod, repositories: [web/api], actions: [pull, push, metadata_read]}
"""


@dataclass(frozen=True)
class Ran:
    """What one run of the command line left behind."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Parse the output as JSON."""
        return json.loads(self.out)


class Run(Protocol):
    """Run the command line with these arguments."""

    def __call__(self, *arguments: object, stdin: bytes = b"") -> Ran:
        """Return status and output; a usage error that argparse finds counts as one."""


class Write(Protocol):
    """Write a file below the test's directory."""

    def __call__(self, name: str, text: str) -> Path:
        """Return its path; the text is dedented."""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line in this process."""
    for name in ("VENDING_CUSTOM_HOSTS", "VENDING_ALLOW_LOOPBACK", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)

    def run_it(*arguments: object, stdin: bytes = b"") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as exit_:
            status = int(str(exit_.code))
        captured = capsys.readouterr()
        return Ran(status, captured.out, captured.err)

    return run_it


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write files below the test's directory."""

    def write_it(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    return write_it


@pytest.fixture
def policy(write: Write) -> Path:
    """Write a policy with one rule and nothing to criticise."""
    return write("policy.yaml", HEAD + RULES)
