"""Hold the data of a policy file and the way back from anything in it to its file, line and column. Reads nothing
itself, and knows no policy.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from vending.policy.language.problems import Code, Finding, Location, PolicyError, Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

MAX_DEPTH: Final = 32
"""Lists and mappings inside each other; a policy needs seven."""

MAX_DIGITS: Final = 18
"""Digits of an integer: what every parser holds in 64 bits."""

MAX_PROBLEMS: Final = 1000
"""A file that is wrong all over need not be described to its end."""

SURROGATE: Final = re.compile("[\ud800-\udfff]")
HALF_PAIR: Final = "the text has an escape for half of a surrogate pair, which is no character; remove it"

UNREADABLE: Final = -1
"""Is the step of a location whose key was reported and cannot be used."""


class Place(NamedTuple):
    """A line and a column, both counted from 1."""

    line: int
    column: int


START: Final = Place(1, 1)


class Locator(Protocol):
    def places(self, wanted: Iterable[tuple[Location, bool]]) -> Mapping[tuple[Location, bool], Place]:
        """Find the places of values, or of keys where the flag is set."""


@dataclass(frozen=True, slots=True)
class Document:
    """Hold a file's data and the way back to its lines. `data` is what JSON can say, plus days and times from YAML."""

    name: str
    data: Any
    locator: Locator = field(repr=False)
    problems: tuple[Problem, ...] = ()
    """What the reader found and could read past."""

    broken: frozenset[Location] = frozenset()
    """Where those problems leave it open what the file says: a value, a duplicate key (the data has the first value), a
    key that is `UNREADABLE`, or (with an empty location) all of it."""

    parts: Mapping[Location, tuple[Document, Location]] = field(default_factory=dict, repr=False)
    """Of a merged directory: where each entry (section and name or index) comes from."""

    def place(self, findings: Iterable[Finding]) -> list[Problem]:
        """Turn findings into problems with file, line and column. A path that is not in the file counts as the nearest
        one above it."""
        listed = list(findings)
        placed = self.locate([(finding.path, finding.at_key) for finding in listed])
        return [
            Problem(file, place.line, place.column, finding.code, finding.message, finding.severity, finding.example)
            for finding, (file, place) in zip(listed, placed, strict=True)
        ]

    def locate(self, wanted: Iterable[tuple[Location, bool]]) -> list[tuple[str, Place]]:
        """Find file and place of each path, or of its key where the flag is set."""
        listed = list(wanted)
        found: dict[int, tuple[str, Place]] = {}
        batches: dict[str, tuple[Document, list[int], list[tuple[Location, bool]]]] = {}
        for number, (path, at_key) in enumerate(listed):
            part = self.parts.get(path[:2]) or self.parts.get(path[:1]) or self.parts.get(())
            document, inner = (part[0], part[1] + path[len(part[1]) :]) if part else (self, path)
            source = parse_source(document.source_of(inner))
            if source:
                found[number] = source
                continue
            _, numbers, paths = batches.setdefault(document.name, (document, [], []))
            numbers.append(number)
            paths.append((inner, at_key))
        for document, numbers, paths in batches.values():
            places = document.locator.places(paths)
            found.update((n, (document.name, places.get(key, START))) for n, key in zip(numbers, paths, strict=True))
        return [found[number] for number in range(len(listed))]

    def without(self, omitted: Collection[Location]) -> Document:
        """Leave out top-level values, entries (a section and a name or index) and keys of named entries; what stays
        keeps its places."""
        data: dict[str, Any] = {}
        parts = {(): (self, ()), **self.parts}
        for key, section in self.data.items():
            if (key,) in omitted:
                continue
            data[key] = section
            if isinstance(section, dict):
                entries = ((name, entry) for name, entry in section.items() if (key, name) not in omitted)
                data[key] = {name: _without(entry, (key, name), omitted) for name, entry in entries}
            elif isinstance(section, list):
                kept = [number for number in range(len(section)) if (key, number) not in omitted]
                data[key] = [section[number] for number in kept]
                parts |= {(key, new): self.parts.get((key, old), (self, (key, old))) for new, old in enumerate(kept)}
        return replace(self, data=data, parts=parts)

    def source_of(self, path: Location) -> str | None:
        """Return where an entry of a compiled policy was written, as the policy says it."""
        sources = self.data.get("sources") if isinstance(self.data, dict) else None
        if not isinstance(sources, dict) or len(path) < 2:
            return None
        name: Any = path[1]
        if isinstance(name, int):
            listed = self.data.get(path[0])
            entry = listed[name] if isinstance(listed, list) and name < len(listed) else None
            name = entry.get("name") if isinstance(entry, dict) else None
        table = sources.get(str(path[0]))
        source = table.get(name) if isinstance(table, dict) and isinstance(name, str) else None
        return source if isinstance(source, str) else None

    def file_of(self, path: Location) -> str | None:
        """Return the file that an entry (section and name or index) was written in; None for a policy that is a single
        file, and where a compiled policy does not say."""
        part = self.parts.get(path[:2]) or self.parts.get(path[:1])
        if part:
            return part[0].file_of(part[1]) or (part[0].name if part[0].name != self.name else None)
        source = parse_source(self.source_of(path))
        return source[0] if source else None

    def origin(self, path: Location) -> str | None:
        """Return `file:line:column` of an entry (section and name or index) where that costs no scan of the file."""
        part = self.parts.get(path)
        if part:
            return part[0].origin(part[1])
        if isinstance(self.locator, KnownPlaces):
            place = self.locator.values.get(path, START)
            return f"{self.name}:{place.line}:{place.column}"
        return self.source_of(path)


