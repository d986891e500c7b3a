"""Read JSON: with Python's fast parser, and where that finds something wrong a second time, slowly, for the places."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from vending.policy.language.document import (
    HALF_PAIR,
    MAX_DEPTH,
    MAX_DIGITS,
    START,
    SURROGATE,
    Document,
    Lines,
    Notes,
    Place,
    failure,
)
from vending.policy.language.problems import Code, Location, PolicyError, Problem
from vending.strict_json import DuplicateKeyError, unique_object

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_TOKEN: Final = re.compile(r'[{}\[\],:]|"(?:[^"\\]|\\.)*"|[^\s{}\[\],:"]+')
_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]*")
_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89A-Fa-f]")


class _Suspect(Exception):
    """Something is in the file that the scanner must find and name."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = unique_object(pairs)
    if None in value.values():
        raise _Suspect
    return value


def _first_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Keep the first of several values of one key, as in YAML: it is the one whose place is found."""
    value: dict[str, Any] = {}
    for key, item in pairs:
        value.setdefault(key, item)
    return value


def _integer(text: str) -> int:
    if len(text.lstrip("-")) > MAX_DIGITS:
        raise _Suspect
    return int(text)


def _suspect(_: str) -> Any:
    raise _Suspect


def read_json(text: str, name: str) -> Document:
    """Read JSON text. Raises `PolicyError` where it is not well-formed; the document holds lesser problems."""
    scanner = _Scanner(text, name)
    try:
        data = _parse(text, scanner)
    except json.JSONDecodeError as error:
        place = Place(error.lineno, error.colno)
        raise failure(name, place, Code.SYNTAX, f"this is not JSON: {error.msg.lower()}") from None
    except RecursionError:
        scanner.report()
        raise failure(name, START, Code.TOO_DEEP, f"nested deeper than {MAX_DEPTH}") from None
    return Document(name, data, scanner, tuple(scanner.notes.problems), frozenset(scanner.notes.broken))


def _parse(text: str, scanner: _Scanner) -> Any:
    try:
        data = json.loads(
            text, object_pairs_hook=_object, parse_int=_integer, parse_float=_suspect, parse_constant=_suspect
        )
        if not _SURROGATE_ESCAPE.search(text):
            return data
    except (_Suspect, DuplicateKeyError):
        pass
    data = json.loads(text, object_pairs_hook=_first_object, parse_int=lambda digits: int(digits[:MAX_DIGITS]))
    scanner.report()
    return data


@dataclass(slots=True)
class _Level:
    """A list or object that the scanner is inside of: the key or index that it is at, and which keys it has seen."""

    key: str | int
    wanted: _Tree | None
    key_at: int | None = None
    seen: set[str] = field(default_factory=set)


class _Tree(dict[str | int, "_Tree"]):
    """The paths whose places are wanted, as a tree: everything beside it is passed over."""

    @classmethod
    def of(cls, paths: Iterable[Location]) -> _Tree:
        tree = cls()
        for path in paths:
            node = tree
            for step in path:
                node = node.setdefault(step, cls())
        return tree


class _Scanner:
    """Walk through well-formed JSON token by token and find places; slow, and only for files with something wrong."""

    def __init__(self, text: str, name: str) -> None:
        self._text = text
        self._name = name
        self.notes = Notes(name)

    def places(self, wanted: Iterable[tuple[Location, bool]]) -> Mapping[tuple[Location, bool], Place]:
        """Find the places of values or keys; of what is not there, the place of the nearest thing above it."""
        listed = list(wanted)
        values: dict[Location, int] = {}
        keys: dict[Location, int] = {}
        if listed:
            for levels, token in self._walk(_Tree.of(path for path, _ in listed)):
                path = tuple(level.key for level in levels)
                values.setdefault(path, token.start())
                if levels and levels[-1].key_at is not None:
                    keys.setdefault(path, levels[-1].key_at)
        lines = Lines(self._text)
        found = {}
        for path, at_key in listed:
            nearest, key_first = path, at_key
            while nearest not in values and nearest:
                nearest, key_first = nearest[:-1], True
            offset = keys.get(nearest) if key_first else None
            found[path, at_key] = lines.place(values.get(nearest, 0) if offset is None else offset)
        return found

    def report(self) -> None:
        """Note every duplicate key, null, number that is no integer and half of a surrogate pair.

        Raises `PolicyError` for too deep a nesting, and for half of a pair: it can be neither written nor compared.
        """
        lines = Lines(self._text)
        for levels, token in self._walk(None):
            if len(levels) > MAX_DEPTH:
                problem = Problem(
                    self._name, *lines.place(token.start()), Code.TOO_DEEP, f"nested deeper than {MAX_DEPTH}"
                )
                raise PolicyError([*self.notes.problems, problem])
            top = levels[-1] if levels else None
            if top is not None and top.key_at is not None and isinstance(top.key, str):
                self._check_key(levels, top, top.key, lines.place(top.key_at))
            self._check_value(levels, token[0], lines.place(token.start()))

    def _check_key(self, levels: list[_Level], top: _Level, key: str, place: Place) -> None:
        self._check_text(key, place)
        if key in top.seen:
            self._note(levels, place, Code.DUPLICATE_KEY, f"duplicate key {key!r}; remove one of the two")
        top.seen.add(key)

    def _check_value(self, levels: list[_Level], word: str, place: Place) -> None:
        if word[0] == '"':
            self._check_text(json.loads(word), place)
        elif word == "null":
            self._note(levels, place, Code.EMPTY, "null is no value; write one, or remove the key")
        elif word[0] in "-0123456789NI" and (not _INTEGER.fullmatch(word) or len(word.lstrip("-")) > MAX_DIGITS):
            message = f"{word[:40]} is not a whole number of at most {MAX_DIGITS} digits"
            self._note(levels, place, Code.AMBIGUOUS_SCALAR, message)

    def _check_text(self, text: str, place: Place) -> None:
        if SURROGATE.search(text):
            problem = Problem(self._name, *place, Code.CHARACTER, HALF_PAIR)
            raise PolicyError([*self.notes.problems, problem])

    def _note(self, levels: list[_Level], place: Place, code: Code, message: str) -> None:
        self.notes.add(tuple(level.key for level in levels), place, code, message)

    def _walk(self, wanted: _Tree | None) -> Iterator[tuple[list[_Level], re.Match[str]]]:
        """Yield the open levels and the first token of every value, or of those in the tree."""
        levels: list[_Level] = []
        skipping = 0
        expects_key = False
        for token in _TOKEN.finditer(self._text):
            word = token[0]
            if skipping:
                skipping += 1 if word in "{[" else -1 if word in "}]" else 0
            elif word in "}]":
                levels.pop()
                expects_key = False
            elif word == ",":
                expects_key = self._next(levels[-1])
            elif expects_key:
                levels[-1].key, levels[-1].key_at = json.loads(word), token.start()
                expects_key = False
            elif word != ":":
                inside = wanted if not levels or levels[-1].wanted is None else levels[-1].wanted.get(levels[-1].key)
                if wanted is None or inside is not None:
                    yield levels, token
                if word in "{[" and wanted is not None and inside is None:
                    skipping = 1
                elif word in "{[":
                    levels.append(_Level(0 if word == "[" else "", inside))
                    expects_key = word == "{"

    @staticmethod
    def _next(level: _Level) -> bool:
        """Go to the next element; tell whether a key comes first."""
        if isinstance(level.key, int):
            level.key += 1
            return False
        return True
