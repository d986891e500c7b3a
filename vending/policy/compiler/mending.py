"""Mend a policy that does not fit the models, so that the rest of it can be judged as well. Finds nothing itself.

Whatever cannot be used gives way to a stand-in that objects to nothing, and what the language does not have is left
out. Of the findings about such a policy only those are certain that owe nothing to a stand-in.
"""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from vending.policy.language.document import UNREADABLE
from vending.policy.language.problems import Code, Finding, Location
from vending.policy.language.structure import validate
from vending.policy.providers.presets import owner_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from vending.policy.language.models import PolicyModel

_ANY: Final = "any"
"""Stands below for every key of a mapping that may have any."""

_NAME: Final = "stand-in-{n}"
_HOST: Final = "stand-in-{n}.invalid"
_URL: Final = "https://stand-in-{n}.invalid"
_GUID: Final = "00000000-0000-0000-0000-000000000000"
_CONDITIONS: Final = {_ANY: "stand-in"}
_ALLOWANCE: Final = {"registry": _NAME, "repositories": ["stand-in"], "actions": ["pull"], "catalog": True}
_ENTRY: Final = {"name": _NAME, "description": "", "issuer": _NAME, "when": _CONDITIONS, "unless": _CONDITIONS}

STAND_INS: Final[Mapping[str, Any]] = {
    "version": 1,
    "audience": _URL,
    "registries": {
        _ANY: {
            "login_server": _HOST,
            "cloud": "public",
            "identity": "default",
            "token_audience": _URL,
            "service": _HOST,
            "hosts": [_HOST],
            "authority_host": _HOST,
        }
    },
    "identities": {_ANY: {"type": "managed_identity"}},
    "issuers": {
        _ANY: {
            "preset": "generic",
            "issuer": _URL,
            "audience": _URL,
            "allow_extra_audiences": False,
            "algorithms": ["RS256"],
            "max_token_lifetime": "1h",
            "replay": "reuse",
            "identity_claims": ["sub"],
            "jwks": {},
            "jwks_file": "stand-in",
            "ca": "",
            "ca_file": "stand-in",
            "enabled": True,
        }
    },
    "maps": {_ANY: {_ANY: "stand-in"}},
    "rules": [{**_ENTRY, "grant": [_ALLOWANCE], "expires": "9999-12-31", "mode": "enforce", "enabled": True}],
    "deny": [{**_ENTRY, **_ALLOWANCE, "enabled": True}],
    "limits": {"requests_per_minute": 1, "max_scopes": 1},
    "audit": {"claims": ["sub"]},
    "sources": {},
}
"""A stand-in for whatever may stand in a policy, at its place; `{n}` becomes another number each time."""

IDENTITY_STAND_INS: Final[Mapping[str, Any]] = {
    "tenant_id": _GUID,
    "client_id": _GUID,
    "resource_id": f"/subscriptions/{_GUID}/resourceGroups/stand-in/providers/Microsoft.ManagedIdentity/"
    "userAssignedIdentities/stand-in",
    "managed_identity": "default",
    "secret_setting": "VENDING_SECRET_STAND_IN",
    "certificate_setting": "VENDING_SECRET_STAND_IN",
}
"""Those for the keys of identities of all types, which no single identity may have."""

_NAMED: Final = ("registries", "identities", "issuers", "maps")
_SECTION_OF: Final = {
    "issuer": "issuers",
    "registry": "registries",
    "identity": "identities",
    "managed_identity": "identities",
}
"""Where the names are defined that these keys refer to."""

_NOTHING: Final = object()
"""Stands for what is not in the data."""


