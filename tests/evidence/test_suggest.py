"""Suggestions: as narrow as what was seen, for callers of every provider, and never from what nobody has reviewed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.docs.markdown import ROOT
from tests.evidence.recording import JOB, OTHER, record
from tests.policy.language import NOW, compose, load_data
from vending.acr.scope import parse as parse_scopes
from vending.cli.main import main
from vending.evidence.decisions import Undecidable, decide_again
from vending.evidence.suggest import suggest
from vending.policy import PRESETS, Environment, Loaded, Policy, load, load_with_source
from vending.policy.engine.containment import contains
from vending.policy.lint import lint

COMPANY = ROOT / "examples" / "company" / "policy"
PUSH = "repository:web/new:pull,push"


def made(*requests: tuple[dict[str, Any], str], everyone: bool = False, **sections: Any) -> list[dict[str, Any]]:
    policy = load_data(compose(rules=[OTHER], **sections))
    events = [record(policy, claims, parse_scopes(scope), NOW, issuer="github")[0] for claims, scope in requests]
    return [dict(one.rule) for one in suggest(policy, events, everyone=everyone).suggestions]


def test_refs_that_ask_for_the_same_share_a_rule_and_nothing_is_crossed() -> None:
    tag, staging = {**JOB, "ref": "refs/tags/v1"}, {**JOB, "environment": "staging"}
    pull = "repository:web/base:pull"
    rules = made((JOB, PUSH), (tag, PUSH), (staging, pull), (JOB, PUSH))
    told = {
        (json.dumps(one["when"]["ref"]), one["when"]["environment"]): one["grant"][0]["repositories"] for one in rules
    }
    assert told == {
        ('["refs/heads/main", "refs/tags/v1"]', "production"): ["web/new"],
        ('"refs/heads/main"', "staging"): ["web/base"],
    }
    policy = load_data(compose(rules=[OTHER, *rules]))
    crossed, _ = record(policy, {**tag, "environment": "staging"}, parse_scopes(pull), NOW, issuer="github")
    assert crossed["outcome"] == "deny"


def test_actions_are_those_that_were_asked_for_of_each_repository() -> None:
    (one,) = made((JOB, "repository:web/a:pull repository:web/b:push,pull"), (JOB, "repository:web/a:metadata_read"))
    assert one["grant"] == [
        {"registry": "prod", "repositories": ["web/a"], "actions": ["pull", "metadata_read"]},
        {"registry": "prod", "repositories": ["web/b"], "actions": ["pull", "push"]},
    ]


@pytest.mark.parametrize("event_name", ["pull_request", "pull_request_target", "issue_comment", "workflow_run"])
def test_a_trigger_that_runs_what_nobody_reviewed_is_left_out(event_name: str) -> None:
    job = {**JOB, "event_name": event_name}
    assert made((job, PUSH), (job, PUSH), (job, PUSH)) == []
    assert len(made((job, PUSH), everyone=True)) == 1


def test_a_pull_request_is_known_by_its_ref_where_nothing_read_its_trigger() -> None:
    assert made(*[({**JOB, "event_name": "push", "ref": "refs/pull/7/merge"}, PUSH)] * 2) == []


def test_a_stranger_is_whom_no_rule_of_the_policy_is_about() -> None:
    stranger, known = {**JOB, "repository_id": "99"}, {**JOB, "repository_id": "8", "repository_owner_id": "1"}
    assert made((stranger, PUSH)) == []
    assert made((known, PUSH))[0]["when"]["repository_id"] == "8"
    assert len(made((stranger, PUSH), (stranger, "repository:web/other:pull"))) == 1


def test_what_is_granted_as_things_are_needs_no_rule() -> None:
    granted = {**JOB, "repository_id": "8", "repository_owner_id": "1", "ref": "refs/heads/x", "environment": "staging"}
    assert made((granted, "repository:web/ui:pull"), (granted, "repository:web/ui:pull")) == []


@pytest.mark.parametrize("value", ["pro*", "**", "a\nb", "a\u202eb", ""])
def test_a_value_that_no_condition_says_exactly_makes_no_wider_rule(value: str) -> None:
    odd = {**JOB, "environment": value}
    for one in made((odd, PUSH), (odd, PUSH)):
        assert value == ""
        assert "environment" not in one["when"]
    pinned = {**JOB, "repository_id": value}
    assert made((pinned, PUSH), (pinned, PUSH)) == []


def test_one_owner_is_no_caller() -> None:
    nobody = {name: value for name, value in JOB.items() if name != "repository_id"}
    assert made((nobody, PUSH), (nobody, PUSH)) == []


def test_the_catalog_and_a_request_for_everything_make_no_rule() -> None:
    assert made(*[(JOB, "registry:catalog:*")] * 2) == []
    assert made(*[(JOB, f"registry:catalog:* {PUSH}")] * 2) == []


# --- Every provider ---------------------------------------------------------------------------------------------------

SAMPLES = [(preset, form) for preset in PRESETS.values() for form in preset.samples]
LEFT_OUT = {
    "buildkite/default",  # These three have no immutable id,
    "buildkite/tag",
    "buildkite/older-agent",
    "azure-devops/service-connection",  # and these nothing that names one job's own.
    "circleci/ssh-rerun",  # Whoever may log in to that job can use its token.
    "circleci/custom-webhook",  # No ref: any branch may push.
    *(
        f"{preset.name}/{form}"
        for preset, form in SAMPLES
        if any(contains(pattern, str(preset.samples[form].claims.get(name))) for name, pattern in preset.unreviewed)
    ),
}
ASKED = "repository:new/{form}:pull,push repository:new/base:pull"


def the_company(folder: Path) -> dict[str, str]:
    """Write the company's policy with one more issuer for each that signed a sample; return their names by URL."""
    shutil.copytree(COMPANY, folder)
    presets = {str(preset.samples[form].claims["iss"]): preset.name for preset, form in SAMPLES}
    names = {url: issuer.name for url, issuer in load(COMPANY, Environment()).issuers.items()}
    written = ""
    for number, url in enumerate(sorted(presets.keys() - names.keys())):
        names[url] = f"sampled-{number}"
        written += f"  {names[url]}: {{preset: {presets[url]}, issuer: {json.dumps(url)}}}\n"
    main_file = folder / "main.yaml"
    text = main_file.read_text().replace("issuers:\n", f"issuers:\n{written}", 1)
    main_file.write_text(text.replace("files:\n", "files:\n  suggested.yaml: {}\n", 1))
    return names


