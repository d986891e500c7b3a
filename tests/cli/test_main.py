"""The frame: help for everything, exit statuses, output that fits where it goes."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import HEAD, RULES
from tests.docs.markdown import ROOT
from vending import __version__
from vending.cli.commands import COMMANDS
from vending.cli.main import PROGRAM, build_parser

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run, Write

NAMES = list(COMMANDS)


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in NAMES)], ids=" ".join)
def test_everything_has_help_with_its_exit_statuses(run: Run, arguments: list[str]) -> None:
    ran = run(*arguments)
    assert ran.status == 0
    assert "exit status:" in ran.out.lower()
    assert ran.err == ""


def test_help_names_every_command(run: Run) -> None:
    out = run("--help").out
    assert [name for name in NAMES if f"    {name} " not in out] == []


def test_every_option_has_help() -> None:
    parsers = [build_parser()]
    for action in parsers[0]._actions:
        if isinstance(action.choices, dict):
            parsers += action.choices.values()
    bare = [
        (parser.prog, action.dest)
        for parser in parsers
        for action in parser._actions
        if not action.help and action.dest != "command"
    ]
    assert len(parsers) == len(COMMANDS) + 1
    assert bare == []


def test_version_is_the_packages(run: Run) -> None:
    assert run("--version").out == f"acr-token-vending {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["frobnicate"],
        ["check"],
        ["check", "missing.yaml"],
        ["check", "policy.yaml", "--form", "json"],
        ["check", "policy.yaml", "--format", "xml"],
        ["compile", "policy.yaml", "-o", "out.json"],
        ["compile", "."],
        ["test", "policy.yaml"],
        ["test", "policy.yaml", "missing.yaml"],
        ["explain", "policy.yaml"],
        ["explain", "policy.yaml", "--claims", "missing.json"],
        ["explain", "policy.yaml", "--claims", "-", "--token", "-"],
        ["explain", "missing.yaml", "--claims", "-"],
    ],
    ids=lambda arguments: " ".join(arguments) or "nothing",
)
def test_a_wrong_call_exits_with_2_and_says_why_on_stderr(
    run: Run, policy: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(policy.parent)
    ran = run(*arguments)
    assert ran.status == 2
    assert ran.out == ""
    assert "error: " in ran.err


def test_wrong_settings_are_named(run: Run, policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENDING_ALLOW_LOOPBACK", "yes")
    ran = run("check", policy)
    assert (ran.status, ran.out) == (2, "")
    assert "VENDING_ALLOW_LOOPBACK" in ran.err


_WITHOUT_RICH = """
import sys
sys.modules["rich.console"] = None  # What an installation of the app alone has.
from vending.cli.main import main
sys.exit(main())
"""


def _python(
    *arguments: object, stdout: int, environment: dict[str, str] | None = None, rich: bool = True
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, *(["-m", "vending"] if rich else ["-c", _WITHOUT_RICH]), *map(str, arguments)],
        cwd=ROOT,
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": "100", **(environment or {})},
    )


def _on_a_terminal(*arguments: object, rich: bool = True) -> str:
    """Run the program on a terminal of its own and return what it shows."""
    ours, theirs = pty.openpty()
    environment = {"TERM": "xterm-256color", "NO_COLOR": ""}
    process = _python(*arguments, stdout=theirs, environment=environment, rich=rich)
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # Linux: the other end was closed.
            break
        if not piece:
            break
        shown += piece
    process.communicate()
    os.close(ours)
    return shown.decode()


def test_a_terminal_gets_colours_and_a_table(write: Write) -> None:
    path = write("policy.yaml", HEAD + RULES.replace("refs/heads/main", "main"))
    shown = _on_a_terminal("check", path)
    assert "\x1b[33m" in shown
    assert "what to do" in shown
    assert "─" in shown


def test_a_terminal_gets_plain_lines_where_rich_is_not_installed(policy: Path) -> None:
    shown = _on_a_terminal("check", policy, rich=False)
    assert shown == f"{policy}: fine (1 rule, 0 deny entries)\r\n"


def test_a_terminal_is_not_driven_by_what_a_file_holds(policy: Path, write: Write) -> None:
    claims = write("claims.json", '{"repository_id": "\\u001b]0;owned\\u0007", "ref": "[bold]x[/bold]"}')
    shown = _on_a_terminal("explain", policy, "--claims", claims)
    assert "\x1b]0" not in shown
    assert "[bold]x[/bold]" in shown


def test_a_pipe_gets_plain_lines(write: Write) -> None:
    path = write("policy.yaml", HEAD + RULES.replace("refs/heads/main", "main"))
    process = _python("check", path, stdout=subprocess.PIPE)
    out, err = process.communicate()
    assert (process.returncode, err) == (0, b"")
    first, last = out.decode().splitlines()
    assert first.startswith(f"{path}:10:42: warning: no token has 'main' in ref")
    assert first.endswith("[impossible_value]")
    assert last == f"{path}: 1 warning (1 rule, 0 deny entries)"


def test_a_reader_that_leaves_early_hears_no_complaint() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = _python("schema", stdout=writer)
    os.close(writer)
    _, err = process.communicate()
    assert err == b""


def test_the_program_is_called_as_its_help_says() -> None:
    assert build_parser().prog == PROGRAM


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_a_completion_script_knows_every_command(run: Run, shell: str) -> None:
    ran = run("--print-completion", shell)
    assert (ran.status, ran.err) == (0, "")
    assert [name for name in NAMES if name not in ran.out] == []
