"""Decide what of a policy can be judged although something in it is wrong in form. Finds nothing itself.

An entry that is broken in form is left out, and may hide its own further mistakes until that is fixed. Everything else
is judged in the same run, and nothing is blamed for what was left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ValidationError, create_model

from vending.policy.language.document import UNREADABLE
from vending.policy.language.fields import Strict
from vending.policy.language.models import PolicyModel
from vending.policy.language.problems import Code, Finding, Location

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from vending.policy.language.document import Document

SECTIONS: Final = frozenset(
    {"registries", "identities", "issuers", "maps", "conditions", "lists", "files", "rules", "deny", "never"}
)
"""The parts of a policy that have entries."""

_SECTION_OF: Final[Mapping[str | int, str]] = {
    "issuer": "issuers",
    "issuers": "issuers",
    "registry": "registries",
    "registries": "registries",
    "identity": "identities",
    "managed_identity": "identities",
    "use": "conditions",
    "in": "lists",
}
"""Where the names are defined that these keys refer to."""

_MAP_IN_TEMPLATE: Final = re.compile(r"\|([A-Za-z0-9._-]+)\}")
_ENTRY: Final = 2
"""Steps of an entry's location: its section, and its name or index."""

_JUDGED_BY: Final = frozenset({"preset", "issuer", UNREADABLE})
"""Keys of an issuer by which its rules are judged; without any other of its keys they still can be."""


@dataclass(slots=True)
class Omission:
    """Hold what is left out of a policy, and answer what may follow from that."""

    locations: set[Location] = field(default_factory=set)
    """Whole top-level values, entries, and keys of issuers."""

    unsure: set[str] = field(default_factory=set)
    """Sections that may define names which nobody can read: a key is misspelt, duplicate or unreadable."""

    @classmethod
    def of(cls, data: Mapping[str, Any], broken: Iterable[Location], findings: Iterable[Finding]) -> Omission:
        """Leave out what the reader could not make sense of, and what does not fit the models."""
        omission = cls()
        for location in broken:
            omission._omit_unreadable(location, data)
        for finding in findings:
            omission._omit(finding.path)
            if finding.code == Code.UNKNOWN_KEY and len(finding.path) == 1:
                omission.unsure |= SECTIONS - data.keys()
            elif finding.code == Code.VALUE and finding.at_key:
                omission.unsure.add(str(finding.path[0]))
        return omission

    def _omit_unreadable(self, location: Location, data: Mapping[str, Any]) -> None:
        if location in {(), (UNREADABLE,)}:
            self.unsure |= SECTIONS
        elif location[1:] == (UNREADABLE,):
            self.unsure.add(str(location[0]))
        elif len(location) == 1 and data.get(str(location[0])) and location[0] in SECTIONS:
            self.unsure.add(str(location[0]))  # A duplicate section: the entries of the first one can be judged.
        else:
            self._omit(location)

    def _omit(self, location: Location) -> None:
        in_section = location[:1] and location[0] in SECTIONS
        length = _ENTRY if in_section else 1
        if location[:1] == ("issuers",) and len(location) > _ENTRY and location[_ENTRY] not in _JUDGED_BY:
            length += 1
        self.locations.add(location[:length])
        if in_section and len(location) < _ENTRY:
            self.unsure.add(str(location[0]))

    def explains(self, finding: Finding, rest: Document) -> bool:
        """Return whether a finding about the rest of the policy may follow from what was left out of it."""
        path, data = finding.path, rest.data
        if path[:1] in self.locations or self._lost_keys(path[:_ENTRY]):
            return True
        if finding.code == Code.REFERENCE:
            section = next((_SECTION_OF[step] for step in reversed(path) if step in _SECTION_OF), "")
            return self._may_define(section, _find(data, path))
        if finding.code == Code.REPOSITORY:
            maps = _MAP_IN_TEMPLATE.findall(str(_find(data, path)))
            return any(self._may_define("maps", name) for name in maps)
        if finding.code == Code.OUT_OF_BOUNDS:
            file = rest.file_of(path[:_ENTRY])
            maps = _MAP_IN_TEMPLATE.findall(str(_find(data, path)))
            return self._may_define("files", file and PurePath(file).name) or any(
                self._may_define("maps", name) for name in maps
            )
        if finding.code == Code.UNPINNED:
            return any(self._may_define(*piece) for piece in _pieces(_find(data, path[:_ENTRY]), data))
        return False

    def _lost_keys(self, entry: Location) -> bool:
        # Entries of lists are numbered anew when one is left out; but those are always left out as a whole.
        return isinstance(entry[-1], str) and any(entry == location[:_ENTRY] for location in self.locations)

    def _may_define(self, section: str, name: object) -> bool:
        return section in self.unsure or (isinstance(name, str) and (section, name) in self.locations)


def certain(findings: Iterable[Finding], broken: Iterable[Location]) -> Iterator[Finding]:
    """Pass on the findings of form that do not come from what the reader reported already."""
    reported = set(broken)
    for finding in findings:
        path = finding.path
        may_be_there = finding.code == Code.MISSING_KEY and not reported.isdisjoint({(), (*path[:-1], UNREADABLE)})
        if not may_be_there and reported.isdisjoint(path[:length] for length in range(1, len(path) + 1)):
            yield finding


def validate_rest(data: Mapping[str, Any]) -> PolicyModel | None:
    """Return the model of a policy from which something may be missing; None where even that does not fit."""
    try:
        rest = _rest_model().model_validate(data)
    except ValidationError:
        return None
    return PolicyModel.model_construct(**{name: getattr(rest, name) for name in PolicyModel.model_fields})


@cache
def _rest_model() -> type[BaseModel]:
    """Make a model that lacks nothing: no section is required, and any may be empty."""
    absent = {"version": 1, "audience": "", "registries": {}, "issuers": {}}
    fields: dict[str, Any] = {
        name: (info.annotation, absent[name] if info.is_required() else info.default)
        for name, info in PolicyModel.model_fields.items()
    }
    return create_model("Rest", __base__=Strict, **fields)


def _pieces(entry: Any, data: Any) -> Iterator[tuple[str, object]]:
    """Name the conditions and lists that an entry uses, those of its conditions included, by section and name."""
    for value in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
        yield from _pieces(value, data)
    if not isinstance(entry, dict):
        return
    if "in" in entry:
        yield "lists", entry["in"]
    used = entry.get("use", [])
    for name in used if isinstance(used, list) else [used]:
        yield "conditions", name
        yield from _pieces(_find(data, ("conditions", name)), {})


def _find(data: Any, path: Location) -> Any:
    for step in path:
        inside = (isinstance(data, dict) and step in data) or (
            isinstance(data, list) and isinstance(step, int) and 0 <= step < len(data)
        )
        if not inside:
            return None
        data = data[step]
    return data
