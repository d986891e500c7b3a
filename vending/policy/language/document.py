"""Turn the bytes of a policy file into plain data, strictly, and find the line of anything in it. Knows no policy.

YAML is read as YAML 1.2 with its core scalars and nothing else: no aliases, anchors, tags, merge keys, directives or
second documents; numbers are plain decimal integers. JSON is read with Python's fast parser; only a file with
something wrong in it is scanned a second time, for the places.
"""

from __future__ import annotations

import datetime
import json
import re
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from vending.policy.language.problems import Code, Finding, Location, PolicyError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MAX_YAML_BYTES: Final = 1 << 20
"""A hand-written file of a thousand rules has a fifth of this; the parser needs seconds for more."""

MAX_JSON_BYTES: Final = 32 << 20
"""A compiled policy of 100,000 rules has about this size."""

MAX_DEPTH: Final = 32
"""Lists and mappings inside each other; a policy needs seven."""

_MAX_DIGITS: Final = 18
"""Digits of an integer: what every parser holds in 64 bits."""

_REJECTED: Final = object()
"""Stands for a scalar that was reported and has no value."""

UNREADABLE: Final = -1
"""Stands in a path for a key that was reported and cannot be used."""

_DROPPED: Final = -2
"""Stands in a path for what follows a key that was reported: it is not in the data."""

MAX_PROBLEMS: Final = 1000
"""A file that is wrong all over need not be described to its end."""

_UNSAFE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufffe\uffff]")
# Control characters; line ends that YAML 1.1 has and 1.2 has not; and the characters that hide in an editor or reverse
# text (https://trojansource.codes/).

_INTEGER = re.compile(r"0|-?[1-9][0-9]*")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NUMBER_LIKE = re.compile(
    r"""[-+]?(?:
        0[box][0-9A-Fa-f_]+                                  # octal, binary and hexadecimal
      | [0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?       # decimal, with a fraction or exponent, or leading zeros
      | \.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?
      | [0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?          # base 60, in YAML 1.1
      | \.(?:inf|Inf|INF|nan|NaN|NAN)
    )""",
    re.VERBOSE,
)
_UTC_MINUTE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}Z")
_TIME_LIKE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt ].*)?")
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TRUTHS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


class Place(NamedTuple):
    """A line and a column, both counted from 1."""

    line: int
    column: int


START: Final = Place(1, 1)


class _Locator(Protocol):
    def places(self, wanted: Iterable[tuple[Location, bool]]) -> Mapping[tuple[Location, bool], Place]:
        """Find the places of values, or of keys where the flag is set."""


