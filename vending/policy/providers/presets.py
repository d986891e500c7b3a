"""Every provider by name, found by looking at the files of this package: a new file is a new preset."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from vending.policy import providers
from vending.policy.providers.preset import Preset

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NO_PROVIDERS: Final = frozenset({"forms", "preset", "presets"})


def _found() -> Iterator[Preset]:
    for module in sorted(found.name for found in pkgutil.iter_modules(providers.__path__)):
        if module not in _NO_PROVIDERS:
            preset = import_module(f"{providers.__name__}.{module}").PRESET
            if not isinstance(preset, Preset):
                raise TypeError(f"{module}.PRESET is not a Preset")
            yield preset


PRESETS: Final[Mapping[str, Preset]] = MappingProxyType({preset.name: preset for preset in _found()})

_OWNED: Final = tuple((issuer, preset.name) for preset in PRESETS.values() for issuer in preset.shared_issuers)


def owner_of(url: str) -> str | None:
    """Return the preset that alone may describe an issuer which many tenants share; None for any other issuer."""
    for issuer, name in _OWNED:
        if url == issuer or url.startswith(f"{issuer}/"):
            return name
    return None
