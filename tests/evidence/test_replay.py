"""Recorded requests decided again: the same to the letter by the same policy, and never guessed by another."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest

from tests.assurance.small import REPOSITORIES, SMALL, TOKENS, a_pair, a_policy, access
from tests.evidence.recording import record
from tests.policy.language import NOW, compose, grant, load_data, rule
from tests.support.examples import DEEP
from vending.acr.scope import parse as parse_scopes
from vending.acr.scope import repository
from vending.evidence.decisions import MAX_KNOWN, Again, Undecidable, decide_again
from vending.evidence.replay import comment, replay

PAIRS = int(os.environ.get("EVIDENCE_PAIRS", "2000" if DEEP else "1000"))


def test_policy_and_event_give_the_decision_again_to_the_letter() -> None:
    policies = [load_data(a_policy(random.Random(seed))) for seed in range(40)]
    kept = {policy.sha256: Again(policy) for policy in policies}
    rng = random.Random(1)
    for _ in range(PAIRS):
        policy, claims = rng.choice(policies), rng.choice(TOKENS)
        scopes = None
        if rng.random() < 0.8:
            names = rng.sample(REPOSITORIES, rng.randint(1, 3))
            scopes = parse_scopes(" ".join(str(repository(n, [rng.choice(["pull", "push"])])) for n in names))
        event, decision = record(policy, claims, scopes, NOW)
        again = decide_again(policy, event)
        assert kept[policy.sha256].decide(event) == again
        assert again.allowed is decision.allowed
        assert again.reason == (None if decision.reason is None else decision.reason.value)
        assert again.granted == tuple(map(str, decision.granted))
        assert again.missing == tuple(map(str, decision.missing))
        assert again.rules == decision.rules
        assert event["granted"] == list(again.granted)


def agrees(event: dict[str, Any], claims: dict[str, Any]) -> bool:
    """Return whether an event could be that of a token."""
    told = all(claims.get(name) == value for name, value in event["decided_on"].items())
    return told and not any(claims.get(name) is not None for name in event["absent"])


def test_what_is_decided_holds_for_every_token_that_the_event_may_be_about() -> None:
    decided = open_ = 0
    for seed in range(60 if DEEP else 30):
        rng = random.Random(seed)
        # The policy of the event reads few claims, or as many as the draft does.
        few = compose(rules=[{**rule("r", grant("x")), "issuer": "generic", "when": {"sub": "x"}}])
        before, after = a_pair(rng)
        old, draft = load_data(few if seed % 2 else before), load_data(after)
        granted = access(draft)
        for _ in range(5):
            name = rng.choice(REPOSITORIES)
            event, _ = record(old, rng.choice(TOKENS), (repository(name, ["pull"]),), NOW)
            possible = [number for number, claims in enumerate(TOKENS) if agrees(event, claims)]
            answers = {(number, "prod", name, "pull") in granted for number in possible}
            try:
                assert answers == {decide_again(draft, event).allowed}
                decided += 1
            except Undecidable:
                open_ += 1
    assert decided > open_ > 0
    assert set(SMALL) == {"sub", "a", "b"}


def test_a_decision_that_is_kept_ends_with_the_rule_that_it_came_from() -> None:
    policy = load_data(compose(rules=[rule(expires="2027-01-16T00:00Z", not_before="2027-01-15T00:00Z")]))
    again = Again(policy)
    days = [NOW, NOW + 60, NOW + 86_400, NOW - 86_400, NOW + 120]
    events = [record(policy, CLAIMS, PUSH, moment, issuer="github")[0] for moment in days]
    assert [again.decide(event).allowed for event in events] == [True, True, False, False, True]


def test_what_is_kept_is_told_apart_by_type_and_has_a_bound() -> None:
    policy = load_data(compose(rules=[{**rule(), "issuer": "generic", "when": {"sub": "x", "n": 1}}]))
    again = Again(policy)
    for value in (1, True, "1", 1.0, None, [1]):
        event, decision = record(policy, {"sub": "x", "n": value}, PUSH, NOW)
        assert again.decide(event).allowed is decision.allowed
    event, _ = record(policy, {"sub": "x", "n": 1}, PUSH, NOW)
    for number in range(MAX_KNOWN + 10):
        again.decide({**event, "decided_on": {"sub": "x", "n": number}})
    assert len(again._known) == MAX_KNOWN
    again.decide({**event, "decided_on": {"sub": "x" * 10_000, "n": 1}})
    assert len(again._known) == MAX_KNOWN


CLAIMS = {"repository_id": "1", "ref": "refs/heads/main", "actor": "mona", "environment": "production"}
PUSH = parse_scopes("repository:web/api:push")


def event_of(**sections: Any) -> dict[str, Any]:
    return record(load_data(compose(**sections)), CLAIMS, PUSH, NOW, issuer="github")[0]


def test_lost_gained_changed_and_unchanged() -> None:
    allowed = event_of(rules=[rule()])
    refused = event_of(rules=[rule("r", grant("web/ui"))])
    same = load_data(compose(rules=[rule()]))
    found = replay(same, [allowed, refused])
    assert (found.decided, found.unchanged, len(found.gained), len(found.lost)) == (2, 1, 1, 0)
    narrower = load_data(compose(rules=[rule(when={"repository_id": "2"})]))
    found = replay(narrower, [allowed, refused])
    assert (len(found.lost), len(found.changed)) == (1, 1)
    assert next(iter(found.lost))["was"] == "allow"
    assert next(iter(found.lost))["now"] == "no_matching_rule"


def test_a_claim_that_is_not_told_makes_undecidable_only_what_it_could_change() -> None:
    event = event_of(rules=[rule()])
    reads_more = load_data(compose(rules=[rule(when={"repository_id": "1", "ref_protected": "true"})]))
    found = replay(reads_more, [event])
    assert (found.decided, len(found.undecidable)) == (0, 1)
    assert "ref_protected" in next(iter(found.undecidable))["why"]
    both = [rule(), rule("other", when={"repository_id": "1", "ref_protected": "true"})]
    assert replay(load_data(compose(rules=both)), [event]).unchanged == 1


@pytest.mark.parametrize("value", ["production", "x" * 300, "half\ud800", ["production"], True])
def test_a_claim_that_the_run_tells_counts_where_it_is_told_in_full(value: Any) -> None:
    old = load_data(compose(rules=[rule()]))
    event, _ = record(old, {**CLAIMS, "environment": value}, PUSH, NOW, issuer="github")
    assert "environment" not in event["decided_on"]
    draft = load_data(compose(rules=[rule(when={"repository_id": "1", "environment": "production"})]))
    found = replay(draft, [event])
    if value == "production":
        assert (found.decided, found.unchanged) == (1, 1)
    else:
        assert (found.decided, len(found.undecidable)) == (0, 1)


def test_a_withheld_personal_claim_was_there() -> None:
    event = event_of(rules=[rule(unless={"actor": "*[bot]"})])
    assert event["withheld"] == ["actor"]
    assert replay(load_data(compose(rules=[rule(unless={"actor": "evil"})])), [event]).undecidable
    absent = load_data(compose(rules=[rule(when={"repository_id": "1", "actor": {"absent": True}})]))
    assert len(replay(absent, [event]).lost) == 1


def test_a_request_that_failed_after_the_decision_counts_as_allowed() -> None:
    event = {**event_of(rules=[rule()]), "outcome": "error", "reason": "registry_unavailable"}
    assert len(replay(load_data(compose(rules=[rule(enabled=False)])), [event]).lost) == 1


def test_a_shortened_event_is_not_decidable() -> None:
    event = {**event_of(rules=[rule()]), "shortened": ["decided_on"]}
    found = replay(load_data(compose(rules=[rule()])), [event])
    assert (found.decided, len(found.undecidable)) == (0, 1)


def test_explanations_count_only_where_asked_for() -> None:
    event = {**event_of(rules=[rule()]), "kind": "explain"}
    policy = load_data(compose(rules=[rule()]))
    assert replay(policy, [event]).decided == 0
    assert replay(policy, [event], explain=True).decided == 1


def test_a_hostile_caller_stays_inside_its_code_span() -> None:
    event = event_of(rules=[rule()])
    event["caller"] = [{"name": "repository_id", "value": "`|<img src=x>"}]
    written = comment(replay(load_data(compose(rules=[rule(enabled=False)])), [event]), ["1 events"])
    assert "\\|<img" in written
    assert "`` github" not in written
    assert written.count("\n| 1 |") == 1