@dataclass(frozen=True, slots=True)
class Document:
    """Hold a file's data and the way back to its lines. `data` is what JSON can say, plus days and times from YAML."""

    name: str
    data: Any
    locator: _Locator = field(repr=False)
    problems: tuple[Problem, ...] = ()
    """What the reader found and could read past."""

    broken: frozenset[Location] = frozenset()
    """Where those problems leave it open what the file says: a value, a key that stands twice (the data has the first),
    or a key that is `UNREADABLE`."""

    parts: Mapping[Location, tuple[Document, Location]] = field(default_factory=dict, repr=False)
    """Of a merged directory: where each entry (section and name or index) comes from."""

    def place(self, findings: Iterable[Finding]) -> list[Problem]:
        """Turn findings into problems with file, line and column. A path that is not in the file counts as the nearest
        one above it."""
        listed = list(findings)
        placed = self.locate([(finding.path, finding.at_key) for finding in listed])
        return [
            Problem(file, place.line, place.column, finding.code, finding.message, finding.severity)
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

    def origin(self, path: Location) -> str | None:
        """Return `file:line:column` of an entry (section and name or index) where that costs no scan of the file."""
        part = self.parts.get(path)
        if part:
            return part[0].origin(part[1])
        if isinstance(self.locator, KnownPlaces):
            place = self.locator.values.get(path, START)
            return f"{self.name}:{place.line}:{place.column}"
        return self.source_of(path)


def parse_source(text: object) -> tuple[str, Place] | None:
    """Read `file:line:column`; None where it is anything else."""
    match = re.fullmatch(r"(.+):([1-9][0-9]{0,8}):([1-9][0-9]{0,8})", text) if isinstance(text, str) else None
    return (match[1], Place(int(match[2]), int(match[3]))) if match else None


def read(data: bytes, name: str) -> Document:
    """Read a file: JSON if its name ends in `.json`, else YAML.

    Raises `PolicyError` where nothing can be made of it; lesser problems stand in the document.
    """
    is_json = name.endswith(".json")
    limit = MAX_JSON_BYTES if is_json else MAX_YAML_BYTES
    if len(data) > limit:
        hint = "" if is_json else "; compile larger policies to JSON"
        raise _fail(name, START, Code.TOO_LARGE, f"the file has more than {limit >> 20} MiB{hint}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _fail(name, Place(line, 1), Code.ENCODING, "the file is not UTF-8; save it as UTF-8") from None
    unsafe = _UNSAFE.search(text)
    if unsafe:
        # Beyond the first one, the rest of the file may not mean what it seems to.
        place = _Lines(text).place(unsafe.start())
        raise _fail(
            name, place, Code.CHARACTER, f"the character U+{ord(unsafe[0]):04X} is invisible or a control; remove it"
        )
    return _read_json(text, name) if is_json else _read_yaml(text, name)


def _fail(name: str, place: Place, code: Code, message: str) -> PolicyError:
    return PolicyError([Problem(name, place.line, place.column, code, message)])


class _Lines:
    """Turn offsets into lines and columns."""

    def __init__(self, text: str) -> None:
        self._starts = [0, *(match.end() for match in re.finditer(r"\n", text))]

    def place(self, offset: int) -> Place:
        line = bisect_right(self._starts, offset)
        return Place(line, offset - self._starts[line - 1] + 1)


class _Notes:
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


# --- YAML -------------------------------------------------------------------------------------------------------------


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


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not come yet."""

    path: Location
    value: Any
    key: str | None = None
    awaits_key: bool = True


def _read_yaml(text: str, name: str) -> Document:
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    builder = _YamlBuilder(name)
    try:
        builder.read(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else START
        problem = " ".join(str(error.problem or error.context or "this is not YAML").split())
        if "'\\t'" in problem:
            problem = "a tab stands where a line is indented; write spaces"
        notes = [*builder.notes.problems, Problem(name, place.line, place.column, Code.SYNTAX, problem)]
        raise PolicyError(notes) from None
    except YAMLError as error:
        raise _fail(name, START, Code.SYNTAX, " ".join(str(error).split())) from None
    notes_ = builder.notes
    return Document(name, builder.data, builder.places, tuple(notes_.problems), frozenset(notes_.broken))


class _YamlBuilder:
    """Build plain data from YAML's events, with a stack of its own: depth is limited, nothing recurses."""

    def __init__(self, name: str) -> None:
        self.notes = _Notes(name)
        self.places = KnownPlaces()
        self.data: Any = None
        self._name = name
        self._stack: list[_Open] = []
        self._documents = 0

    def read(self, text: str) -> None:
        from ruamel.yaml import YAML

        handlers = {
            "DocumentStartEvent": self._on_document,
            "AliasEvent": self._on_alias,
            "ScalarEvent": self._on_scalar,
            "SequenceStartEvent": self._on_start,
            "MappingStartEvent": self._on_start,
            "SequenceEndEvent": self._on_end,
            "MappingEndEvent": self._on_end,
        }
        for event in YAML(typ="safe", pure=True).parse(text):
            handler = handlers.get(type(event).__name__)
            if handler is not None:
                handler(event, Place(event.start_mark.line + 1, event.start_mark.column + 1))
        if self._documents == 0:
            raise _fail(self._name, START, Code.EMPTY, "the file is empty; a policy begins with version: 1")

    def _on_document(self, event: Any, place: Place) -> None:
        self._documents += 1
        if event.version or event.tags:
            raise _fail(
                self._name, START, Code.YAML_FEATURE, "the file begins with a directive; remove the line with %"
            )
        if self._documents > 1:
            raise _fail(self._name, place, Code.YAML_FEATURE, "a second document begins here; a policy is one document")

    def _on_alias(self, event: Any, place: Place) -> None:
        path = self._place_next(place)
        self.notes.add(path, place, Code.YAML_FEATURE, f"*{event.anchor} is an alias; write the value out")
        self._put(_REJECTED, path, place)

    def _on_start(self, event: Any, place: Place) -> None:
        path = self._place_next(place)
        self._check_plain_node(event, None, place)
        if len(self._stack) >= MAX_DEPTH:
            raise PolicyError(
                [*self.notes.problems, Problem(self._name, *place, Code.TOO_DEEP, f"nested deeper than {MAX_DEPTH}")]
            )
        value: Any = [] if type(event).__name__.startswith("Sequence") else {}
        self._put(value, path, place)
        self._stack.append(_Open(path, value))

    def _on_end(self, event: Any, place: Place) -> None:
        self._stack.pop()

    def _on_scalar(self, event: Any, place: Place) -> None:
        path = self._place_next(place)
        self._check_plain_node(event, path, place)
        value = event.value if event.style else self._resolve(event.value, path, place)
        self._put(value, path, place)

    def _check_plain_node(self, event: Any, path: Location | None, place: Place) -> None:
        if event.anchor:
            self.notes.add(None, place, Code.YAML_FEATURE, f"&{event.anchor} is an anchor; remove it")
        if event.tag:
            self.notes.add(path, place, Code.YAML_FEATURE, "a tag (!) stands here; remove it and quote text instead")

    def _place_next(self, place: Place) -> Location:
        """Return the path of the node that begins now."""
        if not self._stack:
            self.places.values[()] = place
            return ()
        top = self._stack[-1]
        if isinstance(top.value, list):
            return (*top.path, len(top.value))
        if top.awaits_key:
            return (*top.path, UNREADABLE)
        return (*top.path, _DROPPED if top.key is None else top.key)

    def _put(self, value: Any, path: Location, place: Place) -> None:
        if self._stack and self._awaits_key():
            top = self._stack[-1]
            top.key = None if value is _REJECTED else self._key(value, top, place)
            top.awaits_key = False
            return
        if value is _REJECTED:
            value = ""
        if not self._stack:
            self.data = value
            return
        top = self._stack[-1]
        if isinstance(top.value, list):
            top.value.append(value)
            self.places.values[path] = place
        else:
            if top.key is not None:
                top.value.setdefault(top.key, value)
                self.places.values.setdefault(path, place)
            top.awaits_key = True

    def _awaits_key(self) -> bool:
        return bool(self._stack) and isinstance(self._stack[-1].value, dict) and self._stack[-1].awaits_key

    def _key(self, value: object, top: _Open, place: Place) -> str | None:
        """Accept a key, as text; None for one whose value is to be dropped."""
        if not isinstance(value, str):
            readable = value is not None and not isinstance(value, list | dict)
            shown = "a list or mapping" if isinstance(value, list | dict) else f"{_show(value)}"
            self.notes.add(
                None if readable else (*top.path, UNREADABLE),
                place,
                Code.KEY_TYPE,
                f"a key is text, but this is {shown}; put it in quotes",
            )
            if not readable:
                return None
            value = shown
        path = (*top.path, value)
        if value in top.value:
            first = self.places.keys[path]
            self.notes.add(path, place, Code.DUPLICATE_KEY, f"{value!r} stands twice; first on line {first.line}")
            return None
        self.places.keys[path] = place
        return value

    def _resolve(self, text: str, path: Location, place: Place) -> Any:
        """Give a plain scalar its value: YAML 1.2's core schema, less what parsers disagree about."""
        if text in _TRUTHS:
            return _TRUTHS[text]
        is_key = self._awaits_key()
        if text in _NULLS:
            if is_key:
                return None
            at = place if text else self.places.keys.get(path, place)
            return self._reject(path, at, Code.EMPTY, "there is no value here; write one, or remove the key")
        if _INTEGER.fullmatch(text):
            if len(text.lstrip("-")) > _MAX_DIGITS:
                return self._reject(path, place, Code.AMBIGUOUS_SCALAR, "the number is too large; put quotes around it")
            return int(text)
        if text == "<<" and is_key:
            return self._reject(path, place, Code.YAML_FEATURE, "<< is a merge key; write the keys out")
        if _NUMBER_LIKE.fullmatch(text):
            return self._reject(
                path,
                place,
                Code.AMBIGUOUS_SCALAR,
                f"{text} is a number that parsers read in different ways, or no whole one; write a plain decimal "
                "integer, or put quotes around text",
            )
        if _DATE.fullmatch(text):
            try:
                return datetime.date.fromisoformat(text)
            except ValueError:
                return self._reject(path, place, Code.DATE, f"the calendar has no day {text}; quote it if it is text")
        if _TIME_LIKE.fullmatch(text):
            return self._time(text, path, place)
        return text

    def _time(self, text: str, path: Location, place: Place) -> Any:
        """Read a time in UTC to the minute; every other form is read in different ways."""
        if not _UTC_MINUTE.fullmatch(text):
            return self._reject(path, place, Code.AMBIGUOUS_SCALAR, f"{text} looks like a time; put quotes around it")
        try:
            return datetime.datetime.fromisoformat(text)
        except ValueError:
            return self._reject(path, place, Code.DATE, f"the calendar has no time {text}")

    def _reject(self, path: Location, place: Place, code: Code, message: str) -> object:
        self.notes.add(path, place, code, message)
        return _REJECTED


def _show(value: object) -> str:
    if value is None:
        return "empty"
    return str(value).lower() if isinstance(value, bool) else str(value)


# --- JSON -------------------------------------------------------------------------------------------------------------


class _Suspect(Exception):
    """Something is in the file that the scanner must find and name."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs) or None in value.values():
        raise _Suspect
    return value


def _first_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Let the first of several values of one key stand, as in YAML: it is the one whose place is found."""
    value: dict[str, Any] = {}
    for key, item in pairs:
        value.setdefault(key, item)
    return value


def _integer(text: str) -> int:
    if len(text.lstrip("-")) > _MAX_DIGITS:
        raise _Suspect
    return int(text)


def _suspect(_: str) -> Any:
    raise _Suspect


def _read_json(text: str, name: str) -> Document:
    scanner = _JsonScanner(text, name)
    try:
        try:
            data = json.loads(
                text, object_pairs_hook=_object, parse_int=_integer, parse_float=_suspect, parse_constant=_suspect
            )
        except _Suspect:
            data = json.loads(text, object_pairs_hook=_first_object, parse_int=lambda digits: int(digits[:_MAX_DIGITS]))
            scanner.report()
    except json.JSONDecodeError as error:
        place = Place(error.lineno, error.colno)
        raise _fail(name, place, Code.SYNTAX, f"this is not JSON: {error.msg.lower()}") from None
    except RecursionError:
        scanner.report()
        raise _fail(name, START, Code.TOO_DEEP, f"nested deeper than {MAX_DEPTH}") from None
    return Document(name, data, scanner, tuple(scanner.notes.problems), frozenset(scanner.notes.broken))


_TOKEN = re.compile(r'[{}\[\],:]|"(?:[^"\\]|\\.)*"|[^\s{}\[\],:"]+')


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


class _JsonScanner:
    """Walk through well-formed JSON token by token and find places; slow, and only for files with something wrong."""

    def __init__(self, text: str, name: str) -> None:
        self._text = text
        self._name = name
        self.notes = _Notes(name)

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
        lines = _Lines(self._text)
        found = {}
        for path, at_key in listed:
            nearest, key_first = path, at_key
            while nearest not in values and nearest:
                nearest, key_first = nearest[:-1], True
            offset = keys.get(nearest) if key_first else None
            found[path, at_key] = lines.place(values.get(nearest, 0) if offset is None else offset)
        return found

    def report(self) -> None:
        """Note every duplicate key, null and number that is no integer, and too deep a nesting."""
        lines = _Lines(self._text)
        for levels, token in self._walk(None):
            word = token[0]
            if len(levels) > MAX_DEPTH:
                place = lines.place(token.start())
                raise PolicyError(
                    [
                        *self.notes.problems,
                        Problem(self._name, *place, Code.TOO_DEEP, f"nested deeper than {MAX_DEPTH}"),
                    ]
                )
            top = levels[-1] if levels else None
            if top is not None and top.key_at is not None and isinstance(top.key, str):
                if top.key in top.seen:
                    self._note(levels, lines.place(top.key_at), Code.DUPLICATE_KEY, f"{top.key!r} stands twice")
                top.seen.add(top.key)
            if word == "null":
                message = "null is no value; write one, or remove the key"
                self._note(levels, lines.place(token.start()), Code.EMPTY, message)
            elif word[0] in "-0123456789NI" and (not _INTEGER.fullmatch(word) or len(word.lstrip("-")) > _MAX_DIGITS):
                message = f"{word[:40]} is no whole number of at most {_MAX_DIGITS} digits"
                self._note(levels, lines.place(token.start()), Code.AMBIGUOUS_SCALAR, message)

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
