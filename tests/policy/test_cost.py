"""No policy that loads makes one decision cost much: what the indexes cannot leave out is bounded, and said."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policy.language import GITHUB, NOW, compose, deny, grant, load_data, make_policy, rule
from tests.support.examples import examples
from vending.acr.scope import parse
from vending.errors import Reason
from vending.oidc.claim_path import parse_key
from vending.oidc.types import VerifiedClaims
from vending.policy import PolicyError, decide, hints
from vending.policy.compiler.cost import MAX_DENIES, MAX_PATTERNS, MAX_RULES
from vending.policy.engine.conditions import compile_condition, with_long_lists
from vending.policy.engine.globs import MAX_MIXED_TEXT, MAX_WILDCARDS, compile_glob
from vending.policy.engine.granting import MAX_LISTED
from vending.policy.engine.hints import MAX_EXPLAINED

CALLER = VerifiedClaims("github", GITHUB)


def errors(**sections: Any) -> list[tuple[str, str]]:
    with pytest.raises(PolicyError) as caught:
        load_data(compose(**sections))
    return [(problem.code, problem.message) for problem in caught.value.problems]


# --- What one token is compared with ----------------------------------------------------------------------------------


def alike(number: int) -> list[dict[str, Any]]:
    return [rule(f"r{n}", when={"repository_owner_id": "9919", "ref": "refs/heads/main"}) for n in range(number)]


def test_as_many_rules_about_one_caller_as_a_decision_can_judge_load() -> None:
    policy = make_policy(rules=alike(MAX_RULES))
    assert decide(policy, CALLER, "prod", parse("repository:web/api:pull"), NOW).allowed


def test_more_rules_about_one_caller_are_an_error_of_their_issuer() -> None:
    [(code, message)] = errors(rules=alike(MAX_RULES + 1))
    assert code == "too_costly"
    assert f"compared with {MAX_RULES + 1} rules" in message
    assert "give them a condition that tells callers apart" in message


def test_a_condition_that_tells_rules_apart_lifts_the_limit() -> None:
    make_policy(rules=[{**each, "when": {"repository_id": str(n)}} for n, each in enumerate(alike(MAX_RULES + 1))])


@pytest.mark.parametrize(
    "more",
    [
        {"when": {"repository_id": "1", "ref": [f"refs/heads/x{n}*" for n in range(MAX_RULES)]}},
        {"unless": {"ref": [f"refs/heads/x{n}*" for n in range(MAX_RULES)]}},
        {"when_any": [{"ref": f"refs/heads/{n}"} for n in range(MAX_RULES)]},
    ],
    ids=["when", "unless", "when_any"],
)
def test_patterns_and_alternatives_count_as_rules_do(more: dict[str, Any]) -> None:
    [(code, _)] = errors(rules=[rule(**more)])
    assert code == "too_costly"


def test_deny_entries_are_bounded_too() -> None:
    make_policy(deny=[deny(f"d{n}", "web/api") for n in range(MAX_DENIES)])
    for code, message in errors(deny=[deny(f"d{n}", "web/api") for n in range(MAX_DENIES + 1)]):
        assert code == "too_costly"
        assert f"compared with {MAX_DENIES + 1} deny entries" in message


# --- What one repository is compared with -----------------------------------------------------------------------------


def entangled(number: int) -> list[str]:
    """Write patterns that no text at their beginning tells apart."""
    return ["a**" + "*".join("ab"[n >> bit & 1] for bit in range(8)) + f"c{n % 7}" for n in range(number)]


def test_patterns_that_nothing_tells_apart_are_bounded_by_the_scopes_of_a_request() -> None:
    few, many = entangled(100), entangled(200)
    make_policy(rules=[rule("r", grant(*few))], limits={"max_scopes": 128})
    [(code, message)] = errors(rules=[rule("r", grant(*many))], limits={"max_scopes": 128})
    assert code == "too_costly"
    assert f"{MAX_PATTERNS // 128} are the most where max_scopes is 128" in message
    make_policy(rules=[rule("r", grant(*many))], limits={"max_scopes": 64})


def test_patterns_with_beginnings_of_their_own_are_not_bounded() -> None:
    make_policy(rules=[rule("r", grant(*[f"team-{n}/**" for n in range(20_000)]))], limits={"max_scopes": 128})


@pytest.mark.parametrize("pattern", ["*".join("x" * (MAX_WILDCARDS + 1)), "**".join("x" * (MAX_WILDCARDS + 1))])
def test_a_pattern_has_so_many_wildcards_and_no_more(pattern: str) -> None:
    assert compile_glob(pattern).matches("x" * (MAX_WILDCARDS + 1))
    [(code, message)] = errors(rules=[rule("r", grant(f"{pattern}*y"))])
    assert (code, f"more than {MAX_WILDCARDS} wildcards" in message) == ("pattern", True)


def test_text_around_a_star_between_two_double_stars_is_bounded() -> None:
    longest = "a" * (MAX_MIXED_TEXT - 1)
    assert compile_glob(f"**{longest}*b**").matches(f"x/{longest}b/y")
    with pytest.raises(ValueError, match=f"more than {MAX_MIXED_TEXT} characters"):
        compile_glob(f"**{longest}*bb**")
    assert compile_glob(f"**{'a' * 4000}**").matches("a" * 4000)


# --- What a request without scope lists -------------------------------------------------------------------------------


def listing(number: int) -> Any:
    names = [f"team/app-{n}" for n in range(number)]
    kept = 3
    policy = make_policy(rules=[rule("r", grant(*names))], deny=[deny("d", *names[kept:], actions="pull push")])
    return decide(policy, CALLER, "prod", None, NOW)


def test_what_denies_leave_is_found_among_as_many_names_as_a_decision_can_judge() -> None:
    assert len(listing(MAX_LISTED).granted) == 3


def test_more_names_are_too_many_whatever_denies_would_leave() -> None:
    decision = listing(MAX_LISTED + 1)
    assert decision.reason is Reason.TOO_MANY_SCOPES
    assert decision.granted == ()


# --- Hints ------------------------------------------------------------------------------------------------------------


def test_the_rule_that_would_grant_is_told_however_many_others_are_about_the_caller() -> None:
    others = [
        rule(f"a{n:04}", grant("x/y"), when={"repository_owner_id": "9919", "environment": f"e{n}"})
        for n in range(3 * MAX_EXPLAINED)
    ]
    wanted = rule("z", grant("web/api"), when={"repository_owner_id": "9919", "environment": "staging"})
    policy = make_policy(rules=[*others, wanted])
    decision = decide(policy, CALLER, "prod", parse("repository:web/api:pull"), NOW)
    assert "the rule z does not match because of environment" in decision.description
    assert hints(policy, CALLER, "prod", parse("repository:web/api:pull"), NOW)[0].name == "z"


# --- Long lists -------------------------------------------------------------------------------------------------------

items = st.one_of(
    st.sampled_from(["x", "X", "y", "", 0, 1, True, False, 0.5, None]), st.lists(st.just("x"), max_size=1)
)
accepted = st.lists(st.sampled_from(["x", "y", "X", "x*", "**", 0, 1, True, False]), min_size=1, max_size=3)


@examples(500)
@given(st.lists(items, min_size=17, max_size=30), accepted, st.booleans(), st.sampled_from(["c", "/c/d", "/c/18"]))
def test_a_long_list_is_judged_as_any_list(values: list[Any], texts: list[Any], folds: bool, key: str) -> None:
    condition = compile_condition(key, parse_key(key), texts, folds=folds)
    claims: dict[str, Any] = {"c": {"d": values} if key == "/c/d" else values}
    assert condition.test(with_long_lists(claims)) is condition.test(claims)


def test_a_caller_in_many_groups_matches_the_rules_of_each() -> None:
    groups = [f"g{n}" for n in range(100)]
    rules = [rule(name, grant(f"t/{name}"), issuer="generic", when={"groups": name}) for name in groups]
    caller = VerifiedClaims("generic", {"sub": "1", "groups": [*groups[:50]]})
    decision = decide(
        make_policy(rules=rules), caller, "prod", parse("repository:t/g7:pull repository:t/g70:pull"), NOW
    )
    assert [scope.name for scope in decision.granted] == ["t/g7"]
    assert [scope.name for scope in decision.missing] == ["t/g70"]
