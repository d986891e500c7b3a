"""The index leaves out rules that cannot match, and never one that can."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policy.language import GITHUB, deny, make_policy, rule
from tests.policy.reference import matches_pattern
from tests.support.examples import examples
from vending.policy.engine.globs import compile_glob, is_literal
from vending.policy.engine.pattern_index import PatternIndex

MANY = 2000


def candidates(claims: dict[str, Any], issuer: str = "github", **sections: Any) -> list[str]:
    rules = make_policy(**sections).rules[issuer]
    return sorted(found.name for found in rules.by_condition.candidates(claims))


def test_a_decision_looks_at_the_callers_rules_only() -> None:
    rules = [
        rule(f"r{n}", when={"repository_owner_id": "9919", "ref": "refs/heads/main", "repository_id": str(n)})
        for n in range(MANY)
    ]
    assert candidates({**GITHUB, "repository_id": "77"}, rules=rules) == ["r77"]


def test_rules_are_filed_under_their_rarest_condition() -> None:
    rules = [rule(f"r{n}", when={"repository_owner_id": "9919", "environment": f"e{n}"}) for n in range(MANY)]
    assert candidates({**GITHUB, "environment": "E7"}, rules=rules) == ["r7"]


def test_rules_without_a_literal_condition_are_always_candidates() -> None:
    rules = [
        rule("a", issuer="gitlab", when={"project_path": "g/*"}),
        rule("b", issuer="gitlab", when={"project_id": "1"}),
    ]
    assert candidates({"project_id": "2"}, "gitlab", rules=rules) == ["a"]


def test_a_condition_with_a_wildcard_among_its_values_files_nothing() -> None:
    rules = [rule("a", issuer="gitlab", when={"ref": ["main", "v*"]})]
    assert candidates({"ref": "v1"}, "gitlab", rules=rules) == ["a"]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("x", ["text"]),
        (True, ["truth"]),
        (1, ["one"]),
        (1.0, []),
        (None, []),
        ([], []),
        (["x", "x", 1], ["one", "text"]),
        ([["x"]], []),
        ({"x": "x"}, []),
    ],
)
def test_types_are_told_apart(value: Any, found: list[str]) -> None:
    rules = [rule(name, issuer="generic", when={"c": c}) for name, c in (("text", "x"), ("truth", True), ("one", 1))]
    assert candidates({"c": value}, "generic", rules=rules) == found


def test_pointers_are_followed() -> None:
    rules = [rule("r", issuer="kubernetes", when={"/kubernetes.io/namespace": "team"})]
    assert candidates({"kubernetes.io": {"namespace": "team"}}, "kubernetes", rules=rules) == ["r"]


def test_disabled_rules_are_no_candidates() -> None:
    assert candidates(GITHUB, rules=[rule(enabled=False)]) == []


@pytest.mark.parametrize(
    ("claims", "found"),
    [
        ({"c": "x"}, ["plain", "text"]),
        ({"c": "y"}, ["plain"]),
        ({}, ["plain"]),
        ({"c": 1}, ["plain", "text"]),
        ({"c": {}}, ["plain", "text"]),
    ],
)
def test_denies_are_candidates_too_where_the_type_is_another(claims: dict[str, Any], found: list[str]) -> None:
    entries = [deny("plain", "**"), deny("text", "**", issuer="generic", when={"c": "x"})]
    rules = make_policy(deny=entries).rules["generic"]
    assert sorted(entry.name for entry in rules.denies_by_condition.candidates(claims)) == found


def test_deny_on_a_number_is_a_candidate_for_text() -> None:
    rules = make_policy(deny=[deny("d", "**", issuer="generic", when={"c": 1})]).rules["generic"]
    assert [entry.name for entry in rules.denies_by_condition.candidates({"c": "1"})] == ["d"]


PIECES = st.lists(st.sampled_from(["a", "b", "ab", "abc", "cab", "/", "*", "**", "x-y"]), min_size=1, max_size=6)
PATTERNS = PIECES.map("".join).filter(lambda text: "***" not in text)


@examples(500)
@given(
    st.lists(st.lists(PATTERNS, min_size=1, max_size=3), max_size=8),
    st.lists(st.sampled_from(["a", "b", "ab", "abc", "cab", "/", "x-y"]), max_size=8).map("".join),
)
def test_pattern_index_finds_what_trying_each_finds(entries: list[list[str]], name: str) -> None:
    index = PatternIndex(
        (
            number,
            [text for text in texts if is_literal(text)],
            [compile_glob(text) for text in texts if not is_literal(text)],
        )
        for number, texts in enumerate(entries)
    )
    expected = {n for n, texts in enumerate(entries) if any(matches_pattern(text, name) for text in texts)}
    assert set(index.covering(name)) == expected


def test_a_rule_is_found_by_each_of_its_alternatives_and_once() -> None:
    rules = [
        rule(f"r{n}", when={"ref": "x"}, when_any=[{"repository_id": str(n)}, {"repository": f"contoso/{n}"}])
        for n in range(MANY)
    ]
    assert candidates({"ref": "x", "repository_id": "7", "repository": "contoso/7"}, rules=rules) == ["r7"]
    assert candidates({"ref": "x", "repository_id": "7", "repository": "contoso/8"}, rules=rules) == ["r7", "r8"]
