"""What a policy says must never be granted: denied at run time, and a plain contradiction does not load."""

from __future__ import annotations

from typing import Any, cast

import pytest

from tests.policy.language import GITHUB, NOW, ask, compose, deny, grant, load_data, make_policy, rule
from vending.acr.scope import parse
from vending.oidc.types import VerifiedClaims
from vending.policy import PolicyError, decide


def never(name: str = "n", *repositories: str, actions: str = "push", **more: Any) -> dict[str, Any]:
    return deny(name, *(repositories or ("**",)), actions=actions, **more)


def refused(**sections: Any) -> list[tuple[str, dict[str, Any]]]:
    """Return the examples of what is violated, after the evaluator has granted each of them without the entries."""
    with pytest.raises(PolicyError) as caught:
        load_data(compose(**sections))
    assert {problem.code for problem in caught.value.problems} == {"never_violated"}
    examples = []
    for problem in caught.value.problems:
        assert problem.example is not None
        claims, scope = cast("dict[str, Any]", problem.example["claims"]), str(problem.example["scope"])
        issuer = sections["rules"][0]["issuer"]
        policy = make_policy(**{**sections, "never": []})
        caller = VerifiedClaims(issuer, claims)
        assert decide(policy, caller, "prod", parse(scope), NOW).allowed
        examples.append((scope, claims))
    return examples


PULLS = never(issuer="github", when={"ref": "refs/pull/**"})


def test_a_never_entry_denies_at_run_time_what_no_contradiction_gave_away() -> None:
    """More alternatives than loading looks at: the last one is what the entry rules out."""
    refs = [*(f"refs/heads/{number}" for number in range(30)), "refs/pull/7/merge"]
    policy = make_policy(rules=[rule("r", when_any=[{"ref": ref} for ref in refs])], never=[PULLS])
    decision = ask(policy, "repository:web/api:push", {**GITHUB, "ref": "refs/pull/7/merge"})
    assert (decision.reason, decision.denies) == ("denied_by_rule", ("n",))
    assert ask(policy, "repository:web/api:pull", {**GITHUB, "ref": "refs/pull/7/merge"}).allowed
    assert ask(policy, "repository:web/api:push", {**GITHUB, "ref": "refs/heads/7"}).allowed


def test_a_rule_that_names_what_is_ruled_out_does_not_load() -> None:
    [(scope, claims)] = refused(rules=[rule("r", when={"repository_id": "1", "ref": "refs/**"})], never=[PULLS])
    assert scope == "repository:web/api:push"
    assert claims["ref"].startswith("refs/pull/")


@pytest.mark.parametrize(
    "entry",
    [
        rule("r", grant("web/**"), when={"repository_id": "1"}),
        rule("r", grant("ci/{repository_id}/**")),
        rule("r", grant("{repository|lower|path}")),
        rule("r", grant("{environment|images}")),
        rule("r", when={"repository_id": {"in": "ids"}}, unless={"actor": "*[bot]"}),
        rule("r", when={"repository_id": "1", "environment": {"absent": True}}),
        rule("r", when={"repository_id": "1"}, when_any=[{"ref": "refs/heads/main"}, {"ref": "refs/pull/7/merge"}]),
        rule("r", use="any-ref"),
        rule("r", grant("web/api", registry=["dev", "prod"])),
        rule("r", not_before="2026-01-01"),
    ],
    ids=["pattern", "template", "path", "map", "list", "absent", "when_any", "use", "registries", "not_before"],
)
def test_contradictions_are_found_through_every_part_of_the_language(entry: dict[str, Any]) -> None:
    assert refused(
        rules=[entry],
        never=[PULLS],
        maps={"images": {"prod": "web/api"}},
        lists={"ids": ["1", "2"]},
        conditions={"any-ref": {"when": {"ref": "refs/**"}}},
    )


@pytest.mark.parametrize(
    "sections",
    [
        {"rules": [rule("r", when={"repository_id": "1", "ref": "refs/heads/main"})]},
        {"rules": [rule("r", unless={"ref": "refs/pull/**"})]},
        {"rules": [rule("r", when_any=[{"ref": "refs/heads/**"}, {"ref": "refs/tags/*"}])]},
        {"rules": [rule("r", grant("web/api", actions="pull"))]},
        {"rules": [rule("r", mode="audit")]},
        {"rules": [rule("r", enabled=False)]},
        {"rules": [rule("r")], "deny": [deny("d", "**", issuer="github", when={"ref": "refs/pull/**"})]},
        {"rules": [rule("r", issuer="generic", when={"sub": "me"})]},
        {"rules": [rule("r", expires="2026-01-01")]},
    ],
    ids=[
        "another ref",
        "unless",
        "alternatives",
        "action",
        "audit",
        "disabled",
        "deny",
        "issuer",
        "expired",
    ],
)
def test_what_keeps_the_promise_loads(sections: dict[str, Any]) -> None:
    load_data(compose(never=[PULLS], **sections))


def test_what_the_provider_never_sends_is_no_contradiction() -> None:
    branches = never(issuer="github", when={"ref": "refs/heads/**"})
    load_data(compose(rules=[rule("r", when={"repository_id": "1", "ref_type": "tag"})], never=[branches]))
    assert refused(rules=[rule("r", when={"repository_id": "1", "ref_type": "branch"})], never=[branches])


def test_the_registry_and_the_repositories_of_the_entry_count() -> None:
    load_data(compose(rules=[rule("r", grant("web/api", registry="dev"))], never=[never(registry="prod")]))
    load_data(compose(rules=[rule("r", grant("web/api"))], never=[never("n", "pay/**")]))
    [(scope, claims)] = refused(rules=[rule("r", grant("web/*"))], never=[never("n", "**/api")])
    assert (scope, claims["repository_id"]) == ("repository:web/api:push", "1")


def test_the_catalog_can_be_ruled_out() -> None:
    entry = {"name": "n", "catalog": True}
    [(scope, _)] = refused(rules=[rule("r", grant(catalog=True))], never=[entry])
    assert scope == "registry:catalog:*"
