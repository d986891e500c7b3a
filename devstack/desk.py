"""Hand out tokens of a running stack's issuers, for `python -m devstack token`.

The stack writes where its desk is, and the desk's secret, into a file that only its user can read.
"""

import contextlib
import json
import os
import secrets
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from aiohttp import web

from devstack import plain, recording
from devstack.issuer import claims as shapes
from devstack.issuer.server import Issuer
from devstack.serving import LocalServer
from vending.oidc.claim_path import parse_key
from vending.policy.providers.preset import ClaimType
from vending.policy.providers.presets import PRESETS

_NUMBERS = frozenset({"exp", "iat", "nbf"})
_KUBERNETES_SUBJECT = "system:serviceaccount:{/kubernetes.io/namespace}:{/kubernetes.io/serviceaccount/name}"


class DeskError(Exception):
    """No token can be had; the text says why."""


@dataclass(frozen=True)
class Named:
    """An issuer as a policy calls it, with the preset that describes its tokens."""

    issuer: Issuer
    preset: str

    def token(self, given: Mapping[str, Any], omitted: Sequence[str] = ()) -> str:
        """Mint a token of the preset's shape with some claims given (keys as in a condition) and some left out."""
        shape = shapes.github if self.preset == "github" else shapes.shape_of(self.preset)
        audience = [self.issuer.audience] if self.preset == "kubernetes" else self.issuer.audience
        plain = {key: value for key, value in given.items() if not key.startswith("/")}
        claims = shape(self.issuer.url, audience, **plain)
        for key, value in given.items():
            if key.startswith("/"):
                _set(claims, parse_key(key), value)
        subject = PRESETS[self.preset].samples["default"].subject or self._subject
        if subject and "sub" not in given and self.preset != "github":
            claims["sub"] = shapes.filled(subject, claims)
        for key in omitted:
            _remove(claims, parse_key(key))
        return self.issuer.mint(claims)

    @property
    def _subject(self) -> str:
        return _KUBERNETES_SUBJECT if self.preset == "kubernetes" else ""


def read_claims(preset: str, pairs: Sequence[str]) -> dict[str, Any]:
    """Read KEY=VALUE pairs; a value has the type of its claim, and is JSON where that is a list or no text.

    Raises `DeskError`.
    """
    claims: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise DeskError(f"{pair!r} is not KEY=VALUE")
        try:
            parse_key(key)
            claims[key] = json.loads(text) if _is_json(preset, key) else text
        except ValueError:
            raise DeskError(f"{pair!r} cannot be read: KEY is a claim or JSON Pointer, and VALUE JSON here") from None
    return claims


def _is_json(preset: str, key: str) -> bool:
    known = PRESETS[preset].claims.get(key)
    return key in _NUMBERS or (known is not None and (known.many or known.type is not ClaimType.TEXT))


def _set(claims: Any, path: Sequence[str], value: Any) -> None:
    for step in path[:-1]:
        if not isinstance(claims.get(step), dict):
            claims[step] = {}
        claims = claims[step]
    claims[path[-1]] = value


def _remove(claims: Any, path: Sequence[str]) -> None:
    for step in path[:-1]:
        claims = claims.get(step)
        if not isinstance(claims, dict):
            return
    claims.pop(path[-1], None)


class Desk(LocalServer):
    """Mint tokens for whoever knows the secret."""

    def __init__(self, issuers: Mapping[str, Named]) -> None:
        super().__init__()
        self._issuers = issuers
        self._secret = recording.secret(secrets.token_urlsafe(24))

    def application(self) -> web.Application:
        """Build the application with its one endpoint."""
        app = web.Application()
        app.add_routes([web.post("/", self._mint)])
        return app

    async def _mint(self, request: web.Request) -> web.Response:
        if not secrets.compare_digest(request.headers.get("Authorization", ""), f"Bearer {self._secret}"):
            raise web.HTTPUnauthorized
        asked = await request.json()
        named = self._issuers.get(asked["issuer"])
        if named is None:
            known = ", ".join(sorted(self._issuers))
            return web.json_response(
                {"error": f"unknown issuer {asked['issuer']!r}; expected one of {known}"}, status=404
            )
        try:
            return web.json_response({"token": named.token(read_claims(named.preset, asked["claims"]), asked["omit"])})
        except (DeskError, ValueError) as error:
            return web.json_response({"error": str(error)}, status=400)

    @contextlib.contextmanager
    def announced(self, port: int) -> Any:
        """Write where the desk is, for the commands of this user, until the block ends."""
        path = _announcement(port)
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump({"url": self.url, "secret": self._secret}, file)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _announcement(port: int) -> Path:
    return Path(tempfile.gettempdir()) / f"devstack-{os.getuid()}-{port}.json"


def fetch(port: int, issuer: str, claims: Sequence[str], omit: Sequence[str] = ()) -> str:
    """Get a token from the stack whose service listens on `port`. Raises `DeskError`."""
    try:
        path = _announcement(port)
        if path.stat().st_uid != os.getuid():
            raise DeskError(f"{path} belongs to another user")
        where = json.loads(path.read_text())
        answer = plain.post(
            where["url"],
            json={"issuer": issuer, "claims": list(claims), "omit": list(omit)},
            headers={"Authorization": f"Bearer {where['secret']}"},
        )
        found = answer.json()
    except (OSError, ValueError, httpx.HTTPError):
        raise DeskError(f"no stack runs with its service on port {port}; start it: python -m devstack up") from None
    if answer.status_code != httpx.codes.OK:
        raise DeskError(found["error"])
    return str(found["token"])
