"""Hold a document against the models and say in plain words what does not fit. Knows no meaning beyond the models."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from vending.policy.language.document import MAX_PROBLEMS
from vending.policy.language.messages import message_for, misplaced_key, none_of, unknown_key
from vending.policy.language.models import PolicyModel, known_keys
from vending.policy.language.problems import Code, Finding, Location

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_core import ErrorDetails


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
    kind, location = detail["type"], detail["loc"]
    path, parent = _walk(location, data)
    if kind == "missing":
        message = f"{location[-1]} is missing; add it"
        inside = next((key for key in ("when", "unless") if _has(data, (*path, key, location[-1]))), None)
        if inside:
            message = f"{location[-1]} is missing here; it is inside {inside}, so indent it like {inside}"
        return Finding((*path, location[-1]), Code.MISSING_KEY, message, at_key=True)
    if kind == "extra_forbidden":
        keys = known_keys(path[:-1], parent.get("type") if isinstance(parent, dict) else None)
        return Finding(path, Code.UNKNOWN_KEY, unknown_key(str(path[-1]), path, keys), at_key=True)
    if kind == "union_tag_not_found":
        return Finding((*path, "type"), Code.MISSING_KEY, "type is missing; add it", at_key=True)
    if kind == "union_tag_invalid":
        tags = [tag.strip("' ") for tag in str(detail["ctx"]["expected_tags"]).split(",")]
        return Finding((*path, "type"), Code.VALUE, none_of(str(detail["ctx"]["tag"]), tags))
    if kind in {"too_short", "string_too_short"}:
        return Finding(path, Code.EMPTY, "must not be empty; write at least one, or remove the key", at_key=True)
    at_key = location[-1] == "[key]"
    code = Code.REPOSITORY if kind == Code.REPOSITORY else Code.VALUE
    message = message_for(kind, path, detail)
    misplaced = _misplaced(path)
    if misplaced and isinstance(detail["input"], dict | list | date):
        return Finding(misplaced, code, message, at_key=True)
    return Finding(path, code, message, at_key)


def _misplaced(path: Location) -> Location | None:
    """Return the place of a key of a rule that is indented into its conditions."""
    inside = next((number for number, step in enumerate(path[:-1]) if step in {"when", "unless"}), None)
    if inside is None or misplaced_key(path[inside + 1], path[inside]) is None:
        return None
    return path[: inside + 2]


def _has(data: Any, path: Location) -> bool:
    """Return whether there is a value at a place."""
    for step in path:
        if not _holds(data, step):
            return False
        data = data[step]
    return True


def _holds(data: Any, step: str | int) -> bool:
    if isinstance(data, dict):
        return step in data
    return isinstance(data, list) and isinstance(step, int) and step < len(data)


def _walk(location: Sequence[str | int], data: Any) -> tuple[Location, Any]:
    """Follow an error's location through the data, skipping what only the models know; return the last parent too."""
    path: list[str | int] = []
    parent: Any = None
    if location and location[0] == "identities":
        location = (*location[:2], *location[3:])  # The third step is the type, which may be the name of a key as well.
    for step in location:
        if _holds(data, step):
            parent, data = data, data[step]
            path.append(step)
    return tuple(path), parent
