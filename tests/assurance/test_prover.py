"""The prover against every small token: it finds one where there is one, and says none only where there is none."""

from __future__ import annotations

from itertools import product
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.policy.reference import matches_pattern
from tests.support.examples import examples
from vending.assurance.prover import Conjunction, Prover
from vending.assurance.values import MISSING, Domain, Wish, find_value, judge
from vending.policy.engine.conditions import Condition, State, compile_condition

VALUES: list[Any] = [MISSING, "", "a", "b", "ab", "a/b", "A", "c", True, False, 1, 2, 0.5, [], ["a"], ["b"], ["a", "b"]]
VALUES += [[True], [True, "a"], [1, "b"], [0.5], ["c", 3], ["a", 1, True], ["b", 2, False], {"x": 1}]

SCALARS = st.sampled_from(["a", "b", "a*", "**b", "*", "", True, False, 1, 2])
STATES = st.sets(st.sampled_from(list(State)), min_size=1, max_size=3).map(frozenset)


def condition(key: str, values: list[Any], *, folds: bool = False) -> Condition:
    return compile_condition(key, (key,), values, folds=folds)


def wishes(key: str, folds: bool) -> st.SearchStrategy[Wish]:
    values = st.lists(SCALARS, min_size=1, max_size=3)
    return st.builds(lambda v, states: Wish(condition(key, v, folds=folds), states), values, STATES)


@examples(1500)
@given(st.booleans().flatmap(lambda folds: st.lists(wishes("c", folds), max_size=4)))
def test_a_value_fulfils_every_wish_and_none_means_none(wanted: list[Wish]) -> None:
    value = find_value(wanted, Domain())
    if value is None:
        assert not [v for v in VALUES if all(wish.grants(v) for wish in wanted)]
    else:
        assert all(wish.grants(value) for wish in wanted)


LITERAL = st.tuples(st.sampled_from("xy"), st.lists(SCALARS, min_size=1, max_size=2), STATES)
PATTERNS = st.sets(st.sampled_from(["a", "b", "a/b", "*", "**", "a/**", "a*"]), min_size=1, max_size=2)
CASES = st.tuples(st.lists(LITERAL, max_size=3), st.none() | PATTERNS)
NAMES = ["a", "b", "c", "a/b", "ab", "a/c", "b/a", "a/b/c"]
FEW: list[Any] = [
    MISSING,
    "a",
    "b",
    "ab",
    "",
    "q",
    True,
    False,
    1,
    2,
    3,
    0.5,
    ["a"],
    ["b"],
    ["a", "b"],
    [True, "a"],
    [1, "b"],
]


@examples(600)
@given(CASES, st.lists(CASES, max_size=3))
def test_a_witness_lies_inside_one_case_and_outside_of_the_others(case: Any, excluded: Any) -> None:
    prover = Prover()

    def compiled(written: Any) -> Conjunction:
        literals, patterns = written
        numbers = {prover.condition(condition(key, values), *states) for key, values, states in literals}
        return frozenset(numbers | ({prover.covered(patterns)} if patterns else set()))

    def holds(written: Any, claims: dict[str, Any], name: str) -> bool:
        literals, patterns = written
        return all(judge(condition(key, values), claims[key]) in states for key, values, states in literals) and (
            patterns is None or any(matches_pattern(p, name) for p in patterns)
        )

    witness = prover.satisfy(compiled(case), [compiled(other) for other in excluded])
    if witness is None:
        for x, y, name in product(FEW, FEW, NAMES):
            claims = {"x": x, "y": y}
            assert not holds(case, claims, name) or any(holds(other, claims, name) for other in excluded)
    else:
        claims = {key: witness.claims.get((key,), MISSING) for key in "xy"}
        assert holds(case, claims, witness.repository)
        assert not any(holds(other, claims, witness.repository) for other in excluded)
