"""What a vended token says, and whether it says exactly what was decided. Pure; verifies no signature.

ACR publishes no keys for its tokens, so their signatures cannot be checked here; they come straight from the registry
over TLS. What is checked is that the registry granted neither less nor more than was asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from vending.acr.names import ACTIONS
from vending.acr.roles import roles_for
from vending.acr.scope import CATALOG, CATALOG_ACTION, Scope, repository
from vending.base64url import decode_base64url
from vending.errors import Reason, Refusal, quote
from vending.json_document import json_object, present

if TYPE_CHECKING:
    from collections.abc import Iterable

Pair = tuple[str, str, str]
"""(type, name, action): the smallest thing that a token can allow."""


@dataclass(frozen=True, slots=True)
class VendedToken:
    """Hold a registry access token that says exactly what was decided. `expires_at` is in seconds since the epoch."""

    secret: str = field(repr=False)
    token_id: str
    expires_at: float


class GrantWider(Refusal):
    """The registry granted more than was asked for; `excess` says what, for the operator alone."""

    def __init__(self, excess: frozenset[Pair]) -> None:
        super().__init__(Reason.REGISTRY_GRANT_WIDER)
        self.excess = tuple(quote(":".join(pair)) for pair in sorted(excess)[:_MOST_EXCESS])
        self.alert = {"excess": " ".join(self.excess)}


_MOST_EXCESS: Final = 10
MAX_TOKEN_CHARACTERS: Final = 6000
"""ACR's front takes 8 KiB of a header, and clients send the token in base64 with a user name (Azure/acr, issue 797)."""
_SIGNATURE: Final = re.compile(r"[A-Za-z0-9_-]*")
"""Nobody but the registry can check it; any other character would break the header that a client puts the token in."""
_LONGEST_LIFE_SECONDS: Final = 10 * 86_400
"""ACR's tokens live for three hours at most; an expiry further away is not an expiry."""


def decode(token: str) -> Mapping[str, Any]:
    """Read a registry token's claims without verifying it. Raises `Refusal` with `registry_response_invalid`."""
    try:
        header, claims, signature = token.split(".", 3)
        if not _SIGNATURE.fullmatch(signature):
            raise ValueError
        json_object(decode_base64url(header))
        return json_object(decode_base64url(claims))
    except ValueError:  # As are `EncodingError` and `NotJson`.
        raise Refusal(Reason.REGISTRY_RESPONSE_INVALID, "The registry sent a token that is not a JWT.") from None


def expiry(claims: Mapping[str, Any], now: float) -> float:
    """Return `exp`, which must lie in the future. Raises `Refusal` with `registry_response_invalid`."""
    value = claims.get("exp")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not now < value < now + _LONGEST_LIFE_SECONDS:
        raise Refusal(Reason.REGISTRY_RESPONSE_INVALID, "The registry sent a token that has no usable expiry.")
    return float(value)


def check(token: str, *, scopes: Iterable[Scope], audiences: Iterable[str], now: float) -> VendedToken:
    """Compare what a token allows with what was decided; accept it only if they are equal.

    `audiences` are the names that the registry goes by. Raises `Refusal` with `registry_response_invalid`,
    `registry_grant_wider`, `registry_grant_narrower` with the missing scopes, or `too_many_scopes` for a token that no
    client can use.
    """
    claims = decode(token)
    expires_at = expiry(claims, now)
    if not isinstance(claims.get("aud"), str) or claims["aud"] not in set(audiences):
        raise Refusal(Reason.REGISTRY_RESPONSE_INVALID, "The registry sent a token for another audience.")
    asked = frozenset(pair for scope in scopes for pair in _pairs(scope))
    granted = allowed(claims.get("access"))
    if granted - asked:
        raise GrantWider(granted - asked)
    if asked - granted:
        raise _narrower(asked - granted)
    token_id = claims.get("jti")
    if not isinstance(token_id, str) or not token_id:
        raise Refusal(Reason.REGISTRY_RESPONSE_INVALID, "The registry sent a token without an id.")
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise Refusal(
            Reason.TOO_MANY_SCOPES,
            f"The token for these scopes has {len(token)} characters, and registries take at most "
            f"{MAX_TOKEN_CHARACTERS} in a header; ask for fewer repositories in one request.",
        )
    return VendedToken(token, token_id, expires_at)


def allowed(access: object) -> frozenset[Pair]:
    """Read an `access` claim as a set of pairs. Key case does not matter (ACR writes both), null is an empty list.

    Raises `Refusal` with `registry_response_invalid` for any other shape: what cannot be read cannot be compared.
    """
    if access is None:
        return frozenset()
    if not isinstance(access, list):
        raise _unreadable()
    pairs: set[Pair] = set()
    for entry in access:
        if not isinstance(entry, dict):
            raise _unreadable()
        members = present(entry)
        lowered = {str(key).lower(): value for key, value in members.items()}
        kind, name, actions = lowered.get("type"), lowered.get("name"), lowered.get("actions")
        if len(lowered) != len(members) or not isinstance(kind, str) or not isinstance(name, str):
            raise _unreadable()
        if actions is None:
            continue
        if not isinstance(actions, list):
            raise _unreadable()
        if not all(isinstance(action, str) for action in actions):
            raise _unreadable()
        pairs.update((kind, name, action) for action in actions)
    return frozenset(pairs)


def _pairs(scope: Scope) -> Iterable[Pair]:
    return ((scope.type, scope.name, action) for action in scope.actions)


def _unreadable() -> Refusal:
    return Refusal(Reason.REGISTRY_RESPONSE_INVALID, "The registry sent a token whose access claim cannot be read.")


def _narrower(lacking: frozenset[Pair]) -> Refusal:
    names = sorted({(kind, name) for kind, name, _ in lacking})
    missing = tuple(
        CATALOG if kind == CATALOG.type else repository(name, [a for k, n, a in lacking if (k, n) == (kind, name)])
        for kind, name in names
    )
    actions = [action for action in (*ACTIONS, CATALOG_ACTION) if any(action == pair[2] for pair in lacking)]
    named = ", ".join("the catalog" if action == CATALOG_ACTION else action for action in actions)
    return Refusal(
        Reason.REGISTRY_GRANT_NARROWER,
        f"The policy grants this, but the registry did not allow {named}; the operator must give the service's "
        f"identity the role {roles_for(actions)}.",
        missing=tuple(str(scope) for scope in missing),
    )
