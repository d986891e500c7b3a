"""The emulated registry behaves as recorded and documented responses of Azure Container Registry do."""

import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from devstack import plain, tools
from devstack.entra.tenant import ACR_AUDIENCE, Tenant
from devstack.faults import Fault
from devstack.keys import OMIT, encode, libtrust_kid, peek
from devstack.registry.client import RegistryClient, RegistryRefused
from devstack.registry.distribution import ACTIONS, Scope, covers, parse_scopes
from devstack.registry.images import MANIFEST_TYPE, Image, digest_of
from devstack.registry.server import Registry
from devstack.registry.tokens import Rights
from devstack.serving import LoopThread
from devstack.stack import Upstreams
from tests.support.skopeo import NULL_GUID, pull, push, skopeo

OID = "0f000000-0000-4000-8000-00000000000d"
IMAGE = Image.containing("hello")


@pytest.fixture(scope="module", params=["docker-registry", "memory"])
def acr(request: pytest.FixtureRequest, upstreams: Upstreams) -> Iterator[Registry]:
    binary = tools.ensure(tools.DOCKER_REGISTRY) if request.param == "docker-registry" else None
    registry = Registry(upstreams.tenant, docker_registry=binary, tls=upstreams.ca.server_context())
    with registry.start(upstreams.loop):
        yield registry


@pytest.fixture(scope="module")
def light(upstreams: Upstreams) -> Iterator[Registry]:
    """A registry for the tests that store nothing."""
    with Registry(upstreams.tenant).start(upstreams.loop) as registry:
        yield registry


@pytest.fixture(autouse=True)
def _as_new(request: pytest.FixtureRequest) -> None:
    for name in ("acr", "light"):
        if name in request.fixturenames:
            registry: Registry = request.getfixturevalue(name)
            registry.heal()
            registry.tokens.rights.clear()
            registry.allow(OID)


def entra_token(registry: Registry, audience: str = ACR_AUDIENCE, *, oid: str = OID, **more: Any) -> str:
    return registry.tokens.tenant.token(oid, "app-id", audience, **more)


def exchange(registry: Registry, token: str | None = None, **form: str) -> httpx.Response:
    fields = {"grant_type": "access_token", "service": registry.login_server}
    fields["access_token"] = token or entra_token(registry)
    return plain.post(f"{registry.url}/oauth2/exchange", data=fields | form)


def token_request(registry: Registry, *scopes: str, refresh_token: str | None = None, **form: str) -> httpx.Response:
    fields: dict[str, Any] = {"grant_type": "refresh_token", "service": registry.login_server, "scope": list(scopes)}
    fields["refresh_token"] = refresh_token or exchange(registry).json()["refresh_token"]
    return plain.post(f"{registry.url}/oauth2/token", data=fields | form)


def vend(registry: Registry, *scopes: str) -> str:
    answer = token_request(registry, *scopes)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


def access_of(token: str) -> Any:
    return peek(token)["access"]


def basic(registry: Registry, password: str, *scopes: str, user: str = NULL_GUID) -> httpx.Response:
    params = {"service": registry.login_server, "scope": list(scopes)}
    return plain.get(f"{registry.url}/oauth2/token", params=params, auth=(user, password))


def first_error(response: httpx.Response) -> tuple[int, str, str]:
    entry = response.json()["errors"][0]
    return response.status_code, entry["code"], entry["message"]


