"""Write the narrower policy as a patch: edits of the text itself, so that nothing else of a file changes.

Never widens: it removes actions and entries from lists, replaces a pattern by the names that were asked for, and gives
a rule that was never used an expiry date.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from vending.evidence.usage import by_rule

if TYPE_CHECKING:
    from vending.evidence.usage import Row


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace the characters from `start` to `end`."""

    start: int
    end: int
    text: str


def narrowed(text: str, rows: Iterable[Row], expires: str) -> str:
    """Return the text of a policy file (YAML) with its unused rights taken away; `expires` is a date."""
    used = by_rule(rows)
    root = YAML().compose(text)
    edits: list[Edit] = []
    for rule in _items(_child(root, "rules")):
        name = _child(rule, "name")
        listed = used.get(name.value if name is not None else "", [])
        if listed:
            edits += _rule_edits(text, rule, listed, expires)
    for edit in sorted(edits, key=lambda one: one.start, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def unified(name: str, before: str, after: str) -> str:
    """Return a patch that `git apply` takes."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{name}", f"b/{name}"
    )
    return "".join(lines)


def _child(node: Any, key: str) -> Any:
    if node is None or not isinstance(node.value, list):
        return None
    return next((value for name, value in node.value if name.value == key), None) if node.id == "mapping" else None


def _items(node: Any) -> list[Any]:
    return list(node.value) if node is not None and node.id == "sequence" else []


def _rule_edits(text: str, rule: Any, rows: list[Row], expires: str) -> Iterator[Edit]:
    if not any(row.used for row in rows):
        if _child(rule, "expires") is None:
            yield _add_expiry(text, rule, expires)
        return
    for grant in _items(_child(rule, "grant")):
        yield from _grant_edits(text, grant, rows)


def _grant_edits(text: str, grant: Any, rows: list[Row]) -> Iterator[Edit]:
    registries = _texts(_child(grant, "registry"))
    entries, actions = _child(grant, "repositories"), _child(grant, "actions")
    mine = [row for row in rows if row.key.registry in registries and row.key.repository in _texts(entries)]
    used = [_kept([row for row in mine if row.key.action == action]) for action in _texts(actions)]
    yield from _rewrite(text, actions, used)
    listed: list[list[str] | None] = []
    for entry in _texts(entries):
        own = [row for row in mine if row.key.repository == entry]
        counted = [row for row in own if row.used]
        if counted and all(row.instead.startswith("write ") for row in counted):
            listed.append(sorted({name for row in counted for name in row.names}))
        else:
            listed.append(_kept(own))
    yield from _rewrite(text, entries, listed)


def _kept(rows: list[Row]) -> list[str] | None:
    """Return None for what stays as it is, and nothing for what was never used."""
    return None if not rows or any(row.used for row in rows) else []


def _texts(node: Any) -> list[str]:
    if node is None:
        return []
    return [item.value for item in node.value] if node.id == "sequence" else [node.value]


def _rewrite(text: str, node: Any, wanted: list[list[str] | None]) -> Iterator[Edit]:
    """Put other values in the places of a list's items; None keeps an item. A list never gets empty."""
    items = _items(node)
    if all(values is None for values in wanted) or all(values == [] for values in wanted) or not items:
        return
    if node.flow_style:
        kept = []
        for item, values in zip(items, wanted, strict=True):
            kept += [text[item.start_mark.index : item.end_mark.index]] if values is None else values
        yield Edit(items[0].start_mark.index, items[-1].end_mark.index, ", ".join(kept))
        return
    for item, values in zip(items, wanted, strict=True):
        start, end = item.start_mark.index, item.end_mark.index
        if values:
            indent = " " * (item.start_mark.column - 2)
            yield Edit(start, end, f"\n{indent}- ".join(values))
        elif values is not None:
            yield Edit(text.rfind("\n", 0, start) + 1, text.find("\n", end) + 1 or len(text), "")


def _add_expiry(text: str, rule: Any, expires: str) -> Edit:
    name = _child(rule, "name")
    place = name.end_mark.index
    if rule.flow_style:
        return Edit(place, place, f", expires: {expires}")
    column = rule.value[0][0].start_mark.column
    end = text.find("\n", place)
    end = len(text) if end < 0 else end
    return Edit(end, end, f"\n{' ' * column}expires: {expires}")
