"""What an author sees in an editor: the language server of VS Code's YAML extension, with the shipped schemas."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devstack import tools
from tests.docs.markdown import ROOT
from vending.policy.language.json_schema import PART_SCHEMA_FILE, SCHEMA_FILE, TESTS_SCHEMA_FILE
from vending.starter import PLATFORMS, contents, write

_PATIENCE_SECONDS = 60
_SETTINGS = {"validate": True, "schemaStore": {"enable": False}}


class Editor:
    """Speak the Language Server Protocol (3.17) over the server's standard streams, as far as diagnostics need it."""

    def __init__(self) -> None:
        node = tools.ensure(tools.NODE)
        server = tools.ensure(tools.YAML_LANGUAGE_SERVER)
        self._process = subprocess.Popen([node, server, "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._impatience = threading.Timer(_PATIENCE_SECONDS, self._process.kill)
        self._impatience.start()
        capabilities = {"textDocument": {"publishDiagnostics": {}}, "workspace": {"configuration": True}}
        self._send(id=1, method="initialize", params={"processId": None, "rootUri": None, "capabilities": capabilities})
        self._receive_until(lambda message: message.get("id") == 1 and "method" not in message)
        self._send(method="initialized", params={})
        self._send(method="workspace/didChangeConfiguration", params={"settings": {"yaml": _SETTINGS}})

    def diagnostics(self, path: Path) -> list[dict[str, Any]]:
        """Open a file and return what the server says about it, in its order."""
        uri = path.as_uri()
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": path.read_text("utf-8")}
        self._send(method="textDocument/didOpen", params={"textDocument": document})
        answer = self._receive_until(
            lambda message: (
                message.get("method") == "textDocument/publishDiagnostics" and message["params"]["uri"] == uri
            )
        )
        found: list[dict[str, Any]] = answer["params"]["diagnostics"]
        return found

    def close(self) -> None:
        self._impatience.cancel()
        self._process.kill()
        self._process.communicate()

    def _send(self, **message: Any) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self._process.stdin.flush()

    def _receive_until(self, wanted: Any) -> dict[str, Any]:
        while True:
            message = self._receive()
            if wanted(message):
                return message
            if "method" in message and "id" in message:
                items = message.get("params", {}).get("items", ())
                result = [_SETTINGS if item.get("section") == "yaml" else None for item in items]
                self._send(id=message["id"], result=result or None)

    def _receive(self) -> dict[str, Any]:
        stream = self._process.stdout
        assert stream is not None
        length = 0
        while (line := stream.readline().strip()) or not length:
            assert line, "the language server is gone"
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        message: dict[str, Any] = json.loads(stream.read(length))
        return message


@pytest.fixture
def editor() -> Iterator[Editor]:
    opened = Editor()
    yield opened
    opened.close()


SHIPPED = sorted([ROOT / "policy.yaml", ROOT / "policy.tests.yaml", *(ROOT / "examples").glob("**/*.yaml")])


def test_shipped_files_show_no_error_and_say_their_schema(editor: Editor) -> None:
    assert SHIPPED
    for path in SHIPPED:
        assert path.read_text("utf-8").startswith("# yaml-language-server: $schema="), path
        assert editor.diagnostics(path) == [], path


def test_files_of_a_new_policy_repository_show_no_error(editor: Editor, tmp_path: Path) -> None:
    service, registry = "https://vend.contoso.example", "contoso.azurecr.io"
    write(tmp_path, contents(PLATFORMS, service=service, registry=registry))
    paths = sorted([*(tmp_path / "policy").glob("*.yaml"), *(tmp_path / "tests").glob("*.yaml")])
    assert len(paths) > 2
    for path in paths:
        assert editor.diagnostics(path) == [], path


POLICY = """\
# yaml-language-server: $schema=policy.schema.json
version: 1
audience: https://vend.contoso.example
registries:
  prod: {login_server: contoso.azurecr.io}
issuers:
  github: {preset: github}
"""
RULES = """\
rules:
  - name: web
    issuer: github
    when:
      repository_id: "1"
      ref: refs/heads/main
    grant:
      - registry: prod
        repositories: [web/api]
        actions: [pull, push]
"""
PART = "# yaml-language-server: $schema=policy.part.schema.json\n" + RULES

MISTAKES = [
    ("actions: [pull, push]", "actions: [pull, pushh]", "pushh"),
    ("actions: [pull, push]", "actions: pull", "pull"),
    ("    issuer: github", "    isuer: github", "isuer"),
    ("web/api", "Web/api", "Web/api"),
    ('repository_id: "1"', "repository_id: 1", "1"),
    ("ref: refs/heads/main", "ref: [true]", "true"),
    ("    when:\n", "    expires: tomorrow\n    when:\n", "tomorrow"),
    ("    when:\n", "    mode: dry-run\n    when:\n", "dry-run"),
    ("    when:\n", "    enabled: 1\n    when:\n", "1"),
    ("registry: prod", "registry: contoso.azurecr.io", "contoso.azurecr.io"),
    ("  - name: web", "  - name: web release", "web release"),
]
"""What is written in place of what, and the text at which the editor shows it."""


@pytest.mark.parametrize("text", [POLICY + RULES, PART], ids=["policy", "part"])
def test_mistakes_are_shown_where_they_are(editor: Editor, tmp_path: Path, text: str) -> None:
    for file in (SCHEMA_FILE, PART_SCHEMA_FILE):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "right.yaml").write_text(text)
    assert editor.diagnostics(tmp_path / "right.yaml") == []
    for number, (right, wrong, at) in enumerate(MISTAKES):
        path = tmp_path / f"{number}.yaml"
        assert text.count(right) == 1, right
        path.write_text(text.replace(right, wrong))
        shown = [places(path, diagnostic) for diagnostic in editor.diagnostics(path)]
        assert at in shown, (wrong, shown)


@pytest.mark.parametrize(
    ("right", "wrong", "at"),
    [
        ("audience: https://vend.contoso.example", "audience: vend.contoso.example", "vend.contoso.example"),
        ("preset: github", "preset: git", "git"),
        ("login_server: contoso.azurecr.io", "login_server: https://contoso.azurecr.io", "https://contoso.azurecr.io"),
        ("version: 1", "version: 2", "2"),
        ("registries:", "registry:", "registry"),
    ],
)
def test_mistakes_in_the_head_are_shown_where_they_are(
    editor: Editor, tmp_path: Path, right: str, wrong: str, at: str
) -> None:
    (tmp_path / SCHEMA_FILE.name).write_bytes(SCHEMA_FILE.read_bytes())
    path = tmp_path / "policy.yaml"
    path.write_text((POLICY + RULES).replace(right, wrong, 1))
    assert at in [places(path, diagnostic) for diagnostic in editor.diagnostics(path)]


TESTS = """\
# yaml-language-server: $schema=policy.tests.schema.json
tests:
  - name: main may push
    issuer: github
    claims: {repository_id: "1", ref: refs/heads/main, exp: null}
    scope: repository:web/api:push
    at: 2027-01-01T08:00:00Z
    expect: allow
"""


@pytest.mark.parametrize(
    ("right", "wrong", "at"),
    [
        ("expect: allow", "expect: granted", "granted"),
        ("expect: allow", "expect: deny\n    reason: no_rule", "no_rule"),
        ("    scope:", "    scopes:", "scopes"),
        ("issuer: github", "issuer: https://github.com", "https://github.com"),
        ("scope: repository:web/api:push", "scope: [push]", "[push]"),
        ("name: main may push", "name: 1", "1"),
    ],
)
def test_mistakes_in_tests_are_shown_where_they_are(
    editor: Editor, tmp_path: Path, right: str, wrong: str, at: str
) -> None:
    (tmp_path / TESTS_SCHEMA_FILE.name).write_bytes(TESTS_SCHEMA_FILE.read_bytes())
    path = tmp_path / "policy.tests.yaml"
    path.write_text(TESTS)
    assert editor.diagnostics(path) == []
    other = tmp_path / "wrong.tests.yaml"
    other.write_text(TESTS.replace(right, wrong, 1))
    assert at in [places(other, diagnostic) for diagnostic in editor.diagnostics(other)]


def places(path: Path, diagnostic: dict[str, Any]) -> str:
    """Return the text that a diagnostic is about."""
    start, end = diagnostic["range"]["start"], diagnostic["range"]["end"]
    line = path.read_text("utf-8").split("\n")[start["line"]]
    return str(line[start["character"] : end["character"] if end["line"] == start["line"] else None])
