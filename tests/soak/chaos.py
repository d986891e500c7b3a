"""Make upstreams fail at random and heal again, and let issuers change their keys. Knows nothing of the load."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from devstack.faults import Fault, FaultBoard
from devstack.stack import Upstreams

FAULTS = {
    "reset": Fault(reset=True),
    "slow": Fault(delay=1.5),
    "silent": Fault(delay=30),
    "dripping": Fault(drip=0.02),
    "400": Fault(status=400),
    "401": Fault(status=401),
    "403": Fault(status=403),
    "404": Fault(status=404),
    "429": Fault(status=429),
    "429 for a second": Fault(status=429, headers={"Retry-After": "1"}),
    "429 for long": Fault(status=429, headers={"Retry-After": "6"}),
    "500": Fault(status=500),
    "503": Fault(status=503),
    "HTML": Fault(body=b"<html>"),
    "empty": Fault(status=200, body=b""),
    "cut JSON": Fault(body=b'{"access_token": "e'),
    "cut body": Fault(truncate=True),
    "wrong types": Fault(body=b'{"access_token": 1, "refresh_token": [], "keys": {}, "issuer": 0}'),
    "huge": Fault(stream_bytes=1024 * 1024),
}

_WIDE_SECONDS = 0.5


@dataclass
class Chaos:
    """Spoil one endpoint after another. `done` counts what was done."""

    upstreams: Upstreams
    random: Random
    done: Counter[str] = field(default_factory=Counter)
    policies: list[str] = field(default_factory=list)
    """The digests of those that were written."""

    @property
    def _places(self) -> list[tuple[str, FaultBoard, str]]:
        up = self.upstreams
        issuers = [("github", up.issuers.github), ("gitlab", up.issuers.gitlab), ("cluster", up.issuers.cluster)]
        return [
            ("identity", up.identity.board, "token"),
            ("exchange", up.registry.board, "exchange"),
            ("token", up.registry.board, "token"),
            *((f"{name} {what}", issuer.board, what) for name, issuer in issuers for what in ("discovery", "jwks")),
        ]

    async def spoil(self) -> None:
        """Let one endpoint at a time fail for a moment, with pauses in which all is well."""
        while True:
            await asyncio.sleep(self.random.uniform(0.5, 2.0))
            place, board, endpoint = self.random.choice(self._places)
            fault = self.random.choice(list(FAULTS))
            board.set(endpoint, FAULTS[fault])
            self.done[f"{place}: {fault}"] += 1
            await asyncio.sleep(self.random.uniform(0.2, 1.5))
            board.clear(endpoint)

    async def rotate(self, every: float) -> None:
        """Change the keys of one issuer after another; an issuer's turn comes again after more than a minute."""
        issuers = self.upstreams.issuers
        while True:
            for issuer in (issuers.github, issuers.gitlab, issuers.cluster):
                await asyncio.sleep(every)
                await asyncio.to_thread(issuer.rotate)
                self.done["key rotation"] += 1
            self.upstreams.registry.tokens.revoke_refresh_tokens()
            self.done["refresh tokens revoked"] += 1

    async def reload(self, write: Callable[[str], None], policy: str, every: float) -> None:
        """Replace the policy by one that decides the same."""
        while True:
            await asyncio.sleep(every)
            text = f"{policy}\n# version {self.done['policy']}\n"
            write(text)
            self.policies.append(hashlib.sha256(text.encode()).hexdigest())
            self.done["policy"] += 1

    async def widen(self, every: float) -> None:
        """Let the registry grant more than it was asked for, for a moment."""
        tokens = self.upstreams.registry.tokens
        while True:
            await asyncio.sleep(every)
            tokens.tamper = _wider
            self.done["wider grants"] += 1
            await asyncio.sleep(_WIDE_SECONDS)
            tokens.tamper = None


def _wider(claims: dict[str, Any]) -> dict[str, Any]:
    more = [{**entry, "actions": sorted({*entry["actions"], "delete"})} for entry in claims["access"]]
    return {**claims, "access": more}
