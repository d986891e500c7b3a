"""Verify a peeked token against its issuer: algorithm, key, signature, claims, in this order. Knows no rules or rights.

The only module that makes `VerifiedClaims`.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from vending.errors import Reason, Refusal
from vending.oidc.claims import check_claims
from vending.oidc.key_cache import KeySets
from vending.oidc.signature import allowed_algorithm, check_signature, key_id
from vending.oidc.types import VerifiedClaims

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vending.clock import Clock
    from vending.http_client import Http
    from vending.oidc.types import Issuer, PeekedToken


class Verifier:
    """Turn peeked tokens into verified claims, with a cache of every issuer's keys. One for the life of the app."""

    def __init__(self, http: Http, clock: Clock, *, allow_loopback: bool) -> None:
        self._clock = clock
        self._keys = KeySets(http, clock, allow_loopback=allow_loopback)

    async def verify(
        self, token: PeekedToken, issuer: Issuer, meanwhile: Callable[[], object] | None = None
    ) -> VerifiedClaims:
        """Return the claims of a token that passes every check of `issuer`, the policy's entry for `token.issuer`.

        A disabled issuer, a refused algorithm and a missing key id are refused before any network call; claims are read
        only after the signature holds. `meanwhile` is called where this call, and not another, begins to
        fetch keys that it has to wait for. Raises a `Refusal` of the token, or `issuer_keys_unavailable`.
        """
        if not issuer.enabled:
            raise Refusal(Reason.ISSUER_DISABLED)
        algorithm = allowed_algorithm(token, issuer)
        key = await self._keys.find(issuer, key_id(token), algorithm, meanwhile)
        check_signature(token, algorithm, key)
        claims = token.unverified_claims  # Verified from here on: they were decoded from the bytes just checked.
        check_claims(claims, issuer, self._clock.now())
        return VerifiedClaims(issuer=issuer.name, claims=claims)

    def keep(self, issuers: Iterable[Issuer]) -> None:
        """Forget the keys of every issuer that the policy in force no longer has; call it when a policy is swapped."""
        self._keys.keep(issuers)

    def in_trouble(self, issuers: Iterable[Issuer]) -> list[str]:
        """Name those of the issuers whose keys could not be refreshed, or of whose keys none is usable."""
        return self._keys.in_trouble(issuers)

    def key_ages(self, issuers: Iterable[Issuer]) -> dict[str, float]:
        """Tell the age of each issuer's fetched keys, in seconds, by its name; those without any are left out."""
        return self._keys.ages(issuers)


def replay_key(issuer_url: str, jti: str) -> str:
    """Return the name under which one token counts as used: hexadecimal SHA-256 of `iss`, NUL and `jti`.

    Made of claims rather than of the token's bytes, so that a second valid signature over the same claims (ECDSA has
    one for free) is the same token.
    """
    return hashlib.sha256(f"{issuer_url}\0{jti}".encode()).hexdigest()