class TestExchange:
    def test_answers_with_a_refresh_token_and_nothing_else(self, light: Registry) -> None:
        answer = exchange(light)
        assert answer.status_code == 200
        assert list(answer.json()) == ["refresh_token"]
        assert answer.headers["X-Ms-Correlation-Request-Id"]

    def test_refresh_token_is_back_dated_and_lives_three_hours_from_now(self, light: Registry) -> None:
        token = exchange(light).json()["refresh_token"]
        claims, header = peek(token), peek(token, "header")
        assert (claims["exp"] - claims["iat"], claims["nbf"]) == (11_700, claims["iat"])
        assert abs(claims["iat"] + 900 - time.time()) < 60
        assert (claims["aud"], claims["iss"], claims["sub"]) == (light.login_server, "Azure Container Registry", OID)
        assert (claims["grant_type"], claims["version"]) == ("refresh_token", "1.0")
        assert (header["alg"], header["kid"]) == ("RS256", libtrust_kid(light.tokens.key.public))
        assert [len(group) for group in header["kid"].split(":")] == [4] * 12

    def test_get_is_404(self, light: Registry) -> None:
        assert plain.get(f"{light.url}/oauth2/exchange").status_code == 404

    @pytest.mark.parametrize("audience", ["https://management.azure.com", "https://management.core.windows.net/"])
    def test_arm_token_is_taken_only_while_arm_audiences_are_allowed(self, light: Registry, audience: str) -> None:
        token = entra_token(light, audience)
        assert exchange(light, token).status_code == 200
        light.tokens.allow_arm_audience = False
        status, code, message = first_error(exchange(light, token))
        assert (status, code) == (401, "UNAUTHORIZED")
        assert "token validation failed" in message
        assert exchange(light).status_code == 200

    @pytest.mark.parametrize("audience", ["https://graph.microsoft.com", "https://contoso.azurecr.io"])
    def test_token_for_another_audience_is_refused(self, light: Registry, audience: str) -> None:
        assert exchange(light, entra_token(light, audience)).status_code == 401

    def test_token_of_another_tenant_key_is_refused(self, light: Registry) -> None:
        assert exchange(light, Tenant().token(OID, "app", ACR_AUDIENCE)).status_code == 401

    def test_expired_token_is_refused(self, light: Registry) -> None:
        assert exchange(light, entra_token(light, lifetime=-10)).status_code == 401

    def test_principal_without_a_role_is_refused(self, light: Registry) -> None:
        answer = exchange(light, entra_token(light, oid="somebody-else"))
        assert first_error(answer) == (401, "UNAUTHORIZED", "retrieving permissions failed")

    def test_abac_refresh_token_names_its_identity(self, light: Registry) -> None:
        assert "aad_identity" not in peek(exchange(light).json()["refresh_token"])
        light.tokens.mode = "abac"
        assert peek(exchange(light).json()["refresh_token"])["aad_identity"]["oid"] == OID

    @pytest.mark.parametrize("form", [{"service": "other.azurecr.io"}, {"grant_type": "password"}], ids=str)
    def test_wrong_form_is_400(self, light: Registry, form: dict[str, str]) -> None:
        assert exchange(light, **form).status_code == 400


