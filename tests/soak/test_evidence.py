"""What the audit commands say of a soak's events is what the load itself saw, answer by answer."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from devstack.issuer.claims import REPOSITORY_ID
from tests.soak.load import Answered
from tests.soak.run import Soak, soak
from vending.cli.main import main
from vending.evidence.decisions import DECISIONS

pytestmark = pytest.mark.e2e

_GITHUB = ("github", "explain", "too much", "by hand", "pull request", "push of a pull request", "audit mode")


@dataclass(frozen=True)
class Soaked:
    """A soak, its log and its policy as files, and what its callers saw."""

    soak: Soak
    log: Path
    policy: Path

    @cached_property
    def vended(self) -> list[Answered]:
        return [one for one in self.soak.answered if one.status == 200 and one.call.path == "/token"]

    @cached_property
    def refused(self) -> list[Answered]:
        return [one for one in self.soak.answered if one.reason is not None]

    @cached_property
    def by_request(self) -> dict[str, Answered]:
        return {one.request_id: one for one in self.soak.answered}

    def decided(self, kinds: Iterable[str]) -> int:
        """Return how many answers of these kinds only a decision can have given."""
        decisions = {None, *(reason.value for reason in DECISIONS)}
        return sum(one.call.name in set(kinds) and one.reason in decisions for one in self.soak.answered)


@pytest.fixture(scope="module")
def soaked(tmp_path_factory: pytest.TempPathFactory) -> Soaked:
    folder = tmp_path_factory.mktemp("soaked")
    outcome = soak(18, 20, 11, lambda _: None, audit=folder / "app.log")
    assert outcome.problems == []
    policy = folder / "policy.yaml"
    policy.write_text(outcome.policy)
    return Soaked(outcome, folder / "app.log", policy)


Run = Callable[..., str]


@pytest.fixture
def run(soaked: Soaked, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Call the tool with the soak's events."""
    monkeypatch.setenv("VENDING_ALLOW_LOOPBACK", "1")

    def call(*arguments: str | Path, status: int = 0) -> str:
        capsys.readouterr()
        events = [] if arguments[0] in {"check", "diff"} else ["--events", str(soaked.log)]
        done = main([*map(str, arguments), *events])
        said = capsys.readouterr()
        assert done == status, said.out + said.err
        return said.out

    return call


def of_table(text: str) -> tuple[list[str], int]:
    """Return the headings of a printed table and the number of its rows; the count of events ends it."""
    lines = text.splitlines()
    end = next(number for number, line in enumerate(lines) if re.match(r"\d+ events", line))
    return lines[0].split(), len(lines[1:end])


def ask(run: Run, *question: str, status: int = 0) -> list[dict[str, str]]:
    """Ask one question in every format; they all say the same."""
    asked = ["audit", "report", *question]
    rows: list[dict[str, str]] = json.loads(run(*asked, "--format", "json", status=status))
    read = list(csv.DictReader(io.StringIO(run(*asked, "--format", "csv", status=status))))
    printed = run(*asked, status=status)
    if not rows:
        assert read == []
        return []
    assert [{name: value.removeprefix("'") for name, value in row.items()} for row in read] == rows
    assert of_table(printed) == (list(rows[0]), len(rows))
    return rows


def test_the_soak_had_what_the_commands_are_asked_about(soaked: Soaked) -> None:
    reasons = Counter(one.reason for one in soaked.refused)
    assert len(soaked.vended) > 50
    assert reasons["registry_grant_wider"] > 0
    assert reasons["scope_not_granted"] > 5
    assert set(reasons) - {reason.value for reason in DECISIONS}
    assert len(soaked.soak.policies) > 2
    assert {one.call.name for one in soaked.vended} >= {"github", "gitlab", "kubernetes", "by hand", "pull request"}


def test_grants_are_the_tokens_that_callers_got(soaked: Soaked, run: Run) -> None:
    rows = ask(run, "grants")
    got = {one.token_id: one.call.scope for one in soaked.vended}
    assert len(rows) == len(soaked.vended)
    assert {row["token_id"]: row["granted"] for row in rows} == got


def test_denials_are_the_refusals_that_callers_got(soaked: Soaked, run: Run) -> None:
    counted: Counter[str] = Counter()
    for row in ask(run, "denials"):
        counted[row["reason"]] += int(row["count"])
    assert counted == Counter(one.reason for one in soaked.refused)


def test_a_token_leads_to_the_job_that_got_it(soaked: Soaked, run: Run) -> None:
    for one in (soaked.vended[0], soaked.vended[-1]):
        assert one.token_id is not None
        told = {row["field"]: row["value"] for row in ask(run, "token", one.token_id)}
        assert (told["subject_token_id"], told["request_id"]) == (one.job, one.request_id)
    assert ask(run, "token", "none", status=1) == []


