"""Every query of the alerts and of the workbook is Kusto, and reads what the service writes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.infra.toolbox import LOCKS, ROOT, node_tools, succeed
from vending.audit_event import AUDIT_SCHEMA, SECURITY_SCHEMA
from vending.errors import Reason

SHARED = ROOT / "infra" / "shared"
ALERTS: list[dict[str, Any]] = json.loads((SHARED / "alerts.json").read_text())
WORKBOOK: dict[str, Any] = json.loads((SHARED / "workbook.json").read_text())
QUERIES = {f"alert {alert['name']}": "\n".join(alert["query"]) for alert in ALERTS} | {
    f"workbook {item['name']}": item["content"]["query"] for item in WORKBOOK["items"] if item["type"] == 3
}
NAMED = pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES.keys())


def analyse(queries: dict[str, str]) -> list[dict[str, str]]:
    given = json.dumps([{"name": name, "query": query} for name, query in queries.items()])
    found: list[dict[str, str]] = json.loads(succeed(["node", LOCKS / "kql.cjs"], cwd=node_tools(), text=given))
    return found


def test_every_query_is_valid_kusto() -> None:
    assert analyse(QUERIES) == []


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("traces | where mesage == 'x'", id="unknown_column"),
        pytest.param("trace | take 1", id="unknown_table"),
        pytest.param("traces | summarize count( by name", id="syntax"),
        pytest.param("traces | where timestamp == 'x' + 1 | extend y = nope(1)", id="unknown_function"),
    ],
)
def test_the_check_finds_a_wrong_query(query: str) -> None:
    assert analyse({"wrong": query})


@NAMED
def test_every_field_is_one_that_the_service_writes(query: str) -> None:
    known = set(AUDIT_SCHEMA["properties"]) | set(SECURITY_SCHEMA["properties"])
    fields = set(re.findall(r"\bevent\.(\w+)", query))
    assert fields <= known
    assert fields or query.startswith(("exceptions", "requests"))


@NAMED
def test_every_reason_is_of_the_catalogue(query: str) -> None:
    reasons = {reason.value for reason in Reason}
    assert set(re.findall(r"event\.reason\) == '(\w+)'", query)) <= reasons
    for prefix in re.findall(r"event\.reason\) startswith '(\w+)'", query):
        assert any(reason.startswith(prefix) for reason in reasons)


@NAMED
def test_every_operations_event_is_written_somewhere(query: str) -> None:
    events = set(re.findall(r"event\.event\) == '(\w+)'", query))
    for several in re.findall(r"event\.event\) in \(([^)]*)\)", query):
        events |= set(re.findall(r"'(\w+)'", several))
    source = "".join(path.read_text() for path in Path(ROOT / "vending").rglob("*.py"))
    assert not {event for event in events if f'"{event}"' not in source}


def test_each_situation_has_its_alert() -> None:
    assert {alert["name"] for alert in ALERTS} == {
        "denials",
        "host-exceptions",
        "host-refusals",
        "issuer-keys",
        "policy",
        "registry-refusals",
        "server-errors",
        "wider-grant",
    }


def test_a_wider_grant_is_the_most_severe_and_never_tolerated() -> None:
    [alert] = [alert for alert in ALERTS if alert["name"] == "wider-grant"]
    assert (alert["severity"], alert["threshold"]) == (0, 0)
    assert min(other["severity"] for other in ALERTS if other is not alert) > 0


def test_what_anybody_can_cause_never_raises_the_alert_on_the_apps_own_errors() -> None:
    """The host refuses a large body with a 500 before anyone is authenticated; only invocations count as the app's."""
    alerts = {alert["name"]: alert for alert in ALERTS}
    own, host = alerts["server-errors"], alerts["host-refusals"]
    assert "| where isnotempty(customDimensions.InvocationId)" in own["query"]
    assert "| where isempty(customDimensions.InvocationId)" in host["query"]
    assert own["query"][:2] == host["query"][:2] == ["requests", "| where toint(resultCode) >= 500"]
    assert host["severity"] > own["severity"]


def test_the_workbook_has_a_part_for_each_question() -> None:
    names = {item["name"] for item in WORKBOOK["items"]}
    assert names >= {"requests", "reasons", "callers", "latency", "repositories"}