class TestToken:
    def test_answers_with_an_access_token_and_nothing_else(self, light: Registry) -> None:
        answer = token_request(light, "repository:web/api:pull,push")
        assert list(answer.json()) == ["access_token"]
        claims = peek(answer.json()["access_token"])
        assert (claims["exp"] - claims["iat"], claims["nbf"]) == (4_500, claims["iat"])
        assert abs(claims["iat"] + 900 - time.time()) < 60
        assert (claims["version"], claims["grant_type"], claims["sub"]) == ("2.0", "access_token", OID)
        assert claims["access"] == [{"type": "repository", "name": "web/api", "actions": ["pull", "push"]}]

    def test_without_a_scope_it_is_an_empty_400(self, light: Registry) -> None:
        answer = token_request(light)
        assert (answer.status_code, answer.content) == (400, b"")

    @pytest.mark.parametrize(
        "scopes",
        [("repository:a:pull", "repository:b:push"), ("repository:a:pull repository:b:push",)],
        ids=["repeated", "space-delimited"],
    )
    def test_several_scopes_work_both_ways(self, light: Registry, scopes: tuple[str, ...]) -> None:
        assert [(entry["name"], entry["actions"]) for entry in access_of(vend(light, *scopes))] == [
            ("a", ["pull"]),
            ("b", ["push"]),
        ]

    def test_missing_rights_give_fewer_actions_and_200(self, light: Registry) -> None:
        light.allow(OID, Rights([("web/*", frozenset({"pull", "push"}))]))
        token = vend(light, "repository:web/api:pull,push,delete", "repository:api/x:pull", "registry:catalog:*")
        assert access_of(token) == [{"type": "repository", "name": "web/api", "actions": ["pull", "push"]}]

    @pytest.mark.parametrize(("style", "access"), [("list", []), ("null", None)])
    def test_no_rights_at_all_give_an_empty_access(self, light: Registry, style: Any, access: object) -> None:
        light.allow(OID, Rights([("web/*", frozenset({"pull"}))]))
        light.tokens.empty_access = style
        assert access_of(vend(light, "repository:api/x:pull")) == access

    def test_keys_of_access_may_be_capital(self, light: Registry) -> None:
        light.tokens.capital_keys = True
        assert access_of(vend(light, "repository:a:pull")) == [{"Type": "repository", "Name": "a", "Actions": ["pull"]}]

    @pytest.mark.parametrize("scope", ["repository:*:pull", "repository:*:*", "repository:web/api:*"])
    def test_wildcards_are_granted_in_classic_mode_and_refused_in_abac(self, light: Registry, scope: str) -> None:
        _, name, action = scope.split(":")
        assert access_of(vend(light, scope)) == [{"type": "repository", "name": name, "actions": [action]}]
        light.tokens.mode = "abac"
        assert token_request(light, scope).status_code == 401

    def test_change_of_mode_voids_older_refresh_tokens(self, light: Registry) -> None:
        old = exchange(light).json()["refresh_token"]
        light.tokens.mode = "abac"
        assert token_request(light, "repository:a:pull", refresh_token=old).status_code == 401
        assert token_request(light, "repository:a:pull").status_code == 200

    def test_revoked_refresh_token_is_refused(self, light: Registry) -> None:
        old = exchange(light).json()["refresh_token"]
        light.tokens.revoke_refresh_tokens()
        assert token_request(light, "repository:a:pull", refresh_token=old).status_code == 401

    @pytest.mark.parametrize("kind", ["access", "entra", "garbage"])
    def test_only_a_refresh_token_is_a_refresh_token(self, light: Registry, kind: str) -> None:
        tokens = {"access": vend(light, "repository:a:pull"), "entra": entra_token(light), "garbage": "x"}
        assert token_request(light, "repository:a:pull", refresh_token=tokens[kind]).status_code == 401

    def test_another_registrys_refresh_token_is_refused(self, light: Registry, acr: Registry) -> None:
        foreign = exchange(acr).json()["refresh_token"]
        assert token_request(light, "repository:a:pull", refresh_token=foreign).status_code == 401

    def test_tampering_changes_what_is_vended(self, light: Registry) -> None:
        light.tokens.tamper = lambda claims: claims | {"access": [], "exp": 1, "aud": "other", "extra": OMIT}
        claims = peek(vend(light, "repository:a:pull"))
        assert (claims["access"], claims["exp"], claims["aud"]) == ([], 1, "other")
        assert "extra" not in claims

    def test_anonymous_token_is_broad_short_and_capital(self, light: Registry) -> None:
        form = {"grant_type": "password", "refresh_token": ""}
        assert token_request(light, "repository:a:delete", **form).status_code == 401
        light.tokens.anonymous_pull = True
        claims = peek(token_request(light, "repository:a:delete", **form).json()["access_token"])
        assert claims["access"] == [{"Type": "repository", "Name": "*", "Actions": ["pull"]}]
        assert (claims["sub"], claims["exp"] - claims["iat"]) == ("acr_anon_pull", 1_200)


