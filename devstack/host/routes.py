"""Route templates as ASP.NET Core reads them, for the function host; it knows nothing of functions or HTTP.

Literals (compared without case), `{name}`, `{name?}`, `{name=default}`, `{*rest}` and inline constraints such as
`{id:int}` (Microsoft Learn, "Routing in ASP.NET Core", and "Azure Functions HTTP trigger", "Customize the endpoint").
"""

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass

_PARAMETER = re.compile(
    r"\{(?P<catch>\*{0,2})(?P<name>[^{}:=?*/]+)(?P<constraints>(?::[^{}=?]+)*)(?P<tail>=[^{}]*|\?)?\}"
)
_SEGMENT_SEPARATOR = "/"


def _is_int(value: str) -> bool:
    return bool(re.fullmatch(r"[+-]?\d+", value, re.ASCII)) and -(2**31) <= int(value) < 2**31


def _is_long(value: str) -> bool:
    return bool(re.fullmatch(r"[+-]?\d+", value, re.ASCII)) and -(2**63) <= int(value) < 2**63


def _is_guid(value: str) -> bool:
    try:
        uuid.UUID(value)
    except ValueError:
        return False
    return True


_PLAIN_CONSTRAINTS: dict[str, Callable[[str], bool]] = {
    "int": _is_int,
    "long": _is_long,
    "bool": lambda value: value.lower() in ("true", "false"),
    "guid": _is_guid,
    "alpha": lambda value: bool(re.fullmatch(r"[A-Za-z]*", value)),
    "required": lambda value: bool(value),
}
_CONSTRAINTS_WITH_NUMBER: dict[str, Callable[[str, int], bool]] = {
    "minlength": lambda value, number: len(value) >= number,
    "maxlength": lambda value, number: len(value) <= number,
    "length": lambda value, number: len(value) == number,
    "min": lambda value, number: _is_long(value) and int(value) >= number,
    "max": lambda value, number: _is_long(value) and int(value) <= number,
}


def _constraint(text: str) -> Callable[[str], bool]:
    if check := _PLAIN_CONSTRAINTS.get(text):
        return check
    name, _, argument = text.partition("(")
    numbered = _CONSTRAINTS_WITH_NUMBER.get(name)
    if numbered is None or not argument.endswith(")") or not argument[:-1].isdigit():
        raise ValueError(f"the route constraint {text!r} is not supported here")
    number = int(argument[:-1])
    return lambda value: numbered(value, number)


@dataclass(frozen=True)
class Parameter:
    """A `{…}` that fills a whole segment, or, as a catch-all, all the rest."""

    name: str
    catch_all: bool
    optional: bool
    default: str | None
    constraints: tuple[Callable[[str], bool], ...]

    def accepts(self, value: str) -> bool:
        """Return whether every constraint holds."""
        return all(check(value) for check in self.constraints)


@dataclass(frozen=True)
class Template:
    """A parsed route template."""

    text: str
    segments: tuple[str | Parameter, ...]

    @classmethod
    def parse(cls, text: str) -> "Template":
        """Parse a template without a leading slash. Raise ValueError for what this host does not understand."""
        parts = [part for part in text.strip(_SEGMENT_SEPARATOR).split(_SEGMENT_SEPARATOR) if part]
        segments = tuple(_parse_segment(part) for part in parts)
        for segment in segments[:-1]:
            if isinstance(segment, Parameter) and segment.catch_all:
                raise ValueError(f"a catch-all must come last: {text!r}")
        return cls(text, segments)

    def match(self, path: str) -> dict[str, str] | None:
        """Match a decoded path; return its route values (empty ones left out), or None."""
        rest = path.removeprefix(_SEGMENT_SEPARATOR)
        values: dict[str, str] = {}
        for segment in self.segments:
            if isinstance(segment, Parameter) and segment.catch_all:
                # RoutePatternMatcher refuses an empty segment up to and including the catch-all's first one.
                if rest.startswith(_SEGMENT_SEPARATOR) or (rest and not segment.accepts(rest)):
                    return None
                values[segment.name] = rest or segment.default or ""
                return _present(values)
            value, _, rest = rest.partition(_SEGMENT_SEPARATOR)
            if isinstance(segment, str):
                if value.lower() != segment.lower():
                    return None
            elif value:
                if not segment.accepts(value):
                    return None
                values[segment.name] = value
            elif rest or not (segment.optional or segment.default is not None):
                return None
            else:
                values[segment.name] = segment.default or ""
        return None if rest else _present(values)


def _present(values: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def _parse_segment(part: str) -> str | Parameter:
    if "{" not in part and "}" not in part:
        return part
    match = _PARAMETER.fullmatch(part)
    if match is None:
        raise ValueError(f"the route segment {part!r} is not supported here")
    tail = match["tail"] or ""
    return Parameter(
        name=match["name"],
        catch_all=bool(match["catch"]),
        optional=tail == "?",
        default=tail[1:] if tail.startswith("=") else None,
        constraints=tuple(_constraint(text) for text in match["constraints"].split(":") if text),
    )
