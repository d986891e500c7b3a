"""Who can, and the matrix: cell by cell what the evaluator grants."""

from __future__ import annotations

import os
import random

import pytest

from tests.assurance.small import a_policy, access
from tests.policy.language import NOW, compose, grant, load_data, rule
from tests.support.examples import DEEP
from vending.assurance.access import Access, allows, claims_of, domains, scope_of, token_of
from vending.assurance.matrix import rows, when_text, who_can
from vending.assurance.prover import Prover
from vending.assurance.space import Space

POLICIES = int(os.environ.get("ASSURANCE_PAIRS", "180" if DEEP else "60")) // 4


def test_who_can_names_a_rule_for_everything_that_a_token_is_granted() -> None:
    granted = 0
    for seed in range(POLICIES):
        policy = load_data(a_policy(random.Random(seed)))
        for name, registry, action in {(name, registry, action) for _, registry, name, action in access(policy)}:
            listed = who_can(policy, name, NOW, registry=registry, action=action)
            enforced = [row for row in listed if row.rule.enforced]
            granted += 1
            assert enforced, (seed, name, registry, action)
    assert granted > POLICIES // 2


def test_every_cell_has_a_token_that_the_evaluator_grants_it() -> None:
    cells = 0
    for seed in range(POLICIES):
        policy = load_data(a_policy(random.Random(seed)))
        issuer = next(one for one in policy.issuers.values() if one.name == "generic")
        prover = Prover(domains(issuer, claims_of(policy.rules["generic"])))
        access, space = Access(policy, issuer, prover), Space(prover, issuer.preset.relations)
        shown = {(row.rule.name, row.registry, row.repository): row for row in rows(policy, NOW)}
        for one in access.rules_at(NOW):
            for right in access.rights(one):
                found = space.find(right.cover)
                row = shown.get((one.name, right.registry, right.entry))
                if found is None or row is None:
                    # Another alternative of the rule may make the row; without any, there must be none.
                    continue
                if not row.denied_by:
                    cells += 1
                    for action in right.actions:
                        scope = scope_of(found, action)
                        assert allows(policy, "generic", token_of(found), right.registry, scope, NOW), (
                            seed,
                            right.entry,
                        )
    assert cells > POLICIES


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
