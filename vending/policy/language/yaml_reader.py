"""Read YAML 1.2 with its core scalars and nothing else: no aliases, anchors, tags, merge keys, directives or second
documents; numbers are plain decimal integers.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from typing import Any, Final

from vending.policy.language.dates import not_a_day, not_a_moment
from vending.policy.language.document import (
    HALF_PAIR,
    MAX_DEPTH,
    MAX_DIGITS,
    START,
    SURROGATE,
    UNREADABLE,
    Document,
    KnownPlaces,
    Notes,
    Place,
    failure,
)
from vending.policy.language.problems import Code, Location, PolicyError, Problem
from vending.policy.language.yaml_syntax import explain

_REJECTED: Final = object()
"""Is the value of a scalar that was reported and has none."""

_DROPPED: Final = -2
"""Is the step of a location below a key that was reported: it is not in the data."""

_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]*")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MINUTE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}Z")
_NUMBER_LIKE: Final = re.compile(
    r"""[-+]?(?:
        0[box][0-9A-Fa-f_]+                                  # octal, binary and hexadecimal
      | [0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?       # decimal, with a fraction or exponent, or leading zeros
      | \.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?
      | [0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?          # base 60, in YAML 1.1
      | \.(?:inf|Inf|INF|nan|NaN|NAN)
    )""",
    re.VERBOSE,
)
_TIME_LIKE: Final = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt ].*)?")
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not come yet."""

    path: Location
    value: Any
    key: str | None = None
    awaits_key: bool = True
    in_braces: bool = False
    key_end: int = 0


def read_yaml(text: str, name: str) -> Document:
    """Read YAML text. Raises `PolicyError` where it is not well-formed; the document holds lesser problems."""
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    builder = _Builder(name, text)
    notes = builder.notes
    try:
        builder.read()
    except MarkedYAMLError as error:
        place, message = explain(error, text)
        raise PolicyError([*notes.problems, Problem(name, *place, Code.SYNTAX, message)]) from None
    except YAMLError as error:
        raise failure(name, START, Code.SYNTAX, " ".join(str(error).split())) from None
    except (ValueError, OverflowError):
        # The scanner turns an escape such as \U00110000 into a character without asking whether there is one.
        message = "an escape below this place is no character; remove it"
        raise PolicyError([*notes.problems, Problem(name, *builder.last, Code.CHARACTER, message)]) from None
    return Document(name, builder.data, builder.places, tuple(notes.problems), frozenset(notes.broken))


class _Builder:
    """Build plain data from YAML's events, with a stack of its own: depth is limited, nothing recurses."""

    def __init__(self, name: str, text: str) -> None:
        self.notes = Notes(name)
        self.places = KnownPlaces()
        self.data: Any = None
        self.last = START
        self._name = name
        self._text = text
        self._stack: list[_Open] = []
        self._documents = 0

    def read(self) -> None:
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
        for event in YAML(typ="safe", pure=True).parse(self._text):
            handler = handlers.get(type(event).__name__)
            if handler is not None:
                self.last = Place(event.start_mark.line + 1, event.start_mark.column + 1)
                handler(event, self.last)
        if self._documents == 0:
            raise failure(self._name, START, Code.EMPTY, "the file is empty; a policy begins with version: 1")

    def _on_document(self, event: Any, place: Place) -> None:
        self._documents += 1
        if event.version or event.tags:
            raise failure(
                self._name, START, Code.YAML_FEATURE, "the file begins with a directive; remove the line with %"
            )
        if self._documents > 1:
            raise failure(self._name, place, Code.YAML_FEATURE, "a second document begins; a policy is one document")

    def _on_alias(self, event: Any, place: Place) -> None:
        path = self._place_next(place)
        message = f"*{event.anchor} without quotes is an alias; put quotes around a pattern, or write the value out"
        self.notes.add(path, place, Code.YAML_FEATURE, message)
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
        self._stack.append(_Open(path, value, in_braces=event.flow_style))

    def _on_end(self, event: Any, place: Place) -> None:
        self._stack.pop()

    def _on_scalar(self, event: Any, place: Place) -> None:
        path = self._place_next(place)
        self._check_plain_node(event, path, place)
        if self._awaits_key():
            self._stack[-1].key_end = event.end_mark.index
        if SURROGATE.search(event.value):
            raise PolicyError([*self.notes.problems, Problem(self._name, *place, Code.CHARACTER, HALF_PAIR)])
        if event.tag:
            value: Any = _REJECTED
        else:
            value = event.value if event.style else self._resolve(event.value, path, place)
        self._put(value, path, place)

    def _check_plain_node(self, event: Any, path: Location | None, place: Place) -> None:
        if event.anchor:
            self.notes.add(None, place, Code.YAML_FEATURE, f"&{event.anchor} is an anchor; remove it")
        if event.tag:
            self.notes.add(path, place, Code.YAML_FEATURE, "! begins a tag; remove it, or put quotes around text")

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
            self.notes.add(path, place, Code.DUPLICATE_KEY, f"duplicate key {value!r}; first on line {first.line}")
            return None
        self.places.keys[path] = place
        return value

    def _resolve(self, text: str, path: Location, place: Place) -> Any:
        """Give a plain scalar its value: YAML 1.2's core schema, less what parsers disagree about."""
        if text in _BOOLEANS:
            return _BOOLEANS[text]
        is_key = self._awaits_key()
        if text in _NULLS:
            if is_key:
                return None
            at = place if text else self.places.keys.get(path, place)
            template = self._template()
            if template is None:
                return self._reject(path, at, Code.EMPTY, "the value is missing; write one, or remove the key")
            message = f"{template} without quotes is a mapping; put quotes around a template: '{template}'"
            return self._reject(path[:-1], at, Code.EMPTY, message)
        if _INTEGER.fullmatch(text) and len(text.lstrip("-")) <= MAX_DIGITS:
            return int(text)
        if _DATE.fullmatch(text):
            try:
                return datetime.date.fromisoformat(text)
            except ValueError:
                message = f"{not_a_day(text)}; put quotes around it if it is text"
                return self._reject(path, place, Code.DATE, message)
        if _MINUTE.fullmatch(text):
            try:
                return datetime.datetime.fromisoformat(text)
            except ValueError:
                message = f"{not_a_moment(text)}; put quotes around it if it is text"
                return self._reject(path, place, Code.DATE, message)
        code, message = (Code.YAML_FEATURE, _MERGE_KEY) if text == "<<" and is_key else _ambiguity(text)
        return self._reject(path, place, code, message) if message else text

    def _template(self) -> str | None:
        """Return what an author most likely meant as a template: a key in braces, with neither colon nor value."""
        top = self._stack[-1] if self._stack else None
        if top is None or not top.in_braces or not top.key:
            return None
        return "{" + top.key + "}" if self._text[top.key_end : top.key_end + 1] == "}" else None

    def _reject(self, path: Location, place: Place, code: Code, message: str) -> object:
        self.notes.add(path, place, code, message)
        return _REJECTED


_MERGE_KEY: Final = "<< is a merge key; write the keys out"


def _ambiguity(text: str) -> tuple[Code, str]:
    """Say why parsers read a plain scalar in different ways; an empty string where they do not."""
    if _INTEGER.fullmatch(text):
        message = "the number is too large; put quotes around it"
    elif _NUMBER_LIKE.fullmatch(text):
        message = (
            f"{text} is a number that parsers read in different ways, or not a whole one; write a plain decimal "
            "integer, or put quotes around text"
        )
    elif _TIME_LIKE.fullmatch(text):
        message = (
            f"{text} looks like a date or time; write YYYY-MM-DD, or a UTC time to the minute as in 2027-01-01T08:00Z, "
            "or put quotes around text"
        )
    else:
        message = ""
    return Code.AMBIGUOUS_SCALAR, message


def _show(value: object) -> str:
    if value is None:
        return "empty"
    return str(value).lower() if isinstance(value, bool) else str(value)
