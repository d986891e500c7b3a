"""docs/policy-repository.md is true: its commands run as they are written, and print what the page shows."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from devstack.entra.authority import Application, FederatedCredential
from devstack.stack import Stack
from tests.docs.markdown import ROOT, blocks
from tests.packaging.runners import install_az

if TYPE_CHECKING:
    from devstack.stack import Upstreams
    from tests.support.azurite import Azurite

pytestmark = pytest.mark.process

PAGE = ROOT / "docs" / "policy-repository.md"
BLOB = "https://contosopolicy.blob.core.windows.net/policy/policy.json"
SERVICE = "https://vend.contoso.example"
REGISTRY = "contoso.azurecr.io"


@dataclass(frozen=True)
class Command:
    """A command of the page, and what it shows of the output."""

    line: int
    text: str
    shown: list[str]


def commands() -> list[Command]:
    """Read the transcript: lines after `$ ` are commands, with `> ` they go on, and all others are output."""
    found: list[Command] = []
    for block in blocks(PAGE):
        if block.language != "console":
            continue
        for number, line in enumerate(block.text.splitlines(), block.line):
            if line.startswith("$ "):
                found.append(Command(number, line[2:], []))
            elif line.startswith("> "):
                last = found.pop()
                found.append(Command(last.line, f"{last.text}\n{line[2:]}", []))
            else:
                found[-1].shown.append(line)
    return found


def matches(shown: list[str], printed: str) -> bool:
    """Compare; `…` takes the place of a part of a line, and alone on a line of some of them."""
    lines = ("(?:.*\n)*?" if line == "…" else ".*".join(map(re.escape, line.split("…"))) + "\n" for line in shown)
    ended = printed if printed.endswith("\n") or not printed else f"{printed}\n"
    return re.fullmatch("".join(lines), ended) is not None


def transcript(given: list[Command], environment: Mapping[str, str], cwd: Path) -> Iterator[tuple[Command, str]]:
    """Run the commands in one shell; yield each with what it printed on both streams."""
    # A prompt between two commands leaves the status of the first to the second.
    script = "".join(f"status=$?; printf '\\036'; (exit $status)\n{command.text}\n" for command in given)
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-c", script],
        cwd=cwd,
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=540,
        check=False,
    )
    _, *printed = done.stdout.split("\x1e")
    return zip(given, printed, strict=True)


@pytest.fixture
def addresses(upstreams: Upstreams, azurite: Azurite) -> Iterator[dict[str, str]]:
    """Contoso's addresses and this machine's; the service runs with a policy that grants nothing."""
    nothing = f'{{"version": 1, "audience": "{SERVICE}", "registries": {{"prod": {{"login_server": "{REGISTRY}"}}}}, '
    nothing += '"issuers": {"github": {"preset": "github"}}, "rules": []}'
    blob = azurite.new_blob("policy.json", nothing.encode())
    settings = {
        "VENDING_POLICY": blob,
        "VENDING_POLICY_REFRESH_SECONDS": "1",
        "SSL_CERT_FILE": str(upstreams.ca.ca_file),
    }
    with Stack(upstreams, settings=settings) as service:
        yield {BLOB: blob, SERVICE: service.url, REGISTRY: upstreams.registry.login_server}


def editor(directory: Path, upstreams: Upstreams) -> Path:
    """Write the hands of whoever edits the files: the addresses become those of this machine."""
    program = directory / "editor"
    issuer = f'{{preset: github, issuer: "{upstreams.issuers.github.url}"}}'
    changes = [
        f"s#{{preset: github}}#{issuer}#",
        f"s#{REGISTRY}#{upstreams.registry.login_server}#",
        f"s#{SERVICE}#{upstreams.audience}#",
    ]
    program.write_text("#!/bin/sh\nexec sed -i " + " ".join(f"-e '{change}'" for change in changes) + ' "$@"\n')
    program.chmod(0o755)
    return program


@pytest.fixture
def environment(upstreams: Upstreams, offline: Mapping[str, str], tmp_path: Path) -> dict[str, str]:
    """An engineer's machine: a login at Azure, an editor, a name for git, and a token of the job that is granted."""
    ca = str(upstreams.ca.ca_file)
    programs = tmp_path / "programs"
    programs.mkdir()
    install_az(programs, Path(sys.executable))
    somebody = upstreams.issuers.github
    trusted = FederatedCredential(somebody.url, "somebody", lambda: somebody.keys)
    login = {
        "client": upstreams.authority.register(Application(federated=[trusted])).client_id,
        "tenant": upstreams.tenant.tenant_id,
        "assertion": somebody.token(audience="api://AzureADTokenExchange", claims={"sub": "somebody"}),
    }
    upstreams.authority.resources.add("https://storage.azure.com")
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@contoso.example\n")
    return {
        **offline,
        "PATH": f"{programs}:{Path(sys.base_prefix, 'bin')}:{os.environ['PATH']}",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "EDITOR": str(editor(programs, upstreams)),
        "AZ_SOMEBODY": json.dumps(login),
        "VENDING_ALLOW_LOOPBACK": "1",
        "SSL_CERT_FILE": ca,
        "REQUESTS_CA_BUNDLE": ca,
        "AZURE_AUTHORITY_HOST": f"https://{upstreams.authority.host}",
    }


def test_the_way_from_an_empty_folder_to_a_policy_in_force(
    upstreams: Upstreams, addresses: dict[str, str], environment: dict[str, str], tmp_path: Path
) -> None:
    place = tmp_path / "empty"
    place.mkdir()
    release = {"ref": "refs/heads/main", "ref_protected": "true", "event_name": "push"}
    (place / "job-token").write_text(upstreams.issuers.github.token(claims=release))
    given = [replace(command, text=swapped(command.text, addresses)) for command in commands()]
    assert len(given) > 30
    for command, printed in transcript(given, environment, place):
        there = swapped(printed, {real: name for name, real in addresses.items()})
        assert matches(command.shown, there), f"line {command.line}: {command.text}\n{there}"
    answer = json.loads((place / "access" / "answer.json").read_text())
    assert answer["scope"] == "repository:web/ui:pull"


def swapped(text: str, pairs: Mapping[str, str]) -> str:
    """Put one address in place of another."""
    for old, new in pairs.items():
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize(
    ("shown", "printed", "expected"),
    [
        (["a … c"], "a b c\n", True),
        (["a", "…", "z"], "a\nb\nc\nz\n", True),
        (["a"], "a\nb\n", False),
        (["a.c"], "abc\n", False),
        ([], "said\n", False),
    ],
)
def test_what_is_printed_is_compared(shown: list[str], printed: str, expected: bool) -> None:
    assert matches(shown, printed) is expected
