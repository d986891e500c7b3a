"""Spans, counters, histograms and gauges, read back from OpenTelemetry's own in-memory exporters."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from vending.telemetry import OFF, Ages, OpenTelemetry, RequestOutcome

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Observed:
    """A telemetry of its own, with what it wrote."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self._metrics = InMemoryMetricReader()
        traces = TracerProvider()
        traces.add_span_processor(SimpleSpanProcessor(self._spans))
        meters = MeterProvider(metric_readers=[self._metrics])
        self.telemetry = OpenTelemetry(traces.get_tracer("vending"), meters.get_meter("vending"))

    def spans(self) -> list[Any]:
        return list(self._spans.get_finished_spans())

    def points(self, name: str) -> list[tuple[dict[str, Any], Any]]:
        """Return labels and point of each series of an instrument."""
        data = self._metrics.get_metrics_data()
        return [
            (dict(point.attributes or {}), point)
            for resource in (data.resource_metrics if data else [])
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


@pytest.fixture
def observed() -> Observed:
    return Observed()


def test_each_step_is_a_span_within_the_requests_own_which_continues_the_platforms(observed: Observed) -> None:
    with observed.telemetry.request("token", PARENT):
        for step in ("policy", "verify", "decide"):
            with observed.telemetry.step(step):
                pass
        observed.telemetry.finished(RequestOutcome("token", "allow", "none"), {})
    *steps, request = observed.spans()
    assert [span.name for span in steps] == ["vending.policy", "vending.verify", "vending.decide"]
    assert {span.parent.span_id for span in steps} == {request.context.span_id}
    assert request.name == "vending.token"
    assert f"{request.context.trace_id:032x}" == PARENT.split("-")[1]
    assert f"{request.parent.span_id:016x}" == PARENT.split("-")[2]
    assert dict(request.attributes) == {
        "vending.kind": "token",
        "vending.outcome": "allow",
        "vending.reason": "none",
    }
    assert request.status.is_unset


@pytest.mark.parametrize("trace_parent", ["", "nonsense", "00-00000000000000000000000000000000-0-01", PARENT * 100])
def test_a_request_whose_parent_is_unusable_starts_a_trace_of_its_own(observed: Observed, trace_parent: str) -> None:
    with observed.telemetry.request("token", trace_parent):
        pass
    (request,) = observed.spans()
    assert request.parent is None


def test_an_exceptions_text_reaches_no_span(observed: Observed) -> None:
    def fail() -> None:
        with observed.telemetry.request("token", ""), observed.telemetry.step("mint"):
            raise RuntimeError("a secret")

    with pytest.raises(RuntimeError):
        fail()
    assert len(observed.spans()) == 2
    assert "a secret" not in "".join(span.to_json() for span in observed.spans())


def test_an_error_of_the_service_is_an_error_of_the_span_and_a_denial_is_none(observed: Observed) -> None:
    for outcome in (
        RequestOutcome("token", "error", "registry_unavailable"),
        RequestOutcome("token", "deny", "token_expired"),
    ):
        with observed.telemetry.request("token", ""):
            observed.telemetry.finished(outcome, {})
    failed, denied = observed.spans()
    assert (failed.status.is_ok, failed.status.description) == (False, "registry_unavailable")
    assert denied.status.is_unset


def test_requests_are_counted_by_kind_outcome_and_reason(observed: Observed) -> None:
    for outcome in [RequestOutcome("token", "allow", "none")] * 3 + [
        RequestOutcome("explain", "deny", "token_expired")
    ]:
        observed.telemetry.finished(outcome, {"total": 5.0})
    assert [(labels, point.value) for labels, point in observed.points("vending.requests")] == [
        ({"kind": "token", "outcome": "allow", "reason": "none"}, 3),
        ({"kind": "explain", "outcome": "deny", "reason": "token_expired"}, 1),
    ]


def test_durations_are_histograms_in_seconds_of_the_request_and_of_each_step(observed: Observed) -> None:
    observed.telemetry.finished(
        RequestOutcome("token", "allow", "none"), {"verify": 2.0, "mint": 500.0, "total": 750.0}
    )
    ((labels, total),) = observed.points("vending.request.duration")
    assert labels == {"kind": "token", "outcome": "allow"}
    assert (total.sum, total.count) == (0.75, 1)
    assert {labels["step"]: point.sum for labels, point in observed.points("vending.step.duration")} == {
        "verify": 0.002,
        "mint": 0.5,
    }


def test_ages_are_gauges_that_are_read_when_metrics_are_collected(observed: Observed) -> None:
    ages = [Ages(policy=None, keys={})]
    observed.telemetry.watch(lambda: ages[0])
    assert observed.points("vending.policy.age") == []
    ages[0] = Ages(policy=12.5, keys={"github": 1.0, "gitlab": 700.0})
    assert [point.value for _, point in observed.points("vending.policy.age")] == [12.5]
    assert {labels["issuer"]: point.value for labels, point in observed.points("vending.keys.age")} == {
        "github": 1.0,
        "gitlab": 700.0,
    }


def test_telemetry_that_is_off_does_nothing() -> None:
    with OFF.request("token", PARENT), OFF.step("verify"):
        OFF.finished(RequestOutcome("token", "allow", "none"), {"total": 1.0})
    OFF.watch(lambda: Ages(policy=None, keys={}))
