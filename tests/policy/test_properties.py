"""What holds for every policy and every token: random ones against the plain reference, and against each other."""

from __future__ import annotations

import itertools
import random
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from tests.policy import reference
from tests.policy.language import NOW, compose, load_data
from tests.support.examples import examples
from vending.acr.names import ACTIONS, is_repository_name
from vending.acr.scope import Scope, parse, repository
from vending.oidc.types import VerifiedClaims
from vending.policy import Policy, PolicyError, decide, hints, trace
from vending.policy.engine.conditions import State
from vending.policy.engine.containment import common_name, common_text
from vending.policy.engine.globs import compile_glob, is_literal
from vending.policy.engine.repositories import compile_template

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vending.oidc.types import Claims
    from vending.policy import Problem

relaxed = examples(suppress=[HealthCheck.too_slow, HealthCheck.data_too_large])

# A small world, so that rules, denies and tokens often concern each other.
ISSUERS = ("github", "generic")
KEYS = ("repository", "environment", "ref", "event_name", "a", "/n/k", "/l/0")
TEXTS = ("x", "X", "y", "x/y", "x:y", "", "workflow_run", "issue_comment", "push")
PATTERNS = ("x*", "*", "**", "*/y", "x**", "*x*y*")
NAMES = ("x", "y", "x/y", "t/x", "t/x/y", "t/x/y/z", "m/one", "m/two")
ENTRIES = (
    *NAMES,
    "*",
    "**",
    "t/*",
    "t/**",
    "t/{a}",
    "t/{a|path}",
    "t/{a|lower|path}",
    "{a}/x",
    "m/{a|m}",
    "{ref|lower}/{a|m}",
    "t/{a}/*",
    "t/{a|lower}/**",
    "{a}/**",
    "{a}/x*/**",
    "m/{a|m}/*",
    "{a|listed}",
    "{ref|lower|listed}",
)
MAPS = {
    "m": {"x": "one", "y": "two", "X": "one"},
    "listed": {"x": ["x", "t/**"], "y": "y", "x/y": ["m/*"], "push": ["**/y"]},
}
LISTS: dict[str, list[Any]] = {"words": ["x", "*y", "issue_comment"], "mixed": ["x", 1, True]}

scalars = st.sampled_from([*TEXTS, True, False, 0, 1, 7])
texts = st.sampled_from([*TEXTS, *PATTERNS])
values = st.one_of(st.sampled_from(TEXTS), scalars, st.none(), st.lists(st.one_of(scalars, st.none()), max_size=3))
claims_of_callers = st.fixed_dictionaries(
    {"repository_id": st.sampled_from(["1", "2"]), "sub": st.sampled_from(["1", "2"])},
    optional={
        **{key: values for key in KEYS if not key.startswith("/")},
        "n": st.one_of(values, st.fixed_dictionaries({}, optional={"k": values})),
        "l": values,
    },
)


# A strategy is made once: making one anew for each draw costs more than drawing from it.


@cache
def conditions(issuer: str) -> st.SearchStrategy[dict[str, Any]]:
    is_text = issuer == "github"
    accepted = texts if is_text else st.one_of(texts, scalars)
    listed = st.one_of(
        accepted,
        st.lists(accepted, min_size=1, max_size=3),
        st.sampled_from([{"in": "words"}, {"absent": True}, {"in": "words" if is_text else "mixed"}]),
    )
    return st.dictionaries(st.sampled_from(KEYS[:-2] if is_text else KEYS), listed, min_size=1, max_size=3)


@cache
def pins(issuer: str) -> st.SearchStrategy[dict[str, Any]]:
    key = "repository_id" if issuer == "github" else "sub"
    return st.sampled_from([{key: "1"}, {key: "2"}, {key: ["1", "2"]}, {key: {"in": "ids"}}])


