"""The managed-identity endpoint and the authority satisfy the clients that Microsoft ships."""

import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import (
    CertificateCredential,
    ClientAssertionCredential,
    ClientSecretCredential,
    CredentialUnavailableError,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)

from devstack import plain
from devstack.certs import SelfSigned
from devstack.entra.authority import Application, Authority, FederatedCredential
from devstack.entra.identity import API_VERSION, IdentityEndpoint
from devstack.entra.tenant import ACR_AUDIENCE
from devstack.faults import Fault
from devstack.issuer.server import AZURE_DEVOPS_AUDIENCE, IssuerServer
from devstack.keys import peek
from devstack.stack import Upstreams

SCOPE = f"{ACR_AUDIENCE}/.default"
OTHER_TENANT = "00000000-0000-4000-8000-0000000000aa"


@pytest.fixture(autouse=True)
def _platform(monkeypatch: pytest.MonkeyPatch, identity: IdentityEndpoint) -> None:
    for name, value in identity.env.items():
        monkeypatch.setenv(name, value)


def ask(identity: IdentityEndpoint, *, header: str | None = None, **query: str) -> httpx.Response:
    params = {"api-version": API_VERSION, "resource": ACR_AUDIENCE} | query
    headers = {"X-IDENTITY-HEADER": identity.header if header is None else header}
    return plain.get(identity.env["IDENTITY_ENDPOINT"], params=params, headers=headers)


class TestEndpoint:
    def test_answers_as_app_service_does(self, identity: IdentityEndpoint) -> None:
        body = ask(identity).json()
        claims = peek(body["access_token"])
        assert identity.system is not None
        assert (claims["aud"], claims["oid"]) == (ACR_AUDIENCE, identity.system.object_id)
        assert claims["tid"] == identity.tenant.tenant_id
        assert body["expires_on"] == str(claims["exp"])
        assert (body["token_type"], body["resource"]) == ("Bearer", ACR_AUDIENCE)
        assert claims["exp"] > time.time() + 23 * 3600

    @pytest.mark.parametrize("parameter", ["client_id", "principal_id", "object_id", "mi_res_id"])
    def test_user_assigned_identity_is_found_by_each_of_its_names(
        self, identity: IdentityEndpoint, parameter: str
    ) -> None:
        chosen = identity.user_assigned[0]
        names = {"client_id": chosen.client_id, "mi_res_id": chosen.resource_id}
        body = ask(identity, **{parameter: names.get(parameter, chosen.object_id)}).json()
        assert peek(body["access_token"])["oid"] == chosen.object_id
        assert body["client_id"] == chosen.client_id

    @pytest.mark.parametrize(
        ("query", "status"),
        [
            ({"client_id": "unknown"}, 400),
            ({"mi_res_id": "/nothing"}, 400),
            ({"client_id": "a", "mi_res_id": "b"}, 400),
            ({"resource": ""}, 400),
            ({"api-version": "2017-09-01"}, 400),
        ],
        ids=str,
    )
    def test_bad_question_is_refused(self, identity: IdentityEndpoint, query: dict[str, str], status: int) -> None:
        assert ask(identity, **query).status_code == status

    @pytest.mark.parametrize("header", ["", "wrong"])
    def test_wrong_header_is_refused(self, identity: IdentityEndpoint, header: str) -> None:
        assert ask(identity, header=header).status_code == 401

    def test_app_without_an_identity_of_its_own_gets_400(self, identity: IdentityEndpoint) -> None:
        kept, identity.system = identity.system, None
        try:
            assert ask(identity).status_code == 400
        finally:
            identity.system = kept


