"""The start: what it checks and says, and what it leaves for later. Imports nothing that a start can do without.

Packages that take long to import are looked for at the start, so that a missing one stops it, and imported later: in a
thread, while the platform is still busy with the start itself or a first request waits for the network. Whoever needs
one earlier imports it, and nothing depends on the thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import sys
import threading
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vending.operations_log import note

if TYPE_CHECKING:
    from vending.settings import Settings

PACKAGES: Final = (
    *("aiohttp", "azure.identity", "certifi", "cryptography", "httpx"),
    *("jwt", "msal", "pydantic", "ruamel.yaml"),
)
"""What the service cannot do without: `requirements.in`, by the names of the modules."""

_BINARY: Final = ("pydantic_core", "_pydantic_core")
"""A package that cannot do without its extension module, and that module: its file fits one version of CPython."""

_COLLECT_AFTER: Final = 20_000
"""Objects made and not freed again until the collector looks at the youngest; some MiB if all of them are cycles."""

_AHEAD_AFTER_SECONDS: Final = 0.05
"""Enough for the worker to tell the host which functions there are before the interpreter is busy."""

_LATER: Final = (
    "vending.endpoints",
    "vending.wiring",
    "vending.transport",
    "vending.policy.compiler.load",
    "vending.oidc.signature",
    "vending.entra.transport",
    "vending.entra.library",
)
"""In the order in which a request needs them."""

_THREAD: Final = "imports"


def check_packages() -> None:
    """Look for every package that will be needed. Raises `ImportError` and its kin; runs no code of theirs."""
    for name in PACKAGES:
        if find_spec(name) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    _check_binaries()


def _check_binaries() -> None:
    """Raise `ImportError` where the packages were installed for another Python, which imports would meet one by one."""
    package, module = _BINARY
    found = find_spec(package)
    places = list(found.submodule_search_locations or ()) if found else []
    spec = PathFinder.find_spec(module, places)  # Its full name would import the package.
    if spec is None or not isinstance(spec.loader, ExtensionFileLoader):  # Its folder of stubs passes for a package.
        there = sorted(path.name for place in places for path in Path(place).glob(f"{module}.*"))
        raise ImportError(
            f"the packages are installed for another Python: {package} has {', '.join(there) or 'no binary'}, "
            f"and this one needs {module}{EXTENSION_SUFFIXES[0]}"
        )


def import_ahead() -> None:
    """Begin the imports soon, where a worker imports the app: its event loop is running.

    The platform takes some tenths of a second from there to the first request, and the worker waits meanwhile. Without
    a loop the first answer begins them.
    """
    with contextlib.suppress(RuntimeError):
        asyncio.get_running_loop().call_later(_AHEAD_AFTER_SECONDS, begin_imports)


def begin_imports() -> None:
    """Begin to import what requests will need, in a thread; do nothing where that has begun, or it is all there."""
    missing = [name for name in _LATER if name not in sys.modules]
    if missing and all(thread.name != _THREAD for thread in threading.enumerate()):
        threading.Thread(target=_import, args=(missing,), name=_THREAD).start()


def _import(names: list[str]) -> None:
    for name in names:
        with contextlib.suppress(Exception):  # Whoever needs it meets the same failure, and says so.
            import_module(name)


def settle() -> None:
    """Take all that is there out of the garbage collector's sight, and let it begin less often; call it once.

    After the first token the modules, the policy and the clients are there to stay. A walk over them stopped all
    requests for 50 to 100 ms and, with Python's thresholds, a tenth of all CPU time went into walks. What a request
    makes has few cycles, and reference counts free the rest; so they free a policy that another one replaces.
    """
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)


def announce(settings: Settings) -> None:
    """Say in the log, at the start, what is in force and what an operator should know about it."""
    source = "file" if isinstance(settings.policy, Path) else "blob"
    note(logging.INFO, "started", policy_source=source, replay_store=settings.replay_store)
    if settings.replay_table is None:
        note(
            logging.WARNING,
            "replay_store_is_per_process",
            processes=settings.worker_processes,
            advice="Each worker process of each instance keeps its own claims: a token can be used once on every one. "
            "Set VENDING_REPLAY_STORE to a table, which all share.",
        )
    if settings.allow_loopback:
        note(logging.WARNING, "loopback_allowed", advice="VENDING_ALLOW_LOOPBACK is for local work only.")
