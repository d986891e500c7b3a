"""The benchmarks' rig does what its figures claim: real processes, every token vended once, every call told."""

from __future__ import annotations

import pytest

from bench.rig import HELLO, Rig, all_granted, drive, form
from bench.upstream import counted

pytestmark = pytest.mark.e2e


def test_every_request_is_answered_counted_and_paid_for() -> None:
    with Rig() as rig:
        service = rig.service()
        load = all_granted(drive([f"{service.url}/token"], rig.forms(40), at_once=8, tokens=True, pid=service.pid))
        calls = counted(rig.calls())
        assert (load.count, len(set(load.token_ids)), load.failed) == (40, 40, [])
        assert calls["/oauth2/token"] == 40
        assert calls["/github/keys"] == calls["/oauth2/exchange"] == calls["/msi/token"] == 1
        assert load.cpu_seconds > 0

        used = rig.forms(1)
        again = drive([f"{service.url}/token"], used, at_once=2, count=2)
        assert again.statuses == {"200": 1, "400": 1}
        assert (again.reasons, again.failed) == ({"token_replayed": 1}, [0])
        with pytest.raises(RuntimeError, match="token_replayed"):
            all_granted(again)

        refused = drive([f"{service.url}/token"], [form("x")], at_once=1, library=True)
        assert refused.statuses == {"400": 1}


def test_hello_answers_on_the_same_host() -> None:
    with Rig() as rig:
        hello = rig.service(app=HELLO)
        assert drive([f"{hello.url}/token"], ["a=b"], at_once=2, count=6).statuses == {"200": 6}