class TestManagedIdentityCredential:
    def test_system_assigned(self, identity: IdentityEndpoint) -> None:
        before = identity.board.requests["token"]
        with ManagedIdentityCredential() as credential:
            token = credential.get_token(SCOPE)
            assert credential.get_token(SCOPE).token == token.token
        assert peek(token.token)["aud"] == ACR_AUDIENCE
        assert identity.board.requests["token"] == before + 1
        assert identity.resources[-1] == ACR_AUDIENCE

    def test_user_assigned_by_client_id_and_by_resource_id(self, identity: IdentityEndpoint) -> None:
        chosen = identity.user_assigned[0]
        by_client = ManagedIdentityCredential(client_id=chosen.client_id)
        by_resource = ManagedIdentityCredential(identity_config={"resource_id": chosen.resource_id})
        for credential in (by_client, by_resource):
            with credential:
                assert peek(credential.get_token(SCOPE).token)["oid"] == chosen.object_id

    def test_unknown_identity_is_an_error(self) -> None:
        with (
            ManagedIdentityCredential(client_id="unknown") as credential,
            pytest.raises((ClientAuthenticationError, CredentialUnavailableError)),
        ):
            credential.get_token(SCOPE)

    def test_fault_reaches_the_client(self, identity: IdentityEndpoint) -> None:
        identity.board.set("token", Fault(status=403, body=b"{}"))
        with (
            ManagedIdentityCredential() as credential,
            pytest.raises((ClientAuthenticationError, CredentialUnavailableError)),
        ):
            credential.get_token(SCOPE)


@pytest.fixture(scope="module")
def authority(upstreams: Upstreams) -> Authority:
    return upstreams.authority


@pytest.fixture(scope="module")
def certificate() -> SelfSigned:
    return SelfSigned.new("vending")


@pytest.fixture(scope="module")
def app(
    authority: Authority, certificate: SelfSigned, identity: IdentityEndpoint, issuers: IssuerServer
) -> Application:
    assert identity.system is not None
    managed_identity = FederatedCredential(
        authority.tenants[identity.tenant.tenant_id].issuer_v2, identity.system.object_id, lambda: [identity.tenant.key]
    )
    workload = FederatedCredential(
        issuers.cluster.url, "system:serviceaccount:production:deployer", lambda: issuers.cluster.keys
    )
    application = Application(
        secrets=["right"], certificates=[certificate.certificate], federated=[managed_identity, workload]
    )
    authority.register(application, OTHER_TENANT)
    return authority.register(application)


@pytest.fixture(params=["home tenant", "other tenant"])
def tenant_id(request: pytest.FixtureRequest, identity: IdentityEndpoint) -> str:
    return identity.tenant.tenant_id if request.param == "home tenant" else OTHER_TENANT


@pytest.fixture
def trust(upstreams: Upstreams, authority: Authority) -> dict[str, str | bool]:
    """Return the keyword arguments that lead azure-identity to the authority."""
    return {
        "authority": authority.tls_url,
        "connection_verify": str(upstreams.ca.ca_file),
        "disable_instance_discovery": True,
    }


Make = Callable[[str, str], ClientSecretCredential | CertificateCredential | ClientAssertionCredential]


@pytest.fixture(params=["secret", "certificate", "managed identity", "service account", "token file"])
def make(
    request: pytest.FixtureRequest,
    trust: dict[str, str],
    certificate: SelfSigned,
    identity: IdentityEndpoint,
    issuers: IssuerServer,
    tmp_path: Path,
) -> Make:
    """Build a credential of the kind under test for a tenant and client id."""

    def service_account() -> str:
        return issuers.cluster.token(AZURE_DEVOPS_AUDIENCE)

    def managed_identity() -> str:
        return str(ask(identity, resource="api://AzureADTokenExchange").json()["access_token"])

    def token_file() -> str:
        path = tmp_path / "token"
        path.write_text(service_account())
        return str(path)

    kinds: dict[str, Make] = {
        "secret": lambda tenant, client: ClientSecretCredential(tenant, client, "right", **trust),
        "certificate": lambda tenant, client: CertificateCredential(
            tenant, client, certificate_data=certificate.pem, **trust
        ),
        "managed identity": lambda tenant, client: ClientAssertionCredential(tenant, client, managed_identity, **trust),
        "service account": lambda tenant, client: ClientAssertionCredential(tenant, client, service_account, **trust),
        "token file": lambda tenant, client: WorkloadIdentityCredential(
            tenant_id=tenant, client_id=client, token_file_path=token_file(), **trust
        ),
    }
    return kinds[request.param]