class TestBasicCredentials:
    """What docker clients do with the null GUID and a token."""

    @pytest.mark.parametrize("how", ["basic", "password grant"])
    def test_vended_token_is_traded_for_no_more_than_it_has(self, light: Registry, how: str) -> None:
        vended = vend(light, "repository:a:pull")
        asked = ("repository:a:pull,push", "repository:b:pull", "registry:catalog:*")
        if how == "basic":
            answer = basic(light, vended, *asked)
        else:
            form = {"grant_type": "password", "username": NULL_GUID, "password": vended}
            answer = token_request(light, *asked, **form)
        traded = answer.json()["access_token"]
        assert access_of(traded) == [{"type": "repository", "name": "a", "actions": ["pull"]}]
        assert peek(traded)["exp"] <= peek(vended)["exp"]

    def test_refresh_token_is_traded_for_what_the_identity_may(self, light: Registry) -> None:
        answer = basic(light, exchange(light).json()["refresh_token"], "repository:a:pull,push")
        assert access_of(answer.json()["access_token"])[0]["actions"] == ["pull", "push"]

    def test_login_check_without_a_scope_succeeds(self, light: Registry) -> None:
        assert access_of(basic(light, vend(light, "repository:a:pull")).json()["access_token"]) == []

    @pytest.mark.parametrize(
        ("user", "password"),
        [(NULL_GUID, "wrong"), ("admin", "wrong"), ("", "x")],
        ids=["not a token", "other user", "no user"],
    )
    def test_bad_credentials_are_refused(self, light: Registry, user: str, password: str) -> None:
        assert basic(light, password, "repository:a:pull", user=user).status_code == 401

    def test_entra_token_is_no_password(self, light: Registry) -> None:
        assert basic(light, entra_token(light), "repository:a:pull").status_code == 401

    def test_malformed_header_is_refused(self, light: Registry) -> None:
        headers = {"Authorization": "Basic " + base64.b64encode(b"\xff:x").decode()}
        url = f"{light.url}/oauth2/token?service={light.login_server}"
        assert plain.get(url, headers=headers).status_code == 401


class TestTrouble:
    def test_firewall_refuses_everything(self, light: Registry) -> None:
        light.firewalled = True
        for answer in (exchange(light, "x"), plain.get(f"{light.url}/v2/")):
            status, code, message = first_error(answer)
            assert (status, code) == (403, "DENIED")
            assert "client with IP '127.0.0.1' is not allowed access" in message

    def test_throttling_counts_down_and_passes(self, light: Registry) -> None:
        announced = []
        for seconds in (90, 60, 30):
            light.board.set("exchange", Fault.throttled(seconds))
            answer = exchange(light)
            assert answer.status_code == 429
            announced.append(int(answer.headers["Retry-After"]))
        assert 90 >= announced[0] > 60 >= announced[1] > 30 >= announced[2] > 0
        light.board.set("exchange", Fault.throttled(-1))
        answer = exchange(light)
        assert answer.status_code == 200

    @pytest.mark.parametrize(
        ("fault", "outcome"),
        [
            (Fault(reset=True), httpx.TransportError),
            (Fault(truncate=True), httpx.RemoteProtocolError),
            (Fault(status=500, body=b"oops"), 500),
            (Fault(status=401), 401),
            (Fault(body=b"<html>"), 200),
            (Fault(redirect="https://evil.example/"), 302),
            (Fault(stream_bytes=200_000), 200),
            (Fault(delay=0.01), 200),
        ],
        ids=["reset", "truncated", "500", "401", "not json", "redirect", "huge", "slow"],
    )
    def test_fault_happens_as_often_as_said_and_is_counted(
        self, light: Registry, fault: Fault, outcome: int | type[Exception]
    ) -> None:
        before = light.board.requests["exchange"]
        light.board.set("exchange", fault, times=1)
        if isinstance(outcome, int):
            assert exchange(light).status_code == outcome
        else:
            with pytest.raises(outcome):
                exchange(light)
        assert "refresh_token" in exchange(light).json()
        assert light.board.requests["exchange"] == before + 2


