"""The owner's trace names every rule and every condition, and the result of each."""

from __future__ import annotations

from typing import Any

from tests.policy.language import GITHUB, NOW, deny, grant, make_policy, rule
from vending.acr.scope import parse, render
from vending.oidc.types import VerifiedClaims
from vending.policy import Trace, trace
from vending.policy.engine.conditions import State


def traced(claims: dict[str, Any], scope: str | None = "repository:web/api:pull,push", **sections: Any) -> Trace:
    scopes = None if scope is None else parse(scope)
    return trace(make_policy(**sections), VerifiedClaims("github", claims), "prod", scopes, NOW)


def test_every_rule_of_the_issuer_is_told_in_the_order_of_the_file() -> None:
    told = traced(
        GITHUB,
        rules=[
            rule("matched"),
            rule("other", when={"repository_id": "2"}),
            rule("disabled", enabled=False),
            rule("expired", expires="2027-01-14"),
            rule("audit", mode="audit"),
            rule("elsewhere", issuer="gitlab", when={"project_id": "1"}),
        ],
    )
    assert [(r.name, r.status, r.counts) for r in told.rules] == [
        ("matched", "matched", True),
        ("other", "not_matched", False),
        ("disabled", "disabled", False),
        ("expired", "expired", False),
        ("audit", "matched", False),
    ]


def test_every_condition_is_told_with_what_is_accepted_and_what_is_there() -> None:
    told = traced(
        GITHUB,
        rules=[
            rule(when={"repository_id": "1", "ref": ["a", "b*"], "head_ref": "x"}, unless={"actor": "mona", "sha": "1"})
        ],
    )
    [only] = told.rules
    assert [(c.claim, c.accepted, c.actual, c.state, c.satisfied) for c in (*only.when, *only.unless)] == [
        ("repository_id", ("1",), "1", State.HOLDS, True),
        ("ref", ("a", "b*"), "refs/heads/main", State.FAILS, False),
        ("head_ref", ("x",), None, State.MISSING, False),
        ("actor", ("mona",), "mona", State.HOLDS, False),
        ("sha", ("1",), None, State.MISSING, False),
    ]


def test_refused_trigger_is_told() -> None:
    told = traced({**GITHUB, "event_name": "workflow_run"}, rules=[rule("a"), rule("b", when={"repository_id": "2"})])
    assert told.triggers == (("event_name", "workflow_run"),)
    assert [r.status for r in told.rules] == ["trigger_refused", "not_matched"]


def test_grants_are_told_with_what_they_give() -> None:
    told = traced(
        GITHUB,
        rules=[
            rule(
                "r", grant("web/*", "ci/{repository|lower|path}", "x/{sha}", actions="pull"), grant("a", registry="dev")
            )
        ],
    )
    first, second = told.rules[0].grants
    assert first.entries == ("web/*", "ci/{repository|lower|path}", "x/{sha}")
    assert first.filled == (("ci/{repository|lower|path}", ("ci/contoso/web",)), ("x/{sha}", ()))
    assert render(first.gives) == "repository:web/api:pull"
    assert (second.applies, second.gives) == (False, ())


def test_denies_are_told_with_what_they_take() -> None:
    told = traced(
        GITHUB,
        rules=[rule()],
        deny=[
            deny("takes", "web/*"),
            deny("other", "base/*"),
            deny("off", "web/*", enabled=False),
            deny("conditional", "web/*", issuer="github", when={"ref": "x"}),
            deny("exempt", "web/*", issuer="github", unless={"actor": "mona"}),
        ],
    )
    assert [(d.name, d.enabled, d.holds, render(d.takes)) for d in told.denies] == [
        ("takes", True, True, "repository:web/api:push"),
        ("other", True, True, ""),
        ("off", False, False, ""),
        ("conditional", True, False, ""),
        ("exempt", True, False, ""),
    ]
    assert [c.satisfied for d in told.denies[3:] for c in (*d.when, *d.unless)] == [False, True]


def test_scope_left_out_is_told_as_what_is_listed() -> None:
    told = traced(GITHUB, None, rules=[rule("r", grant("web/api", "base/**"))], deny=[deny("d", "web/api")])
    assert told.asked is None
    assert render(told.rules[0].grants[0].gives) == "repository:web/api:pull,push"
    assert render(told.denies[0].takes) == "repository:web/api:push"
    assert render(told.decision.granted) == "repository:web/api:pull"