@cache
def any_of(issuer: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(conditions(issuer), min_size=1, max_size=3)


@cache
def named_conditions() -> st.SearchStrategy[dict[str, Any]]:
    """One of each kind for each issuer: for rules, and without `when_any` for deny entries too."""
    made = {}
    for issuer in ISSUERS:
        when, unless = {"when": conditions(issuer)}, {"unless": conditions(issuer)}
        made[issuer] = st.fixed_dictionaries({"when_any": any_of(issuer)}, optional=when | unless)
        made[f"{issuer}-plain"] = st.fixed_dictionaries(when, optional=unless)
    return st.fixed_dictionaries(made)


SPAN = {
    "not_before": st.sampled_from(["2027-01-14", "2027-01-15", "2027-01-16", "2027-01-15T08:00Z", "2027-01-15T08:01Z"]),
    "expires": st.sampled_from(["2027-01-14", "2027-01-15", "2027-01-16", "2027-01-15T08:00Z", "2027-01-15T08:01Z"]),
}


@cache
def spans() -> st.SearchStrategy[dict[str, str]]:
    return st.fixed_dictionaries({}, optional=SPAN).filter(
        lambda span: len(span) < 2 or span["not_before"] < f"{span['expires']}T24:00Z"[:17]
    )


@cache
def grants(issuer: str) -> st.SearchStrategy[dict[str, Any]]:
    entries = [*ENTRIES, "t/{repository|lower|path}/**"] if issuer == "github" else ENTRIES
    return st.fixed_dictionaries(
        {
            "registry": st.sampled_from(["prod", "prod", "dev", ["dev", "prod"], ["dev"]]),
            "repositories": st.lists(st.sampled_from(entries), min_size=1, max_size=3),
            "actions": st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=3),
        }
    )


@cache
def whens(issuer: str) -> st.SearchStrategy[dict[str, Any]]:
    """Conditions that pin the caller: in `when`, beside alternatives or not, or in each alternative."""
    more = st.one_of(st.just({}), conditions(issuer))
    others = st.lists(st.tuples(pins(issuer), conditions(issuer)), max_size=2)

    def pinned(pin: dict[str, Any], further: dict[str, Any], any_of: list[dict[str, Any]] | None) -> dict[str, Any]:
        return {"when": {**pin, **further}, **({} if any_of is None else {"when_any": any_of})}

    def pinned_in_each(pin: dict[str, Any], further: dict[str, Any], ways: list[Any]) -> dict[str, Any]:
        alternatives = [pin, *({**other, **conditions} for other, conditions in ways)]
        return {"when_any": alternatives, **({"when": further} if further else {})}

    plain = st.builds(pinned, pins(issuer), more, st.none() | any_of(issuer))
    return st.one_of(plain, st.builds(pinned_in_each, pins(issuer), more, others))


@cache
def rules() -> st.SearchStrategy[dict[str, Any]]:
    def parts(issuer: str) -> st.SearchStrategy[dict[str, Any]]:
        optional = {
            "use": st.sampled_from([issuer, [f"{issuer}-plain"], [issuer, f"{issuer}-plain"]]),
            "unless": conditions(issuer),
            "enabled": st.booleans(),
            "mode": st.sampled_from(["enforce", "audit"]),
        }
        head = {"issuer": st.just(issuer), "grant": st.lists(grants(issuer), min_size=1, max_size=2)}
        return st.tuples(st.fixed_dictionaries(head, optional=optional), whens(issuer), spans()).map(merged)

    return st.one_of(*map(parts, ISSUERS))


@cache
def denies() -> st.SearchStrategy[dict[str, Any]]:
    plain = [entry for entry in ENTRIES if "{" not in entry]
    parts = st.fixed_dictionaries(
        {
            "repositories": st.lists(st.sampled_from(plain), min_size=1, max_size=2),
            "actions": st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=3),
        },
        optional={"registry": st.sampled_from(["prod", "dev"]), "enabled": st.booleans()},
    )

    def about(issuer: str) -> st.SearchStrategy[dict[str, Any]]:
        more = {"when": conditions(issuer), "unless": conditions(issuer), "use": st.just(f"{issuer}-plain")}
        return st.fixed_dictionaries({"issuer": st.just(issuer)}, optional=more)

    return st.tuples(parts, spans(), st.one_of(st.just({}), *map(about, ISSUERS))).map(merged)


