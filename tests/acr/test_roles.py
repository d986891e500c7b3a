"""The roles named to an operator are enough, and no more than needed."""

from __future__ import annotations

import re
from itertools import chain, combinations
from pathlib import Path

import pytest

from vending.acr.names import ACTIONS
from vending.acr.roles import ABAC, CLASSIC, roles_for
from vending.acr.scope import CATALOG, CATALOG_ACTION

EVERY = (*ACTIONS, CATALOG_ACTION)
SUBSETS = list(chain.from_iterable(combinations(EVERY, size) for size in range(1, len(EVERY) + 1)))


@pytest.mark.parametrize(
    ("actions", "text"),
    [
        (["pull"], "AcrPull (or Container Registry Repository Reader where the registry uses ABAC)"),
        (["metadata_read"], "AcrPull (or Container Registry Repository Reader where the registry uses ABAC)"),
        (["pull", "push"], "AcrPush (or Container Registry Repository Writer where the registry uses ABAC)"),
        (["metadata_write"], "AcrPush (or Container Registry Repository Writer where the registry uses ABAC)"),
        (["delete"], "AcrDelete (or Container Registry Repository Contributor where the registry uses ABAC)"),
        (
            ["pull", "delete"],
            "AcrPull and AcrDelete (or Container Registry Repository Contributor where the registry uses ABAC)",
        ),
        (["*"], "AcrPull (or Container Registry Repository Catalog Lister where the registry uses ABAC)"),
        (
            ["push", "*"],
            (
                "AcrPush (or Container Registry Repository Writer and Container Registry Repository Catalog Lister "
                "where the registry uses ABAC)"
            ),
        ),
    ],
)
def test_roles_are_named_for_both_modes(actions: list[str], text: str) -> None:
    assert str(roles_for(actions)) == text


@pytest.mark.parametrize("actions", SUBSETS, ids=",".join)
def test_roles_allow_everything_asked_for_and_none_can_be_left_out(actions: tuple[str, ...]) -> None:
    wanted = set(actions)
    roles = roles_for(actions)
    for table, chosen in ((CLASSIC, roles.classic), (ABAC, roles.abac)):
        assert wanted <= set().union(*(table[role] for role in chosen))
        for left_out in chosen:
            assert not wanted <= set().union(*(table[role] for role in chosen if role != left_out))


def test_roles_are_documented_action_by_action() -> None:
    document = (Path(__file__).parents[2] / "docs" / "acr.md").read_text()
    row = r"^\| `([a-z_]+|registry:catalog:\*)`[^|]* \| (Acr\w+) \| ([A-Z][A-Za-z ]+?)(?: \(.*\))? \|$"
    rows = re.findall(row, document, re.MULTILINE)
    assert {action for action, _, _ in rows} == {*ACTIONS, str(CATALOG)}
    for action, classic, abac in rows:
        roles = roles_for([CATALOG_ACTION if action == str(CATALOG) else action])
        assert (roles.classic, roles.abac) == ((classic,), (abac,))
