"""A CI job's token goes in over HTTP, a token that a real registry honours comes out, or a refusal says why not."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from devstack.issuer.server import IssuerServer
from devstack.registry.images import Image
from devstack.registry.server import Registry
from devstack.stack import Stack
from tests.support import skopeo
from tests.support.caller import exchange, reason, vend

pytestmark = pytest.mark.e2e

PUSH = "repository:web/api:pull,push"


@pytest.fixture
def layout(tmp_path: Path) -> str:
    return Image.containing("hello").write_layout(tmp_path / "image")


def access(token: str) -> list[Any]:
    claims = jwt.decode(token, options={"verify_signature": False})
    return [
        (entry["type"], entry["name"], entry["actions"])
        for entry in ({key.lower(): value for key, value in entry.items()} for entry in claims["access"])
    ]


def test_the_answer_has_what_a_client_needs(stack: Stack, issuers: IssuerServer, registry: Registry) -> None:
    answer = exchange(stack.url, issuers.github.token(), scope=PUSH)
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {
        "access_token",
        "issued_token_type",
        "token_type",
        "expires_in",
        "expires_at",
        "scope",
        "registry",
        "hosts",
        "username",
        "rules",
        "token_id",
        "request_id",
    }
    assert body["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token"
    assert body["token_type"] == "Bearer"
    assert body["scope"] == PUSH
    assert body["registry"] == registry.login_server
    assert body["hosts"] == [registry.login_server]
    assert body["username"] == "00000000-0000-0000-0000-000000000000"
    assert body["rules"] == ["web-release"]
    claims = jwt.decode(body["access_token"], options={"verify_signature": False})
    assert body["token_id"] == claims["jti"]
    assert access(body["access_token"]) == [("repository", "web/api", ["pull", "push"])]
    # ACR dates its tokens back by 15 minutes: what counts is the time that is left.
    assert abs(body["expires_in"] - (claims["exp"] - time.time())) < 30
    assert body["expires_at"] == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(claims["exp"]))
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-request-id"] == body["request_id"]


@pytest.mark.parametrize("basic", [False, True], ids=["bearer", "user name and password"])
def test_skopeo_pushes_and_pulls_with_a_vended_token(
    stack: Stack, issuers: IssuerServer, layout: str, tmp_path: Path, basic: bool
) -> None:
    vended = vend(stack.url, issuers.github.token(), scope=PUSH)
    image = f"{vended['registry']}/web/api:e2e-{basic}"
    pushed = skopeo.push(layout, image, token=vended["access_token"], basic=basic)
    assert pushed.ok, pushed.error
    pulled = skopeo.pull(image, f"oci:{tmp_path / 'pulled'}:latest", token=vended["access_token"], basic=basic)
    assert pulled.ok, pulled.error


@pytest.mark.parametrize("basic", [False, True], ids=["bearer", "user name and password"])
def test_the_registry_refuses_another_repository(stack: Stack, issuers: IssuerServer, layout: str, basic: bool) -> None:
    vended = vend(stack.url, issuers.github.token(), scope=PUSH)
    pushed = skopeo.push(layout, f"{vended['registry']}/web/other:1", token=vended["access_token"], basic=basic)
    assert not pushed.ok
    assert "denied" in pushed.error or "unauthorized" in pushed.error


@pytest.mark.parametrize("basic", [False, True], ids=["bearer", "user name and password"])
def test_the_registry_refuses_a_push_with_a_token_for_pulling(
    stack: Stack, issuers: IssuerServer, layout: str, basic: bool
) -> None:
    vended = vend(stack.url, issuers.github.token(event_name="pull_request"), scope="repository:web/api:pull")
    pushed = skopeo.push(layout, f"{vended['registry']}/web/api:2", token=vended["access_token"], basic=basic)
    assert not pushed.ok
    assert "denied" in pushed.error or "unauthorized" in pushed.error


def test_one_token_serves_several_repositories(stack: Stack, issuers: IssuerServer, layout: str) -> None:
    scope = "repository:web/api:pull,push repository:web/cache/linux:pull,push"
    vended = vend(stack.url, issuers.github.token(), scope=scope)
    assert vended["scope"] == scope
    for repository in ("web/api", "web/cache/linux"):
        pushed = skopeo.push(layout, f"{vended['registry']}/{repository}:several", token=vended["access_token"])
        assert pushed.ok, pushed.error


def test_without_a_scope_the_caller_gets_what_is_granted_by_name(stack: Stack, issuers: IssuerServer) -> None:
    vended = vend(stack.url, issuers.github.token())
    assert vended["scope"] == ("repository:web/api:pull,push,metadata_read repository:web/ui:pull,push,metadata_read")


def test_gitlab_and_kubernetes_tokens_are_good_too(stack: Stack, issuers: IssuerServer) -> None:
    assert vend(stack.url, issuers.gitlab.token())["rules"] == ["api-release"]
    pull = vend(stack.url, issuers.cluster.token(), scope="repository:api/server:pull")
    assert pull["rules"] == ["production-pulls"]


@pytest.mark.parametrize("named", ["audience", "login server", "resource", "resource with a slash", "both"])
def test_the_registry_can_be_named_in_every_way(
    stack: Stack, issuers: IssuerServer, registry: Registry, named: str
) -> None:
    parameters = {
        "audience": {"audience": "prod"},
        "login server": {"audience": registry.login_server},
        "resource": {"resource": f"https://{registry.login_server}"},
        "resource with a slash": {"resource": f"https://{registry.login_server}/"},
        "both": {"audience": "prod", "resource": f"https://{registry.login_server}"},
    }[named]
    assert vend(stack.url, issuers.gitlab.token(), **parameters)["registry"] == registry.login_server


REFUSED: list[tuple[str, dict[str, Any], dict[str, str], str]] = [
    ("expired", {"at": time.time() - 3600}, {}, "token_expired"),
    ("issued in the future", {"at": time.time() + 3600}, {}, "token_not_yet_valid"),
    ("another service's audience", {"audience": "https://other.example"}, {}, "audience_mismatch"),
    ("two audiences", {"audience": ["https://vend.contoso.example", "x"]}, {}, "audience_mismatch"),
    ("another repository's job", {"claims": {"repository_id": "1"}}, {}, "no_matching_rule"),
    ("another branch", {"claims": {"ref": "refs/heads/evil"}}, {}, "no_matching_rule"),
    ("pull_request_target", {"claims": {"event_name": "pull_request_target"}}, {}, "no_matching_rule"),
    ("beyond the policy", {}, {"scope": "repository:db/main:pull"}, "scope_not_granted"),
    ("an action beyond the policy", {}, {"scope": "repository:web/api:metadata_write"}, "scope_not_granted"),
    ("the catalog", {}, {"scope": "registry:catalog:*"}, "scope_not_granted"),
    ("an unknown registry", {}, {"audience": "staging"}, "unknown_registry"),
    ("an unknown host", {}, {"resource": "https://evil.azurecr.io"}, "unknown_registry"),
    ("a resource that is no URL", {}, {"resource": "prod"}, "unknown_registry"),
    ("a resource with a path", {}, {"resource": "https://evil/prod"}, "unknown_registry"),
]


@pytest.mark.parametrize(("token", "parameters", "expected"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_a_request_is_refused_with_its_reason(
    stack: Stack, issuers: IssuerServer, token: dict[str, Any], parameters: dict[str, str], expected: str
) -> None:
    answer = exchange(stack.url, issuers.github.token(**token), **{"scope": PUSH, **parameters})
    assert (answer.status_code, reason(answer)) == (400, expected)
    body = answer.json()
    assert set(body) - {"missing"} == {"error", "error_description", "reason", "request_id"}
    assert "access_token" not in answer.text


def test_an_issuer_that_the_policy_does_not_list_is_refused_without_a_call(stack: Stack, issuers: IssuerServer) -> None:
    before = issuers.other.board.requests.copy()
    answer = exchange(stack.url, issuers.other.token(), scope=PUSH)
    assert (answer.status_code, reason(answer)) == (400, "issuer_unknown")
    assert issuers.other.board.requests == before


def test_a_token_that_is_used_once_cannot_be_used_again(stack: Stack, issuers: IssuerServer) -> None:
    token = issuers.github.token()
    vend(stack.url, token, scope=PUSH)
    answer = exchange(stack.url, token, scope=PUSH)
    assert (answer.status_code, reason(answer)) == (400, "token_replayed")


def test_a_token_whose_request_failed_can_be_used_again(stack: Stack, issuers: IssuerServer) -> None:
    token = issuers.github.token()
    assert reason(exchange(stack.url, token, scope="repository:db/main:pull")) == "scope_not_granted"
    vend(stack.url, token, scope=PUSH)


def test_what_is_missing_is_named(stack: Stack, issuers: IssuerServer) -> None:
    answer = exchange(
        stack.url, issuers.github.token(), scope="repository:web/api:pull,metadata_write repository:db/main:pull"
    )
    assert answer.json()["missing"] == ["repository:web/api:metadata_write", "repository:db/main:pull"]


def test_a_deny_entry_is_named_as_the_cause_only_where_a_rule_would_grant(stack: Stack, issuers: IssuerServer) -> None:
    answer = exchange(stack.url, issuers.github.token(), scope="repository:web/api:delete")
    assert reason(answer) == "scope_not_granted"


def test_explain_says_what_would_happen_and_leaves_the_token_usable(stack: Stack, issuers: IssuerServer) -> None:
    token = issuers.github.token()
    body = exchange(stack.url, token, path="/explain", scope=PUSH).json()
    assert body["allowed"] is True
    assert body["scope"] == PUSH
    assert body["granted"] == [PUSH]
    assert body["missing"] == []
    assert {"name": "web-release", "matched": True, "failed_claims": []} in body["rules"]
    assert body["claims"]["repository_id"] == "123456"
    vend(stack.url, token, scope=PUSH)
    assert reason(exchange(stack.url, token, path="/explain", scope=PUSH)) == "token_replayed"


def test_explain_names_the_claims_that_failed_and_not_what_was_expected(stack: Stack, issuers: IssuerServer) -> None:
    token = issuers.github.token(ref="refs/heads/topic", event_name="push")
    answer = exchange(stack.url, token, path="/explain", scope=PUSH)
    body = answer.json()
    assert (answer.status_code, body["allowed"], body["reason"]) == (200, False, "no_matching_rule")
    assert {"name": "web-release", "matched": False, "failed_claims": ["ref"]} in body["rules"]
    assert "the rule web-release does not match because of ref (refs/heads/topic)" in body["error_description"]
    assert "refs/tags" not in answer.text