class TestChallenges:
    def _challenge(self, registry: Registry, method: str, path: str, token: str = "") -> str:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = plain.request(method, registry.url + path, headers=headers)
        assert answer.status_code == 401
        return answer.headers["WWW-Authenticate"]

    def test_root_challenge_has_no_scope(self, light: Registry) -> None:
        expected = f'Bearer realm="{light.url}/oauth2/token",service="{light.login_server}"'
        assert self._challenge(light, "GET", "/v2/") == expected

    @pytest.mark.parametrize(
        ("method", "path", "scope"),
        [
            ("GET", "/v2/web/api/manifests/1", "repository:web/api:pull"),
            ("HEAD", f"/v2/web/api/blobs/{digest_of(b'')}", "repository:web/api:pull"),
            ("GET", "/v2/web/api/tags/list", "repository:web/api:metadata_read"),
            ("PUT", "/v2/web/api/manifests/1", "repository:web/api:pull,push"),
            ("POST", "/v2/web/api/blobs/uploads/", "repository:web/api:pull,push"),
            (
                "POST",
                f"/v2/web/api/blobs/uploads/?mount={digest_of(b'')}&from=base/os",
                "repository:web/api:pull,push repository:base/os:pull",
            ),
            ("DELETE", "/v2/web/api/manifests/1", "repository:web/api:delete"),
            ("GET", "/v2/_catalog", "registry:catalog:*"),
            ("GET", "/acr/v1/_catalog", "registry:catalog:*"),
            ("GET", "/acr/v1/web/api", "repository:web/api:metadata_read"),
            ("PATCH", "/acr/v1/web/api", "repository:web/api:metadata_write"),
            ("DELETE", "/acr/v1/web/api", "repository:web/api:delete"),
        ],
    )
    def test_challenge_names_the_scope(self, light: Registry, method: str, path: str, scope: str) -> None:
        assert f'scope="{scope}"' in self._challenge(light, method, path)
        lesser = vend(light, "repository:web/api:push")
        assert self._challenge(light, method, path, lesser).endswith(f'scope="{scope}",error="insufficient_scope"')

    def test_bad_tokens_are_called_invalid(self, light: Registry) -> None:
        good = peek(vend(light, "repository:a:pull"))
        key = light.tokens.key
        bad = [
            "garbage",
            entra_token(light),
            encode(good | {"exp": 1}, key),
            encode(good | {"aud": "other"}, key),
            encode(good | {"iss": "other"}, key),
            encode(good | {"grant_type": "refresh_token"}, key),
            jwt.encode(good, "k" * 32, algorithm="HS256"),
        ]
        for token in bad:
            assert 'error="invalid_token"' in self._challenge(light, "GET", "/v2/", token)

    def test_path_outside_the_api_is_404(self, light: Registry) -> None:
        assert plain.get(f"{light.url}/v2/UPPER/manifests/1").status_code == 404


