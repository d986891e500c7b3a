"""Which built-in Azure roles let an identity do what, in each of a registry's two modes. Data; assigns nothing.

Source: Azure's page "Azure Container Registry roles directory reference". A registry in the mode "RBAC Registry
Permissions" (classic) knows the first kind of roles, one in "RBAC Registry + ABAC Repository Permissions" only the
second, and ignores the other kind without a word.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vending.acr.scope import CATALOG_ACTION

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_READ: Final = frozenset({"pull", "metadata_read"})
_WRITE: Final = _READ | {"push", "metadata_write"}

CLASSIC: Final[Mapping[str, frozenset[str]]] = {
    "AcrPull": _READ | {CATALOG_ACTION},
    "AcrPush": _WRITE | {CATALOG_ACTION},
    "AcrDelete": frozenset({"delete"}),
}
"""Role → the actions it allows, in the order of preference: the first that is enough is the least."""

ABAC: Final[Mapping[str, frozenset[str]]] = {
    "Container Registry Repository Reader": _READ,
    "Container Registry Repository Writer": _WRITE,
    "Container Registry Repository Contributor": _WRITE | {"delete"},
    "Container Registry Repository Catalog Lister": frozenset({CATALOG_ACTION}),
}


@dataclass(frozen=True, slots=True)
class Roles:
    """Name the least roles that together allow something, in each mode."""

    classic: tuple[str, ...]
    abac: tuple[str, ...]

    def __str__(self) -> str:
        return f"{' and '.join(self.classic)} (or {' and '.join(self.abac)} where the registry uses ABAC)"


def roles_for(actions: Iterable[str]) -> Roles:
    """Return the least built-in roles that allow all of `actions` (a scope's actions; `*` is the catalog)."""
    wanted = frozenset(actions)
    return Roles(_least(CLASSIC, wanted), _least(ABAC, wanted))


def _least(roles: Mapping[str, frozenset[str]], wanted: frozenset[str]) -> tuple[str, ...]:
    alone = next((name for name, allowed in roles.items() if wanted <= allowed), None)
    if alone is not None:
        return (alone,)
    chosen: list[str] = []
    left = set(wanted)
    while left:  # The role that allows most of what is left; of equals the least, which comes first.
        name = max(roles, key=lambda role: (len(roles[role] & left), -len(roles[role])))
        if not roles[name] & left:
            break
        chosen.append(name)
        left -= roles[name]
    return tuple(sorted(chosen, key=list(roles).index))
