"""The difference between two policies: none missed, none made up, and nothing but access counts."""

from __future__ import annotations

import copy
import os
import random
from typing import Any

import pytest

from tests.assurance.small import a_pair, access
from tests.policy.language import NOW, compose, deny, grant, load_data, rule
from tests.support.examples import DEEP
from vending.assurance.comment import comment
from vending.assurance.diff import Difference, compare

PAIRS = int(os.environ.get("ASSURANCE_PAIRS", "360" if DEEP else "120"))
PARTS = 6


@pytest.mark.parametrize("part", range(PARTS))
def test_a_difference_is_found_exactly_where_there_is_one(part: int) -> None:
    decided = different = 0
    for number in range(PAIRS // PARTS):
        before, after = a_pair(random.Random(part * PAIRS + number))
        old, new = load_data(before), load_data(after)
        found = compare(old, new, NOW)
        if found.not_decided:
            continue
        decided += 1
        different += bool(found.grew or found.shrank)
        could, can = access(old), access(new)
        if not found.grew:
            assert not can - could, (before, after)
        if not found.shrank:
            assert not could - can, (before, after)
    assert decided >= PAIRS // PARTS * 0.9
    assert 0 < different < decided


def difference(old: dict[str, Any], new: dict[str, Any]) -> Difference:
    return compare(load_data(old), load_data(new), NOW)


def same(old: dict[str, Any], new: dict[str, Any]) -> None:
    for one, other in ((old, new), (new, old)):
        found = difference(one, other)
        assert (found.grew, found.shrank, found.not_decided) == ((), (), ())


BASE = compose(
    rules=[
        rule("a", grant("web/api", "web/cache/**"), when={"repository_id": ["1", "2"], "ref": "refs/heads/main"}),
        rule("b", grant("{repository|lower|path}"), when={"repository_owner_id": "7"}, unless={"actor": "*[bot]"}),
    ],
    deny=[deny("d", "web/**", actions="push", issuer="github", when={"event_name": "pull_request"})],
)


def test_names_and_order_are_no_access() -> None:
    new = copy.deepcopy(BASE)
    new["rules"].reverse()
    for number, entry in enumerate([*new["rules"], *new["deny"]]):
        entry["name"] = f"other-{number}"
    new["registries"] = {"renamed": new["registries"]["prod"], "dev": new["registries"]["dev"]}
    for entry in new["rules"]:
        entry["grant"][0]["registry"] = "renamed"
    same(BASE, new)


def test_rewriting_through_conditions_lists_maps_and_alternatives_is_no_access() -> None:
    new = copy.deepcopy(BASE)
    new |= {
        "lists": {"ids": ["2", "1"]},
        "conditions": {"main": {"when": {"ref": "refs/heads/main"}}},
        "maps": {"images": {"1": ["web/api", "web/cache/**"], "2": ["web/api", "web/cache/**"]}},
    }
    new["rules"][0] = rule("a", grant("{repository_id|images}"), when={"repository_id": {"in": "ids"}}, use="main")
    same(BASE, new)
    split = copy.deepcopy(BASE)
    split["rules"][0]["when"] = {"ref": "refs/heads/main"}
    split["rules"][0]["when_any"] = [{"repository_id": "1"}, {"repository_id": "2"}]
    same(BASE, split)


def test_two_rules_may_say_what_one_says() -> None:
    new = copy.deepcopy(BASE)
    first = new["rules"][0]
    second = copy.deepcopy(first)
    first["when"]["repository_id"], second["when"]["repository_id"], second["name"] = "1", "2", "second"
    new["rules"].append(second)
    same(BASE, new)


def test_what_a_wider_rule_grants_already_is_not_new() -> None:
    new = copy.deepcopy(BASE)
    new["rules"].append(rule("c", grant("web/cache/x"), when={"repository_id": "2", "ref": "refs/heads/main"}))
    same(BASE, new)


@pytest.mark.parametrize(
    ("change", "grew", "shrank"),
    [
        (lambda p: p["rules"][0]["grant"][0]["actions"].append("delete"), True, False),
        (lambda p: p["rules"][0]["when"].update(ref="refs/heads/**"), True, False),
        (lambda p: p["rules"][0]["when"].update(environment="production"), False, True),
        (lambda p: p["rules"][0].update(mode="audit"), False, True),
        (lambda p: p["rules"][0].update(expires="2020-01-01"), False, True),
        (lambda p: p["rules"][0].update(not_before="2040-01-01"), False, True),
        (lambda p: p["rules"][1].pop("unless"), True, False),
        (lambda p: p["deny"].clear(), True, False),
        (lambda p: p["deny"][0].pop("issuer") and p["deny"][0].pop("when"), False, True),
        (lambda p: p["issuers"]["github"].update(enabled=False), False, True),
        (lambda p: p["rules"].append(rule("c", grant(catalog=True))), True, False),
        (lambda p: p["rules"][0]["grant"][0].update(registry="dev"), True, True),
        (lambda p: p["rules"][0]["when"].update(event_name="pull_request_target"), True, True),
    ],
    ids=lambda value: None if isinstance(value, bool) else "change",
)
def test_a_change_of_access_has_a_direction(change: Any, grew: bool, shrank: bool) -> None:
    new = copy.deepcopy(BASE)
    change(new)
    found = difference(BASE, new)
    assert (bool(found.grew), bool(found.shrank)) == (grew, shrank)
    back = difference(new, BASE)
    assert (bool(back.grew), bool(back.shrank)) == (shrank, grew)


def test_an_issuer_whose_tokens_are_accepted_on_other_terms_is_said_to_be_not_decided() -> None:
    new = copy.deepcopy(BASE)
    new["issuers"]["gitlab"]["audience"] = "https://other.contoso.example"
    new["issuers"]["generic"]["algorithms"] = ["ES256"]
    found = difference(BASE, new)
    assert {(entry.issuer, "audience" in entry.why) for entry in found.not_decided} == {
        ("gitlab", True),
        ("generic", False),
    }


HOSTILE = [
    "`code`",
    "<img src=x>",
    "a|b",
    "**bold**",
    "@contoso",
    "``` fence",
    "\u202eabc",
    "[x](https://evil.example)",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_value_stays_inside_its_code_span(text: str) -> None:
    new = copy.deepcopy(BASE)
    new["rules"].append(rule("c", grant("new/thing"), when={"repository_id": "9", "environment": text}))
    written = comment(difference(BASE, new))
    outside = written.split("```")[0]
    assert text not in outside
    assert written.count("<details>") == written.count("</details>") == 1