def merged(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {key: value for part in parts for key, value in part.items()}


@cache
def policies() -> st.SearchStrategy[dict[str, Any]]:
    def named(prefix: str, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{"name": f"{prefix}{number}", **entry} for number, entry in enumerate(entries)]

    return st.builds(
        lambda rules, denies, conditions: compose(
            rules=named("r", rules),
            deny=named("d", denies),
            maps=MAPS,
            lists={**LISTS, "ids": ["1", "2"]},
            conditions=conditions,
        ),
        st.lists(rules(), max_size=6),
        st.lists(denies(), max_size=3),
        named_conditions(),
    )


callers = st.tuples(st.sampled_from(ISSUERS), claims_of_callers).map(
    lambda pair: VerifiedClaims(pair[0], cast("Claims", pair[1]))
)
asked = st.one_of(
    st.none(),
    st.lists(
        st.tuples(st.sampled_from(NAMES), st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=3)),
        min_size=1,
        max_size=3,
        unique_by=lambda pair: pair[0],
    ).map(lambda pairs: tuple(repository(name, actions) for name, actions in pairs)),
)


def pairs(scopes: tuple[Scope, ...]) -> set[tuple[str, str]]:
    return {(scope.name, action) for scope in scopes for action in scope.actions}


def everything(policy: Policy, caller: VerifiedClaims) -> set[tuple[str, str]]:
    """Ask for every action on every name, and return what is granted."""
    return pairs(decide(policy, caller, "prod", tuple(repository(name, ACTIONS) for name in NAMES), NOW).granted)


@relaxed
@given(policies(), callers)
def test_evaluator_and_index_agree_with_the_plain_reference(data: dict[str, Any], caller: VerifiedClaims) -> None:
    expected = {
        (name, action)
        for name in NAMES
        for action in ACTIONS
        if reference.granted(data, caller.issuer, caller.claims, "prod", name, action, NOW)
    }
    assert everything(load_data(data), caller) == expected


@relaxed
@given(policies(), callers, asked)
def test_request_is_allowed_exactly_when_everything_asked_is_granted(
    data: dict[str, Any], caller: VerifiedClaims, scopes: tuple[Scope, ...] | None
) -> None:
    decision = decide(load_data(data), caller, "prod", scopes, NOW)
    if scopes is None:
        expected = reference.listed(data, caller.issuer, caller.claims, "prod", NOW)
        assert pairs(decision.granted) == expected
        assert decision.allowed == bool(expected)
    else:
        expected = {
            (name, action)
            for name, action in pairs(scopes)
            if reference.granted(data, caller.issuer, caller.claims, "prod", name, action, NOW)
        }
        assert pairs(decision.granted) == expected
        assert pairs(decision.missing) == pairs(scopes) - expected
        assert decision.allowed == (not decision.missing)


MOMENTS = [NOW + hours * 3600 - 1 for hours in range(-80, 120, 2)] + [NOW - 1, NOW, NOW + 59, NOW + 60]


@relaxed
@given(policies(), st.lists(denies(), min_size=1, max_size=2), callers)
def test_what_never_rules_out_is_denied_and_a_refusal_has_an_example(
    data: dict[str, Any], entries: list[dict[str, Any]], caller: VerifiedClaims
) -> None:
    data = {**data, "never": [{"name": f"n{number}", **entry} for number, entry in enumerate(entries)]}
    try:
        policy = load_data(data)
    except PolicyError as error:
        expect_examples(data, error.problems)
        return
    expected = {
        (name, action)
        for name in NAMES
        for action in ACTIONS
        if reference.granted(data, caller.issuer, caller.claims, "prod", name, action, NOW)
    }
    assert everything(policy, caller) == expected


def expect_examples(data: dict[str, Any], problems: Iterable[Problem]) -> None:
    """Expect that each example is granted at some time where nothing is ruled out, and ruled out."""
    for problem in problems:
        assert problem.code == "never_violated"
        assert problem.example is not None
        [scope], claims = parse(str(problem.example["scope"])), problem.example["claims"]
        [action] = scope.actions
        asked_by = [
            (issuer, claims, registry, scope.name, action, moment)
            for issuer in ISSUERS
            for registry in ("prod", "dev")
            for moment in MOMENTS
        ]
        without = {**data, "never": []}
        assert any(reference.granted(without, *ask) and reference.denied(data, *ask) for ask in asked_by)