class TestAuthority:
    def test_gives_a_token_to_each_kind_of_credential(self, make: Make, app: Application, tenant_id: str) -> None:
        with make(tenant_id, app.client_id) as credential:
            claims = peek(credential.get_token(SCOPE).token)
        assert (claims["aud"], claims["oid"]) == (ACR_AUDIENCE, app.object_id)
        assert (claims["tid"], claims["appid"]) == (tenant_id, app.client_id)

    def test_wrong_secret_is_refused(self, app: Application, trust: dict[str, str], identity: IdentityEndpoint) -> None:
        tenant = identity.tenant.tenant_id
        credential = ClientSecretCredential(tenant, app.client_id, "wrong", **trust)
        with credential, pytest.raises(ClientAuthenticationError, match="AADSTS7000215"):
            credential.get_token(SCOPE)

    @pytest.mark.parametrize(
        ("overrides", "code"),
        [
            ({"service_account": "other"}, "AADSTS700213"),
            ({"aud": "api://other"}, "AADSTS700027"),
            ({"exp": 1}, "AADSTS700024"),
        ],
        ids=["subject", "audience", "expired"],
    )
    def test_assertion_that_does_not_match_is_refused(
        self,
        app: Application,
        trust: dict[str, str],
        identity: IdentityEndpoint,
        issuers: IssuerServer,
        overrides: dict[str, object],
        code: str,
    ) -> None:
        assertion = issuers.cluster.token(AZURE_DEVOPS_AUDIENCE, claims=overrides)
        tenant = identity.tenant.tenant_id
        credential = ClientAssertionCredential(tenant, app.client_id, lambda: assertion, **trust)
        with credential, pytest.raises(ClientAuthenticationError, match=code):
            credential.get_token(SCOPE)

    @pytest.mark.parametrize(
        ("path", "form", "status", "code"),
        [
            ("{tenant}", {"scope": "https://other.example/.default"}, 400, 500011),
            ("{tenant}", {"scope": ACR_AUDIENCE}, 400, 1002012),
            ("{tenant}", {"client_id": "unknown"}, 400, 700016),
            ("{tenant}", {"grant_type": "password"}, 400, 70003),
            ("{tenant}", {"client_secret": None}, 401, 7000218),
            ("unknown", {}, 400, 90002),
        ],
        ids=["resource", "scope", "client", "grant", "no credential", "tenant"],
    )
    def test_wrong_form_is_refused_with_entras_code(
        self,
        upstreams: Upstreams,
        authority: Authority,
        app: Application,
        path: str,
        form: dict[str, str | None],
        status: int,
        code: int,
    ) -> None:
        fields = {
            "grant_type": "client_credentials",
            "client_id": app.client_id,
            "client_secret": "right",
            "scope": SCOPE,
        } | form
        url = f"{authority.tls_url}/{path.format(tenant=upstreams.tenant.tenant_id)}/oauth2/v2.0/token"
        data = {name: value for name, value in fields.items() if value is not None}
        answer = httpx.post(url, data=data, verify=upstreams.ca.client_context(), trust_env=False)
        assert (answer.status_code, answer.json()["error_codes"]) == (status, [code])

    def test_discovery_documents_lead_back_to_it(self, upstreams: Upstreams, authority: Authority) -> None:
        context = upstreams.ca.client_context()
        url = f"{authority.tls_url}/common/discovery/instance"
        found = httpx.get(url, verify=context, trust_env=False).json()["tenant_discovery_endpoint"]
        document = httpx.get(found, verify=context, trust_env=False).json()
        assert document["token_endpoint"].startswith(authority.tls_url)
