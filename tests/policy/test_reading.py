"""Reading never fails in any other way than by saying what is wrong, and JSON is read as everybody reads it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from tests.support.examples import examples
from vending.policy import Environment, PolicyError, load_bytes
from vending.policy.language.problems import Finding, Problem
from vending.policy.language.reader import read

yaml_text = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "\n",
                "\n  ",
                "\n    ",
                "- ",
                "? ",
                ": ",
                "a",
                "version: 1",
                "rules:",
                "[",
                "]",
                "{",
                "}",
                ",",
                "&x ",
                "*x",
                "!t ",
                "!!",
                "%YAML 1.2",
                "'",
                '"',
                "\\",
                "|",
                ">",
                "|2-",
                "#",
                " ",
                "\t",
                "\r\n",
                "---\n",
                "...\n",
                "<<: ",
                "0x1",
                "~",
                "null",
                "2027-01-01",
                "@",
                "`",
                "é",
                "\x00",
            ]
        ),
        st.text(max_size=3),
    ),
    max_size=25,
).map("".join)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.text(max_size=5), st.booleans(), st.integers(-(10**17), 10**17)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=4), inner, max_size=4)),
    max_leaves=15,
)
visible_json = json_values.filter(
    lambda value: all(c.isprintable() or c == " " for c in json.dumps(value, ensure_ascii=False))
)
calm = examples(400, suppress=[HealthCheck.too_slow, HealthCheck.filter_too_much])


def refuse_or_load(data: bytes, name: str) -> None:
    """Load, where anything but a `PolicyError` is a failure, and see that one says where and what."""
    problems: tuple[Problem, ...] = ()
    try:
        load_bytes(data, name=name, environment=Environment(), directory=None)
    except PolicyError as refused:
        problems = refused.problems
    for problem in problems:
        assert (problem.file, problem.line >= 1, problem.column >= 1) == (name, True, True)
        assert problem.message


@calm
@given(st.binary(max_size=40))
def test_no_bytes_make_reading_fail_otherwise(data: bytes) -> None:
    refuse_or_load(data, "policy.yaml")
    refuse_or_load(data, "policy.json")


@calm
@given(yaml_text)
def test_no_yaml_makes_reading_fail_otherwise(text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    refuse_or_load(data, "policy.yaml")
    refuse_or_load(b"version: 1\n" + data, "policy.yaml")


@calm
@given(st.text(st.sampled_from('{}[]",:\\u0e1.- ntf"a'), max_size=30))
def test_no_json_makes_reading_fail_otherwise(text: str) -> None:
    refuse_or_load(text.encode(), "policy.json")
    refuse_or_load(f'{{"version": 1, "rules": [{text}]}}'.encode(), "policy.json")


@calm
@given(visible_json)
def test_json_is_read_as_the_standard_library_reads_it(value: Any) -> None:
    assert read(json.dumps(value, ensure_ascii=False).encode(), "p.json").data == value


@calm
@given(visible_json, st.integers(0, 4))
def test_places_in_json_point_at_the_value_itself(value: Any, indent: int) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=indent or None)
    document = read(text.encode(), "p.json")
    lines = text.split("\n")
    for path in paths_of(value):
        [problem] = document.place([Finding(path, "x", "")])
        rest = "\n".join([lines[problem.line - 1][problem.column - 1 :], *lines[problem.line :]])
        found, _ = json.JSONDecoder().raw_decode(rest)
        assert found == at(value, path)


@calm
@given(visible_json)
def test_places_in_yaml_and_json_are_the_same(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=1)
    try:
        as_yaml = read(text.encode(), "p.yaml")
    except PolicyError:
        return  # YAML wants short keys, and no tab in them.
    if as_yaml.problems or as_yaml.data != value:
        return
    wanted = [Finding(path, "x", "", at_key=at_key) for path in paths_of(value) for at_key in (True, False)]
    in_yaml, in_json = as_yaml.place(wanted), read(text.encode(), "p.json").place(wanted)
    assert [(p.line, p.column) for p in in_yaml] == [(p.line, p.column) for p in in_json]


def paths_of(value: Any, above: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [above, *(path for key, child in inner for path in paths_of(child, (*above, key)))]


def at(value: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


@pytest.mark.parametrize("text", ["|\n a\n b\n", ">-\n a\n b\n", "'a\n b'"])
def test_text_of_several_lines_is_text(text: str) -> None:
    assert isinstance(read(f"a: {text}".encode(), "p.yaml").data["a"], str)
