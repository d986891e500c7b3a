"""The operations log under the platform's rule: what no running request writes is kept for the next one, once."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from typing import Any

import pytest

from devstack.stack import PROJECT
from vending.operations_log import MAX_KEPT, note

SETUP = """
import asyncio, json, logging, threading
from vending import operations_log
from vending.operations_log import MAX_KEPT, deliver_by_requests, note

running = set()  # Tasks that the platform knows as invocations: it drops the records of all others.
written = []

class Platform(logging.Handler):
    def emit(self, record):
        try:
            task = asyncio.current_task()
        except RuntimeError:
            task = None
        if task in running:
            written.append(json.loads(record.getMessage()))

logging.getLogger().addHandler(Platform())
logging.getLogger().setLevel(logging.INFO)
deliver_by_requests()

async def request(work=None):
    running.add(asyncio.current_task())
    try:
        with operations_log.request():
            if work is not None:
                await work()
    finally:
        running.discard(asyncio.current_task())
"""


def run(body: str) -> list[dict[str, Any]]:
    """Run `body`, an async `main`, in a process of its own, and return what the platform forwarded."""
    code = f"{SETUP}\n{body}\nasyncio.run(main())\nprint(json.dumps(written))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    written: list[dict[str, Any]] = json.loads(done.stdout)
    return written


def names(written: list[dict[str, Any]]) -> list[str]:
    return [record["event"] for record in written]


def test_record_of_import_time_is_written_by_the_first_request() -> None:
    written = run('note(logging.INFO, "started", policy_source="file")\nasync def main():\n    await request()')
    assert names(written) == ["started"]
    assert written[0]["policy_source"] == "file"
    assert written[0]["time"].endswith("+00:00")  # When it happened: the platform's own time is that of the request.


def test_record_of_a_request_is_written_at_once_and_without_a_time_of_its_own() -> None:
    written = run(
        'async def main():\n    async def work():\n        note(logging.INFO, "registry_refused")\n'
        "        assert len(written) == 1\n    await request(work)"
    )
    assert written == [{"event": "registry_refused"}]


@pytest.mark.parametrize(
    "outside",
    [
        'threading.Thread(target=note, args=(30, "x")).start()',
        'await asyncio.to_thread(note, 30, "x")',
        'await asyncio.get_running_loop().run_in_executor(None, note, 30, "x")',
        "await asyncio.create_task(later())",
        "asyncio.create_task(later())\n    await asyncio.sleep(0.01)",
    ],
)
def test_record_from_elsewhere_is_written_before_the_request_that_it_belongs_to_answers(outside: str) -> None:
    body = (
        'async def later():\n    note(30, "x")\nasync def work():\n    {}\n'
        "async def main():\n    await request(work)\n    assert len(written) == 1"
    )
    assert names(run(body.format(outside))) == ["x"]


def test_task_that_outlives_its_request_is_heard_by_the_next_one() -> None:
    """A copied context is not enough: such a task still carries that of the request that is over."""
    body = """
async def outliving():
    await asyncio.sleep(0.05)
    note(40, "late")

async def work():
    global task
    task = asyncio.create_task(outliving())

async def main():
    await request(work)
    await task
    assert written == []
    await asyncio.create_task(request())
"""
    assert names(run(body)) == ["late"]


def test_each_record_is_written_once_whoever_comes_at_the_same_time() -> None:
    body = """
async def main():
    for number in range(200):
        note(20, f"n{number}")
    await asyncio.gather(*(asyncio.create_task(request()) for _ in range(20)))
"""
    assert names(run(body)) == [f"n{number}" for number in range(200)]


def test_record_made_while_a_request_ends_with_an_error_is_written_too() -> None:
    body = """
async def work():
    await asyncio.to_thread(note, 30, "x")
    raise ValueError

async def main():
    try:
        await request(work)
    except ValueError:
        pass
"""
    assert names(run(body)) == ["x"]


def test_records_that_nobody_fetches_are_bounded_and_the_loss_is_told() -> None:
    body = """
async def main():
    for number in range(MAX_KEPT + 7):
        note(20, f"n{number}")
    await request()
    await asyncio.create_task(request())
"""
    written = run(body)
    assert names(written)[:2] == ["n0", "n1"]
    assert written[-1] == {"event": "records_lost", "count": 7}
    assert len(written) == MAX_KEPT + 1


def test_threads_lose_nothing_while_requests_write() -> None:
    body = """
def chatter(name):
    for number in range(100):
        note(20, f"{name}{number}")

async def main():
    threads = [threading.Thread(target=chatter, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        await asyncio.create_task(request())
    await asyncio.create_task(request())
"""
    assert sorted(names(run(body))) == sorted(f"{name}{number}" for name in "abcd" for number in range(100))


def test_command_line_writes_at_once(caplog: pytest.LogCaptureFixture) -> None:
    note(logging.WARNING, "identity_failed", status=403)
    assert [json.loads(record.getMessage()) for record in caplog.records] == [
        {"event": "identity_failed", "status": 403}
    ]
