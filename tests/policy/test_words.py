"""Patterns as languages: a word found is one, and where none is found there is none."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policy.reference import matches_pattern
from tests.support.examples import examples
from vending.acr.names import is_repository_name
from vending.policy.engine.words import (
    Constraint,
    RepositoryName,
    Undecided,
    Union,
    alphabet,
    enumerate_classes,
    shortest,
)

PATTERNS = st.text(alphabet="ab/*", max_size=5).filter(lambda text: "***" not in text)
SETS = st.lists(PATTERNS, min_size=1, max_size=3)
SMALL = ["".join(letters) for length in range(6) for letters in product("abc/:", repeat=length)]


def test_an_automaton_accepts_what_its_patterns_match() -> None:
    for pattern in ("a*", "**b", "a/**/b", "*/*", "a**b*", "", "*", "**", "ab"):
        automaton = Union([pattern], folds=False)
        for text in SMALL:
            state = automaton.start
            for character in text:
                state = automaton.step(state, character)
            assert automaton.accepts(state) is matches_pattern(pattern, text), (pattern, text)


@examples(400)
@given(st.lists(SETS, max_size=2), st.lists(SETS, max_size=2))
def test_a_word_lies_inside_and_outside_as_asked_and_none_means_none(
    inside: list[list[str]], outside: list[list[str]]
) -> None:
    constraints = [Constraint(Union(patterns, folds=False), wanted=True) for patterns in inside]
    constraints += [Constraint(Union(patterns, folds=False), wanted=False) for patterns in outside]
    word = shortest(constraints, alphabet(p for patterns in [*inside, *outside] for p in patterns))

    def fits(text: str) -> bool:
        return all(any(matches_pattern(p, text) for p in patterns) for patterns in inside) and not any(
            any(matches_pattern(p, text) for p in patterns) for patterns in outside
        )

    if word is not None:
        assert fits(word)
    else:
        assert not any(map(fits, SMALL))


@pytest.mark.parametrize("length", range(6))
def test_the_grammar_of_names_is_the_one_that_scopes_have(length: int) -> None:
    grammar = RepositoryName()
    for letters in product("a._-/A", repeat=length):
        state = grammar.start
        for character in letters:
            state = grammar.step(state, character)
        assert grammar.accepts(state) is is_repository_name("".join(letters)), letters


def test_each_class_of_words_is_enumerated_once() -> None:
    constraints = [Constraint(Union(["a*", "*b"], folds=False), wanted=True)]
    watched = [Union(["a"], folds=False), Union(["*b"], folds=False)]
    words = list(enumerate_classes(constraints, ("a", "b", "c"), watched))
    assert {"a", "b", "ab"} <= set(words)
    assert len(words) < 12


def test_a_folding_automaton_reads_both_cases() -> None:
    word = shortest(
        [Constraint(Union(["ab"], folds=True), wanted=True), Constraint(Union(["ab"], folds=False), wanted=False)],
        alphabet(["ab"], folds=True),
    )
    assert word is not None
    assert word.lower() == "ab"
    assert word != "ab"


def test_a_search_that_grows_too_large_is_given_up() -> None:
    patterns = [f"**{a}**{b}**{c}**{d}**" for a, b, c, d in product("abcdefgh", repeat=4)][:40]
    constraints = [Constraint(Union([pattern], folds=False), wanted=True) for pattern in patterns]
    with pytest.raises(Undecided):
        shortest(constraints, alphabet(patterns))
