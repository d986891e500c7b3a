"""What surrounds each `/token` or `/explain` request: its deadline, its span, and exactly one audit event."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vending import audit
from vending.errors import Reason, Refusal
from vending.operations_log import note_bug
from vending.telemetry import RequestOutcome

if TYPE_CHECKING:
    from vending.audit_event import Kind
    from vending.clock import Clock
    from vending.telemetry import Telemetry


_UNFORESEEN: Final = Refusal(Reason.INTERNAL_ERROR)
"""What an event says until the request's end is known; never raised."""


@dataclass(frozen=True, slots=True)
class Recorder:
    """Record requests. One for the life of the app."""

    clock: Clock
    telemetry: Telemetry
    deadline_seconds: float

    def trail(self, kind: Kind, request_id: str) -> audit.Trail:
        """Begin the audit event of one request."""
        return audit.Trail(kind=kind, clock=self.clock, request_id=request_id, telemetry=self.telemetry)

    def count(self, kind: str, refusal: Refusal) -> None:
        """Count a request that was refused before its audit event began; `kind` is the name of the endpoint."""
        self.telemetry.finished(RequestOutcome(kind, audit.outcome(refusal), refusal.reason.value), {})

    @asynccontextmanager
    async def recorded(self, trail: audit.Trail) -> AsyncIterator[None]:
        """Run the body in a span of its own and under the deadline; write one audit event, whatever happens.

        Raises the body's `Refusal`, `deadline_exceeded`, or `internal_error` for anything that is not a refusal.
        """
        with self.telemetry.request(trail.kind, trail.trace_parent):
            refusal: Refusal | None = _UNFORESEEN
            deadline = asyncio.timeout(self.deadline_seconds)
            try:
                async with deadline:
                    yield
                refusal = trail.denial
            except Refusal as refused:
                refusal = refused
                trail.refused(refused)
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, its text must not get out.
                if deadline.expired():
                    refusal = Refusal(Reason.DEADLINE_EXCEEDED)
                    raise refusal from None
                note_bug(error)
                raise Refusal(Reason.INTERNAL_ERROR) from None
            finally:
                event = trail.write(refusal)
                ended = RequestOutcome(trail.kind, event["outcome"], event["reason"] or "none")
                self.telemetry.finished(ended, event["durations_ms"])
