"""Leave out the entries of a policy that are broken in form, so that all others can still be judged. Finds nothing.

An entry that is left out may hide further mistakes of its own until its form is right; none of them is blamed on those
that refer to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from vending.policy.language.document import UNREADABLE
from vending.policy.language.models import URL, PolicyModel
from vending.policy.language.problems import Code
from vending.policy.providers.presets import PRESETS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from vending.policy.language.document import Document
    from vending.policy.language.problems import Finding, Location

LISTS: Final = ("rules", "deny", "never")
NAMED: Final = ("registries", "identities", "issuers", "maps", "conditions", "lists", "files")
_REQUIRED: Final[Mapping[str, Any]] = {
    "version": 1,
    "audience": "https://policy.invalid",
    "registries": {"none": {"login_server": "none.azurecr.io"}},
    "issuers": {"none": {"preset": "generic", "issuer": "https://issuer.invalid"}},
}
"""Takes the place of what every policy must have; whatever is found there is not reported."""

_UNKNOWN_URL: Final = "https://unknown.invalid"
_SECTION_OF: Final = {
    "issuer": "issuers",
    "registry": "registries",
    "identity": "identities",
    "managed_identity": "identities",
    "use": "conditions",
    "in": "lists",
}
"""Where the names are defined that these keys refer to; `files` names issuers and registries by the section's name."""


@dataclass(frozen=True, slots=True)
class Intact:
    """Hold the document without the broken entries, and what must be known to judge the findings about it.

    `numbers` are the places that the remaining entries of a list have in the file. `gone` are the names of the entries
    that were left out, by section; None where nobody can say which names the section defines. `made_up` are the places
    of what is not in the file.
    """

    document: Document
    numbers: Mapping[str, list[int]]
    gone: Mapping[str, frozenset[str] | None]
    made_up: frozenset[Location]

    def restore(self, findings: Iterable[Finding]) -> list[Finding]:
        """Return the findings that hold whatever the broken entries are meant to say, at their places in the file."""
        return [self._restored(finding) for finding in findings if self._is_certain(finding)]

    def _restored(self, finding: Finding) -> Finding:
        path = finding.path
        if len(path) < 2 or path[0] not in self.numbers:
            return finding
        return replace(finding, path=(path[0], self.numbers[str(path[0])][int(path[1])], *path[2:]))

    def _is_certain(self, finding: Finding) -> bool:
        path = finding.path
        if path[:1] in self.made_up or path[:2] in self.made_up:
            return False
        value = _find(self.document.data, path)
        if finding.code == Code.REFERENCE:
            return not self._may_define(_section_named(path), (value,))
        if finding.code == Code.REPOSITORY and isinstance(value, str):
            return not self._may_define("maps", re.findall(r"\|([^|}]+)", value))
        return True

    def _may_define(self, section: str, names: Iterable[object]) -> bool:
        gone = self.gone.get(section, frozenset())
        listed = list(names)
        return bool(listed) and (gone is None or any(name in gone for name in listed))


def keep_intact(document: Document, findings: Iterable[Finding]) -> Intact:
    """Leave out every entry that a finding of form, or a problem of the reader, lies in."""
    listed = list(findings)
    bad = _broken_entries(document.data, [*(finding.path for finding in listed), *document.broken])
    misnamed = [finding.path for finding in listed if finding.at_key and finding.code == Code.VALUE]
    data: dict[str, Any] = {}
    numbers: dict[str, list[int]] = {}
    gone: dict[str, frozenset[str] | None] = {}
    made_up: set[Location] = set()
    for section, value in document.data.items():
        if (section,) in bad:
            gone[section] = None
        elif section in LISTS and isinstance(value, list):
            numbers[section] = [number for number in range(len(value)) if (section, number) not in bad]
            data[section] = [value[number] for number in numbers[section]]
        elif section in NAMED and isinstance(value, dict):
            broken = [str(name) for at, name in (path for path in bad if len(path) == 2) if at == section]
            reduced = {name: _reduced(section, value.get(name)) for name in broken}
            kept = {name: reduced.get(name, entry) for name, entry in value.items()}
            data[section] = {name: entry for name, entry in kept.items() if entry is not None}
            gone[section] = frozenset(name for name in broken if reduced[name] is None)
            made_up.update((section, name) for name in broken if reduced[name] is not None)
        else:
            data[section] = value
    gone.update(dict.fromkeys(_doubted_sections(document, bad, [*misnamed, *document.broken])))
    data = {key: value for key, value in data.items() if value or key not in NAMED}
    for key in _REQUIRED.keys() - data.keys():
        made_up.add((key,))
        gone[key] = None
        data[key] = _REQUIRED[key]
    parts = dict(document.parts)
    for section, places in numbers.items() if parts else ():
        parts.update({(section, n): document.parts[section, old] for n, old in enumerate(places)})
    return Intact(replace(document, data=data, parts=parts), numbers, gone, frozenset(made_up))


def _reduced(section: str, entry: object) -> dict[str, str] | None:
    """Return what must be known of a broken issuer to judge the rules about its callers; None where that is broken."""
    preset = entry.get("preset") if section == "issuers" and isinstance(entry, dict) else None
    if not isinstance(preset, str) or preset not in PRESETS:
        return None
    url = entry.get("issuer") if isinstance(entry, dict) else None
    return {"preset": preset, "issuer": url if isinstance(url, str) and re.fullmatch(URL, url) else _UNKNOWN_URL}


def is_read_in_part(document: Document, finding: Finding) -> bool:
    """Return whether a finding of form is about what the reader could not make sense of, and has reported itself."""
    path = finding.path
    if finding.code == Code.MISSING_KEY and (*path[:-1], UNREADABLE) in document.broken:
        return True
    prefixes = (path[:length] for length in range(1, len(path) + 1))
    return any(prefix in document.broken and not _is_of_use(_find(document.data, prefix)) for prefix in prefixes)


def _is_of_use(value: object) -> bool:
    """Return whether the first value of a key that is written twice can be judged by itself."""
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def _broken_entries(data: Mapping[str, Any], paths: Iterable[Location]) -> set[Location]:
    """Return the entries, or whole sections, that the paths lie in."""
    bad: set[Location] = set()
    for path in paths:
        if not path:
            continue
        section = data.get(str(path[0]))
        inside = (path[0] in LISTS and isinstance(section, list)) or (path[0] in NAMED and isinstance(section, dict))
        bad.add(path[:2] if inside and len(path) > 1 else path[:1])
    return bad


def _doubted_sections(document: Document, bad: set[Location], keys: Iterable[Location]) -> list[str]:
    """Return the sections that may define names which nobody can read.

    One of the `keys` that are no names, cannot be read or are written twice may be meant for another name; an unknown
    key of the policy may be meant for a section that is missing.
    """
    doubted = [str(path[0]) for path in keys if len(path) == 2 and path[0] in NAMED]
    if any(path[0] not in PolicyModel.model_fields for path in bad):
        doubted += [section for section in NAMED if section not in document.data]
    return doubted


def _section_named(path: Location) -> str:
    """Return the section that a reference at this path names an entry of."""
    step = next(step for step in reversed(path) if isinstance(step, str))
    return _SECTION_OF.get(step, step)


def _find(data: Any, path: Location) -> object:
    for step in path:
        if isinstance(data, dict):
            data = data.get(step)
        else:
            data = data[step] if isinstance(data, list) and isinstance(step, int) and step < len(data) else None
    return data
