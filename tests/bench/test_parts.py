"""The benchmarks' own arithmetic, and that their page is the text of `bench/page.md` with figures in it."""

from __future__ import annotations

import re

import pytest

from bench.__main__ import NAMES
from bench.report import Goal, Report, Row, least, most, number, show
from bench.upstream import Upstream, counted, in_a_row
from devstack.stack import PROJECT

TEXT = (PROJECT / "bench" / "page.md").read_text(encoding="utf-8")
PAGE = (PROJECT / "docs" / "performance.md").read_text(encoding="utf-8")
FORM = b"grant_type=refresh_token&scope=repository%3Aweb%2Fapi%3Apull&refresh_token=x"


@pytest.mark.parametrize(
    ("goal", "value", "reached"),
    [(most(5), 5, True), (most(5), 5.1, False), (least(1500), 1500, True), (least(1500), 1499, False)],
)
def test_a_goal_is_reached_at_its_limit_and_not_beyond(goal: Goal, value: float, reached: bool) -> None:
    row = Row("something", [value], "ms", goal)
    assert row.verdict == ("reached" if reached else "not reached")


def test_a_row_stands_for_the_middle_of_its_runs_and_tells_their_ends() -> None:
    row = Row("something", [3.0, 1.0, 200.0], "ms")
    assert (row.value, row.spread, row.verdict) == (3.0, "1 to 200", "")
    assert "something" in show({"x": Report([row])})


@pytest.mark.parametrize(
    ("value", "text"), [(0.0371, "0.0371"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123"), (1500.0, "1,500")]
)
def test_numbers_have_three_digits_that_mean_something(value: float, text: str) -> None:
    assert number(value) == text


def test_calls_in_a_row_are_those_that_waited_for_one_another() -> None:
    beside = [(0.0, 1.0, "/a", 200), (0.1, 1.1, "/b", 200)]
    assert in_a_row(beside) == 1
    assert in_a_row([*beside, (1.2, 2.0, "/c", 200), (1.05, 3.0, "/d", 200)]) == 2
    assert in_a_row([]) == 0
    assert counted(beside) == {"/a": 1, "/b": 1}


def test_the_emulated_registry_throttles_beyond_its_rate_and_says_for_how_long() -> None:
    upstream = Upstream("127.0.0.1:5000", {}, 0.0, per_second=100)
    answers = [upstream.answer("/oauth2/token", FORM) for _ in range(200)]
    refused = [answer for answer in answers if answer[0] == 429]
    assert {answer[0] for answer in answers} == {200, 429}
    assert {answer[2] for answer in refused} == {"Retry-After: 1\r\n"}


def test_the_emulated_registry_throttles_everybody_when_it_is_told_to() -> None:
    upstream = Upstream("127.0.0.1:5000", {}, 0.0, per_second=0)
    assert upstream.answer("/oauth2/token", FORM)[0] == 200
    upstream.answer("/bench/throttle", b"30")
    status, _, headers = upstream.answer("/oauth2/token", FORM)
    assert status == 429
    assert 1 <= int(headers.removeprefix("Retry-After: ")) <= 30


def test_the_page_is_the_text_with_figures_in_it() -> None:
    """Whoever edits the page edits `bench/page.md`: the next run writes the page anew."""
    blocks = [block for block in TEXT.split("\n\n") if not block.startswith("<<")]
    assert [block for block in blocks if block.strip() not in PAGE] == []
    assert "<<" not in PAGE


def test_every_benchmark_has_its_place_on_the_page() -> None:
    places = re.findall(r"^<<(\w+)>>$", TEXT, re.MULTILINE)
    assert places == ["run", "goals", *NAMES]
