"""The paths of the distribution API (`/v2/`) and of ACR's own (`/acr/v1/`), and the scopes that each needs; no I/O."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = rf"{_COMPONENT}(?:/{_COMPONENT})*"
NAME = re.compile(_NAME)
"""A repository name (OCI distribution specification 1.1, "Pulling manifests")."""
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

ACTIONS = ("pull", "push", "delete", "metadata_read", "metadata_write")

_V2_PATHS = (
    ("uploads", re.compile(r"/v2/(?P<name>.+)/blobs/uploads/(?P<reference>[^/]*)")),
    ("uploads", re.compile(r"/v2/(?P<name>.+)/blobs/uploads(?P<reference>)")),
    ("blobs", re.compile(r"/v2/(?P<name>.+)/blobs/(?P<reference>[^/]+)")),
    ("manifests", re.compile(r"/v2/(?P<name>.+)/manifests/(?P<reference>[^/]+)")),
    ("tags", re.compile(r"/v2/(?P<name>.+)/tags/(?P<reference>list)")),
    ("referrers", re.compile(r"/v2/(?P<name>.+)/referrers/(?P<reference>[^/]+)")),
)
_ACR_PATHS = (
    ("tags", re.compile(r"/acr/v1/(?P<name>.+)/_tags(?P<reference>)")),
    ("manifests", re.compile(r"/acr/v1/(?P<name>.+)/_manifests(?P<reference>)")),
    ("repository", re.compile(r"/acr/v1/(?P<name>.+)(?P<reference>)")),
)


@dataclass(frozen=True)
class Scope:
    """A resource and what may be done to it."""

    kind: str
    name: str
    actions: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}:{','.join(self.actions)}"

    @property
    def is_catalog(self) -> bool:
        """Return whether this is the list of all repositories."""
        return (self.kind, self.name) == ("registry", "catalog")


CATALOG = Scope("registry", "catalog", ("*",))


def repository(name: str, *actions: str) -> Scope:
    """Name actions on a repository."""
    return Scope("repository", name, actions)


def parse_scopes(values: Iterable[str]) -> list[Scope]:
    """Parse `scope` parameters: repeated, space-delimited, or both. Raise ValueError for one without three parts."""
    scopes = []
    for text in " ".join(values).split():
        kind, _, rest = text.partition(":")
        name, separator, actions = rest.rpartition(":")
        if not (kind and name and separator):
            raise ValueError(f"not a scope: {text!r}")
        scopes.append(Scope(kind, name, tuple(action for action in actions.split(",") if action)))
    return scopes


def parse_access(access: object) -> list[Scope]:
    """Read the `access` claim of a registry token; keys may be capitalised, as ACR's sometimes are."""
    entries = access if isinstance(access, list) else []
    return [_scope_of({str(key).lower(): value for key, value in entry.items()}) for entry in entries]


def _scope_of(entry: Mapping[str, Any]) -> Scope:
    return Scope(entry["type"], entry["name"], tuple(entry.get("actions") or ()))


def covers(granted: Iterable[Scope], needed: Scope) -> bool:
    """Return whether granted scopes, taken together, allow all that is needed. The name `*` covers every repository."""
    actions: set[str] = set()
    for scope in granted:
        named = scope.name == needed.name or (scope.kind == "repository" and scope.name == "*")
        if scope.kind == needed.kind and named:
            actions.update(scope.actions)
    return "*" in actions or actions.issuperset(needed.actions)


@dataclass(frozen=True)
class Target:
    """What a path of the registry is about: `root`, `catalog`, or a thing in the repository `name`."""

    kind: str
    name: str = ""
    reference: str = ""


def target_of(path: str) -> Target | None:
    """Parse a path below `/v2/` or `/acr/v1/`; None when it is neither."""
    if path in ("/v2/", "/v2"):
        return Target("root")
    if path in ("/v2/_catalog", "/acr/v1/_catalog"):
        return Target("catalog")
    for kind, pattern in _V2_PATHS if path.startswith("/v2/") else _ACR_PATHS:
        if (match := pattern.fullmatch(path)) and NAME.fullmatch(match["name"]):
            return Target(kind, match["name"], match["reference"])
    return None


def needed_for_v2(method: str, target: Target, query: Mapping[str, str]) -> list[Scope]:
    """List the scopes that a `/v2/` request needs; none for the root, which any valid token opens."""
    if target.kind == "root":
        return []
    if target.kind == "catalog":
        return [CATALOG]
    if target.kind == "tags":
        return [repository(target.name, "metadata_read")]
    if method in ("GET", "HEAD"):
        return [repository(target.name, "pull")]
    if method == "DELETE" and target.kind != "uploads":
        return [repository(target.name, "delete")]
    needed = [repository(target.name, "pull", "push")]
    if target.kind == "uploads" and query.get("mount") and query.get("from"):
        needed.append(repository(query["from"], "pull"))
    return needed


def needed_for_acr(method: str, target: Target) -> list[Scope]:
    """List the scopes that a request to ACR's own API needs."""
    if target.kind == "catalog":
        return [CATALOG]
    if method == "DELETE":
        return [repository(target.name, "delete")]
    return [repository(target.name, "metadata_read" if method in ("GET", "HEAD") else "metadata_write")]
