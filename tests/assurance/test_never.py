"""What must never happen: proved for every small token, or refuted by a token that the evaluator grants."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest

from tests.assurance.small import a_deny, a_policy, access
from tests.policy.language import NOW, compose, deny, grant, load_data, rule
from tests.support.examples import DEEP
from vending.assurance.never import Judgement, Verdict, prove
from vending.policy import PolicyError

POLICIES = int(os.environ.get("ASSURANCE_PAIRS", "180" if DEEP else "60"))


def verdicts(**sections: Any) -> list[Judgement]:
    return prove(load_data(compose(**sections)), NOW)


def never(name: str = "n", *repositories: str, **more: Any) -> dict[str, Any]:
    return deny(name, *(repositories or ("**",)), **more)


def test_a_proved_entry_has_no_counter_example() -> None:
    seen: dict[Verdict, int] = dict.fromkeys(Verdict, 0)
    for seed in range(POLICIES):
        rng = random.Random(seed)
        data = a_policy(rng)
        entry = a_deny(rng, "n")
        try:
            policy = load_data({**data, "never": [entry]})
        except PolicyError as error:
            assert {str(problem.code) for problem in error.problems} == {"never_violated"}  # noqa: PT017
            continue
        (finding,) = prove(policy, NOW)
        seen[finding.verdict] += 1
        with_deny = load_data({**data, "deny": [*data["deny"], entry]})
        without = load_data(data)
        broken = bool(access(without) - access(with_deny))
        if finding.verdict is Verdict.PROVED:
            assert not broken, data
        if broken:
            assert finding.verdict is not Verdict.PROVED
    assert seen[Verdict.PROVED] > POLICIES // 20
    assert seen[Verdict.VIOLATED] + seen[Verdict.PROVED] >= sum(seen.values()) * 0.9


MAIN = {"repository_id": "1", "ref": "refs/heads/main"}


@pytest.mark.parametrize(
    ("rules", "entry"),
    [
        ([rule(when=MAIN)], never(issuer="github", when={"ref": "refs/pull/**"})),
        ([rule(when={**MAIN, "event_name": "push"})], never(issuer="github", when={"event_name": "pull_request"})),
        ([rule("r", grant("web/api"), when=MAIN)], never("n", "pay/**")),
        ([rule("r", grant("web/api", actions="pull"), when=MAIN)], never("n", "web/**")),
        ([rule(when={"repository": "contoso/web"})], never(issuer="github", unless={"repository_owner": "contoso"})),
        ([rule(when={**MAIN, "ref": "refs/tags/v1"})], never(issuer="github", when={"ref_type": "branch"})),
        ([rule(when=MAIN, mode="audit")], never()),
        ([rule(when=MAIN, enabled=False)], never()),
        ([rule(when=MAIN, expires="2020-01-01")], never()),
        (
            [rule("r", grant("ci/{repository_id}/**"), when={"repository_owner_id": "7"})],
            never("n", "web/**", "ci/*", issuer="github"),
        ),
    ],
)
def test_what_no_token_can_do_is_proved(rules: list[Any], entry: dict[str, Any]) -> None:
    (finding,) = verdicts(rules=rules, never=[entry])
    assert finding.verdict is Verdict.PROVED, finding


@pytest.mark.parametrize(
    ("rules", "entry"),
    [
        ([rule(when={"repository_id": "1"})], never(issuer="github", when={"ref": "refs/pull/**"})),
        ([rule(when={**MAIN, "ref": "refs/**"})], never(issuer="github", when={"ref": "refs/pull/**"})),
        ([rule(when=MAIN, not_before="2040-01-01")], never(issuer="github", when={"actor": "mona"})),
        ([rule(when={"repository_owner": "contoso"})], never(issuer="github", unless={"repository": "contoso/web"})),
        ([rule(when={"repository_id": "1"})], never(issuer="github", unless={"environment": "production"})),
        (
            [rule("r", grant("{repository|lower|path}"), when={"repository_owner_id": "7"})],
            never("n", "pay/**", issuer="github", when={"actor": "mona"}),
        ),
    ],
)
def test_what_some_token_can_do_is_refuted_by_it(rules: list[Any], entry: dict[str, Any]) -> None:
    try:
        (finding,) = verdicts(rules=rules, never=[entry])
    except PolicyError as error:
        assert {str(problem.code) for problem in error.problems} == {"never_violated"}  # noqa: PT017
        return
    assert finding.verdict is Verdict.VIOLATED
    assert finding.example is not None


def test_an_example_keeps_to_what_the_provider_guarantees() -> None:
    entry = never(issuer="github", unless={"repository": "contoso/web"})
    (finding,) = verdicts(rules=[rule(when={"repository_owner": "contoso"})], never=[entry])
    assert finding.example is not None
    claims = finding.example.claims
    assert str(claims["repository"]).startswith("contoso/")
    assert claims["repository_owner"] == "contoso"


def test_a_deny_entry_proves_what_it_prevents_only_while_it_counts() -> None:
    entry = never("n", "**", issuer="github", when={"event_name": "pull_request"})
    prevents = deny("d", "**", issuer="github", when={"event_name": "pull_request"})
    rules = [rule(when={"repository_id": "1"})]
    (proved,) = verdicts(rules=rules, deny=[prevents], never=[entry])
    assert proved.verdict is Verdict.PROVED
    with pytest.raises(PolicyError, match="never_violated"):
        verdicts(rules=rules, deny=[{**prevents, "expires": "2030-01-01"}], never=[entry])
    ends_before = {**rules[0], "expires": "2029-12-31"}
    (over,) = verdicts(rules=[ends_before], deny=[{**prevents, "expires": "2030-01-01"}], never=[entry])
    assert over.verdict is Verdict.PROVED
