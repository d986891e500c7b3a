"""Traces and metrics for Application Insights, where `VENDING_TELEMETRY` asks for them; otherwise nothing at all.

OpenTelemetry is imported only then. Labels come from closed sets: kinds, outcomes, reasons, steps, and the policy's own
names of issuers. Nothing that a caller sends, and no identity, becomes one; the audit log is the place for that.
"""

from __future__ import annotations

import importlib.util
import re
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vending.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from opentelemetry.context import Context
    from opentelemetry.metrics import CallbackOptions, Meter, Observation
    from opentelemetry.trace import Span, Tracer

    from vending.settings import Settings

_PACKAGE: Final = "azure.monitor.opentelemetry"
_CONNECTION_STRING: Final = "APPLICATIONINSIGHTS_CONNECTION_STRING"
_INSTRUMENTATION_KEY: Final = re.compile(
    r"(^|;)\s*InstrumentationKey=[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\s*(;|$)", re.IGNORECASE
)
_WORKERS_OWN: Final = "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY"
_UNUSED_LOGGER: Final = "vending.telemetry.unused"
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)


@dataclass(frozen=True, slots=True)
class RequestOutcome:
    """Say how a request ended. `kind` names what was asked for, `reason` is `none` where nothing was refused."""

    kind: str
    outcome: str
    reason: str


@dataclass(frozen=True, slots=True)
class Ages:
    """Hold ages in seconds: of the policy in force (None without one), and of each issuer's keys by its name."""

    policy: float | None
    keys: Mapping[str, float]


class Telemetry:
    """Observe requests. This one does nothing: it is in force unless telemetry was asked for."""

    def request(self, kind: str, trace_parent: str) -> AbstractContextManager[None]:
        """Surround one request; `trace_parent` is the platform's span in W3C form, or empty."""
        return nullcontext()

    def step(self, name: str) -> AbstractContextManager[None]:
        """Surround one step of a request."""
        return nullcontext()

    def finished(self, outcome: RequestOutcome, durations_ms: Mapping[str, float]) -> None:
        """Count one request that has ended, with the milliseconds of each step and the `total`."""

    def watch(self, ages: Callable[[], Ages]) -> None:
        """Report what `ages` returns, whenever metrics are collected; it is called in another thread."""


OFF: Final = Telemetry()


class OpenTelemetry(Telemetry):
    """Write spans and metrics through OpenTelemetry's interface."""

    def __init__(self, tracer: Tracer, meter: Meter) -> None:
        self._tracer = tracer
        self._meter = meter
        self._requests = meter.create_counter("vending.requests", unit="{request}", description="Requests by outcome.")
        self._durations = meter.create_histogram(
            "vending.request.duration", unit="s", explicit_bucket_boundaries_advisory=_SECONDS
        )
        self._steps = meter.create_histogram(
            "vending.step.duration", unit="s", explicit_bucket_boundaries_advisory=_SECONDS
        )

    @contextmanager
    def request(self, kind: str, trace_parent: str) -> Iterator[None]:
        """Open the request's span, as a child of the platform's."""
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        parent = TraceContextTextMapPropagator().extract({"traceparent": trace_parent}) if trace_parent else None
        with self._span(f"vending.{kind}", parent):
            yield

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Open a span for one step."""
        with self._span(f"vending.{name}"):
            yield

    def finished(self, outcome: RequestOutcome, durations_ms: Mapping[str, float]) -> None:
        """Count the request, and label its span with how it ended."""
        from opentelemetry.trace import StatusCode, get_current_span

        labels = {"kind": outcome.kind, "outcome": outcome.outcome, "reason": outcome.reason}
        self._requests.add(1, labels)
        span = get_current_span()
        span.set_attributes({f"vending.{name}": value for name, value in labels.items()})
        if outcome.outcome == "error":
            span.set_status(StatusCode.ERROR, outcome.reason)
        for name, milliseconds in durations_ms.items():
            if name == "total":
                self._durations.record(milliseconds / 1000, {"kind": outcome.kind, "outcome": outcome.outcome})
            else:
                self._steps.record(milliseconds / 1000, {"step": name})

    def watch(self, ages: Callable[[], Ages]) -> None:
        """Register the gauges."""
        from opentelemetry.metrics import Observation

        def policy_age(_options: CallbackOptions) -> Iterable[Observation]:
            age = ages().policy
            return [] if age is None else [Observation(age)]

        def keys_age(_options: CallbackOptions) -> Iterable[Observation]:
            return [Observation(age, {"issuer": name}) for name, age in ages().keys.items()]

        self._meter.create_observable_gauge("vending.policy.age", [policy_age], unit="s")
        self._meter.create_observable_gauge("vending.keys.age", [keys_age], unit="s")

    def _span(self, name: str, parent: Context | None = None) -> AbstractContextManager[Span]:
        # An exception's text and stack stay here: the SDK would otherwise record both.
        return self._tracer.start_as_current_span(
            name,
            context=parent,
            record_exception=False,
            set_status_on_exception=False,
        )


def check(settings: Settings) -> None:
    """Refuse to start with a setting that cannot be honoured. Raises `SettingsError`; imports nothing heavy."""
    if not settings.telemetry:
        return
    if not _installed():
        raise SettingsError(
            f"VENDING_TELEMETRY is azure-monitor, but the package {_PACKAGE.replace('.', '-')} is not installed; "
            "deploy requirements-telemetry.txt as requirements.txt, or set VENDING_TELEMETRY to off."
        )
    if not _INSTRUMENTATION_KEY.search(settings.environment.get(_CONNECTION_STRING, "")):
        raise SettingsError(
            f"VENDING_TELEMETRY is azure-monitor, but {_CONNECTION_STRING} is not set, or names no InstrumentationKey; "
            "connect the app to Application Insights, or set VENDING_TELEMETRY to off."
        )
    if settings.environment.get(_WORKERS_OWN, "").strip().lower() in {"1", "true"}:
        raise SettingsError(
            f"VENDING_TELEMETRY and {_WORKERS_OWN} would both report to Application Insights; set one of them only."
        )


def start(settings: Settings) -> Telemetry:
    """Return the telemetry that the settings ask for, connected and exporting from here on."""
    if not settings.telemetry:
        return OFF
    from importlib.metadata import entry_points

    from azure.monitor.opentelemetry import configure_azure_monitor
    from opentelemetry import metrics, trace

    from vending import __version__

    instrumentors = {entry.name for entry in entry_points(group="opentelemetry_instrumentor")}
    # The credential for ingestion with Entra alone comes from APPLICATIONINSIGHTS_AUTHENTICATION_STRING. Logs are
    # forwarded by the Functions host already, so OpenTelemetry listens to a logger that nobody writes to; libraries are
    # not instrumented, for their spans would carry URLs.
    configure_azure_monitor(
        connection_string=settings.environment[_CONNECTION_STRING],
        logger_name=_UNUSED_LOGGER,
        disable_offline_storage=True,
        enable_live_metrics=False,
        enable_performance_counters=False,
        instrumentation_options={name: {"enabled": False} for name in ("azure_sdk", *instrumentors)},
    )
    return OpenTelemetry(
        trace.get_tracer("vending", __version__),
        metrics.get_meter("vending", __version__),
    )


def _installed() -> bool:
    try:
        return importlib.util.find_spec(_PACKAGE) is not None
    except ImportError:  # Where `azure.monitor` itself is missing.
        return False
