"""What Azure Monitor's query API answers to an export of the audit log, and nothing else.

Every rule has its documentation beside it; a query that is not known here is a failure of the test.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import jwt

from tests.clients.servers import Answer, Seen

QUERY: Final = "AppTraces | where Message startswith '{' | project TimeGenerated, Message"
RESOURCE: Final = "https://api.loganalytics.io"
WORKSPACE: Final = "5e4d3c2b-0000-4000-8000-000000000001"


@dataclass
class Workspace:
    """Hold the events of a workspace, the most rows of an answer, and an answer to give to every query instead."""

    events: list[Mapping[str, Any]] = field(default_factory=list)
    # https://learn.microsoft.com/azure/azure-monitor/service-limits#log-queries-and-language
    most_rows: int = 500_000
    instead: Answer | None = None
    days: list[str] = field(default_factory=list)
    """The days that were asked for."""

    def answer(self, seen: Seen) -> Answer:
        """Answer one query: https://learn.microsoft.com/azure/azure-monitor/logs/api/request-format."""
        if self.instead is not None:
            return self.instead
        assert (seen.method, seen.path) == ("POST", f"/v1/workspaces/{WORKSPACE}/query")
        assert seen.headers["content-type"] == "application/json"
        token = seen.headers["authorization"].removeprefix("Bearer ")
        assert jwt.decode(token, options={"verify_signature": False})["aud"] == RESOURCE
        asked = json.loads(seen.body)
        assert asked["query"] == QUERY
        start, _, duration = asked["timespan"].partition("/")
        assert duration == "P1D"
        self.days.append(start[:10])
        return self._rows(datetime.datetime.fromisoformat(start))

    def _rows(self, start: datetime.datetime) -> Answer:
        # https://learn.microsoft.com/azure/azure-monitor/logs/api/response-format
        end = start + datetime.timedelta(days=1)
        rows = [
            [event["time"], json.dumps(event)]
            for event in self.events
            if start <= datetime.datetime.fromisoformat(event["time"]) < end
        ]
        columns = [{"name": "TimeGenerated", "type": "datetime"}, {"name": "Message", "type": "string"}]
        table = {"name": "PrimaryResult", "columns": columns, "rows": rows[: self.most_rows]}
        answer: dict[str, object] = {"tables": [table]}
        if len(rows) > self.most_rows:
            # The status is 200: https://learn.microsoft.com/azure/azure-monitor/logs/api/errors#partial-error
            inner = "The results of this query exceed the set limit of 500000 records (E_QUERY_RESULT_SET_TOO_LARGE)."
            answer["error"] = {
                "code": "PartialError",
                "message": "There were some errors when processing your query.",
                "details": [{"code": "EngineError", "message": inner}],
            }
        return Answer(200, json.dumps(answer), {"Content-Type": "application/json"})


def refusal(status: int, code: str, message: str) -> Answer:
    """Return an error as https://learn.microsoft.com/azure/azure-monitor/logs/api/errors has it."""
    return Answer(status, json.dumps({"error": {"code": code, "message": message}}))
