"""The scope grammar: what ACR would honour beyond it is refused, and what is parsed is written back the same."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vending.acr.names import ACTIONS, COMPONENT_PATTERN, is_repository_name
from vending.acr.scope import CATALOG, Scope, parse, render, repository
from vending.errors import Reason, Refusal

WORDS = st.text("abcxyz0189", min_size=1, max_size=8)
SEPARATORS = st.sampled_from([".", "_", "__", "-", "--", "----"])
COMPONENTS = st.builds(
    lambda first, rest: first + "".join(separator + word for separator, word in rest),
    WORDS,
    st.lists(st.tuples(SEPARATORS, WORDS), max_size=3),
)
NAMES = st.lists(COMPONENTS, min_size=1, max_size=5).map("/".join)
SCOPES = st.builds(repository, NAMES, st.sets(st.sampled_from(ACTIONS), min_size=1)) | st.just(CATALOG)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("repository:a:pull", "repository:a:pull"),
        ("repository:a/b-c/d_e/f__g/h.i/j---k:push,pull", "repository:a/b-c/d_e/f__g/h.i/j---k:pull,push"),
        ("repository:a:metadata_write,delete,pull,pull", "repository:a:pull,delete,metadata_write"),
        ("repository:b:pull repository:a:push repository:b:push", "repository:b:pull,push repository:a:push"),
        ("registry:catalog:* repository:a:pull", "registry:catalog:* repository:a:pull"),
        ("registry:catalog:* registry:catalog:*", "registry:catalog:*"),
        (f"repository:{'a' * 255}:pull", f"repository:{'a' * 255}:pull"),
    ],
)
def test_scopes_are_merged_and_sorted(text: str, written: str) -> None:
    assert render(parse(text)) == written


@pytest.mark.parametrize(
    "text",
    [
        "repository:*:pull",
        "repository:a:*",
        "repository:a/*:pull",
        "repository:a:pull,*",
        "*",
        "registry:*:*",
        "registry:catalog:*,pull",
        "registry:catalog:**",
        "repository:a:pull*",
    ],
)
def test_wildcards_are_refused_wherever_acr_would_honour_them(text: str) -> None:
    with pytest.raises(Refusal) as caught:
        parse(text)
    assert caught.value.reason is Reason.WILDCARD_SCOPE


@pytest.mark.parametrize(
    "text",
    ["", " ", "repository:a:pull ", " repository:a:pull", "repository:a:pull  repository:b:pull", "repository:a",
     "repository::pull", "repository:a:", "repository:a:pull,", "repository:a:,pull", "repository:A:pull",
     "repository:a:Pull", "Repository:a:pull", "repository:a:pull:push", "repository:a:b:pull", "repository:/a:pull",
     "repository:a/:pull", "repository:a//b:pull", "repository:../a:pull", "repository:a.:pull", "repository:-a:pull",
     "repository:a___b:pull", "repository:a..b:pull", "repository:ä:pull", "repository:a:pull\n", "repository:a\n:pull",
     "repository:a:pull\tpush", "repository:a:deleted_read", "repository(plugin):a:pull", "registry:catalog:pull",
     "artifact-repository:a:pull", "repository:a%2fb:pull", f"repository:{'a' * 256}:pull", "repository:a:pull\u00a0x"],
)  # fmt: skip
def test_anything_else_is_malformed(text: str) -> None:
    with pytest.raises(Refusal) as caught:
        parse(text)
    assert caught.value.reason is Reason.MALFORMED_SCOPE


@given(COMPONENTS)
def test_components_are_made_as_the_grammar_has_them(component: str) -> None:
    assert re.fullmatch(COMPONENT_PATTERN, component)


@given(st.lists(SCOPES, min_size=1, max_size=8))
def test_what_is_written_is_read_back_the_same(scopes: list[Scope]) -> None:
    once = parse(render(scopes))
    assert parse(render(once)) == once
    assert {(s.name, a) for s in once for a in s.actions} == {(s.name, a) for s in scopes for a in s.actions}


@given(st.text(alphabet=st.sampled_from("ab:/,* ._-\n repositoryregistrycatalogpullpush"), max_size=60))
def test_nothing_that_is_parsed_holds_a_wildcard_or_a_foreign_character(text: str) -> None:
    try:
        scopes = parse(text)
    except Refusal:
        return
    for scope in scopes:
        assert scope == CATALOG or (is_repository_name(scope.name) and set(scope.actions) <= set(ACTIONS))