@relaxed
@given(policies(), callers, asked)
def test_decision_is_deterministic(
    data: dict[str, Any], caller: VerifiedClaims, scopes: tuple[Scope, ...] | None
) -> None:
    first, second = load_data(data), load_data(data)
    assert decide(first, caller, "prod", scopes, NOW) == decide(second, caller, "prod", scopes, NOW)
    assert decide(first, caller, "prod", scopes, NOW) == decide(first, caller, "prod", scopes, NOW)


@relaxed
@given(policies(), callers, asked, st.randoms(use_true_random=False))
def test_order_of_rules_never_matters(
    data: dict[str, Any], caller: VerifiedClaims, scopes: tuple[Scope, ...] | None, chance: random.Random
) -> None:
    shuffled = {**data, "rules": list(data["rules"]), "deny": list(data["deny"])}
    chance.shuffle(shuffled["rules"])
    chance.shuffle(shuffled["deny"])
    decision = decide(load_data(data), caller, "prod", scopes, NOW)
    assert decide(load_data(shuffled), caller, "prod", scopes, NOW) == decision


@relaxed
@given(policies(), callers, denies())
def test_adding_a_deny_never_grants_more(data: dict[str, Any], caller: VerifiedClaims, entry: dict[str, Any]) -> None:
    denied = {**data, "deny": [*data["deny"], {"name": "added", **entry}]}
    assert everything(load_data(denied), caller) <= everything(load_data(data), caller)


@relaxed
@given(policies(), callers, st.integers(0, 5))
def test_removing_a_rule_never_grants_more(data: dict[str, Any], caller: VerifiedClaims, number: int) -> None:
    fewer = {**data, "rules": data["rules"][:number] + data["rules"][number + 1 :]}
    assert everything(load_data(fewer), caller) <= everything(load_data(data), caller)


