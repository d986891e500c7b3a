"""Map any policy to the local stack: its issuers to loopback ones of their presets, its registries to emulated ones.

What a rule says stays as it is; what would reach out of this machine is replaced. The result is JSON.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from devstack.desk import Named
from devstack.issuer import claims as shapes
from devstack.issuer.server import Issuer
from devstack.serving import LocalServer
from vending.policy import Environment, load_with_source
from vending.policy.compiler.load import compile_directory
from vending.policy.language.dates import written

_OF_ISSUERS = ("jwks", "jwks_file", "ca", "ca_file")
"""Keys of an issuer that lead to keys other than those of its loopback twin."""


@dataclass(frozen=True)
class Source:
    """A policy as its file or directory says it: the data, and the issuers' presets."""

    path: Path
    data: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> "Source":
        """Load a policy. Raises `PolicyError` for one that the service would refuse."""
        environment = Environment(allow_loopback=True, custom_hosts=_AnyHost())
        if path.is_dir():
            return cls(path, json.loads(compile_directory(path, environment)))
        document = load_with_source(path, environment).document
        return cls(path, json.loads(json.dumps(document.data, default=written)))

    @property
    def names(self) -> tuple[frozenset[tuple[str, str]], frozenset[str]]:
        """The issuers with their presets, and the registries: what the stack has servers for."""
        issuers = frozenset((name, issuer["preset"]) for name, issuer in self.data["issuers"].items())
        return issuers, frozenset(self.data["registries"])

    def mapped(self, issuers: Mapping[str, Named], hosts: Mapping[str, str]) -> str:
        """Return the policy with the stack's addresses: the issuers' URLs, and each registry's host."""
        data = {key: value for key, value in self.data.items() if key not in {"identities", "sources"}}
        data["registries"] = {name: {"login_server": hosts[name]} for name in data["registries"]}
        data["issuers"] = {
            name: {key: value for key, value in issuer.items() if key not in _OF_ISSUERS}
            | {"issuer": issuers[name].issuer.url}
            for name, issuer in data["issuers"].items()
        }
        return json.dumps(data)


class _AnyHost(frozenset[str]):
    """Holds every host: a policy for a custom cloud is mapped away before anything is sent to it."""

    def __contains__(self, _host: object) -> bool:
        return True


class PolicyIssuers(LocalServer):
    """A loopback issuer for each issuer of a policy, which signs with the first algorithm that the policy accepts."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        audience = source.data["audience"]
        self.named = {
            name: Named(
                Issuer(
                    f"{self.url}/{name}",
                    _shape(issuer["preset"]),
                    algorithm=issuer.get("algorithms", ["RS256"])[0],
                    jwks_path="/keys",
                    audience=issuer.get("audience", audience),
                ),
                issuer["preset"],
            )
            for name, issuer in source.data["issuers"].items()
        }

    def application(self) -> web.Application:
        """Build the application that serves every issuer."""
        app = web.Application()
        for name, named in self.named.items():
            app.add_routes(named.issuer.routes(f"/{name}"))
        return app


def _shape(preset: str) -> Callable[..., dict[str, Any]]:
    return shapes.github if preset == "github" else shapes.shape_of(preset)