class Draft:
    """Hold a copy of a policy's data, mend it, and know what of it is made up.

    `holes` are the paths of what gives way to a stand-in. `vague` are mappings of which a key could not be read: nobody
    can say what they do not hold.
    """

    def __init__(self, data: Mapping[str, Any], broken: Iterable[Location]) -> None:
        """Begin with what the reader of the file could not make sense of."""
        self.holes: set[Location] = set()
        self.vague: set[Location] = set()
        self._data = data
        self._copies: dict[Location, Any] = {(): dict(data)}
        self._numbers = count(1)
        self._renamed: dict[str, str] = {}
        for path in broken:
            if path[-1] == UNREADABLE and _whole(path) == path:
                self.vague.add(path[:-1])
                if len(path) == 1:
                    self._doubt_sections()
            else:
                self._add_broken(path)

    def _add_broken(self, path: Location) -> None:
        whole = _whole(path)
        value = _find(self._data, whole)
        if whole == path and isinstance(value, dict):
            # Only a key that stands twice leaves a mapping: the first of two, good as far as it goes. The second may
            # have been meant to bear another name.
            self.vague.add(path)
            if len(path) == 2:
                self.vague.add(path[:1])
        elif value is not _NOTHING and not _lists_mappings(value):
            self._add_hole(whole)

    def _doubt_sections(self) -> None:
        """Leave it open what the absent sections hold: a key that nobody understands may be meant for one."""
        self.vague.update((section,) for section in _NAMED if section not in self._data)

    def _add_hole(self, path: Location) -> None:
        if _stand_in(path) is not None:
            self.holes.add(path)

    # --- Mending ------------------------------------------------------------------------------------------------------

    def mend(self, findings: Iterable[Finding]) -> PolicyModel | None:
        """Return the model of what is left; None where that is no policy after all. Wants every finding of form."""
        unknown: list[Location] = []
        misnamed: list[Location] = []
        for finding in findings:
            if finding.code == Code.UNKNOWN_KEY:
                unknown.append(finding.path)
            elif finding.code == Code.VALUE and finding.at_key:
                misnamed.append(finding.path)
            else:
                self._add_hole(_whole(finding.path))
        # What lies deeper comes first: what stands around it may give way, too.
        for path in sorted(self.holes, key=_deepest_first):
            self._fill(path)
        for path in unknown:
            self._open(path[:-1]).pop(path[-1], None)
            if len(path) == 1:
                self._doubt_sections()
        for path in sorted(misnamed, key=_deepest_first):
            self._rename(path)
        return validate(self._copies[()])[0]

    def _open(self, path: Location) -> Any:
        """Return a list or mapping of the copy, to change it; what nobody changes is shared with the original."""
        if path not in self._copies:
            parent = self._open(path[:-1])
            parent[path[-1]] = self._copies[path] = copy.copy(parent[path[-1]])
        return self._copies[path]

    def _fill(self, path: Location) -> None:
        parent, key = self._open(path[:-1]), path[-1]
        if len(path) == 3 and path[0] == "maps" and len(parent) > 1:
            del parent[key]  # A stand-in might have more or fewer components than the other names of the map.
            return
        parent[key] = json.loads(json.dumps(_stand_in(path)).replace("{n}", self._number()))
        if key == "preset":
            # Neither may a preset that needs a URL miss one, nor the URL belong to another preset.
            url = parent.setdefault("issuer", _URL.replace("{n}", self._number()))
            parent[key] = (isinstance(url, str) and owner_of(url)) or parent[key]

    def _rename(self, path: Location) -> None:
        """Give a key that cannot be a name another one, in its old place."""
        mapping = self._open(path[:-1])
        name = _NAME.replace("{n}", self._number())
        entries = [(name if key == path[-1] else key, value) for key, value in mapping.items()]
        mapping.clear()
        mapping.update(entries)
        self._renamed[name] = str(path[-1])
        self.vague.add(path[:-1])

    def _number(self) -> str:
        return f"{next(self._numbers):06}"

    # --- Judging what was found ---------------------------------------------------------------------------------------

    def restore(self, finding: Finding) -> Finding:
        """Return a finding about the mended policy as one about the file."""
        message = finding.message
        for name, original in self._renamed.items():
            message = message.replace(name, original)
        return replace(
            finding, path=tuple(self._renamed.get(str(step), step) for step in finding.path), message=message
        )

    def is_certain(self, finding: Finding) -> bool:
        """Tell whether a finding holds whatever takes the place of the stand-ins."""
        path, code = finding.path, finding.code
        if any(path[:length] in self.holes for length in range(1, len(path) + 1)):
            return False
        if code == Code.REFERENCE:
            return self._knows_names(next(_SECTION_OF[step] for step in reversed(path) if isinstance(step, str)))
        if code == Code.REPOSITORY and path[0] != "maps":
            return "|" not in str(_find(self._data, path)) or self._knows_names("maps")
        if code == Code.UNPINNED:
            return path not in self.vague
        if code in {Code.REGISTRY_HOST, Code.CONFLICT} and (*path[:2], "cloud") in self.holes:
            return path[2:] == ("service",)  # What that may be is the same in every cloud.
        if code in {Code.MISSING_KEY, Code.CONFLICT}:
            # A section whose names are vague says nothing about its entries.
            return path not in self.vague and (len(path) == 2 or path[:-1] not in self.vague)
        return True

    def _knows_names(self, section: str) -> bool:
        return (section,) not in self.holes and (section,) not in self.vague


def _whole(path: Location) -> Location:
    """Return the path of what must be replaced as a whole because of something in it."""
    match path:
        case ("sources", *_):
            return path[:1]
        case ("identities", _, "type", *_):
            return path[:2]
        case ("issuers", _, "jwks", *_):
            return path[:3]
    return path


def _stand_in(path: Location) -> Any:
    """Return the stand-in for a place; None for a place that policies do not have."""
    if len(path) == 3 and path[0] == "identities":
        return IDENTITY_STAND_INS.get(str(path[2]))
    node: Any = STAND_INS
    for step in path:
        if isinstance(node, dict):
            node = node.get(step, node.get(_ANY))
        elif isinstance(node, list):
            node = node[0]  # A single value stands for each of several.
    return node


def _find(data: Any, path: Location) -> Any:
    for step in path:
        inside = (isinstance(data, dict) and step in data) or (
            isinstance(data, list) and isinstance(step, int) and 0 <= step < len(data)
        )
        if not inside:
            return _NOTHING
        data = data[step]
    return data


def _lists_mappings(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _deepest_first(path: Location) -> tuple[int, str]:
    return -len(path), str(path)
