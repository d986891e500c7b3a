"""Merge a directory of policy files into one policy, so that teams own their own. Checks only what merging is about.

Rules, deny entries and maps may be in any file; everything else, `version` included, is in one of them. A
compiled policy is one JSON file that needs no other: keys and certificates are written into it, and its `sources` name
the file, line and column of every entry.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from vending.json_document import json_object
from vending.policy.language.dates import written
from vending.policy.language.document import Document, Place
from vending.policy.language.models import PolicyModel
from vending.policy.language.problems import Code, Finding, Location, PolicyError, Problem
from vending.policy.language.reader import read
from vending.trust import pem_text

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})
_LISTS: Final = ("rules", "deny")
ANYWHERE: Final = frozenset({*_LISTS, "maps"})
"""What may be in any file of a directory; everything else is in the one with `version`."""

_NAMED: Final = ("registries", "identities", "issuers", "maps", "conditions", "lists", "files")


def policy_files(directory: Path) -> list[Path]:
    """List a directory's policy files, sorted by name: `*.yaml`, `*.yml` and `*.json`, not hidden, not recursive."""
    return sorted(
        path for path in directory.iterdir() if path.suffix in SUFFIXES and path.name[0] != "." and path.is_file()
    )


def merge(directory: Path, read_bytes: Callable[[Path], bytes]) -> Document:
    """Merge the files of a directory into one document. Raises `PolicyError`."""
    try:
        paths = policy_files(directory)
    except OSError as error:
        message = f"the directory cannot be read: {error.strerror or type(error).__name__}"
        raise PolicyError([Problem(str(directory), 1, 1, Code.FILE, message)]) from None
    if not paths:
        hint = "the directory has no policy files; write *.yaml, *.yml or *.json"
        raise PolicyError([Problem(str(directory), 1, 1, Code.FILE, hint)])
    return _Merger([_read_part(path, read_bytes) for path in paths]).merge(str(directory))


def _read_part(path: Path, read_bytes: Callable[[Path], bytes]) -> Document:
    """Read one file; of one that cannot be read, know only that anything may have been in it."""
    try:
        return read(read_bytes(path), str(path))
    except PolicyError as error:
        return Document(str(path), {}, _NoPlaces(), error.problems, frozenset({()}))


class _NoPlaces:
    """Know no place: of a merged policy, every place is in one of its files."""

    def places(self, wanted: Iterable[tuple[Location, bool]]) -> Mapping[tuple[Location, bool], Place]:
        return {}


@dataclass(slots=True)
class _Merger:
    documents: list[Document]
    data: dict[str, Any] = field(default_factory=dict)
    parts: dict[Location, tuple[Document, Location]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def merge(self, name: str) -> Document:
        main = self._main()
        self.parts[()] = (main, ())
        for document in self.documents:
            self.problems += document.problems
            if isinstance(document.data, dict):
                for key, value in document.data.items():
                    self._add(document, key, value, main)
            elif () not in document.broken:
                self._problem(document, (), Code.VALUE, "a policy is a mapping of keys to values")
        return Document(name, self.data, _NoPlaces(), tuple(self.problems), self._broken(), self.parts)

    def _broken(self) -> frozenset[Location]:
        """Turn the broken paths of the files into paths of the merged policy."""
        merged = {(document.name, inner): path for path, (document, inner) in self.parts.items()}
        return frozenset(
            merged.get((document.name, path[:2]), path[:2]) + path[2:]
            for document in self.documents
            for path in document.broken
        )

    def _main(self) -> Document:
        """Find the file with everything but rules, deny entries and maps."""
        mappings = [document for document in self.documents if isinstance(document.data, dict)]
        with_version = [document for document in mappings if "version" in document.data]
        unread = [document for document in self.documents if () in document.broken]
        others = [document for document in mappings if not ANYWHERE.issuperset(document.data)]
        return (with_version or unread or others or self.documents)[0]

    def _problem(self, document: Document, path: Location, code: Code, message: str) -> None:
        self.problems += document.place([Finding(path, code, message, at_key=True)])

    def _add(self, document: Document, key: str, value: Any, main: Document) -> None:
        if key in _LISTS and isinstance(value, list):
            merged = self.data.setdefault(key, [])
            for number, entry in enumerate(value):
                self.parts[key, len(merged)] = (document, (key, number))
                merged.append(entry)
        elif key == "maps" and isinstance(value, dict):
            merged = self.data.setdefault(key, {})
            for name, table in value.items():
                if name in merged:
                    first = self.parts[key, name][0].name
                    self._problem(document, (key, name), Code.DUPLICATE_NAME, f"{first} has a map {name!r} already")
                merged[name] = table
                self.parts[key, name] = (document, (key, name))
        elif key == "sources":
            self._problem(document, (key,), Code.CONFLICT, "sources is written by compile; remove it")
        elif document is not main and key in PolicyModel.model_fields and key not in ANYWHERE:
            if () not in main.broken:
                self._problem(document, (key,), Code.CONFLICT, _belongs(key, main))
        else:
            self.data[key] = value
            self.parts[key,] = (document, (key,))


def _belongs(key: str, main: Document) -> str:
    if key == "version":
        return f"{main.name} has a version already, and one file of a directory has it; remove one of the two"
    return f"{key} belongs in {main.name}, the file with version"


def compiled_bytes(document: Document, directory: Path, read_file: Callable[[str], bytes]) -> bytes:
    """Write a merged document as one JSON policy. The document must have loaded without an error."""
    data = {key: document.data[key] for key in PolicyModel.model_fields if key in document.data}
    if "issuers" in data:
        data["issuers"] = {name: _inline(issuer, read_file) for name, issuer in data["issuers"].items()}
    data["sources"] = _sources(document, f"{directory}/")
    return json.dumps(data, default=written, separators=(",", ":")).encode() + b"\n"


def _inline(issuer: Mapping[str, Any], read_file: Callable[[str], bytes]) -> dict[str, Any]:
    inlined = dict(issuer)
    if "jwks_file" in inlined:
        inlined["jwks"] = json_object(read_file(inlined.pop("jwks_file")))
    if "ca_file" in inlined:
        inlined["ca"] = pem_text(read_file(inlined.pop("ca_file")))
    return inlined


def _sources(document: Document, prefix: str) -> dict[str, dict[str, str]]:
    """Tabulate file, line and column of every entry by its name."""
    entries: list[tuple[str, str, Location]] = [
        (section, entry["name"], (section, number))
        for section in (*_LISTS, "never")
        for number, entry in enumerate(document.data.get(section, ()))
    ]
    entries += [(section, name, (section, name)) for section in _NAMED for name in document.data.get(section, ())]
    sources: dict[str, dict[str, str]] = {}
    placed = document.locate([(path, isinstance(path[-1], str)) for _, _, path in entries])
    for (section, name, _), (file, place) in zip(entries, placed, strict=True):
        sources.setdefault(section, {})[name] = f"{file.removeprefix(prefix)}:{place.line}:{place.column}"
    return sources
