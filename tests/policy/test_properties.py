"""What holds for every policy and every token: random ones against the plain reference, and against each other."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, cast

from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from tests.policy import reference
from tests.policy.language import NOW, compose, load_data
from tests.support.examples import examples
from vending.acr.names import ACTIONS, is_repository_name
from vending.acr.scope import Scope, repository
from vending.oidc.types import VerifiedClaims
from vending.policy import Policy, decide, hints, trace
from vending.policy.engine.conditions import State
from vending.policy.engine.globs import compile_glob, is_literal
from vending.policy.engine.repositories import compile_template

if TYPE_CHECKING:
    from vending.oidc.types import Claims

relaxed = examples(suppress=[HealthCheck.too_slow, HealthCheck.data_too_large])

# A small world, so that rules, denies and tokens often concern each other.
ISSUERS = ("github", "generic")
KEYS = ("repository", "environment", "ref", "event_name", "a", "/n/k", "/l/0")
TEXTS = ("x", "X", "y", "x/y", "x:y", "", "workflow_run", "push")
PATTERNS = ("x*", "*", "**", "*/y", "x**", "*x*y*")
NAMES = ("x", "y", "x/y", "t/x", "t/x/y", "m/one", "m/two")
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
)
MAPS = {"m": {"x": "one", "y": "two", "X": "one"}}

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


def conditions(issuer: str) -> st.SearchStrategy[dict[str, Any]]:
    accepted = texts if issuer == "github" else st.one_of(texts, scalars)
    listed = st.one_of(accepted, st.lists(accepted, min_size=1, max_size=3))
    return st.dictionaries(st.sampled_from(KEYS[:-2] if issuer == "github" else KEYS), listed, min_size=1, max_size=3)


@st.composite
def grants(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "registry": draw(st.sampled_from(["prod", "prod", "dev"])),
        "repositories": draw(st.lists(st.sampled_from(ENTRIES), min_size=1, max_size=3)),
        "actions": draw(st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=3)),
    }


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    issuer = draw(st.sampled_from(ISSUERS))
    pin = "repository_id" if issuer == "github" else "sub"
    return {
        "issuer": issuer,
        "when": {
            pin: draw(st.sampled_from(["1", "2", ["1", "2"]])),
            **draw(st.one_of(st.just({}), conditions(issuer))),
        },
        "grant": draw(st.lists(grants(), min_size=1, max_size=2)),
        **draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "unless": conditions(issuer),
                    "enabled": st.booleans(),
                    "mode": st.sampled_from(["enforce", "audit"]),
                    "expires": st.sampled_from(["2027-01-14", "2027-01-15", "2027-01-16"]),
                },
            )
        ),
    }


@st.composite
def denies(draw: st.DrawFn) -> dict[str, Any]:
    plain = [entry for entry in ENTRIES if "{" not in entry]
    entry: dict[str, Any] = {
        "repositories": draw(st.lists(st.sampled_from(plain), min_size=1, max_size=2)),
        "actions": draw(st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=3)),
        **draw(
            st.fixed_dictionaries({}, optional={"registry": st.sampled_from(["prod", "dev"]), "enabled": st.booleans()})
        ),
    }
    if draw(st.booleans()):
        issuer = draw(st.sampled_from(ISSUERS))
        entry["issuer"] = issuer
        entry |= draw(st.fixed_dictionaries({}, optional={"when": conditions(issuer), "unless": conditions(issuer)}))
    return entry


@st.composite
def policies(draw: st.DrawFn) -> dict[str, Any]:
    def named(prefix: str, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{"name": f"{prefix}{number}", **entry} for number, entry in enumerate(entries)]

    return compose(
        rules=named("r", draw(st.lists(rules(), max_size=6))),
        deny=named("d", draw(st.lists(denies(), max_size=3))),
        maps=MAPS,
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
        assert all(
            reference.granted(data, caller.issuer, caller.claims, "prod", name, action, NOW)
            for name, action in pairs(decision.granted)
        )
    else:
        assert pairs(decision.granted) | pairs(decision.missing) == pairs(scopes)
        assert not pairs(decision.granted) & pairs(decision.missing)
        assert decision.allowed == (not decision.missing)


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
        assert met or rule.status in {"not_matched", "disabled", "expired"}
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
            assert caller.claims[pin] in rule["when"][pin]
            matches = reference.rule_matches(rule, caller.issuer, caller.claims, NOW)
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
