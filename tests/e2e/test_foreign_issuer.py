"""An issuer that this project did not write: npm's oauth2-mock-server, GitHub-shaped, through a key rotation."""

from __future__ import annotations

import json
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devstack import tools
from devstack.stack import Stack, Upstreams
from tests.support.caller import vend

pytestmark = pytest.mark.e2e

SCRIPT = Path(__file__).parent.parent / "support" / "foreign" / "issuer.mjs"

POLICY = """\
version: 1
audience: {audience}
registries:
  prod: {{login_server: "{login_server}"}}
issuers:
  github: {{preset: github, issuer: "{issuer}"}}
rules:
  - name: web
    issuer: github
    when: {{repository_id: "123456"}}
    grant:
      - {{registry: prod, repositories: [web/api], actions: [pull, push]}}
"""


class ForeignIssuer:
    """Drive the server over its standard streams."""

    def __init__(self) -> None:
        node = tools.ensure(tools.NODE)
        tools.ensure(tools.OAUTH2_MOCK_SERVER)
        anchor = tools.npm_root(tools.OAUTH2_MOCK_SERVER) / "package.json"
        self._process = subprocess.Popen(
            [node, SCRIPT, anchor], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.url: str = self._read()["url"]

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def ask(self, **command: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._read()

    def token(self, audience: str, kid: str | None = None) -> str:
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": audience,
            "sub": "repo:contoso/web:ref:refs/heads/main",
            "iat": now,
            "nbf": now - 600,
            "exp": now + 300,
            "jti": str(uuid.uuid4()),
            "repository": "contoso/web",
            "repository_id": "123456",
            "repository_owner_id": "9919",
            "ref": "refs/heads/main",
        }
        return str(self.ask(claims=claims, kid=kid)["token"])

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()


@pytest.fixture
def foreign() -> Iterator[ForeignIssuer]:
    issuer = ForeignIssuer()
    yield issuer
    issuer.close()


def test_a_foreign_issuers_tokens_are_good_before_and_after_a_rotation(
    upstreams: Upstreams, foreign: ForeignIssuer
) -> None:
    policy = POLICY.format(
        audience=upstreams.audience, login_server=upstreams.registry.login_server, issuer=foreign.url
    )
    scope = "repository:web/api:pull,push"
    with Stack(upstreams, policy=policy) as own:
        assert vend(own.url, foreign.token(own.audience), scope=scope)["rules"] == ["web"]
        fresh = foreign.ask(rotate=True)["kid"]
        assert vend(own.url, foreign.token(own.audience, kid=fresh), scope=scope)["rules"] == ["web"]
