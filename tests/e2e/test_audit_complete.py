"""Everything that a vended token allows is in its audit event, or the token is not vended."""

from __future__ import annotations

import pytest

from devstack.issuer.server import IssuerServer
from devstack.stack import Stack, Upstreams
from tests.support.caller import exchange, reason, vend

pytestmark = pytest.mark.e2e

POLICY = """\
version: 1
audience: {audience}
registries:
  prod: {{login_server: "{login_server}"}}
issuers:
  github: {{preset: github, issuer: "{issuer}"}}
rules:
  - name: ci
    issuer: github
    when: {{repository_id: "123456"}}
    grant:
      - {{registry: prod, repositories: ["ci/**", {names}], actions: [push]}}
limits: {{max_scopes: 128}}
"""


def policy(upstreams: Upstreams, names: int) -> str:
    return POLICY.format(
        audience=upstreams.audience,
        login_server=upstreams.registry.login_server,
        issuer=upstreams.issuers.github.url,
        names=", ".join(f"listed/name-{number}" for number in range(names)),
    )


def granted(stack: Stack) -> list[str]:
    import json

    lines = [line for line in stack.host.log.splitlines() if '"kind": "token"' in line]
    events = [json.loads(line[line.index("{") :]) for line in lines]
    return [scope for event in events if event["outcome"] == "allow" for scope in event["granted"]]


def test_long_names_cannot_push_a_repository_out_of_the_event(upstreams: Upstreams, issuers: IssuerServer) -> None:
    with Stack(upstreams, policy=policy(upstreams, 1)) as own:
        long = [f"repository:ci/{number:03}{'x' * 240}:push" for number in range(127)]
        answer = exchange(own.url, issuers.github.token(), scope=" ".join([*long, "repository:ci/victim:push"]))
        assert (answer.status_code, reason(answer)) == (400, "too_many_scopes")
        refused = [*long[:80], "repository:ci/victim:push"]
        # A token that names all of these is longer than any client's header.
        assert reason(exchange(own.url, issuers.github.token(), scope=" ".join(refused))) == "too_many_scopes"
        fewer = [*long[:10], "repository:ci/victim:push"]
        vend(own.url, issuers.github.token(), scope=" ".join(fewer))
        assert granted(own) == fewer


def test_request_without_scope_is_named_in_full_or_refused(upstreams: Upstreams, issuers: IssuerServer) -> None:
    with Stack(upstreams, policy=policy(upstreams, 40)) as own:
        scope = vend(own.url, issuers.github.token())["scope"]
        assert granted(own) == scope.split(" ")
        assert len(granted(own)) == 40
    with Stack(upstreams, policy=policy(upstreams, 129)) as own:
        assert reason(exchange(own.url, issuers.github.token())) == "too_many_scopes"
