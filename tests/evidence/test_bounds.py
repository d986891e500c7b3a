"""However many events there are, and whatever callers chose: memory stays what it is, and what is left out is said."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.policy.language import compose, load_data
from vending.evidence.counts import Counts
from vending.evidence.replay import Entries, Entry, replay
from vending.evidence.report import QUESTIONS, could, denials

LONG = "x" * 16_000
"""What makes an event long: a few thousand of them weigh more than all else that a command holds."""


def an_event(number: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "kind": "token",
        "time": "2026-11-21T08:00:00.000+00:00",
        "outcome": "allow",
        "reason": None,
        "request_id": f"r{number}",
        "issuer": "github",
        "caller": [{"name": "repository_id", "value": f"{number}"}],
        "job": {"run_id": LONG},
        "registry": "contoso.azurecr.io",
        "scope": ["repository:web/api:pull"],
        "granted": ["repository:web/api:pull"],
        "missing": [],
        "rules": ["web"],
        "token_id": f"t{number}",
        "decided_on": {"repository_id": f"{number}"},
        **more,
    }


ASKED: dict[str, tuple[list[str], dict[str, Any]]] = {
    "grants": ([], {}),
    "token": (["t0"], {}),
    "repository": (["web/api"], {}),
    "caller": (["repository_id=0"], {}),
    "security": ([], {"kind": "security", "event": "registry_grant_wider", "details": []}),
}


@pytest.mark.parametrize("question", ASKED)
def test_a_row_about_one_event_is_made_when_that_event_was_read(question: str) -> None:
    arguments, more = ASKED[question]
    read: list[int] = []

    def events() -> Iterator[dict[str, Any]]:
        for number in range(10):
            read.append(number)
            yield an_event(number, **more)

    answer = QUESTIONS[question].answer(events(), arguments)
    assert next(iter(answer.rows))
    assert read == [0]


MEASURED = """
import re, sys
from pathlib import Path
from vending.cli.main import main

status = main(sys.argv[1:])
print(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1], file=sys.stderr)
sys.exit(status)
"""
"""The command, and then its peak. The one that `wait4` tells is at least what the process that started it holds."""


def peak_kib(arguments: list[str], lines: Iterator[str]) -> int:
    """Run the command on lines from a pipe and return the most memory that it held."""
    command = [sys.executable, "-c", MEASURED, "audit", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        with process.stdin as pipe:
            for line in lines:
                pipe.write(line.encode())
        *_, peak = process.stderr.read().split()
    assert process.returncode == 0
    return int(peak)


@pytest.mark.parametrize("format_", ["text", "json", "csv"])
def test_a_report_keeps_no_rows(format_: str) -> None:
    arguments = ["report", "grants", "--format", format_]
    number = 1_500
    few, many = (peak_kib(arguments, (json.dumps(an_event(n)) + "\n" for n in range(count))) for count in (100, number))
    # What the rows hold alone is more than 20 MiB.
    assert many - few < number * len(LONG) / 1024 / 2


@pytest.mark.parametrize("command", ["replay", "usage", "suggest"])
@pytest.mark.parametrize("repository_id", ["1", "2"], ids=["the rule's", "another"])
def test_four_times_as_many_events_take_no_more_memory(tmp_path: Path, command: str, repository_id: str) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps(compose(rules=[rule_for(repository_id)])))
    refused = {"outcome": "deny", "reason": "no_matching_rule"} if command == "suggest" else {}

    def lines(count: int) -> Iterator[str]:
        for number in range(count):
            told = {"repository_id": "1", "repository_owner_id": "1", "ref": f"refs/heads/{number % 5}"}
            yield json.dumps(an_event(number, decided_on=told, caller=[], **refused)) + "\n"

    few, many = (peak_kib([command, str(policy)], lines(number)) for number in (250, 1_000))
    # The 750 events more hold 11 MiB.
    assert many - few < 5 * 1024


def test_the_frequent_are_counted_however_many_rare_ones_there_are() -> None:
    counts: Counts[str, int] = Counts(100)
    for number in range(5_000):
        for kind in (f"rare-{number}", "often"):
            counts.add(kind)
            counts.keep(kind, number)
    listed = counts.most_common()
    assert len(listed) <= 100
    assert listed[0] == ("often", 5_000, 4_999)
    assert sum(number for _, number, _ in listed) + counts.left_out == 10_000


@pytest.mark.parametrize("ask", [denials, could], ids=["denials", "could"])
def test_what_a_count_leaves_out_is_said(ask: Any) -> None:
    refused = (
        an_event(number, outcome="deny", reason="no_matching_rule", missing=[f"repository:r{number}:pull"])
        for number in range(25_000)
    )
    answer = ask(refused, [])
    rows = list(answer.rows)
    counted = answer.columns.index("count" if ask is denials else "requests")
    assert len(rows) <= 20_000
    (note,) = answer.notes
    assert int(note.split()[0]) + sum(int(row[counted]) for row in rows) == 25_000


def test_requests_that_changed_are_kept_in_a_file_and_told_one_by_one() -> None:
    nothing = load_data(compose(rules=[{**rule_for("0"), "enabled": False}]))
    found = replay(nothing, (an_event(number) for number in range(3_000)))
    assert len(found.lost) == 3_000
    assert [entry["request_id"] for entry in found.lost] == [f"r{number}" for number in range(3_000)]
    assert [entry["was"] for entry in found.data()["lost"]] == ["allow"] * 3_000


def rule_for(repository_id: str) -> dict[str, Any]:
    return {
        "name": "web",
        "issuer": "github",
        "when": {"repository_id": repository_id},
        "grant": [{"registry": "prod", "repositories": ["web/api"], "actions": ["pull"]}],
    }


def test_groups_of_callers_have_a_bound_that_is_told() -> None:
    entries = Entries()
    for number in range(12_000):
        event = an_event(number)
        entries.add(Entry(event, "allow", "no_matching_rule", (), (), ""))
    groups = entries.groups()
    assert len(groups) <= 5_000
    assert sum(number for _, number in groups) + entries.left_out == len(entries) == 12_000
    assert entries.callers.startswith("more than ")


@pytest.mark.parametrize("name", ["one.jsonl", "two.jsonl.gz"])
def test_nothing_is_printed_before_it_is_known_that_every_file_is_there(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from vending.cli.main import main

    there = tmp_path / "there.jsonl"
    there.write_text(json.dumps(an_event()) + "\n")
    assert main(["audit", "report", "grants", "--events", str(there), str(tmp_path / name)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert name in captured.err
