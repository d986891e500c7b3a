"""Single flight: one call for all who need the same, and nobody takes it down with them."""

from __future__ import annotations

import asyncio

import pytest

from vending.single_flight import SingleFlight


class Call:
    """A call that waits until it is let go, and counts how often it was made."""

    def __init__(self) -> None:
        self.made = 0
        self.gate = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.made += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return self.made


async def waiting(flights: SingleFlight[str, int], key: str, call: Call) -> asyncio.Task[int]:
    async def wait() -> int:
        return await flights.wait(key, call)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    return task


async def test_concurrent_needs_share_one_call() -> None:
    flights, call = SingleFlight[str, int](), Call()
    tasks = [await waiting(flights, "key", call) for _ in range(50)]
    call.gate.set()
    assert await asyncio.gather(*tasks) == [1] * 50


async def test_different_keys_do_not_share() -> None:
    flights, call = SingleFlight[str, int](), Call()
    call.gate.set()
    await asyncio.gather(flights.wait("a", call), flights.wait("b", call))
    assert call.made == 2


async def test_nothing_is_kept_after_the_flight() -> None:
    flights, call = SingleFlight[str, int](), Call()
    call.gate.set()
    assert [await flights.wait("key", call) for _ in range(3)] == [1, 2, 3]
    assert "key" not in flights


async def test_cancelled_caller_leaves_the_call_to_the_others() -> None:
    flights, call = SingleFlight[str, int](), Call()
    first, second = await waiting(flights, "key", call), await waiting(flights, "key", call)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    call.gate.set()
    assert await second == 1


async def test_call_finishes_when_every_caller_has_gone() -> None:
    flights, call = SingleFlight[str, int](), Call()
    only = await waiting(flights, "key", call)
    only.cancel()
    await asyncio.gather(only, return_exceptions=True)
    assert "key" in flights
    later = await waiting(flights, "key", call)
    call.gate.set()
    assert await later == 1


async def test_error_reaches_every_caller_and_is_not_kept() -> None:
    flights, call = SingleFlight[str, int](), Call()
    call.error = LookupError("gone")
    tasks = [await waiting(flights, "key", call) for _ in range(3)]
    call.gate.set()
    assert [type(error) for error in await asyncio.gather(*tasks, return_exceptions=True)] == [LookupError] * 3
    call.error = None
    assert await flights.wait("key", call) == 2


async def test_error_that_nobody_waits_for_is_not_complained_about(caplog: pytest.LogCaptureFixture) -> None:
    flights, call = SingleFlight[str, int](), Call()
    call.error = LookupError("gone")
    task = flights.start("key", call)
    call.gate.set()
    await asyncio.wait([task])
    del task
    assert not caplog.records
