"""The token service of an emulated Azure Container Registry: who may do what, and tokens that say so. No HTTP.

Lifetimes and claims follow what recorded ACR responses carry: `iat` and `nbf` lie 15 minutes back, a refresh token
lives 180 minutes from now and an access token 60; the header has a libtrust-style `kid` and RS256.
"""

import fnmatch
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import jwt

from devstack.entra.tenant import ACR_AUDIENCE, ARM_AUDIENCES, Tenant
from devstack.keys import SigningKey, encode, libtrust_kid
from devstack.registry.distribution import ACTIONS, Scope, covers, parse_access

ISSUER = "Azure Container Registry"
BACKDATED = 900
REFRESH_LIFETIME = 11_700
ACCESS_LIFETIME = 4_500
ANONYMOUS_LIFETIME = 1_200
"""Lifetimes in seconds, counted from the back-dated `iat`."""
AUTHENTICATE = "authentication required, visit https://aka.ms/acr/authorization for more information."
"""What a caller without credentials is told, by the registry and by the token service (dotnet/tye issue 1185).

Docker 20.10 takes the distribution API's own words, "authentication required", for a fault, and repeats an upload for
50 seconds.
"""
_REGISTRY_ID = "9f3c1d5e7b2a4c608e1f0d2b4a6c8e10"

Claims = dict[str, Any]
Mode = Literal["classic", "abac"]


