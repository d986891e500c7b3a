"""The reader of audit events, on a day that the stack produced: every question of docs/operations.md has its answer."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from devstack.policy import policy_text
from devstack.stack import PROJECT, Stack
from tests.support.caller import exchange, vend
from tests.support.recorder import events

if TYPE_CHECKING:
    from devstack.stack import Upstreams

pytestmark = pytest.mark.e2e

REPORT = [sys.executable, "-m", "vending", "audit", "report"]
PUSH = "repository:web/api:pull,push"
SERVER = "repository:api/server:pull"
AUDIT_RULE = """
  - name: web-next
    issuer: github
    mode: audit
    when: {repository_id: "123456", repository_owner_id: "9919"}
    grant: [{registry: prod, repositories: [web/next], actions: [pull]}]

deny:"""


@dataclass(frozen=True)
class Day:
    """A log of the service, and what it should say."""

    log: Path
    policy: Path
    web_token: str
    web: dict[str, Any]
    api: dict[str, Any]
    policies: list[str]
    events: int


@pytest.fixture(scope="module")
def day(upstreams: Upstreams, tmp_path_factory: pytest.TempPathFactory) -> Day:
    issuers, registry = upstreams.issuers, upstreams.registry
    settings = {"VENDING_POLICY_REFRESH_SECONDS": "1"}
    policy = policy_text(upstreams).replace("\ndeny:", AUDIT_RULE, 1)
    with Stack(upstreams, policy=policy, settings=settings) as stack:
        token = issuers.github.token(jti="web-job-1")
        web = vend(stack.url, token, scope=PUSH)
        exchange(stack.url, token, scope=PUSH)
        exchange(stack.url, issuers.github.token(jti="web-job-2"), scope="repository:web/next:pull")
        exchange(stack.url, issuers.github.token(jti="web-job-3"), scope="repository:web/cache/x:delete")
        exchange(stack.url, issuers.github.token(jti="web-job-4"), path="/explain", scope=PUSH)
        exchange(stack.url, issuers.other.token(), scope=PUSH)
        wide = [{"type": "repository", "name": "web/api", "actions": ["pull", "push", "delete"]}]
        registry.tokens.tamper = lambda claims: {**claims, "access": wide}
        exchange(stack.url, issuers.github.token(jti="web-job-5"), scope=PUSH)
        upstreams.heal()
        first = events_of(stack)[0]["policy_sha256"]
        stack.write_policy(policy + "\n# a later version\n")
        for _ in range(300):
            api = vend(stack.url, issuers.gitlab.token(), scope=SERVER)
            if (second := events_of(stack)[-1]["policy_sha256"]) != first:
                break
        log = tmp_path_factory.mktemp("day") / "app.log"
        log.write_text(stack.host.log)
        written = log.with_name("policy.yaml")
        written.write_text(policy + "\n# a later version\n")
        return Day(log, written, token, web, api, [first, second], len(events_of(stack)))


def events_of(stack: Stack) -> list[dict[str, Any]]:
    return list(events([stack.host.log]))


def ask(*arguments: str, text: str | None = None, status: int = 0) -> list[dict[str, str]]:
    done = run(*arguments, text=text)
    assert done.returncode == status, done.stderr
    rows: list[dict[str, str]] = json.loads(done.stdout)
    return rows


def run(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [*REPORT, "--format", "json", *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False, cwd=PROJECT)


def test_who_got_what_when(day: Day) -> None:
    rows = ask("grants", "--events", str(day.log))
    assert rows[0]["token_id"] == day.web["token_id"]
    assert rows[0]["granted"] == PUSH
    assert rows[0]["rules"] == "web-release"
    assert "repository_id=123456" in rows[0]["caller"]
    assert {row["issuer"] for row in rows} == {"github", "gitlab"}
    assert day.api["token_id"] in {row["token_id"] for row in rows}


def test_from_a_vended_token_back_to_the_job(day: Day) -> None:
    rows = {row["field"]: row["value"] for row in ask("token", day.web["token_id"], "--events", str(day.log))}
    assert rows["subject_token_id"] == "web-job-1"
    assert rows["subject_token_sha256"] == hashlib.sha256(day.web_token.encode()).hexdigest()
    assert json.loads(rows["granted"]) == [PUSH]


@pytest.mark.parametrize(
    ("claims", "outcomes"),
    [
        pytest.param(["jti=web-job-1"], ["allow", "deny"], id="by its id: its use, and its replay"),
        pytest.param(["jti=web-job-2"], ["deny"], id="a job that got nothing"),
        pytest.param(["repository_id=123456", "jti=web-job-4"], ["allow"], id="an explanation"),
        pytest.param(["repository_id=123456", "repository_id=7"], [], id="claims that contradict each other"),
    ],
)
def test_from_a_job_to_its_tokens(day: Day, claims: list[str], outcomes: list[str]) -> None:
    rows = ask("caller", *claims, "--events", str(day.log), status=0 if outcomes else 1)
    assert [row["outcome"] for row in rows] == outcomes


def test_a_job_is_found_by_the_digest_of_its_token(day: Day) -> None:
    digest = hashlib.sha256(day.web_token.encode()).hexdigest()
    rows = ask("caller", f"sha256={digest}", "--events", str(day.log))
    assert [row["token_id"] for row in rows] == [day.web["token_id"], "-"]


def test_denials_by_reason(day: Day) -> None:
    rows = ask("denials", "--events", str(day.log))
    assert {row["reason"] for row in rows} == {
        "token_replayed",
        "scope_not_granted",
        "issuer_unknown",
        "registry_grant_wider",
    }


def test_what_could_this_caller_get(day: Day) -> None:
    rows = {(row["outcome"], row["scope"]) for row in ask("could", "repository_id=123456", "--events", str(day.log))}
    assert rows == {
        ("granted", PUSH),
        ("refused", "repository:web/next:pull"),
        ("refused", "repository:web/cache/x:delete"),
    }


def test_which_policy_was_in_force_when(day: Day) -> None:
    rows = ask("policies", "--events", str(day.log))
    assert [row["policy_sha256"] for row in rows] == day.policies
    assert rows[0]["last"] <= rows[1]["first"]


def test_whom_an_audit_mode_rule_would_have_let_in(day: Day) -> None:
    rows = ask("trials", "--events", str(day.log))
    assert [row["rule"] for row in rows] == ["web-next"]
    assert "repository_id=123456" in rows[0]["caller"]


def test_how_long_each_step_took(day: Day) -> None:
    rows = ask("durations", "--events", str(day.log))
    assert {row["step"] for row in rows} == {"policy", "verify", "decide", "claim", "mint", "total"}


def test_what_somebody_must_look_at(day: Day) -> None:
    (row,) = ask("security", "--events", str(day.log))
    assert row["event"] == "registry_grant_wider"
    assert "delete" in row["details"]


def test_a_question_that_nothing_answers_exits_1(day: Day) -> None:
    assert ask("token", "no-such-token", "--events", str(day.log), status=1) == []


def test_events_come_bare_prefixed_or_as_rows_of_an_export(day: Day) -> None:
    bare = [json.dumps(event) for event in events([day.log.read_text()])]
    exported = [json.dumps({"timestamp": "2026-01-01", "message": line}) for line in bare]
    workspace = [json.dumps({"TimeGenerated": "2026-01-01", "Message": line}) for line in bare]
    expected = ask("grants", "--events", str(day.log))
    for lines in (bare, exported, workspace):
        assert ask("grants", text="\n".join(lines)) == expected


def test_a_day_is_a_day_in_utc_and_other_lines_are_counted(day: Day) -> None:
    date = ask("grants", "--events", str(day.log))[0]["time"][:10]
    assert ask("grants", "--day", date, "--events", str(day.log))
    assert ask("grants", "--day", "2001-01-01", "--events", str(day.log), status=1) == []
    command = [*REPORT, "grants"]
    text = 'garbage\n{"a": 1}\n{"kind": "token"\n\n'
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, cwd=PROJECT)
    assert done.stdout.splitlines() == ["0 events", "3 other lines left out"]
    assert run("grants", "--day", "yesterday").returncode == 2


def test_tables_are_for_people(day: Day) -> None:
    command = [*REPORT, "denials", "--events", str(day.log)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=PROJECT)
    assert done.stdout.splitlines()[0].split() == ["count", "outcome", "reason", "issuer", "caller", "last"]
    assert f"{day.events} events" in done.stdout


def audit(day: Day, command: str, *arguments: str) -> Any:
    environment = {"PATH": os.environ["PATH"], "VENDING_ALLOW_LOOPBACK": "1"}
    called = [sys.executable, "-m", "vending", "audit", command, str(day.policy), "--events", str(day.log), *arguments]
    done = subprocess.run(called, capture_output=True, text=True, cwd=PROJECT, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_same_policy_decides_every_recorded_request_the_same_again(day: Day) -> None:
    found = audit(day, "replay", "--explain", "--format", "json")
    assert found["decided"] == found["unchanged"] > 4
    assert [found[name] for name in ("lost", "gained", "changed", "undecidable")] == [[], [], [], []]


def test_what_was_vended_counts_as_used(day: Day) -> None:
    rows = {(r["rule"], r["repository"], r["action"]): r for r in audit(day, "usage", "--format", "json")}
    assert rows["web-release", "web/api", "push"]["used"] == 1
    unused = [row for row in rows.values() if not row["used"]]
    assert unused
    assert all(row["instead"] for row in unused)


def test_a_suggestion_covers_what_was_refused(day: Day) -> None:
    rules = audit(day, "suggest", "--all", "--format", "json")["rules"]
    wanted = {name for suggested in rules for grant in suggested["grant"] for name in grant["repositories"]}
    assert rules == [] or wanted <= {"web/next", "web/cache/x", "web/api"}