class TestStorage:
    """The same story against docker-registry and against the registry in memory."""

    def _client(self, registry: Registry, *scopes: str) -> RegistryClient:
        return RegistryClient(registry.url, vend(registry, *scopes))

    def test_push_and_pull(self, acr: Registry) -> None:
        client = self._client(acr, "repository:web/api:pull,push")
        assert client.push("web/api", "1", IMAGE) == IMAGE.digest
        assert client.pull("web/api", "1") == IMAGE
        assert client.pull("web/api", IMAGE.digest) == IMAGE

    def test_token_reaches_no_other_repository_and_no_other_action(self, acr: Registry) -> None:
        pusher = self._client(acr, "repository:web/api:pull,push")
        puller = self._client(acr, "repository:web/api:pull")
        for client, name in ((pusher, "web/other"), (puller, "web/api")):
            with pytest.raises(RegistryRefused) as refused:
                client.push(name, "2", Image.containing("other"))
            assert refused.value.status == 401
            assert "insufficient_scope" in refused.value.challenge

    def test_tags_are_listed_for_metadata_read_and_not_for_pull(self, acr: Registry) -> None:
        self._client(acr, "repository:web/tags:pull,push").push("web/tags", "1", IMAGE)
        assert self._client(acr, "repository:web/tags:metadata_read").tags("web/tags") == ["1"]
        with pytest.raises(RegistryRefused):
            self._client(acr, "repository:web/tags:pull").tags("web/tags")

    def test_wildcard_token_opens_every_repository(self, acr: Registry) -> None:
        client = self._client(acr, "repository:*:*")
        client.push("any/thing", "1", IMAGE)
        assert client.pull("any/thing", "1") == IMAGE
        assert client.tags("any/thing") == ["1"]

    def test_capital_access_keys_work_as_well(self, acr: Registry) -> None:
        acr.tokens.capital_keys = True
        assert self._client(acr, "repository:web/cap:pull,push").push("web/cap", "1", IMAGE)

    def test_catalog_and_delete(self, acr: Registry) -> None:
        client = self._client(acr, "repository:web/gone:pull,push,delete registry:catalog:*")
        client.push("web/gone", "1", IMAGE)
        assert "web/gone" in client.catalog()
        client.delete("web/gone", IMAGE.digest)
        with pytest.raises(RegistryRefused, match="404"):
            client.pull("web/gone", "1")

    def test_unknown_repository_gets_a_token_and_then_404(self, acr: Registry) -> None:
        with pytest.raises(RegistryRefused, match="404"):
            self._client(acr, "repository:no/such:pull").pull("no/such", "1")

    def test_mount_from_a_repository_outside_the_token_is_refused(self, acr: Registry) -> None:
        self._client(acr, "repository:base/os:pull,push").push("base/os", "1", IMAGE)
        path = f"{acr.url}/v2/web/mount/blobs/uploads/?mount={digest_of(IMAGE.layer)}&from=base/os"
        outcomes = []
        for scope in ("repository:web/mount:pull,push", "repository:web/mount:pull,push repository:base/os:pull"):
            headers = {"Authorization": f"Bearer {vend(acr, scope)}"}
            outcomes.append(plain.post(path, headers=headers).status_code)
        assert outcomes == [401, 201]

    def test_chunked_upload(self, acr: Registry) -> None:
        content = b"0123456789" * 1000
        headers = {"Authorization": f"Bearer {vend(acr, 'repository:web/chunks:pull,push')}"}
        with plain.Client(base_url=acr.url, headers=headers) as http:
            location = http.post("/v2/web/chunks/blobs/uploads/").headers["Location"]
            for start in range(0, len(content), 4000):
                chunk = content[start : start + 4000]
                span = {"Content-Range": f"{start}-{start + len(chunk) - 1}"}
                answer = http.patch(location, content=chunk, headers=span)
                assert (answer.status_code, answer.headers["Range"]) == (202, f"0-{start + len(chunk) - 1}")
                location = answer.headers["Location"]
            done = http.put(httpx.URL(location).copy_add_param("digest", digest_of(content)))
            assert done.status_code == 201
            assert http.get(f"/v2/web/chunks/blobs/{digest_of(content)}").content == content
            part = http.get(f"/v2/web/chunks/blobs/{digest_of(content)}", headers={"Range": "bytes=10-19"})
            assert (part.status_code, part.content) == (206, b"0123456789")
            assert part.headers["Content-Range"] == f"bytes 10-19/{len(content)}"
            wrong = http.post("/v2/web/chunks/blobs/uploads/").headers["Location"]
            assert http.put(httpx.URL(wrong).copy_add_param("digest", digest_of(b"other")), content=b"x").is_error

    def test_acrs_own_api(self, acr: Registry) -> None:
        scopes = "repository:web/own:pull,push,delete,metadata_read registry:catalog:*"
        token = vend(acr, scopes)
        RegistryClient(acr.url, token).push("web/own", "1", IMAGE)
        with plain.Client(base_url=f"{acr.url}/acr/v1", headers={"Authorization": f"Bearer {token}"}) as http:
            assert "web/own" in http.get("/_catalog").json()["repositories"]
            assert http.get("/web/own").json()["tagCount"] == 1
            assert http.get("/web/own/_tags").json()["tags"][0]["name"] == "1"
            assert http.get("/web/own/_manifests").json()["manifests"][0]["digest"] == IMAGE.digest
            assert http.delete("/web/own").status_code == 202
            missing = http.get("/web/own")
        assert first_error(missing)[:2] == (404, "NAME_UNKNOWN")

    def test_tls_listener_is_the_same_registry(self, acr: Registry, upstreams: Upstreams) -> None:
        self._client(acr, "repository:web/tls:pull,push").push("web/tls", "1", IMAGE)
        context = upstreams.ca.client_context()
        challenge = httpx.get(f"{acr.tls_url}/v2/", verify=context, trust_env=False).headers["WWW-Authenticate"]
        assert f'realm="{acr.tls_url}/oauth2/token",service="{acr.login_server}"' in challenge
        headers = {"Authorization": f"Bearer {vend(acr, 'repository:web/tls:pull')}", "Accept": MANIFEST_TYPE}
        url = f"{acr.tls_url}/v2/web/tls/manifests/1"
        assert httpx.get(url, headers=headers, verify=context, trust_env=False).content == IMAGE.manifest

    @pytest.mark.parametrize("basic", [False, True], ids=["bearer", "basic"])
    def test_skopeo_pushes_and_pulls_within_the_token_only(self, acr: Registry, tmp_path: Path, basic: bool) -> None:
        source = IMAGE.write_layout(tmp_path / "source")
        name = f"team/{'basic' if basic else 'bearer'}"
        token = vend(acr, f"repository:{name}:pull,push")
        assert push(source, f"{acr.login_server}/{name}:1", token=token, basic=basic).ok
        assert pull(f"{acr.login_server}/{name}:1", f"oci:{tmp_path}/copy:latest", token=token, basic=basic).ok
        assert "denied" in push(source, f"{acr.login_server}/team/other:1", token=token, basic=basic).error
        pull_only = vend(acr, f"repository:{name}:pull")
        assert not push(source, f"{acr.login_server}/{name}:2", token=pull_only, basic=basic).ok
        assert pull(f"{acr.login_server}/{name}:1", f"oci:{tmp_path}/again:latest", token=pull_only, basic=basic).ok

    def test_skopeo_lists_tags_with_a_refresh_token_over_tls(
        self, acr: Registry, upstreams: Upstreams, tmp_path: Path
    ) -> None:
        source = IMAGE.write_layout(tmp_path / "source")
        target = f"{acr.tls_url.removeprefix('https://')}/team/tls"
        certificates = ["--dest-cert-dir", str(upstreams.ca.ca_file.parent)]
        credentials = f"{NULL_GUID}:{exchange(acr).json()['refresh_token']}"
        assert skopeo("copy", "-q", *certificates, "--dest-creds", credentials, source, f"docker://{target}:1").ok
        listed = skopeo("list-tags", "--cert-dir", certificates[1], "--creds", credentials, f"docker://{target}")
        assert '"1"' in listed.output


