"""Who can, and the matrix: cell by cell what the evaluator grants."""

from __future__ import annotations

import os
import random
from collections import defaultdict

import pytest

from tests.assurance.small import ACTIONS, REGISTRIES, REPOSITORIES, TOKENS, a_policy, allowed
from tests.policy.language import NOW, compose, grant, load_data, rule
from tests.support.examples import QUICK
from vending.acr.scope import repository
from vending.assurance.matrix import rows, when_text, who_can

POLICIES = int(os.environ.get("ASSURANCE_PAIRS", "48" if QUICK else "90")) // 4


def test_who_can_names_a_rule_for_everything_that_a_token_is_granted() -> None:
    granted = 0
    for seed in range(POLICIES):
        policy = load_data(a_policy(random.Random(seed)))
        cells: dict[tuple[str, str, str], bool] = defaultdict(bool)
        for name in REPOSITORIES:
            for registry in REGISTRIES:
                for action in ACTIONS:
                    scope = repository(name, (action,))
                    cells[name, registry, action] = any(allowed(policy, c, registry, scope) for c in TOKENS)
        for (name, registry, action), can in cells.items():
            listed = who_can(policy, name, NOW, registry=registry, action=action)
            enforced = [row for row in listed if row.rule.enforced]
            if can:
                granted += 1
                assert enforced, (seed, name, registry, action)
    assert granted > POLICIES // 2


@pytest.mark.parametrize("at", [NOW, NOW + 10 * 365 * 86_400])
def test_rows_follow_the_time(at: float) -> None:
    data = compose(rules=[rule("a", expires="2030-01-01"), rule("b", not_before="2030-01-02"), rule("c", mode="audit")])
    names = [(row.rule.name, row.data({})["mode"]) for row in rows(load_data(data), at)]
    expected = [("b", "enforce"), ("c", "audit")]
    assert names == ([("a", "enforce"), *expected] if at == NOW else expected)


def test_a_row_tells_what_the_file_says() -> None:
    data = compose(
        rules=[
            rule(
                "a",
                grant("web/api", "web/cache/**"),
                when={"repository_id": ["1", "2"], "head_ref": {"absent": True}},
                when_any=[{"ref": "refs/heads/main"}, {"ref": "refs/tags/v*"}],
                unless={"actor": "*[bot]"},
                expires="2030-01-01",
            )
        ]
    )
    first, second = rows(load_data(data), NOW)
    assert (first.repository, second.repository) == ("web/api", "web/cache/**")
    told = first.data({})
    assert told["expires"] == "2030-01-01"
    assert told["when"]["repository_id"] == ["1", "2"]
    text = when_text(told["when"])
    assert 'repository_id: "1", "2"' in text
    assert "head_ref: absent" in text
    assert '(ref: "refs/heads/main") or (ref: "refs/tags/v*")' in text
    assert 'unless actor: "*[bot]"' in text
