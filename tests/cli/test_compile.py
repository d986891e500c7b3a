"""`compile`: what is written, where, and when nothing is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import HEAD, RULES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run, Write


@pytest.fixture
def teams(write: Write) -> Path:
    """Write a directory of two files."""
    write("teams/web.yaml", RULES)
    return write("teams/base.yaml", HEAD).parent


def test_what_is_compiled_loads_and_decides_alike(run: Run, teams: Path, tmp_path: Path, write: Write) -> None:
    output = tmp_path / "policy.json"
    ran = run("compile", teams, "-o", output)
    assert ran.status == 0
    sha256 = run("check", "--format", "json", output).json["policies"][0]["sha256"]
    assert ran.out == f"{output}: 1 rule, sha256 {sha256}\n"
    claims = write("claims.json", '{"repository_id": "123456", "ref": "refs/heads/main"}')
    explained = [run("explain", policy, "--claims", claims, "--format", "json").json for policy in (teams, output)]
    assert [answer["granted"] for answer in explained] == [["repository:web/api:pull,push,metadata_read"]] * 2


def test_an_entry_keeps_the_file_and_line_where_it_was_written(
    run: Run, teams: Path, tmp_path: Path, write: Write
) -> None:
    write("teams/web.yaml", RULES.replace("refs/heads/main", "main"))
    run("compile", teams, "-o", tmp_path / "policy.json")
    (problem,) = run("check", "--format", "json", tmp_path / "policy.json").json["policies"][0]["problems"]
    assert (problem["file"], problem["line"]) == ("web.yaml", 2)


def test_the_same_directory_compiles_to_the_same_bytes(run: Run, teams: Path, tmp_path: Path) -> None:
    run("compile", teams, "-o", tmp_path / "a.json")
    run("compile", teams, "-o", tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_errors_leave_the_old_file_alone(run: Run, teams: Path, tmp_path: Path, write: Write) -> None:
    output = write("policy.json", "old")
    web = write("teams/web.yaml", RULES.replace("issuer: github", "issuer: gitlab"))
    ran = run("compile", teams, "-o", output)
    assert ran.status == 1
    assert ran.out.startswith(f"{web}:3:13: error: ")
    assert output.read_text(encoding="utf-8") == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"policy.json", "teams"}


def test_a_dash_writes_to_standard_output(run: Run, teams: Path) -> None:
    ran = run("compile", teams, "-o", "-")
    assert json.loads(ran.out)["rules"][0]["name"] == "web-release"


def test_json_format_says_what_was_written(run: Run, teams: Path, tmp_path: Path) -> None:
    output = tmp_path / "policy.json"
    said = run("compile", teams, "-o", output, "--format", "json").json
    assert said.keys() == {"file", "sha256", "bytes", "rules"}
    assert said["bytes"] == output.stat().st_size


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("policy.yaml", "must end in .json"),
        ("teams/policy.json", "would be part of the policy next time"),
        ("nowhere/policy.json", "No such file or directory"),
    ],
    ids=["not-json", "inside", "no-directory"],
)
def test_an_output_that_would_not_work_is_refused(
    run: Run, teams: Path, tmp_path: Path, output: str, says: str
) -> None:
    ran = run("compile", teams, "-o", tmp_path / output)
    assert ran.status == 2
    assert says in ran.err
