"""An Entra tenant as far as tokens go: it mints what a managed identity or an app would hold, and checks it again.

It serves nothing itself: the identity endpoint, the authority and the registry of the local stack share one tenant.
"""

import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import jwt

from devstack.keys import SigningKey, encode

TENANT_ID = "72f988bf-86f1-41af-91ab-2d7cd0110001"
ACR_AUDIENCE = "https://containerregistry.azure.net"
ARM_AUDIENCES = frozenset({"https://management.azure.com", "https://management.core.windows.net"})

_MANAGED_IDENTITY_LIFETIME = 24 * 3600
_BACKDATED = 300
"""Entra's `iat` and `nbf` lie five minutes in the past."""


@dataclass(frozen=True)
class Tenant:
    """A tenant with the key that signs its tokens."""

    tenant_id: str = TENANT_ID
    key: SigningKey = field(default_factory=SigningKey.generate)

    @property
    def issuer(self) -> str:
        """The `iss` of version 1 tokens, which managed identities get."""
        return f"https://sts.windows.net/{self.tenant_id}/"

    @property
    def issuer_v2(self) -> str:
        """The `iss` that a federated credential for a managed identity names."""
        return f"https://login.microsoftonline.com/{self.tenant_id}/v2.0"

    def token(
        self,
        object_id: str,
        client_id: str,
        audience: str,
        *,
        lifetime: float = _MANAGED_IDENTITY_LIFETIME,
        **more: Any,
    ) -> str:
        """Mint an app-only access token for `audience`; `lifetime` is in seconds from now."""
        now = int(time.time())
        for_exchange = audience.startswith("api://AzureADTokenExchange")
        claims = {
            "aud": audience,
            "iss": self.issuer_v2 if for_exchange else self.issuer,
            "iat": now - _BACKDATED,
            "nbf": now - _BACKDATED,
            "exp": int(now + lifetime),
            "appid": client_id,
            "appidacr": "2",
            "idp": self.issuer,
            "idtyp": "app",
            "oid": object_id,
            "sub": object_id,
            "tid": self.tenant_id,
            "uti": uuid.uuid4().hex,
            "ver": "2.0" if for_exchange else "1.0",
            **more,
        }
        return encode(claims, self.key)

    def verify(self, token: str) -> dict[str, Any]:
        """Return the claims of one of this tenant's own tokens; the audience is the caller's to judge.

        Raise jwt.InvalidTokenError for any other token.
        """
        decoded: dict[str, Any] = jwt.decode(
            token,
            self.key.public,
            algorithms=["RS256"],
            options={"verify_aud": False, "require": ["aud", "iss", "exp", "oid"]},
        )
        return decoded
