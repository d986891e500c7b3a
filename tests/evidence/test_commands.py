"""The audit commands as people call them."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.evidence.recording import JOB, OTHER, record
from tests.policy.language import NOW, compose, deny, grant, load_data, rule
from vending.acr.scope import parse as parse_scopes
from vending.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

PULL_REQUEST = {**JOB, "event_name": "pull_request", "ref": "refs/pull/1/merge"}
PUSH = parse_scopes("repository:web/new:pull,push")


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(compose(rules=[OTHER])))
    return file


def write(tmp_path: Path, policy: Path, tokens: list[dict[str, Any]]) -> Path:
    loaded = load_data(json.loads(policy.read_text()))
    file = tmp_path / "events.jsonl"
    recorded = [record(loaded, claims, PUSH, NOW, issuer="github")[0] for claims in tokens]
    file.write_text("".join(json.dumps(event) + "\n" for event in recorded))
    return file


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    status = main(list(arguments))
    return status, json.loads(capsys.readouterr().out)


def test_a_suggestion_is_as_narrow_as_what_was_seen(
    tmp_path: Path, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = write(tmp_path, policy, [JOB, JOB])
    _, data = run(capsys, "audit", "suggest", str(policy), "--events", str(events), "--format", "json")
    (suggested,) = data["rules"]
    assert suggested["when"]["repository_id"] == "7"
    assert suggested["when"]["ref"] == "refs/heads/main"
    assert suggested["grant"] == [{"registry": "prod", "repositories": ["web/new"], "actions": ["pull", "push"]}]
    beside = compose(rules=[suggested])
    (tmp_path / "new.json").write_text(json.dumps(beside))
    assert main(["check", "--strict", str(tmp_path / "new.json")]) == 0
    capsys.readouterr()
    assert main(["audit", "suggest", str(policy), "--events", str(events)]) == 0
    text = capsys.readouterr().out
    assert "may have been an attack" in text
    assert 'repository_id: "7"' in text


@pytest.mark.parametrize("tokens", [[JOB], [PULL_REQUEST, PULL_REQUEST]], ids=["a stranger once", "a pull request"])
def test_strangers_and_pull_requests_are_left_out(
    tmp_path: Path, policy: Path, capsys: pytest.CaptureFixture[str], tokens: list[dict[str, Any]]
) -> None:
    events = write(tmp_path, policy, tokens)
    _, data = run(capsys, "audit", "suggest", str(policy), "--events", str(events), "--format", "json")
    assert data["rules"] == []


def test_what_a_deny_takes_away_hides_nothing_else_that_the_caller_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps(compose(rules=[OTHER], deny=[deny("no-deletes", "**", actions="delete")])))
    loaded = load_data(json.loads(policy.read_text()))
    asked = [PUSH, parse_scopes("repository:web/new:delete")]
    events = tmp_path / "events.jsonl"
    recorded = [record(loaded, JOB, scopes, NOW, issuer="github")[0] for scopes in asked]
    events.write_text("".join(json.dumps(event) + "\n" for event in recorded))
    _, data = run(capsys, "audit", "suggest", str(policy), "--events", str(events), "--format", "json")
    (suggested,) = data["rules"]
    assert suggested["grant"] == [{"registry": "prod", "repositories": ["web/new"], "actions": ["pull", "push"]}]
    assert "from 1 recorded request;" in suggested["description"]


def test_replay_fails_on_what_it_is_told(tmp_path: Path, policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = write(tmp_path, policy, [JOB])
    wider = tmp_path / "wider.json"
    granted = rule("new", grant("web/new"), when={k: JOB[k] for k in ("repository_id", "ref")})
    wider.write_text(json.dumps(compose(rules=[granted])))
    common = ["audit", "replay", str(wider), "--events", str(events), "--format", "json"]
    status, data = run(capsys, *common)
    assert (status, len(data["gained"]), data["lost"]) == (0, 1, [])
    assert run(capsys, *common, "--fail-on", "gained")[0] == 1
    assert run(capsys, *common, "--fail-on", "lost")[0] == 0
    assert run(capsys, *common, "--fail-on", "any")[0] == 1


def test_a_formula_becomes_text_in_a_spreadsheet(
    tmp_path: Path, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = write(tmp_path, policy, [JOB])
    event = json.loads(events.read_text())
    for value in ("=HYPERLINK(1)", "+1", "-1", "@x", "\t=1", "\x1b]0;title\x07"):
        event |= {"outcome": "allow", "reason": None, "token_id": value, "granted": ["repository:web/new:pull"]}
        events.write_text(json.dumps(event))
        assert main(["audit", "report", "grants", "--events", str(events), "--format", "csv"]) == 0
        (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
        assert row["token_id"][0] not in "=+-@\t\x1b"


def test_a_table_without_rows_is_a_table_in_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = tmp_path / "empty"
    empty.write_text("no event\n")
    assert main(["audit", "report", "denials", "--events", str(empty), "--format", "csv"]) == 1
    captured = capsys.readouterr()
    assert captured.out == "count,outcome,reason,issuer,caller,last\n"
    assert "1 other line left out" in captured.err


def test_usage_says_where_the_events_do_not_cover_the_period(
    tmp_path: Path, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty"
    empty.write_text("")
    assert main(["audit", "usage", str(policy), "--events", str(empty)]) == 0
    assert "nothing can be said" in capsys.readouterr().out
    assert main(["audit", "usage", str(policy), "--events", str(empty), "--format", "json"]) == 0
    assert "nothing can be said" in capsys.readouterr().err
    assert main(["audit", "usage", str(policy), "--since", "90", "--events", str(empty)]) == 2


@pytest.mark.parametrize(
    "arguments",
    [["report", "token"], ["report", "grants", "x"], ["report", "caller"], ["report", "grants", "--events", "missing"]],
    ids=" ".join,
)
def test_a_wrong_call_is_a_usage_error(arguments: list[str]) -> None:
    assert main(["audit", *arguments]) == 2
