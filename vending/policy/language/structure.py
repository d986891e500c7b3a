"""Hold a document against the models and say in plain words what does not fit. Knows no meaning beyond the models."""

from __future__ import annotations

import datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from vending.policy.language.document import MAX_PROBLEMS
from vending.policy.language.models import PolicyModel, known_keys
from vending.policy.language.problems import Code, Finding, Location

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pydantic_core import ErrorDetails

_EXPECTED: Final[Mapping[str, str]] = {
    "string_type": "write text here",
    "bool_type": "write true or false here",
    "int_type": "write a whole number here",
    "list_type": "write a list here",
    "dict_type": "write a mapping of keys to values here",
    "model_type": "write a mapping of keys to values here",
    "model_attributes_type": "write a mapping of keys to values here",
    "string_too_long": "the text is too long",
}
_YAML_1_1_BOOLEANS: Final = frozenset({"yes", "no", "on", "off", "y", "n"})


def validate(data: Any) -> tuple[PolicyModel | None, list[Finding]]:
    """Return the model of a policy, or everything in which the data differs from one.

    The path of a missing key is the one that it would have.
    """
    if not isinstance(data, dict):
        return None, [Finding((), Code.VALUE, "a policy is a mapping that begins with version: 1")]
    try:
        return PolicyModel.model_validate(data), []
    except ValidationError as error:
        details = error.errors(include_url=False)[:MAX_PROBLEMS]
        return None, [_finding(detail, data) for detail in details]


def _finding(detail: ErrorDetails, data: Any) -> Finding:
    kind, location, value = detail["type"], detail["loc"], detail["input"]
    path, parent = _walk(location, data)
    if kind == "missing":
        return Finding((*path, location[-1]), Code.MISSING_KEY, f"{location[-1]} is missing; add it", at_key=True)
    if kind == "extra_forbidden":
        keys = known_keys(path[:-1], parent.get("type") if isinstance(parent, dict) else None)
        return Finding(path, Code.UNKNOWN_KEY, _unknown(str(path[-1]), keys), at_key=True)
    if kind == "union_tag_not_found":
        return Finding((*path, "type"), Code.MISSING_KEY, "type is missing; add it", at_key=True)
    if kind == "union_tag_invalid":
        tags = [tag.strip("' ") for tag in str(detail["ctx"]["expected_tags"]).split(",")]
        return Finding((*path, "type"), Code.VALUE, _none_of(str(detail["ctx"]["tag"]), tags))
    if kind in {"too_short", "string_too_short"}:
        return Finding(path, Code.EMPTY, "must not be empty; write at least one, or remove the key", at_key=True)
    at_key = location[-1] == "[key]"
    return Finding(
        path, Code.REPOSITORY if kind == Code.REPOSITORY else Code.VALUE, _message(kind, detail, value), at_key
    )


def _walk(location: Sequence[str | int], data: Any) -> tuple[Location, Any]:
    """Follow an error's location through the data, skipping what only the models know; return the last parent too."""
    path: list[str | int] = []
    parent: Any = None
    if location and location[0] == "identities":
        location = (*location[:2], *location[3:])  # The third step is the type, which may be the name of a key as well.
    for step in location:
        inside = (isinstance(data, dict) and step in data) or (
            isinstance(data, list) and isinstance(step, int) and step < len(data)
        )
        if inside:
            parent, data = data, data[step]
            path.append(step)
    return tuple(path), parent


def _message(kind: str, detail: ErrorDetails, value: Any) -> str:
    if kind == "literal_error":
        choices = [choice.strip("' ") for choice in str(detail["ctx"]["expected"]).replace(" or ", ",").split(",")]
        return _none_of(str(value), choices)
    if kind == "bool_type" and isinstance(value, str) and value.lower() in _YAML_1_1_BOOLEANS:
        return f"{value} is text in YAML 1.2; write true or false"
    if kind in {"greater_than_equal", "less_than_equal", "less_than"}:
        bound = next(iter(detail["ctx"].values()))
        return f"write a whole number that is {'at least' if kind == 'greater_than_equal' else 'at most'} {bound}"
    message = _EXPECTED.get(kind) or detail["msg"]
    if kind in {"string_type", "value", "repository"} and isinstance(value, bool | int | datetime.date):
        message += "; put quotes around a value that is meant as text"
    return message


def _none_of(value: str, choices: list[str]) -> str:
    return f"unknown value {value[:64]!r}; expected one of {', '.join(choices)}{_suggestion(value, choices)}"


def _unknown(key: str, known: Iterable[str]) -> str:
    choices = list(known)
    hint = _suggestion(key, choices) or f"; expected one of {', '.join(choices)}"
    return f"unknown key {key[:64]!r}{hint}"


def _suggestion(value: str, choices: list[str]) -> str:
    close = get_close_matches(value.lower(), choices, n=1)
    return f"; did you mean {close[0]}?" if close else ""