@pytest.mark.parametrize("name", ["web/api", "web/ui", "web/tools", "api/server"])
def test_a_repository_was_vended_as_often_as_callers_got_it(soaked: Soaked, run: Run, name: str) -> None:
    got = {one.token_id for one in soaked.vended if f"repository:{name}:" in one.call.scope}
    assert {row["token_id"] for row in ask(run, "repository", name)} == got


def test_a_callers_history_is_what_it_was_answered(soaked: Soaked, run: Run) -> None:
    for one in (soaked.vended[0], soaked.vended[-1]):
        tried = [other.request_id for other in soaked.soak.answered if other.job == one.job]
        assert [row["request_id"] for row in ask(run, "caller", f"jti={one.job}")] == tried
    rows = ask(run, "caller", f"repository_id={REPOSITORY_ID}")
    for row in rows:
        seen = soaked.by_request[row["request_id"]]
        assert (row["reason"], row["token_id"]) == (seen.reason or "-", seen.token_id or "-")
        assert seen.call.name in _GITHUB
    assert len(rows) >= soaked.decided(_GITHUB)


def test_security_events_are_the_wider_grants(soaked: Soaked, run: Run) -> None:
    rows = ask(run, "security")
    wider = [one.request_id for one in soaked.refused if one.reason == "registry_grant_wider"]
    assert Counter(row["request_id"] for row in rows) == Counter(wider)


def test_the_other_questions_count_what_callers_saw(soaked: Soaked, run: Run) -> None:
    policies = ask(run, "policies")
    assert {row["policy_sha256"] for row in policies} - {"none"} <= set(soaked.soak.policies)
    assert len(policies) > 2
    assert sum(int(row["requests"]) for row in policies) == soaked.soak.sent
    (trial,) = ask(run, "trials")
    assert trial["rule"] == "web-next"
    assert int(trial["requests"]) == soaked.decided(["audit mode"])
    totals = {row["step"]: int(row["requests"]) for row in ask(run, "durations")}
    assert totals["total"] == soaked.soak.sent
    could = {
        (row["outcome"], row["scope"]): int(row["requests"])
        for row in ask(run, "could", f"repository_id={REPOSITORY_ID}")
    }
    pulled = sum(one.call.name in _GITHUB and "repository:web/ui:pull" in one.call.scope for one in soaked.vended)
    assert could["granted", "repository:web/ui:pull"] == pulled
    deleted = sum(one.call.name == "too much" and one.reason == "scope_not_granted" for one in soaked.refused)
    assert could["refused", "repository:web/api:delete"] == deleted


def replayed(run: Run, policy: Path, *options: str, status: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("audit", "replay", policy, "--format", "json", *options, status=status))
    return found


def test_the_policy_in_force_decides_everything_the_same_again(soaked: Soaked, run: Run) -> None:
    found = replayed(run, soaked.policy, "--explain")
    assert [found["lost"], found["gained"], found["changed"]] == [[], [], []]
    assert found["decided"] == found["unchanged"]
    by_hand = {one.request_id for one in soaked.soak.answered if one.call.name == "by hand"}
    assert {entry["request_id"] for entry in found["undecidable"]} <= by_hand
    assert found["undecidable"]
    assert all("actor" in entry["why"] for entry in found["undecidable"])
    decided = {one.call.name for one in soaked.soak.answered} - {"by hand", "expired"}
    assert found["decided"] >= soaked.decided(decided)


def drafted(soaked: Soaked, tmp_path: Path, old: str, new: str) -> Path:
    text = soaked.policy.read_text()
    assert old in text
    draft = tmp_path / "draft.yaml"
    draft.write_text(text.replace(old, new, 1))
    return draft


def test_a_right_that_is_taken_away_loses_the_requests_that_used_it(soaked: Soaked, run: Run, tmp_path: Path) -> None:
    draft = drafted(
        soaked, tmp_path, "[api/server]\n        actions: [pull, push,", "[api/server]\n        actions: [pull,"
    )
    found = replayed(run, draft, "--fail-on", "lost", status=1)
    used = {one.request_id for one in soaked.vended if one.call.name == "gitlab"}
    lost = {entry["request_id"]: entry for entry in found["lost"]}
    assert used <= set(lost)
    # A request that was granted and failed afterwards, at the registry, counts as granted.
    failed = [soaked.by_request[name] for name in set(lost) - used]
    assert all(one.call.name == "gitlab" and one.status >= 500 for one in failed)
    assert all(entry["missing"] == ["repository:api/server:push"] for entry in lost.values())
    assert found["gained"] == []
    (group,) = re.findall(
        r"^  (\d+) of gitlab (.*): repository:api/server", run("audit", "replay", draft), re.MULTILINE
    )
    assert int(group[0]) == len(lost)
    assert "project_id=4200" in group[1]
    assert f"### {len(lost)} recorded requests of 1 caller would be refused" in run(
        "audit", "replay", draft, "--format", "markdown"
    )


