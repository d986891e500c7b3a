"""Memory of the service: after its start, over 100,000 vends, and what each used token and each rule adds."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Final

from bench.processes import mebibytes
from bench.report import Chart, Effort, Report, Row, most
from bench.rig import PROJECT, Rig, all_granted, drive, form
from vending.clock import Clock
from vending.replay.store import MemoryStore, new_owner

_VENDS: Final = (100_000, 4_000)
_PARTS: Final = 10
_AT_ONCE: Final = 16
_CLAIMS: Final = 100_000


def run(effort: Effort) -> Report:
    """Vend one token again and again: an issuer of tokens for repeated use has no claims, which are told apart."""
    vends = effort.choose(*_VENDS)
    with Rig(replay="reuse") as rig:
        service = rig.service()
        at_start = mebibytes(service.pid)
        url = f"{service.url}/token"
        all_granted(drive([url], [form(rig.token())], at_once=_AT_ONCE, count=effort.choose(2_000, 200)))
        sizes = [mebibytes(service.pid)]
        for _ in range(_PARTS):
            all_granted(drive([url], [form(rig.token())], at_once=_AT_ONCE, count=vends // _PARTS))
            rig.calls()
            sizes.append(mebibytes(service.pid))
    labels = [f"{vends * part // _PARTS:,}" for part in range(_PARTS + 1)]
    rows = [
        Row("service, listening", [at_start], "MiB"),
        Row("service, after its first vends", [sizes[0]], "MiB"),
        Row(f"service, after {vends:,} more", [sizes[-1]], "MiB"),
        Row(
            f"growth over {vends:,} vends",
            [sizes[-1] - sizes[0]],
            "MiB",
            most(5, "the allocator keeps what a burst of requests needed"),
        ),
        Row("each claim of the replay store in memory", [_claim_bytes()], "bytes"),
    ]
    return Report(rows, [Chart("memory", "Memory of the service by vends", "MiB", labels, {"resident": sizes}, "line")])


def _claim_bytes() -> float:
    code = "from bench.memory import measure_claims; measure_claims()"
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=PROJECT)
    return float(output.stdout)


def measure_claims() -> None:
    """Claim many tokens and print what each adds to the memory, in bytes; called in a fresh process."""

    async def claim() -> None:
        store = MemoryStore(Clock())
        before = mebibytes()
        for number in range(_CLAIMS):
            await store.claim(f"{number:064x}", new_owner(), 4_000_000_000.0)
        print((mebibytes() - before) * 2**20 / _CLAIMS)

    asyncio.run(claim())
