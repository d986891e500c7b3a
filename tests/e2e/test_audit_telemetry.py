"""The service with telemetry on, reporting to an ingestion endpoint on this machine."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from devstack.stack import Stack
from tests.support.caller import exchange, vend
from tests.support.ingestion import Ingestion
from tests.support.recorder import events
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from devstack.issuer.server import IssuerServer
    from devstack.stack import Upstreams

pytestmark = pytest.mark.e2e

PULL = "repository:web/api:pull"


@pytest.fixture
def ingestion(upstreams: Upstreams) -> Iterator[Ingestion]:
    with Ingestion(upstreams.ca).start(upstreams.loop) as started:
        yield started


def settings(upstreams: Upstreams, ingestion: Ingestion) -> dict[str, str]:
    ca = str(upstreams.ca.ca_file)
    return {
        "VENDING_TELEMETRY": "azure-monitor",
        "APPLICATIONINSIGHTS_CONNECTION_STRING": ingestion.connection_string,
        "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": "Authorization=AAD",
        # Microsoft's own measurements of the exporter, and its remote configuration, lie outside this machine.
        "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
        "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
        "OTEL_TRACES_SAMPLER": "always_on",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "OTEL_METRIC_EXPORT_INTERVAL": "500",
        "REQUESTS_CA_BUNDLE": ca,
        "SSL_CERT_FILE": ca,
    }


def test_spans_counters_durations_and_ages_arrive_with_the_apps_own_identity(
    upstreams: Upstreams, issuers: IssuerServer, ingestion: Ingestion
) -> None:
    with Stack(upstreams, settings=settings(upstreams, ingestion)) as stack:
        token = issuers.github.token()
        vend(stack.url, token, scope=PULL)
        exchange(stack.url, token, scope=PULL)
        exchange(stack.url, issuers.github.token(), path="/explain", scope=PULL)
        exchange(stack.url, "not-a-token", scope=PULL)
        exchange(stack.url, issuers.github.token(), scope="not a scope")
        wait_for(lambda: {"vending.keys.age", "vending.requests"} <= names(ingestion))
        stack.host.stop()  # The rest is exported at the end.
        written = list(events([stack.host.log]))
    requests = {
        (properties["kind"], properties["outcome"], properties["reason"])
        for metric in ingestion.of("MetricData")
        if metric["metrics"][0]["name"] == "vending.requests"
        for properties in [metric["properties"]]
    }
    assert requests == {
        ("token", "allow", "none"),
        ("token", "deny", "token_replayed"),
        ("token", "deny", "token_malformed"),
        ("token", "deny", "malformed_scope"),
        ("explain", "allow", "none"),
    }
    assert {"vending.requests", "vending.request.duration", "vending.step.duration"} <= names(ingestion)
    assert {"vending.policy.age", "vending.keys.age"} <= names(ingestion)
    spans = Counter(span["name"] for span in ingestion.of("RemoteDependencyData"))
    assert spans["vending.token"] == 3
    assert spans["vending.explain"] == 1
    assert set(spans) == {
        f"vending.{name}" for name in ("token", "explain", "policy", "verify", "decide", "claim", "mint")
    }
    assert set(ingestion.audiences) == {"https://monitor.azure.com/"}
    # Logs go through the Functions host and nowhere else: no event is stored twice.
    assert len(written) == 4
    assert ingestion.of("MessageData") == []


def names(ingestion: Ingestion) -> set[str]:
    return {metric["metrics"][0]["name"] for metric in ingestion.of("MetricData")}


def test_an_ingestion_endpoint_that_is_down_disturbs_nobody(
    upstreams: Upstreams, issuers: IssuerServer, ingestion: Ingestion
) -> None:
    down = settings(upstreams, ingestion) | {
        "APPLICATIONINSIGHTS_CONNECTION_STRING": (
            "InstrumentationKey=00000000-0000-0000-0000-0000000000aa;IngestionEndpoint=https://localhost:1/"
        )
    }
    with Stack(upstreams, settings=down) as stack:
        for _ in range(5):
            vend(stack.url, issuers.github.token(), scope=PULL)
        time.sleep(2)
        vend(stack.url, issuers.github.token(), scope=PULL)