def test_each_providers_token_gets_a_rule_that_is_clean_and_grants_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "policy"
    names = the_company(folder)
    loaded = load_with_source(folder, Environment())
    recorded = {}
    for preset, form in SAMPLES:
        claims = dict(preset.samples[form].claims)
        scopes = parse_scopes(ASKED.format(form=f"{preset.name}/{form}"))
        event, _ = record(loaded.policy, claims, scopes, NOW, issuer=names[str(claims["iss"])])
        recorded[f"{preset.name}/{form}"] = event
    events = tmp_path / "events.jsonl"
    events.write_text("".join(json.dumps(event) + "\n" for event in recorded.values()) * 2)
    assert main(["audit", "suggest", str(folder), "--events", str(events), "--format", "json"]) == 0
    suggested = json.loads(capsys.readouterr().out)["rules"]
    (folder / "suggested.yaml").write_text(json.dumps({"rules": suggested}))
    beside = load_with_source(folder, Environment())
    assert criticised(beside) == criticised(loaded)
    granted = {name for name, event in recorded.items() if is_granted(beside.policy, event)}
    assert granted == recorded.keys() - LEFT_OUT
    presets = {issuer.name: issuer.preset for issuer in loaded.policy.issuers.values()}
    for one in suggested:
        preset = presets[one["issuer"]]
        assert set(preset.immutable or preset.identity) & set(one["when"])
        assert "*" not in json.dumps(one["when"]) + json.dumps(one["grant"])


def is_granted(policy: Policy, event: Any) -> bool:
    """Decide again; what an event tells too little for is not granted for certain."""
    try:
        return decide_again(policy, event).allowed
    except Undecidable:
        return False


def criticised(loaded: Loaded) -> set[str]:
    return {problem.message for problem in lint(loaded, NOW) if problem.severity == "warning"}