class Refused(Exception):
    """The token service says no: an HTTP status, ACR's error code and its message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def unauthorized(message: str) -> Refused:
    """Build the refusal that ACR gives for bad credentials."""
    return Refused(401, "UNAUTHORIZED", message)


@dataclass
class Rights:
    """What role assignments give one principal: actions by repository pattern (`*` is anything), and the catalog."""

    repositories: list[tuple[str, frozenset[str]]] = field(default_factory=list)
    catalog: bool = False

    @classmethod
    def everything(cls) -> "Rights":
        """Build the rights of an identity that may do all."""
        return cls([("*", frozenset(ACTIONS))], catalog=True)

    def on(self, name: str) -> frozenset[str]:
        """Return the actions allowed on a repository; for the name `*`, those allowed on every one."""
        found: set[str] = set()
        for pattern, actions in self.repositories:
            if pattern == "*" or (name != "*" and fnmatch.fnmatchcase(name, pattern)):
                found |= actions
        return frozenset(found)


@cache
def _signing_key() -> SigningKey:
    """Make the key of every registry of this process; a token is for the one that its audience names."""
    key = SigningKey.generate("RS256")
    return SigningKey(libtrust_kid(key.public), "RS256", key.private)


class TokenService:
    """Trades Entra tokens for refresh tokens and those for access tokens; verifies what it signed."""

    def __init__(self, service: str, tenant: Tenant) -> None:
        self.service = service
        self.tenant = tenant
        self.key = _signing_key()
        self.rights: dict[str, Rights] = {}
        """By object id. A principal without an entry has no role on the registry."""
        self._live_refresh_tokens: set[str] = set()
        self.heal()

    def heal(self) -> None:
        """Put every oddity back to what it is at the start; rights and tokens stay."""
        self.allow_arm_audience = True
        self.anonymous_pull = False
        self.capital_keys = False
        """Write `Type`, `Name`, `Actions` in `access`, as ACR does in some tokens."""
        self.empty_access: Literal["list", "null"] = "list"
        """How `access` looks when nothing was granted."""
        self.tamper: Callable[[Claims], Claims] | None = None
        """Changes the claims of each access token just before it is signed."""
        self._mode: Mode = "classic"

    @property
    def mode(self) -> Mode:
        """`classic` roles, or `abac` repository permissions. A change voids every refresh token issued before."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        if mode != self._mode:
            self.revoke_refresh_tokens()
        self._mode = mode

    def revoke_refresh_tokens(self) -> None:
        """Void every refresh token issued so far: each answers 401 from now on."""
        self._live_refresh_tokens.clear()

    def exchange(self, entra_token: str) -> str:
        """Trade an Entra access token for a refresh token. Raise Refused as ACR would."""
        try:
            identity = self.tenant.verify(entra_token)
        except jwt.InvalidTokenError as error:
            raise unauthorized(f"token validation failed: {error}") from error
        audience = str(identity["aud"]).rstrip("/")
        if audience != ACR_AUDIENCE and not (audience in ARM_AUDIENCES and self.allow_arm_audience):
            raise unauthorized("token validation failed: audience")
        rights = self.rights.get(str(identity["oid"]))
        if rights is None or not (rights.repositories or rights.catalog):
            raise unauthorized("retrieving permissions failed")
        claims: Claims = {
            **self._registered(str(identity["oid"]), REFRESH_LIFETIME),
            "version": "1.0",
            "grant_type": "refresh_token",
            "appid": identity.get("appid"),
            "tenant": identity.get("tid"),
            "permissions": {"Actions": ["read", "write", "delete"], "NotActions": None},
            "roles": [],
        }
        if self.mode == "abac":
            claims["aad_identity"] = {"oid": identity["oid"], "tid": identity.get("tid")}
        self._live_refresh_tokens.add(claims["jti"])
        return encode(claims, self.key)

    def access_token(self, refresh_token: str, scopes: Iterable[Scope]) -> str:
        """Trade a refresh token for an access token with as much of `scopes` as the principal may have."""
        claims = self._verify_refresh(refresh_token)
        subject = str(claims["sub"])
        granted = self._granted(scopes, self.rights.get(subject, Rights()))
        return self._sign_access(subject, granted)

    def narrowed(self, access_token: str, scopes: Iterable[Scope]) -> str:
        """Trade an access token for another that has no more than it, and lives no longer."""
        claims = self.verify_access(access_token)
        had = parse_access(claims["access"])
        kept = []
        for scope in scopes:
            actions = tuple(a for a in scope.actions if covers(had, Scope(scope.kind, scope.name, (a,))))
            if actions:
                kept.append(Scope(scope.kind, scope.name, actions))
        return self._sign_access(str(claims["sub"]), kept, not_after=int(claims["exp"]))

    def anonymous_token(self) -> str:
        """Mint the token of a caller without credentials, whatever was asked for. Raise Refused unless allowed."""
        if not self.anonymous_pull:
            raise unauthorized(AUTHENTICATE)
        claims = {
            **self._registered("acr_anon_pull", ANONYMOUS_LIFETIME),
            "version": "1.0",
            "access": [{"Type": "repository", "Name": "*", "Actions": ["pull"]}],
            "roles": [],
            "grant_type": "access_token",
        }
        return encode(claims, self.key)

    def password_token(self, username: str, password: str, scopes: Iterable[Scope]) -> str:
        """Answer a username and password: the null GUID with one of our refresh or access tokens, or nobody."""
        if not username and not password:
            return self.anonymous_token()
        if username != "00000000-0000-0000-0000-000000000000":
            raise unauthorized("Invalid clientid or client secret.")
        if self._grant_type(password) == "access_token":
            return self.narrowed(password, scopes)
        return self.access_token(password, scopes)

    def internal_token(self, *scopes: Scope) -> str:
        """Sign a token for the registry server behind the front."""
        entries = [{"type": s.kind, "name": s.name, "actions": list(s.actions)} for s in scopes]
        return encode({**self._registered("front", ACCESS_LIFETIME), "access": entries}, self.key)

    def verify_access(self, token: str) -> Claims:
        """Return the claims of an access token of this registry. Raise Refused for anything else."""
        return self._verify(token, "access_token")

    def _verify_refresh(self, token: str) -> Claims:
        claims = self._verify(token, "refresh_token")
        if claims["jti"] not in self._live_refresh_tokens:
            raise unauthorized("authentication required")
        return claims

    def _verify(self, token: str, grant_type: str) -> Claims:
        try:
            claims: Claims = jwt.decode(
                token,
                self.key.public,
                algorithms=["RS256"],
                audience=self.service,
                issuer=ISSUER,
                options={"require": ["exp", "iat", "aud", "iss", "jti"]},
            )
        except jwt.InvalidTokenError as error:
            raise unauthorized(f"token validation failed: {error}") from error
        if claims.get("grant_type") != grant_type:
            raise unauthorized(f"not a {grant_type.replace('_', ' ')}")
        return claims

    def _grant_type(self, token: str) -> object:
        try:
            return jwt.decode(token, options={"verify_signature": False}).get("grant_type")
        except jwt.InvalidTokenError as error:
            raise unauthorized("Invalid clientid or client secret.") from error

    def _granted(self, scopes: Iterable[Scope], rights: Rights) -> list[Scope]:
        merged: dict[tuple[str, str], list[str]] = {}
        for scope in scopes:
            actions = self._allowed(scope, rights)
            if actions:
                entry = merged.setdefault((scope.kind, scope.name), [])
                entry.extend(action for action in actions if action not in entry)
        return [Scope(kind, name, tuple(actions)) for (kind, name), actions in merged.items()]

    def _allowed(self, scope: Scope, rights: Rights) -> tuple[str, ...]:
        if scope.is_catalog:
            return ("*",) if rights.catalog else ()
        if scope.kind != "repository":
            return ()
        if self.mode == "abac" and ("*" in scope.name or "*" in scope.actions):
            raise unauthorized("wildcard scopes are not allowed")
        held = rights.on(scope.name)
        if "*" in scope.actions:
            return ("*",) if held.issuperset(ACTIONS) else tuple(action for action in ACTIONS if action in held)
        return tuple(action for action in scope.actions if action in held)

    def _sign_access(self, subject: str, granted: list[Scope], *, not_after: int | None = None) -> str:
        names = ("Type", "Name", "Actions") if self.capital_keys else ("type", "name", "actions")
        access: list[Claims] | None = [
            dict(zip(names, (scope.kind, scope.name, list(scope.actions)), strict=True)) for scope in granted
        ]
        if not access and self.empty_access == "null":
            access = None
        registered = self._registered(subject, ACCESS_LIFETIME)
        if not_after is not None:
            registered["exp"] = min(registered["exp"], not_after)
        claims = {**registered, "version": "2.0", "access": access, "roles": [], "grant_type": "access_token"}
        return encode(self.tamper(claims) if self.tamper else claims, self.key)

    def _registered(self, subject: str, lifetime: int) -> Claims:
        issued = int(time.time()) - BACKDATED
        return {
            "jti": str(uuid.uuid4()),
            "sub": subject,
            "nbf": issued,
            "exp": issued + lifetime,
            "iat": issued,
            "iss": ISSUER,
            "aud": self.service,
            "rid": _REGISTRY_ID,
        }
