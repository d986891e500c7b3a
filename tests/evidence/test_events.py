"""Events from everything that people export, and nothing from anything else."""

from __future__ import annotations

import csv
import gzip
import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from vending.evidence.events import Tally, read

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EVENTS: list[dict[str, Any]] = [
    {"kind": "token", "request_id": f"r{number}", "time": f"2026-11-21T08:00:0{number}Z", "user_agent": 'a"b,c\nd{'}
    for number in range(5)
]
LINES = [json.dumps(event) for event in EVENTS]


def as_csv(rows: list[str]) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["TimeGenerated", "Message"])
    writer.writerows([["2026-11-21", row] for row in rows])
    return out.getvalue()


def as_tables(rows: list[str]) -> str:
    columns = [{"name": "TimeGenerated", "type": "datetime"}, {"name": "Message", "type": "string"}]
    return json.dumps({"tables": [{"name": "PrimaryResult", "columns": columns, "rows": [["t", row] for row in rows]}]})


FORMATS: dict[str, Callable[[list[str]], str]] = {
    "lines": "\n".join,
    "prefixed": lambda rows: "\n".join(f"[2026-11-21T08:00:00Z] INFO vending: {row}" for row in rows),
    "application insights": lambda rows: "\n".join(json.dumps({"timestamp": "t", "message": row}) for row in rows),
    "az": lambda rows: json.dumps([{"TableName": "PrimaryResult", "Message": row} for row in rows], indent=2),
    "csv": as_csv,
    "tables": as_tables,
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzipped"])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_events(tmp_path: Path, name: str, packed: bool) -> None:
    data = FORMATS[name](LINES).encode()
    file = tmp_path / "events"
    file.write_bytes(gzip.compress(data) if packed else data)
    tally = Tally()
    assert list(read([str(file)], tally)) == EVENTS
    assert (tally.events, tally.others, tally.cut) == (5, 0, 0)
    assert (tally.first, tally.last) == (EVENTS[0]["time"], EVENTS[-1]["time"])


def test_what_is_no_event_and_what_was_cut_is_counted(tmp_path: Path) -> None:
    file = tmp_path / "events"
    cut = LINES[0][:-5]
    file.write_text(
        "\n".join(["garbage", '{"a": 1}', '{"kind": "token"', "", cut, LINES[1], '{"kind": "token", "time": "x"}'])
    )
    tally = Tally()
    assert list(read([str(file)], tally)) == [EVENTS[1]]
    assert (tally.others, tally.cut) == (4, 1)
    assert any("cut" in text for text in tally.lines())


def test_an_export_that_ends_at_a_limit_says_so(tmp_path: Path) -> None:
    file = tmp_path / "events"
    file.write_text("\n".join(LINES[:1] * 10_000))
    tally = Tally()
    assert sum(1 for _ in read([str(file)], tally)) == 10_000
    assert any("10000" in note for note in tally.notes)
