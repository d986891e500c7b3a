"""docs/lint.md has a heading, an example and a fix for each code of lint, and for no other."""

from __future__ import annotations

import pytest

from tests.docs.markdown import ROOT, Block, blocks
from vending.policy.lint import INFORMATION, Lint

PAGE = ROOT / "docs" / "lint.md"


def _warning_blocks() -> dict[str, list[Block]]:
    """Group the blocks under the headings that are codes."""
    found: dict[str, list[Block]] = {}
    for block in blocks(PAGE):
        if block.section.startswith("`"):
            found.setdefault(block.section.strip("`"), []).append(block)
    return found


def test_every_warning_is_explained_and_no_other() -> None:
    assert list(_warning_blocks()) == [code.value for code in Lint]


@pytest.mark.parametrize("code", Lint)
def test_a_warning_has_an_example_and_a_fix(code: Lint) -> None:
    example, fix = _warning_blocks()[code.value]
    assert example.mark == ("info" if code in INFORMATION else "warning", code.value)
    assert fix.mark is None
