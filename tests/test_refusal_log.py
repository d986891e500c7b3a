"""What floods of misshapen requests leave in the log: the first ones, then a count."""

from __future__ import annotations

import json

import pytest

from tests.support.replay import Time
from vending.errors import Reason
from vending.refusal_log import EVERY, FIRST, WINDOW_SECONDS, RefusalLog


@pytest.fixture
def hands() -> Time:
    return Time()


@pytest.fixture
def refusals(hands: Time, caplog: pytest.LogCaptureFixture) -> RefusalLog:
    caplog.set_level("INFO", "vending.operations")
    return RefusalLog(hands.clock)


def counts(caplog: pytest.LogCaptureFixture) -> list[int]:
    return [json.loads(record.getMessage())["count"] for record in caplog.records]


def test_first_ones_are_all_written_then_a_count_that_loses_none(
    refusals: RefusalLog, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(FIRST + 2 * EVERY):
        refusals.add("token", Reason.MISSING_PARAMETER)
    assert counts(caplog) == [1] * FIRST + [EVERY] * 2
    assert json.loads(caplog.records[0].getMessage()) == {
        "event": "request_refused",
        "endpoint": "token",
        "reason": "missing_parameter",
        "count": 1,
    }


def test_flood_of_one_kind_hides_no_other(refusals: RefusalLog, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(FIRST + 1):
        refusals.add("token", Reason.MISSING_PARAMETER)
    caplog.clear()
    refusals.add("token", Reason.MALFORMED_SCOPE)
    refusals.add("explain", Reason.MISSING_PARAMETER)
    assert counts(caplog) == [1, 1]


def test_new_window_begins_with_what_was_not_written_yet(
    refusals: RefusalLog, hands: Time, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(FIRST + 5):
        refusals.add("token", Reason.NOT_FOUND)
    caplog.clear()
    hands.ahead += WINDOW_SECONDS
    refusals.add("token", Reason.NOT_FOUND)
    refusals.add("token", Reason.NOT_FOUND)
    assert counts(caplog) == [6, 1]


def test_series_are_as_many_as_endpoints_have_reasons(refusals: RefusalLog) -> None:
    for _ in range(3):
        for reason in Reason:
            refusals.add("token", reason)
    assert len(refusals) == len(Reason)