def _without(data: dict[str, Any], section: str, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the policy with an entry disabled, and with it removed."""
    entries = data[section]
    disabled = [{**entry, "enabled": False} if n == number else entry for n, entry in enumerate(entries)]
    removed = [entry for n, entry in enumerate(entries) if n != number]
    return {**data, section: disabled}, {**data, section: removed}


@relaxed
@given(policies(), callers, asked, st.integers(0, 5), st.sampled_from(["rules", "deny"]))
def test_disabling_an_entry_equals_removing_it(
    data: dict[str, Any], caller: VerifiedClaims, scopes: tuple[Scope, ...] | None, number: int, section: str
) -> None:
    disabled, removed = (load_data(changed) for changed in _without(data, section, number))
    assert decide(disabled, caller, "prod", scopes, NOW) == decide(removed, caller, "prod", scopes, NOW)
    assert hints(disabled, caller, "prod", scopes, NOW) == hints(removed, caller, "prod", scopes, NOW)


@relaxed
@given(policies(), callers, asked)
def test_trace_tells_the_story_of_the_decision(
    data: dict[str, Any], caller: VerifiedClaims, scopes: tuple[Scope, ...] | None
) -> None:
    policy = load_data(data)
    told = trace(policy, caller, "prod", scopes, NOW)
    assert told.decision == decide(policy, caller, "prod", scopes, NOW)
    given_by_rules = {
        pair for rule in told.rules if rule.counts for grant in rule.grants for pair in pairs(grant.gives)
    }
    taken = {pair for deny in told.denies for pair in pairs(deny.takes)}
    if told.decision.reason != "too_many_scopes":
        assert pairs(told.decision.granted) == given_by_rules - taken
    for rule in told.rules:
        met = all(condition.satisfied for condition in (*rule.when, *rule.unless))
        met = met and all(any(alternative.holds for alternative in group) for group in rule.when_any)
        assert met or rule.status in {"not_matched", "disabled", "expired", "not_yet"}
        assert all(
            alternative.holds == all(condition.satisfied for condition in alternative.conditions)
            for group in rule.when_any
            for alternative in group
        )
        assert all(condition.satisfied == (condition.state is State.HOLDS) for condition in rule.when)


@relaxed
@given(policies(), callers)
def test_hints_are_about_the_caller_only(data: dict[str, Any], caller: VerifiedClaims) -> None:
    policy = load_data(data)
    about = {hint.name: hint for hint in hints(policy, caller, "prod", None, NOW)}
    for rule in data["rules"]:
        if rule["name"] in about:
            pin = "repository_id" if caller.issuer == "github" else "sub"
            assert rule["issuer"] == caller.issuer
            accepted = [pair[1] for way in reference.ways(rule, data) for pair in way if pair[0] == pin]
            assert any(reference.names_literally(value, caller.claims[pin], data) for value in accepted)
            matches = reference.rule_matches(rule, caller.issuer, caller.claims, NOW, data)
            assert about[rule["name"]].matched == matches == (not about[rule["name"]].failed_claims)


# --- Patterns and templates -------------------------------------------------------------------------------------------

alphabet = st.sampled_from("ab/:")
patterns = st.lists(st.one_of(alphabet, st.sampled_from(["*", "**"])), max_size=10).map("".join)


@examples(1000)
@given(patterns.filter(lambda text: "***" not in text and not is_literal(text)), st.text(alphabet, max_size=12))
def test_patterns_match_as_the_plain_reference_does(pattern: str, value: str) -> None:
    assert compile_glob(pattern).matches(value) == reference.matches_pattern(pattern, value)


@examples(300)
@given(st.text(st.sampled_from("ab/:*"), max_size=20).filter(lambda text: "***" not in text and "*" in text), st.data())
def test_a_pattern_matches_what_it_is_filled_to(pattern: str, data: st.DataObject) -> None:
    parts = pattern.replace("**", "\0").replace("*", "\1")
    filled = "".join(
        data.draw(st.text(alphabet, max_size=4)) if c == "\0"
        else data.draw(st.text("ab", max_size=4)) if c == "\1"
        else c
        for c in parts
    )  # fmt: skip
    assert compile_glob(pattern).matches(filled)


SMALL = ["".join(letters) for length in range(5) for letters in itertools.product("ab/", repeat=length)]


@examples(200)
@given(st.lists(patterns.filter(lambda text: "***" not in text and ":" not in text), min_size=1, max_size=3))
def test_what_patterns_have_in_common_is_matched_by_all_and_none_means_none(texts: list[str]) -> None:
    def fits(value: str) -> bool:
        return all(reference.matches_pattern(text, value) for text in texts)

    for common, possible in (
        (common_text(texts), SMALL),
        (common_name(texts), [text for text in SMALL if is_repository_name(text)]),
    ):
        assert any(fits(value) for value in possible) <= (common is not None)
        assert common is None or fits(common)


TEMPLATES = (
    "p/{a}",
    "p/{a}/q/{b}",
    "p/{a}/{b|path}",
    "p/{a|lower}/{b}",
    "p/{a|m}/{b|path}",
    "p/{b}/{a|n}",
    "p/{a|lower|path}",
)
TABLES = {"m": {"x": "one/a", "y": "two/b"}, "n": {"x": "one", "y": "two/b"}}
raw_values = st.one_of(
    st.sampled_from(["x", "y", "one", "two/b", "one/a", "..", "a/../b", "A", "a/b/c", "a--b", "a_b", "K"]),
    st.text(st.sampled_from("abA/.-_*{}|:"), max_size=8),
    st.text(max_size=8),
)
filling = st.fixed_dictionaries({"a": raw_values, "b": raw_values})


@examples(500)
@given(st.sampled_from(TEMPLATES), filling)
def test_a_template_never_leaves_its_own_prefix(text: str, claims: dict[str, Any]) -> None:
    name = compile_template(text, TABLES).fill(claims)
    assert name is None or (is_repository_name(name) and name.startswith("p/"))


@examples(1000)
@given(st.sampled_from(TEMPLATES), filling, filling)
def test_two_callers_share_a_templated_name_only_with_equal_insertions(
    text: str, one: dict[str, Any], two: dict[str, Any]
) -> None:
    template = compile_template(text, TABLES)
    first, second = template.fill(one), template.fill(two)
    if first is None or first != second:
        return
    for part in template.parts:
        if not isinstance(part, str):
            assert part.fill(one) == part.fill(two)
