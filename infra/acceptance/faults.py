"""What goes wrong upstream, brought about from outside: by a policy that names what is not there, and by tokens of an
issuer of the run's own, whose keys that policy holds. Each fault has an answer and, for some, an operations event.
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Answer = tuple[int, dict[str, Any]]
OWN = "https://own.accept.example"
ABSENT = "https://absent.accept.invalid"
NOWHERE_IDENTITY = "00000000-0000-4000-8000-000000000000"
LIFETIME = 300

# Every event of docs/operations.md that these faults, the policy's uploads or the first request bring about …
EVENTS = (
    "started",
    "policy_loaded",
    "policy_reload_failed",
    "request_refused",
    "issuer_near_miss",
    "issuer_trouble",
    "identity_failed",
    "registry_refused",
    "registry_unreachable",
)
# … and every other one, with the obstacle.
EVENTS_NOT_PROVOKED = {
    "records_lost": "a thousand records would have to come while no request does",
    "replay_store_is_per_process": "the replay store would have to be another one; a start says so",
    "loopback_allowed": "the setting stops the start on Flex Consumption",
    "issuer_recovered": "an issuer would have to fail and come back",
    "registry_failed": "ACR would have to fail",
    "renewal_failed": "Entra ID would have to fail an hour after it worked",
    "replay_store_failed": "storage would have to fail",
    "replay_store_refused": "the table or the role would have to be taken away; roles take minutes to change",
    "replay_purge_failed": "storage would have to fail",
    "claim_not_given_back": "storage would have to fail between two calls of one request",
    "misconfigured": "the app would have to be deployed with a wrong setting",
    "internal_error": "it would be a bug",
}


def part(value: Mapping[str, Any] | bytes) -> str:
    """Encode one part of a token."""
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def forged(claims: Mapping[str, Any], **header: str) -> str:
    """Make a token that nobody signed."""
    return f"{part({'alg': 'RS256', 'kid': 'none', **header})}.{part(claims)}.{part(b'nothing')}"


@dataclass
class OwnIssuer:
    """An issuer without a server: its one public key is in the policy."""

    key: Any = field(init=False)
    algorithm: str = "ES256"
    kid: str = "accept"

    def __post_init__(self) -> None:
        from cryptography.hazmat.primitives.asymmetric import ec

        self.key = ec.generate_private_key(ec.SECP256R1())

    def jwks(self) -> dict[str, Any]:
        numbers = self.key.public_key().public_numbers()
        point = {name: part(value.to_bytes(32, "big")) for name, value in (("x", numbers.x), ("y", numbers.y))}
        key = {"kty": "EC", "crv": "P-256", "kid": self.kid, "alg": self.algorithm, "use": "sig", **point}
        return {"keys": [key]}

    def token(self, audience: str, *, kid: str = "", without: str = "", **claims: Any) -> str:
        """Sign a token that is right but for what is named."""
        import jwt

        now = int(time.time())
        right = {"iss": OWN, "aud": audience, "sub": "accept", "iat": now, "exp": now + LIFETIME}
        body = {name: value for name, value in {**right, "jti": str(uuid.uuid4()), **claims}.items() if name != without}
        text: str = jwt.encode(body, self.key, algorithm=self.algorithm, headers={"kid": kid or self.kid})
        return text


def with_faults(document: dict[str, Any], own: OwnIssuer, nowhere: str) -> dict[str, Any]:
    """Add to a policy what is not there: a registry, an identity, an issuer; and the issuer of the run's own."""
    registries = {
        **document["registries"],
        "nowhere": {"login_server": nowhere},
        "stranger": {"login_server": "acceptstranger.azurecr.io", "identity": "stranger"},
    }
    generic = {"preset": "generic", "algorithms": [own.algorithm], "max_token_lifetime": "10m"}
    issuers = {
        **document["issuers"],
        "own": {**generic, "issuer": OWN, "jwks": own.jwks(), "identity_claims": ["sub"]},
        "absent": {**generic, "issuer": ABSENT, "identity_claims": ["sub"]},
    }
    grant = [
        {"registry": name, "repositories": ["accept/*"], "actions": ["pull"]}
        for name in ("prod", "nowhere", "stranger")
    ]
    rule = {"name": "own", "issuer": "own", "when": {"sub": "accept"}, "grant": grant}
    stranger = {"type": "managed_identity", "client_id": NOWHERE_IDENTITY}
    return {
        **document,
        "identities": {**document.get("identities", {}), "stranger": stranger},
        "registries": registries,
        "issuers": issuers,
        "rules": [*document["rules"], rule],
    }


Vend = Callable[..., Answer]


def faults(vend: Vend, own: OwnIssuer, audience: str, github: str) -> list[tuple[set[str], Answer]]:
    """Bring about every fault by `vend(token, scope, **form)`: the reasons that may be given for it, and what came."""
    scope, now = "repository:accept/image:pull", int(time.time())
    right = {"iss": OWN, "aud": audience, "sub": "accept", "iat": now, "exp": now + LIFETIME}

    def ask(token: str, registry: str = "prod", wanted: str | None = scope) -> Answer:
        return vend(token, wanted, audience=registry)

    return [
        ({"registry_required"}, vend(own.token(audience), scope)),
        ({"registry_unavailable"}, ask(own.token(audience), "nowhere")),
        ({"identity_unavailable", "identity_refused"}, ask(own.token(audience), "stranger")),
        ({"issuer_keys_unavailable"}, ask(forged({**right, "iss": ABSENT}, alg=own.algorithm))),
        ({"issuer_unknown"}, ask(forged({**right, "iss": f"{github}/"}))),
        ({"algorithm_not_allowed"}, ask(forged(right, alg="HS256", kid=own.kid))),
        ({"key_unknown"}, ask(own.token(audience, kid="another"))),
        ({"token_expired"}, ask(own.token(audience, iat=now - 2 * LIFETIME, exp=now - LIFETIME))),
        ({"token_not_yet_valid"}, ask(own.token(audience, nbf=now + LIFETIME))),
        ({"token_lifetime_too_long"}, ask(own.token(audience, exp=now + 86_400))),
        ({"claim_missing"}, ask(own.token(audience, without="exp"))),
        ({"claim_invalid"}, ask(own.token(audience, exp="tomorrow"))),
        ({"no_matching_rule"}, ask(own.token(audience, sub="stranger"))),
        ({"scope_not_enumerable"}, ask(own.token(audience), wanted=None)),
    ]


def with_little_patience(document: dict[str, Any], own: OwnIssuer, nowhere: str) -> dict[str, Any]:
    """Give every caller one request a minute."""
    return {**with_faults(document, own, nowhere), "limits": {"requests_per_minute": 1}}


def with_arm_tokens(document: dict[str, Any]) -> dict[str, Any]:
    """Have the service show the registry a token for Azure Resource Manager, which a created registry refuses."""
    prod = {**document["registries"]["prod"], "token_audience": "https://management.azure.com"}
    return {**document, "registries": {**document["registries"], "prod": prod}}
