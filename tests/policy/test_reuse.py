"""Named conditions, lists, alternatives, absent claims and times: what they mean, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.policy.language import GITHUB, NOW, ask, compose, deny, grant, load_data, make_policy, rule
from vending.oidc.types import VerifiedClaims
from vending.policy import PolicyError, RuleHint, hints

PULL = "repository:web/api:pull"
SECTIONS: dict[str, Any] = {
    "conditions": {
        "people": {"unless": {"actor": "*[bot]"}},
        "release": {"when": {"environment": "production"}},
        "trigger": {"when": {"event_name": "workflow_run"}},
        "either": {"when_any": [{"ref": "refs/heads/main"}, {"ref": "refs/tags/v*"}]},
        "contoso": {"when": {"repository_owner_id": "9919"}},
        "pinned-either": {"when_any": [{"repository_id": "1"}, {"repository_id": "2", "ref": "x"}]},
    },
    "lists": {"ids": ["1", "2"], "refs": ["refs/heads/main", "refs/tags/*"], "numbers": [1, 2]},
}


def allows(entry: dict[str, Any], claims: dict[str, Any], **sections: Any) -> bool:
    policy = make_policy(**SECTIONS, rules=[entry], **sections)
    return ask(policy, PULL, claims).allowed


ONE = {"repository_id": "1"}
BOT = {"actor": "x[bot]"}
ROWS = [
    ("a named condition holds besides the rule's own", rule(use="release"), {}, True),
    ("it must hold", rule(use="release"), {"environment": "staging"}, False),
    ("the rule's own must hold, too", rule(use="release", when={"repository_id": "2"}), {}, False),
    ("several must all hold", rule(use=["release", "people"]), {"actor": "x[bot]"}, False),
    ("a claim in two places must satisfy each", rule(use="release", when={**ONE, "environment": "pro*"}), {}, True),
    ("and fails with one", rule(use="release", when={**ONE, "environment": "stag*"}), {}, False),
    ("a list stands for its values", rule(when={"repository_id": {"in": "ids"}, "ref": {"in": "refs"}}), {}, True),
    ("patterns in it too", rule(when={**ONE, "ref": {"in": "refs"}}), {"ref": "refs/tags/v1"}, True),
    ("and nothing else", rule(when={"repository_id": {"in": "ids"}}), {"repository_id": "3"}, False),
    ("an absent claim", rule(when={"repository_id": "1", "head_ref": {"absent": True}}), {}, True),
    ("null is absent", rule(when={"repository_id": "1", "head_ref": {"absent": True}}), {"head_ref": None}, True),
    ("an empty list is not", rule(when={"repository_id": "1", "head_ref": {"absent": True}}), {"head_ref": []}, False),
    ("empty text is not", rule(when={"repository_id": "1", "head_ref": {"absent": True}}), {"head_ref": ""}, False),
    ("unless absent", rule(unless={"head_ref": {"absent": True}}), {}, False),
    ("unless absent lets a value pass", rule(unless={"head_ref": {"absent": True}}), {"head_ref": "x"}, True),
    ("one alternative is enough", rule(when_any=[{"ref": "x"}, {"ref": "refs/heads/main"}]), {}, True),
    ("one must hold as a whole", rule(when_any=[{"ref": "refs/heads/main", "sha": "x"}, {"ref": "y"}]), {}, False),
    ("alternatives of a named condition", rule(use="either"), {"ref": "refs/tags/v1"}, True),
    ("both groups must hold", rule(use="either", when_any=[{"sha": "x"}]), {}, False),
    ("a pin in every alternative", {**rule(use="pinned-either"), "when": {"environment": "production"}}, {}, True),
    ("a pin by use", {**rule(use="contoso"), "when": {"ref": "refs/heads/main"}}, {}, True),
    ("a trigger that use names", rule(use="trigger"), {"event_name": "workflow_run"}, True),
    ("a trigger that a list names", rule(when={**ONE, "event_name": {"in": "t"}}), {"event_name": "fork"}, True),
    (
        "a trigger that the matching alternative names",
        rule(when_any=[{"event_name": "issues"}, {"ref": "x"}]),
        {"event_name": "issues"},
        True,
    ),
    (
        "not one that another alternative names",
        rule(when_any=[{"event_name": "issues", "ref": "x"}, {"ref": "refs/heads/main"}]),
        {"event_name": "issues"},
        False,
    ),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=[row[0].replace(" ", "_") for row in ROWS])
def test_reuse(row: tuple[str, dict[str, Any], dict[str, Any], bool]) -> None:
    _, entry, claims, expected = row
    sections = {**SECTIONS, "lists": {**SECTIONS["lists"], "t": ["push", "fork"]}}
    assert ask(make_policy(**sections, rules=[entry]), PULL, {**GITHUB, **claims}).allowed is expected


@pytest.mark.parametrize(
    ("entry", "claims", "denied"),
    [
        (deny("d", "**", actions="pull", issuer="github", use="release"), {}, True),
        (deny("d", "**", actions="pull", issuer="github", use="release"), {"environment": "x"}, False),
        (deny("d", "**", actions="pull", issuer="github", use="people"), {}, True),
        (deny("d", "**", actions="pull", issuer="github", use="people"), {"actor": "x[bot]"}, False),
        (deny("d", "**", actions="pull", issuer="github", use="people", unless={"ref": "x"}), BOT, True),
        (deny("d", "**", actions="pull", issuer="github", when={"head_ref": {"absent": True}}), {}, True),
        (deny("d", "**", actions="pull", issuer="github", when={"head_ref": {"absent": True}}), {"head_ref": 1}, False),
        (deny("d", "**", actions="pull", expires="2027-01-14"), {}, False),
        (deny("d", "**", actions="pull", expires="2027-01-15"), {}, True),
        (deny("d", "**", actions="pull", not_before="2027-01-16"), {}, False),
    ],
)  # fmt: skip
def test_denies_use_and_end_as_rules_do(entry: dict[str, Any], claims: dict[str, Any], denied: bool) -> None:
    assert allows(rule(), {**GITHUB, **claims}, deny=[entry]) is not denied


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("span", "inside", "outside"),
    [
        ({"expires": "2027-01-15"}, ["2027-01-15T23:59:59"], ["2027-01-16T00:00:00"]),
        ({"expires": "2027-01-15T08:00Z"}, ["2027-01-15T07:59:59"], ["2027-01-15T08:00:00"]),
        ({"not_before": "2027-01-15"}, ["2027-01-15T00:00:00"], ["2027-01-14T23:59:59"]),
        ({"not_before": "2027-01-15T08:00Z"}, ["2027-01-15T08:00:00"], ["2027-01-15T07:59:59"]),
        (
            {"not_before": "2027-01-15", "expires": "2027-01-15"},
            ["2027-01-15T00:00:00", "2027-01-15T23:59:59"],
            ["2027-01-14T23:59:59", "2027-01-16T00:00:00"],
        ),
    ],
)
def test_times_and_days_are_utc(span: dict[str, str], inside: list[str], outside: list[str]) -> None:
    policy = make_policy(rules=[rule("r", **span)])
    assert all(ask(policy, PULL, GITHUB, now=at(moment)).allowed for moment in inside)
    assert not any(ask(policy, PULL, GITHUB, now=at(moment)).allowed for moment in outside)


def test_one_grant_may_be_for_several_registries() -> None:
    policy = make_policy(rules=[rule("r", grant("web/api", registry=["prod", "dev"]))])
    assert ask(policy, PULL, GITHUB).allowed
    assert ask(policy, PULL, GITHUB, registry="dev").allowed


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"use": "nothing"}, "reference"),
        ({"use": ["release", "release"]}, "duplicate_name"),
        ({"when": {"repository_id": {"in": "nothing"}}}, "reference"),
        ({"when": {"repository_id": {"in": "numbers"}}}, "claim_type"),
        ({"when": {"repository_id": ["1", {"absent": True}]}}, "value"),
        ({"when": {"repository_id": ["1", {"in": "ids"}]}}, "value"),
        ({"when": {"repository_id": {"absent": False}}}, "value"),
        ({"when": {"repository_id": {"absent": True}}}, "unpinned"),
        ({"when": {"ref": "x"}, "when_any": [{"repository_id": "1"}, {"sha": "x"}]}, "unpinned"),
        ({"when": {"ref": "x"}, "use": "either"}, "unpinned"),
        ({"when_any": []}, "empty"),
        ({"when_any": [{}]}, "empty"),
        ({"when_any": {"ref": "x"}}, "value"),
        ({"not_before": "2027-01-02", "expires": "2027-01-01"}, "conflict"),
        ({"not_before": "2027-01-01T08:00Z", "expires": "2027-01-01T08:00Z"}, "conflict"),
        ({"expires": "2027-01-01T08:00"}, "value"),
        ({"expires": "2027-01-01T08:00:00Z"}, "value"),
        ({"expires": "2027-01-01T25:00Z"}, "date"),
        ({"not_before": "2027-02-30"}, "date"),
        ({"grant": [grant("a", registry=["prod", "prod"])]}, "duplicate_name"),
        ({"grant": [grant("a", registry=["prod", "nix"])]}, "reference"),
        ({"grant": [grant("a", registry=[])]}, "empty"),
    ],
)
def test_what_means_nothing_does_not_load(changes: dict[str, Any], code: str) -> None:
    with pytest.raises(PolicyError) as caught:
        load_data(compose(**SECTIONS, rules=[rule("r", **changes)]))
    assert {str(problem.code) for problem in caught.value.problems} == {code}


@pytest.mark.parametrize(
    ("sections", "code"),
    [
        ({"conditions": {"c": {}}}, "empty"),
        ({"conditions": {"c": {"use": "d"}}}, "unknown_key"),
        ({"conditions": {"c": {"when": {"x": "***"}}}}, "pattern"),
        ({"conditions": {"c": {"when": {"/a~2": "x"}}}}, "pointer"),
        ({"lists": {"l": []}}, "empty"),
        ({"lists": {"l": ["a", "***"]}}, "pattern"),
        ({"lists": {"l": [{"in": "m"}]}}, "value"),
        ({"deny": [deny("d", "**", use="release")]}, "conflict"),
        ({"deny": [deny("d", "**", issuer="github", use="either")]}, "conflict"),
        ({"maps": {"m": {"1": []}}}, "empty"),
        ({"maps": {"m": {"1": ["a", "{b}"]}}}, "repository"),
        ({"maps": {"m": {"1": ["a***"]}}}, "pattern"),
    ],
)
def test_parts_that_nothing_uses_are_judged_as_well(sections: dict[str, Any], code: str) -> None:
    data = compose(**{**SECTIONS, **sections})
    with pytest.raises(PolicyError) as caught:
        load_data(data)
    assert {str(problem.code) for problem in caught.value.problems} == {code}


def test_a_rule_is_about_a_caller_by_alternatives_only_where_each_names_one() -> None:
    either = rule("either", when={"sha": "x"}, when_any=[{"repository_id": "1"}, {"repository_id": "2", "ref": "y"}])
    loose = rule(
        "loose", when={"sha": "x", "repository_owner_id": "9919"}, when_any=[{"repository_id": "2"}, {"ref": "y"}]
    )
    policy = make_policy(rules=[either, loose, rule("other", when_any=[{"repository": "else/where"}])])
    caller = VerifiedClaims("github", GITHUB)
    assert hints(policy, caller, "prod", None, NOW) == (
        RuleHint("either", matched=False, failed_claims=("sha",), grants=True),
        RuleHint("loose", matched=False, failed_claims=("sha", "ref"), grants=True),
    )
    stranger = VerifiedClaims("github", {**GITHUB, "repository_id": "3", "repository_owner_id": "3"})
    assert hints(policy, stranger, "prod", None, NOW) == ()


def test_what_rules_read_is_told_for_each_issuer() -> None:
    policy = make_policy(
        **SECTIONS,
        maps={"m": {"x": "a"}},
        rules=[
            rule("r", grant("{sha|m}/{/a/b}"), when_any=[{"workflow": "x"}], use="people"),
            rule("audit", mode="audit", when={"repository_id": "1", "ref": "x"}),
            rule("off", enabled=False, when={"repository_id": "1", "run_id": "x"}),
            rule("other", issuer="generic", when={"sub": "me"}),
        ],
        deny=[deny("d", "x", issuer="github", unless={"base_ref": "x"})],
        never=[deny("n", "x", issuer="github", when={"/repository_owner": "x"})],
    )
    assert policy.rules["github"].reads == (
        "/a/b", "actor", "base_ref", "event_name", "ref", "repository_id", "repository_owner", "sha", "workflow",
    )  # fmt: skip
    assert policy.rules["generic"].reads == ("sub",)
