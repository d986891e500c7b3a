"""Every command of the Azure CLI on a page, in a workflow or in a program of ours is one that the Azure CLI takes.

`az-commands.json` is the Azure CLI's own table of the commands used here: options, which of them are required, and
their values where they are few. It was read from the version that it names; an extension's commands are not in it.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.infra.toolbox import HERE, ROOT, succeed

TABLE: dict[str, Any] = json.loads((HERE / "az-commands.json").read_text())
COMMANDS: dict[str, dict[str, dict[str, Any]]] = TABLE["commands"]
GLOBAL = {"--output", "-o", "--query", "--subscription", "--only-show-errors", "--debug", "--verbose"}
PLACES = (
    "docs/*.md",
    "*.md",
    ".github/workflows/*.yml",
    "infra/**/*.md",
    "vending/cli/*.py",
    "infra/*.py",
    "vending/starter/files/github/*.yml",
)
# Commands of extensions, which the Azure CLI installs when it is asked by somebody at a terminal.
EXTENSIONS = {"monitor app-insights query", "monitor log-analytics query"}
CALL = re.compile(r"(?<![\w./-])az ((?:[a-z][a-z-]+ )+)(.*)")


def texts() -> list[tuple[str, str]]:
    """Give each file with its continued lines joined."""
    names = succeed(["git", "ls-files", *PLACES]).splitlines()
    return [(name, re.sub(r"\\\n\s*", "", (ROOT / name).read_text())) for name in names if (ROOT / name).is_file()]


def calls() -> list[tuple[str, str, str]]:
    """Give file, command and what follows it, up to where the command ends."""
    found = []
    for name, text in texts():
        for line in text.splitlines():
            for match in re.finditer(CALL, line):
                rest = re.split(r"`| && | \| |; |\)\"|\)$|\)' ", match[2])[0]
                found.append((name, match[1].strip(), rest))
    return found


def command_of(words: str) -> str:
    """Find the command at the beginning of `words`; prose that only mentions one may go on."""
    return max((each for each in COMMANDS if f"{words} ".startswith(f"{each} ")), key=len, default="")


CALLS = [call for call in calls() if call[2].startswith("-") and call[1] not in EXTENSIONS]


def wrong(command: str, rest: str) -> list[str]:
    """Say what the Azure CLI would refuse."""
    known = COMMANDS[command]
    plain = re.sub(r"'[^']*'|\"[^\"]*\"", '"x"', rest)
    given = re.findall(r"(?:^|\s)(--?[a-z][a-z-]*)(?:[ =](\S+))?", plain)
    found = [f"no option {name}" for name, _ in given if name not in known and name not in GLOBAL]
    for name, value in given:
        choices = known.get(name, {}).get("choices")
        if choices and value and value[0] not in '$"<' and value not in choices:
            found.append(f"{name} is one of {choices}")
    return found


def test_there_are_commands() -> None:
    assert len(CALLS) > 30
    assert {name for name, _, _ in CALLS} >= {"docs/deploy.md", ".github/workflows/infra.yml"}


@pytest.mark.parametrize(("name", "command", "rest"), CALLS, ids=[f"{n}: {c}" for n, c, _ in CALLS])
def test_the_azure_cli_takes_it(name: str, command: str, rest: str) -> None:
    known = command_of(command)
    assert known, f"{name}: the table has no command `az {command}`"
    assert wrong(known, rest) == [], f"{name}: az {command} {rest}"


@pytest.mark.parametrize(
    ("command", "rest", "says"),
    [
        ("stack group create", "--name a --resource-group b --deny-setting none", "no option --deny-setting"),
        ("stack group create", "--action-on-unmanage deleteNothing", "--action-on-unmanage is one of"),
    ],
)
def test_a_mistake_is_found(command: str, rest: str, says: str) -> None:
    assert any(says in each for each in wrong(command, rest))


def test_an_extension_is_named_where_it_is_needed() -> None:
    """A runner asks nobody, so a workflow adds the extension first; somebody at a terminal is asked."""
    text = dict(texts())
    used = [(name, command.split()[1]) for name, command, _ in calls() if command in EXTENSIONS]
    assert used
    for name, group in used:
        extension = group.replace("app-insights", "application-insights")
        said = f"az extension add --name {extension}" if name.endswith(".yml") else f"extension `{extension}`"
        assert said in text[name], name


def test_the_version_is_the_page_s() -> None:
    page = " ".join((ROOT / "docs" / "deploy.md").read_text().split())
    assert f"Azure CLI {TABLE['version']}" in page
