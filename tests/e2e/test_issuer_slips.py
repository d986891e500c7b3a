"""An issuer that misses the policy's by a slip, and one in plain http whose keys the policy holds."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from devstack import plain
from devstack.issuer.claims import shape_of
from devstack.stack import Stack
from vending.refusal_log import FIRST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from devstack.stack import Upstreams

AUDIENCE = "https://vend.contoso.example"
INNER = "http://gitlab.inner.example"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"


def _policy(upstreams: Upstreams) -> str:
    issuer = {"preset": "gitlab", "issuer": INNER, "jwks": upstreams.issuers.gitlab.jwks()}
    grant = {"registry": "prod", "repositories": ["server"], "actions": ["pull"]}
    document = {
        "version": 1,
        "audience": AUDIENCE,
        "registries": {"prod": {"login_server": upstreams.registry.login_server}},
        "issuers": {"inner": issuer},
        "rules": [{"name": "server", "issuer": "inner", "when": {"project_id": "4200"}, "grant": [grant]}],
    }
    return json.dumps(document)


@pytest.fixture(scope="module")
def inner(upstreams: Upstreams) -> Iterator[Stack]:
    with Stack(upstreams, policy=_policy) as stack:
        yield stack


def _ask(stack: Stack, iss: str) -> dict[str, Any]:
    token = stack.issuers.gitlab.mint(shape_of("gitlab")(iss, AUDIENCE))
    data = {"grant_type": EXCHANGE, "subject_token": token, "scope": "repository:server:pull"}
    answer: dict[str, Any] = plain.post(f"{stack.url}/token", data=data).json()
    return answer


def test_an_issuer_in_plain_http_whose_keys_the_policy_holds_vends(inner: Stack) -> None:
    assert _ask(inner, INNER)["rules"] == ["server"]


def test_the_log_shows_both_strings_where_an_issuer_differs_by_a_slip_and_the_caller_hears_of_neither(
    inner: Stack,
) -> None:
    told = _ask(inner, f"{INNER}/")
    assert told["reason"] == "issuer_unknown"
    assert told["error_description"] == f"The issuer {INNER}/ is not one that the policy lists."
    wanted = {
        "event": "issuer_near_miss",
        "issuer": "inner",
        "token": f"{INNER}/",
        "policy": INNER,
        "difference": "the token's ends with a slash",
        "count": 1,
    }
    deadline = time.monotonic() + 30
    while json.dumps(wanted) not in inner.host.log:
        assert time.monotonic() < deadline, inner.host.log
        time.sleep(0.05)


def test_a_flood_of_slips_is_counted(inner: Stack) -> None:
    for _ in range(2 * FIRST):
        assert _ask(inner, f"{INNER}/")["reason"] == "issuer_unknown"
    assert inner.host.log.count('"issuer_near_miss"') == FIRST


def test_an_issuer_of_somebody_else_is_not_written_down(inner: Stack) -> None:
    assert _ask(inner, "https://somebody.example")["reason"] == "issuer_unknown"
    assert "somebody.example" not in "".join(line for line in inner.host.log.splitlines() if "issuer_near_miss" in line)
