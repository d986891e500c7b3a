"""Log records are forwarded by the platform's rule, and the operations log loses none to it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack import plain
from devstack.host.processes import HostProcess
from devstack.host.runtime import Invocation, run_worker
from devstack.stack import PROJECT
from tests.support import forwarded
from tests.test_operations import logged_events

APP = Path(__file__).parent / "records_app"
EVENTS = sorted(logged_events())
KEPT = {"handler", "task", "call_soon"}
DROPPED = {"import", "to_thread", "executor", "thread", "outliving task"}


@pytest.fixture(scope="module")
def host_records() -> Iterator[list[dict[str, str]]]:
    with HostProcess({"EVENTS": json.dumps(EVENTS)}, app=APP) as host:
        for path in ("records/bare", "records/noted", "next", "next"):
            plain.get(f"{host.url}/{path}", timeout=30).raise_for_status()
        yield forwarded.of_host(host)


@pytest.fixture(scope="module")
def worker_records() -> list[dict[str, str]]:
    settings = {"EVENTS": json.dumps(EVENTS), "PYTHONPATH": str(PROJECT)}
    calls = [
        Invocation("records", route={"kind": "bare"}),
        Invocation("records", route={"kind": "noted"}),
        Invocation("next_request"),
        Invocation("next_request"),
    ]
    run = run_worker(APP, settings, calls)
    assert [response.status for response in run.responses] == [200] * 4
    return forwarded.events(run.forwarded)


@pytest.fixture(params=["host", "worker"])
def records(request: pytest.FixtureRequest) -> list[dict[str, str]]:
    found: list[dict[str, str]] = request.getfixturevalue(f"{request.param}_records")
    return found


def test_every_event_is_driven() -> None:
    assert {"started", "policy_reload_failed", "identity_failed", "issuer_trouble"} <= set(EVENTS)


def test_plain_records_of_no_running_invocation_are_dropped(records: list[dict[str, str]]) -> None:
    places = {record["place"] for record in records if record["place"].startswith("bare ")}
    assert places == {f"bare {place}" for place in KEPT}


def test_no_event_of_the_operations_log_is_lost_wherever_it_happens(records: list[dict[str, str]]) -> None:
    """Each arrives once, from import time, tasks, threads and after the answer too."""
    arrived = Counter((record["event"], record["place"]) for record in records if record["place"].startswith("noted "))
    assert arrived == {(event, f"noted {place}"): 1 for event in EVENTS for place in KEPT | DROPPED}
