"""The issuers publish and mint what CI systems do, and fail as told."""

import time
from typing import Any

import httpx
import jwt
import pytest

from devstack import plain
from devstack.faults import Fault
from devstack.issuer.server import AZURE_DEVOPS_AUDIENCE, DEFAULT_AUDIENCE, Issuer, IssuerServer
from devstack.keys import OMIT, SigningKey, encode, peek

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


def get(url: str) -> httpx.Response:
    return plain.get(url)


def verify(issuer: Issuer, token: str, audience: str = DEFAULT_AUDIENCE) -> dict[str, Any]:
    """Verify a token as any relying party would: discovery, key set, signature, registered claims."""
    document = get(f"{issuer.url}/.well-known/openid-configuration").json()
    key = jwt.PyJWKClient(document["jwks_uri"], cache_keys=False).get_signing_key_from_jwt(token)
    algorithms = document["id_token_signing_alg_values_supported"]
    decoded: dict[str, Any] = jwt.decode(
        token, key, algorithms=algorithms, audience=audience, issuer=document["issuer"]
    )
    return decoded


@pytest.mark.parametrize("name", ["github", "gitlab", "cluster", "azure-devops", "other"])
def test_token_is_verified_by_a_stock_client(issuers: IssuerServer, name: str) -> None:
    issuer = issuers.all[name]
    claims = verify(issuer, issuer.token())
    assert claims["iss"] == issuer.url
    assert claims["jti"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_asymmetric_algorithm_signs_and_is_published(algorithm: str) -> None:
    key = SigningKey.generate(algorithm, kid="one")
    token = encode({"sub": "x"}, key)
    assert jwt.decode(token, jwt.PyJWK(key.jwk()), algorithms=[algorithm]) == {"sub": "x"}


def test_shapes_are_those_of_the_providers(issuers: IssuerServer) -> None:
    github = peek(issuers.github.token())
    assert github["sub"] == "repo:contoso/web:ref:refs/heads/main"
    assert all(isinstance(github[name], str) for name in ("repository_id", "run_id", "ref_protected"))
    assert (github["exp"] - github["iat"], github["iat"] - github["nbf"]) == (300, 600)
    assert peek(issuers.github.token(environment="a:b"))["sub"] == "repo:contoso/web:environment:a%3Ab"
    assert peek(issuers.github.token(event_name="pull_request"))["sub"] == "repo:contoso/web:pull_request"
    gitlab = peek(issuers.gitlab.token())
    assert gitlab["sub"] == "project_path:contoso/api:ref_type:branch:ref:main"
    assert gitlab["ref_path"] == "refs/heads/main"
    cluster = peek(issuers.cluster.token(namespace="ns", service_account="sa"))
    assert cluster["sub"] == "system:serviceaccount:ns:sa"
    assert cluster["aud"] == [DEFAULT_AUDIENCE]
    assert cluster["kubernetes.io"]["serviceaccount"]["name"] == "sa"


def test_claims_headers_and_time_of_issue_can_be_anything(issuers: IssuerServer) -> None:
    token = issuers.github.token(
        "https://other.example",
        at=1000,
        claims={"a/b": None, "jti": OMIT},
        headers={"typ": OMIT, "crit": ["x"]},
        ref=7,
    )
    claims, header = peek(token), peek(token, "header")
    assert (claims["aud"], claims["iat"], claims["exp"]) == ("https://other.example", 1000, 1300)
    assert (claims["a/b"], claims["ref"]) == (None, 7)
    assert "jti" not in claims
    assert "typ" not in header
    assert header["crit"] == ["x"]
    assert peek(issuers.github.mint(b'{"raw": 1}')) == {"raw": 1}


def test_rotation_withdraws_the_old_key(issuers: IssuerServer) -> None:
    issuer = issuers.gitlab
    old = issuer.token()
    assert verify(issuer, old)
    first = issuer.key
    issuer.rotate()
    assert verify(issuer, issuer.token())
    with pytest.raises(jwt.PyJWKClientError):
        verify(issuer, old)
    issuer.publish(first.kid)
    assert verify(issuer, old)
    issuer.withdraw_key(first.kid)
    assert [key.kid for key in issuer.keys] == [issuer.key.kid]


def test_new_key_stands_beside_the_old_one(issuers: IssuerServer) -> None:
    issuer = issuers.other
    old = issuer.token()
    issuer.add_key("RS256", kid="named")
    new = issuer.token()
    assert peek(new, "header") == {"alg": "RS256", "typ": "JWT", "kid": "named"}
    assert verify(issuer, old)
    assert verify(issuer, new)
    secret = issuer.add_key(publish=False)
    assert secret.kid not in str(issuer.jwks())
    issuer.rotate()


def test_github_runner_hands_out_tokens_to_its_job_only(issuers: IssuerServer) -> None:
    env = issuers.github.job(ref="refs/tags/v1").github_env
    url = f"{env['ACTIONS_ID_TOKEN_REQUEST_URL']}&audience=https://x.example"
    headers = {"Authorization": f"bearer {env['ACTIONS_ID_TOKEN_REQUEST_TOKEN']}"}
    body = plain.get(url, headers=headers).json()
    assert body["count"] == len(body["value"])
    claims = verify(issuers.github, body["value"], "https://x.example")
    assert claims["ref"] == "refs/tags/v1"
    assert get(url).status_code == 401
    assert plain.get(url, headers={"Authorization": "bearer wrong"}).status_code == 401


def test_azure_devops_runner_knows_one_audience(issuers: IssuerServer) -> None:
    env = issuers.azure_devops.job().azure_devops_env
    url = f"{env['SYSTEM_OIDCREQUESTURI']}?api-version=7.1"
    headers = {"Authorization": f"Bearer {env['SYSTEM_ACCESSTOKEN']}"}
    token = plain.post(url, headers=headers).json()["oidcToken"]
    assert verify(issuers.azure_devops, token, AZURE_DEVOPS_AUDIENCE)["prj_id"]
    assert plain.post(url.partition("?")[0], headers=headers).status_code == 400
    assert plain.post(url).status_code == 401


def test_discovery_can_lie_and_key_sets_can_hold_rubbish(issuers: IssuerServer) -> None:
    issuer = issuers.other
    issuer.discovery_overrides = {"issuer": "https://evil.example"}
    issuer.extra_jwks = [{"kty": "oct", "k": "AA"}]
    try:
        document = get(f"{issuer.url}/.well-known/openid-configuration").json()
        assert document["issuer"] == "https://evil.example"
        assert {"kty": "oct", "k": "AA"} in get(document["jwks_uri"]).json()["keys"]
    finally:
        issuer.discovery_overrides = {}
        issuer.extra_jwks = []


def test_fault_of_one_issuer_leaves_the_others_alone(issuers: IssuerServer) -> None:
    issuers.github.board.set("jwks", Fault(status=500))
    jwks = issuers.github.discovery()["jwks_uri"]
    before = issuers.github.board.requests["jwks"]
    assert get(jwks).status_code == 500
    assert get(issuers.gitlab.discovery()["jwks_uri"]).status_code == 200
    issuers.github.board.clear("jwks")
    assert get(jwks).status_code == 200
    assert issuers.github.board.requests["jwks"] == before + 2


def test_slow_answer_drips(issuers: IssuerServer) -> None:
    issuers.github.board.set("discovery", Fault(drip=0.001), times=1)
    started = time.monotonic()
    document = get(f"{issuers.github.url}/.well-known/openid-configuration")
    assert time.monotonic() - started >= 0.001 * len(document.content)
    assert document.json()["issuer"] == issuers.github.url
