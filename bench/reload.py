"""Latency of a vend while a policy of 20,000 rules is reloaded again and again, beside a quiet one."""

from __future__ import annotations

import threading
from itertools import cycle
from pathlib import Path
from typing import Final

from bench.report import Effort, Report, Row
from bench.rig import Rig, all_granted, drive

_RULES: Final = 20_000
_REQUESTS: Final = (2000, 60)
_REFRESH_SECONDS: Final = 3
"""Longer than a load takes: a policy that nobody has confirmed for two of them is waited for."""


def run(effort: Effort) -> Report:
    """Measure one request at a time, in a quiet service and in one that reloads as soon as it has reloaded."""
    count = effort.choose(*_REQUESTS)
    with Rig() as rig:
        service = rig.service({"VENDING_POLICY_REFRESH_SECONDS": str(_REFRESH_SECONDS)})
        url = f"{service.url}/token"
        all_granted(drive([url], rig.forms(50), at_once=1))
        rounds = range(effort.choose(3, 1))
        quiet = [all_granted(drive([url], rig.forms(count), at_once=1)) for _ in rounds]
        with _reloading(rig):
            reloading = [all_granted(drive([url], rig.forms(count), at_once=1)) for _ in rounds]
    rows = []
    for name, loads in (("quiet", quiet), (f"while {_RULES:,} rules reload", reloading)):
        rows.append(Row(f"vend, {name}, median", [load.median for load in loads], "ms"))
        rows.append(Row(f"vend, {name}, p99", [load.quantile(0.99) for load in loads], "ms"))
    return Report(rows)


class _reloading:  # noqa: N801 - a context manager, used as a verb
    """Keep the service reloading a policy of many rules: a new file as soon as the last one is in force."""

    def __init__(self, rig: Rig) -> None:
        self._path = Path(rig.settings["VENDING_POLICY"])
        text = rig.policy(_RULES)
        self._policies = [text, text + " "]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _write(self) -> None:
        for text in cycle(self._policies):
            fresh = self._path.with_suffix(".new")
            fresh.write_text(text, encoding="utf-8")
            fresh.replace(self._path)
            if self._stop.wait(_REFRESH_SECONDS + 0.5):
                return