def test_a_draft_that_looks_at_what_was_not_recorded_decides_nothing(soaked: Soaked, run: Run, tmp_path: Path) -> None:
    draft = drafted(
        soaked,
        tmp_path,
        '      ref_protected: "true"\n',
        '      ref_protected: "true"\n      user_access_level: maintainer\n',
    )
    found = replayed(run, draft)
    gitlab = [entry for entry in found["undecidable"] if entry["issuer"] == "gitlab"]
    assert len(gitlab) >= sum(one.call.name == "gitlab" for one in soaked.vended)
    assert all("user_access_level" in entry["why"] for entry in gitlab)
    assert found["lost"] == []


def test_use_is_what_callers_got_and_the_patch_only_shrinks(soaked: Soaked, run: Run, tmp_path: Path) -> None:
    patch = tmp_path / "narrower.patch"
    rows = json.loads(run("audit", "usage", soaked.policy, "--format", "json", "--patch", patch))
    used = {(row["rule"], row["repository"], row["action"]): row["used"] for row in rows}
    got = Counter(one.call.name for one in soaked.vended)
    assert used["web-release", "web/api", "push"] == got["github"]
    assert used["web-release", "web/ui", "pull"] == got["github"]
    assert used["web-pull-request", "web/api", "pull"] == got["pull request"]
    assert used["api-release", "api/server", "push"] == got["gitlab"]
    assert used["production-pulls", "web/*", "pull"] == got["kubernetes"]
    assert used["web-by-hand", "web/tools", "push"] == got["by hand"]
    assert used["web-release", "web/cache/**", "push"] == used["production-pulls", "api/*", "pull"] == 0
    narrower = tmp_path / "narrower.yaml"
    narrower.write_text(soaked.policy.read_text())
    text = re.sub(r"^(---|\+\+\+) ([ab])/.*$", r"\1 \2/narrower.yaml", patch.read_text(), flags=re.MULTILINE)
    subprocess.run(["git", "apply", "-"], input=text, text=True, cwd=tmp_path, check=True)
    difference = json.loads(run("diff", soaked.policy, narrower, "--format", "json"))
    assert difference["grew"] == difference["not_decided"] == []
    assert difference["shrank"]
    assert replayed(run, narrower, "--fail-on", "lost")["lost"] == []


def test_the_access_page_marks_what_nobody_used(soaked: Soaked, run: Run, tmp_path: Path) -> None:
    page = tmp_path / "access.html"
    run("matrix", soaked.policy, "-o", page)
    (data,) = re.findall(r'<script[^>]*type="application/json"[^>]*>(.*?)</script>', page.read_text(), re.DOTALL)
    entries = {
        (entry["rule"], entry["repository"]): entry["used"] for entry in json.loads(data)["entries"] if "used" in entry
    }
    got = Counter(one.call.name for one in soaked.vended)
    assert entries["web-release", "web/api"] == 2 * got["github"]
    assert entries["api-release", "api/server"] == 2 * got["gitlab"]
    assert entries["web-release", "web/cache/**"] == 0


def test_suggestions_pass_the_check_and_grant_what_was_refused(soaked: Soaked, run: Run, tmp_path: Path) -> None:
    text = run("audit", "suggest", soaked.policy)
    rules = json.loads(run("audit", "suggest", soaked.policy, "--format", "json"))["rules"]
    wanted = {(rule["issuer"], name) for rule in rules for entry in rule["grant"] for name in entry["repositories"]}
    assert wanted == {("github", "web/next"), ("gitlab", "web/api")}
    assert "may have been an attack" in text
    with_them = tmp_path / "with.yaml"
    suggested = text[text.index("rules:\n") + len("rules:\n") : text.index("A refused request")]
    with_them.write_text(soaked.policy.read_text().replace("\nrules:\n", f"\nrules:\n{suggested}\n", 1))
    run("check", "--strict", with_them)
    found = replayed(run, with_them)
    gained = {entry["request_id"] for entry in found["gained"]}
    refused = {
        one.request_id
        for one in soaked.refused
        if one.call.name in {"audit mode", "not granted"} and one.reason == "scope_not_granted"
    }
    assert gained == refused
    assert found["lost"] == []
