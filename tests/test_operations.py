"""docs/operations.md and the code say the same: fields, events of the log, metrics, queries and commands."""

from __future__ import annotations

import ast
import json
import re
import shlex
from typing import Any

import pytest
from opentelemetry.metrics import NoOpMeter
from opentelemetry.trace import NoOpTracer

from devstack.stack import PROJECT
from tests.docs.markdown import Block, blocks
from tests.infra.toolbox import LOCKS, node_tools, succeed
from vending.audit import MAX_LINE
from vending.audit_event import AUDIT_SCHEMA, MAX_ITEMS, MAX_TEXT, SECURITY_SCHEMA
from vending.cli.main import build_parser
from vending.errors import Reason
from vending.evidence.report import QUESTIONS
from vending.rate_limit import MAX_CALLERS
from vending.telemetry import Ages, OpenTelemetry

PAGE = PROJECT / "docs" / "operations.md"
TEXT = PAGE.read_text(encoding="utf-8")
QUERIES = [block for block in blocks(PAGE) if block.language == "kusto"]
METRICS = (
    "let customMetrics = datatable(timestamp: datetime, name: string, valueSum: real, valueCount: int, "
    "customDimensions: dynamic)[];\n"
)
"""The check knows the tables of the log only."""
COMMANDS = re.findall(r"`acr-vending (audit report [^`]+)`", TEXT)


def section(heading: str) -> str:
    start = TEXT.index(f"\n## {heading}\n")
    end = TEXT.find("\n## ", start + 1)
    return TEXT[start:end]


def first_cells(heading: str) -> list[str]:
    """Return the first cell of each row of a section's tables, without the head, the backticks and the rule."""
    rows = re.findall(r"^\| (`[^|]+`) \|", section(heading), re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


@pytest.mark.parametrize(
    ("heading", "schema"), [("The audit event", AUDIT_SCHEMA), ("Security events", SECURITY_SCHEMA)]
)
def test_every_field_is_documented_in_the_order_in_which_it_is_written(heading: str, schema: dict[str, Any]) -> None:
    assert first_cells(heading) == list(schema["properties"])


def test_the_page_states_the_limits_of_the_code() -> None:
    event = section("The audit event")
    assert f"cut to {MAX_TEXT} characters" in event
    assert f"first {MAX_ITEMS}" in " ".join(event.split())
    assert f"longer than {MAX_LINE:,}" in event
    assert f"At most {MAX_CALLERS:,} are kept" in section("The rate limit")


def logged_events() -> dict[str, set[str]]:
    """Find what the code passes to `note`: each event's name, with its levels."""
    found: dict[str, set[str]] = {}
    for path in sorted((PROJECT / "vending").rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call) or ast.unparse(call.func) not in {"note", "operations_log.note"}:
                continue
            level, event = call.args[:2]
            names = [node.value for node in ast.walk(event) if isinstance(node, ast.Constant)]
            for name in names:
                if isinstance(name, str):
                    found.setdefault(name, set()).add(ast.unparse(level).removeprefix("logging."))
    return found


def test_every_event_of_the_operations_log_is_documented_with_its_level() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", section("The operations log"), re.MULTILINE)
    assert {name: {level} for name, level in rows} == logged_events()


class Names(NoOpMeter):
    """A meter that keeps nothing but the names of its instruments."""

    def __init__(self) -> None:
        super().__init__("names")
        self.names: list[str] = []

    def create_counter(self, name: str, *args: Any, **kwargs: Any) -> Any:
        self.names.append(name)
        return super().create_counter(name, *args, **kwargs)

    def create_histogram(self, name: str, *args: Any, **kwargs: Any) -> Any:
        self.names.append(name)
        return super().create_histogram(name, *args, **kwargs)

    def create_observable_gauge(self, name: str, *args: Any, **kwargs: Any) -> Any:
        self.names.append(name)
        return super().create_observable_gauge(name, *args, **kwargs)


def test_every_instrument_and_span_is_documented() -> None:
    meter = Names()
    OpenTelemetry(NoOpTracer(), meter).watch(lambda: Ages(policy=None, keys={}))
    steps = AUDIT_SCHEMA["properties"]["durations_ms"]["propertyNames"]["enum"]
    spans = {f"vending.{name}" for name in ("token", "explain", *steps) if name != "total"}
    documented = {name for name in first_cells("Traces and metrics") if name.startswith("vending.")}
    assert documented == {*meter.names, *spans}


@pytest.mark.process
def test_every_query_is_valid_kusto() -> None:
    given = json.dumps([{"name": block.name, "query": METRICS + block.text} for block in QUERIES])
    assert json.loads(succeed(["node", LOCKS / "kql.cjs"], cwd=node_tools(), text=given)) == []


@pytest.mark.parametrize("block", QUERIES, ids=lambda block: block.section)
def test_every_query_reads_fields_and_reasons_that_exist(block: Block) -> None:
    known = set(AUDIT_SCHEMA["properties"]) | set(SECURITY_SCHEMA["properties"])
    assert set(re.findall(r"\bevent(?:\.|\[')(\w+)", block.text)) <= known
    reasons = re.findall(r"event\.reason\) in \(([^)]*)\)", block.text)
    assert {name for found in reasons for name in re.findall(r"\w+", found)} <= {reason.value for reason in Reason}


def test_every_question_is_asked_on_the_page_and_each_command_is_one() -> None:
    parser = build_parser({"audit"})
    asked = [parser.parse_args(shlex.split(command)).question for command in COMMANDS]
    assert set(asked) == set(QUESTIONS)


def test_every_link_within_the_page_leads_somewhere() -> None:
    anchors = {
        re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")
        for heading in re.findall(r"^#{2,3} (.+)$", TEXT, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= anchors
