"""Events from everything that people export, and nothing from anything else."""

from __future__ import annotations

import csv
import gzip
import io
import json
from itertools import product
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


TABLES = as_tables(LINES)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(gzip.compress("\n".join(LINES * 400).encode())[:-40], "compressed data is cut", id="gzip"),
        pytest.param(b"\x1f\x8bnonsense that is no gzip file", "no gzip", id="no gzip"),
        pytest.param(b'Message\n"' + b"x\n" * (1 << 20), "no CSV", id="a quote that nothing closes"),
    ],
)
def test_a_broken_file_is_an_error_that_names_it(tmp_path: Path, data: bytes, said: str) -> None:
    file = tmp_path / "events"
    file.write_bytes(data)
    with pytest.raises(OSError, match=said) as caught:
        list(read([str(file)], Tally()))
    assert caught.value.filename == str(file)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(FORMATS["az"](LINES)[:-60], id="az"),
        pytest.param(TABLES[: TABLES.index("r4")], id="tables"),
        pytest.param(TABLES[:-1] + ', "error": {"code": "PartialError", "message": "…"}}', id="a partial answer"),
        pytest.param("\n".join([*LINES, LINES[0][:50]]), id="lines"),
    ],
)
def test_an_export_that_is_cut_keeps_what_is_there_and_says_so(tmp_path: Path, data: str) -> None:
    file = tmp_path / "events"
    file.write_text(data)
    tally = Tally()
    assert 4 <= len(list(read([str(file)], tally))) <= 5
    assert not tally.is_whole
    assert any("missing" in text for text in tally.lines())


@pytest.mark.parametrize("name", FORMATS)
def test_rows_that_cross_the_end_of_what_was_read_are_whole(tmp_path: Path, name: str) -> None:
    events = [{**EVENTS[0], "request_id": f"r{number}", "user_agent": "ü" * (number % 97)} for number in range(3_000)]
    file = tmp_path / "events"
    file.write_text(FORMATS[name]([json.dumps(event, ensure_ascii=False) for event in events]))
    assert list(read([str(file)], Tally())) == events


def test_what_windows_powershell_writes_is_read(tmp_path: Path) -> None:
    file = tmp_path / "events"
    file.write_bytes(FORMATS["az"](LINES).encode("utf-16"))
    assert list(read([str(file)], Tally())) == EVENTS


NOT_PAIRS: list[Any] = ["x", ["x"], [{}], [{"name": 1}], {}]
NOT_TEXTS: list[Any] = ["x", [1], {}, 7]
NOT_AN_OBJECT: list[Any] = ["x", [], 7]
NO_DURATIONS: list[Any] = [{"total": value} for value in ("1", None, float("nan"), float("inf"), -1)]
NO_TEXT: list[Any] = [7, [], {}]
NO_TIME: list[Any] = [7, "2026-11-21", "2026-11-21\x1b08:00:00Z", "9999-99-99T00:00:00Z", "2026-11-21T08:00:00"]
NO_KIND: list[Any] = [None, [], "TOKEN"]
WRONG: list[tuple[str, Any]] = [
    *product(("caller", "claims", "details"), NOT_PAIRS),
    *product(("scope", "granted", "rules", "absent", "shortened"), NOT_TEXTS),
    *product(("job", "decided_on", "durations_ms"), NOT_AN_OBJECT),
    *product(("durations_ms",), NO_DURATIONS),
    *product(("issuer", "registry", "reason", "token_id", "request_id"), NO_TEXT),
    *product(("time",), NO_TIME),
    *product(("kind",), NO_KIND),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_what_only_resembles_an_event_is_none(tmp_path: Path, name: str, value: Any) -> None:
    file = tmp_path / "events"
    file.write_text(json.dumps({**EVENTS[0], name: value}))
    tally = Tally()
    assert list(read([str(file)], tally)) == []
    assert tally.others == 1