def _without(entry: Any, location: Location, omitted: Collection[Location]) -> Any:
    if not isinstance(entry, dict):
        return entry
    return {key: value for key, value in entry.items() if (*location, key) not in omitted}


def parse_source(text: object) -> tuple[str, Place] | None:
    """Read `file:line:column`; None where it is anything else."""
    match = re.fullmatch(r"(.+):([1-9][0-9]{0,8}):([1-9][0-9]{0,8})", text) if isinstance(text, str) else None
    return (match[1], Place(int(match[2]), int(match[3]))) if match else None


class Lines:
    """Turn offsets into lines and columns."""

    def __init__(self, text: str) -> None:
        self._starts = [0, *(match.end() for match in re.finditer(r"\n", text))]

    def place(self, offset: int) -> Place:
        line = bisect_right(self._starts, offset)
        return Place(line, offset - self._starts[line - 1] + 1)


def failure(name: str, place: Place, code: Code, message: str) -> PolicyError:
    """Return the error for a file that cannot be read on from a place."""
    return PolicyError([Problem(name, place.line, place.column, code, message)])


class Notes:
    """Collect problems while reading on."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.problems: list[Problem] = []
        self.broken: set[Location] = set()

    def add(self, path: Location | None, place: Place, code: Code, message: str) -> None:
        """Note a problem; without a path, one that leaves no doubt about what the file says."""
        self.problems.append(Problem(self._name, place.line, place.column, code, message))
        if path is not None:
            self.broken.add(path)
        if len(self.problems) >= MAX_PROBLEMS:
            raise PolicyError(self.problems)


class KnownPlaces:
    """Know the place of every key and value."""

    def __init__(self) -> None:
        self.values: dict[Location, Place] = {}
        self.keys: dict[Location, Place] = {}

    def places(self, wanted: Iterable[tuple[Location, bool]]) -> Mapping[tuple[Location, bool], Place]:
        return {(path, at_key): self._nearest(path, at_key=at_key) for path, at_key in wanted}

    def _nearest(self, path: Location, *, at_key: bool) -> Place:
        if at_key and path in self.keys:
            return self.keys[path]
        while path not in self.values and path:
            path = path[:-1]
            at_key = True
        return (self.keys.get(path) if at_key else None) or self.values.get(path, START)