def test_scopes_are_parsed_and_compared() -> None:
    assert parse_scopes(["repository:a:pull,push  registry:catalog:*"]) == [
        Scope("repository", "a", ("pull", "push")),
        Scope("registry", "catalog", ("*",)),
    ]
    assert covers([Scope("repository", "*", ("pull",))], Scope("repository", "a", ("pull",)))
    assert not covers([Scope("repository", "*", ("pull",))], Scope("registry", "catalog", ("*",)))
    for bad in ("a:b", "repository", ":a:pull"):
        with pytest.raises(ValueError, match="not a scope"):
            parse_scopes([bad])


def test_rights_follow_patterns() -> None:
    rights = Rights([("web/*", frozenset({"pull"})), ("web/api", frozenset({"push"}))])
    assert rights.on("web/api") == {"pull", "push"}
    assert rights.on("web/x/y") == {"pull"}
    assert rights.on("*") == frozenset()
    assert Rights.everything().on("*") == set(ACTIONS)


def test_registry_that_cannot_start_says_why(tmp_path: Path) -> None:
    program = tmp_path / "docker-registry"
    program.write_text("#!/bin/sh\necho no good >&2\nexit 1\n")
    program.chmod(0o755)
    loop = LoopThread()
    registry = Registry(Tenant(), docker_registry=program)
    with pytest.raises(RuntimeError, match="no good"):
        registry.start(loop)
    registry.stop()
    loop.close()
