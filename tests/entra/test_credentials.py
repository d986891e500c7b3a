"""Every type of identity gets its token from an endpoint that speaks the real protocol, or a refusal that says why."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import NoEncryption, pkcs12

from devstack.certs import SelfSigned
from devstack.entra.authority import Application, FederatedCredential
from devstack.entra.tenant import ACR_AUDIENCE
from devstack.faults import Fault
from devstack.stack import Upstreams
from tests.support.hands import RunningHands
from vending.entra.credentials import EntraTokens, IdentityFailure
from vending.entra.identity import Identity, Kind
from vending.entra.library import certificate
from vending.errors import Reason, Refusal
from vending.http_client import Http

OTHER_TENANT = "0b1d2f3a-0000-4000-8000-000000000002"


@pytest.fixture(scope="module")
def own() -> Iterator[Upstreams]:
    with Upstreams(docker_registry=False) as started:
        yield started


@dataclass
class Entra:
    """The service's identities in front of the local identity endpoint and authority."""

    upstreams: Upstreams
    settings: dict[str, str] = field(default_factory=dict)
    hands: RunningHands = field(default_factory=RunningHands)
    http: Http = field(default_factory=Http)
    budget: float = 20.0

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget every token, as a new instance would."""
        self.tokens = EntraTokens(self.http, self.hands.clock, self.settings, budget_seconds=self.budget)

    def identity(self, kind: Kind, **more: Any) -> Identity:
        return Identity(
            kind=kind,
            cloud="custom",
            authority_host=self.upstreams.authority.host,
            federation_audience="api://AzureADTokenExchange",
            **more,
        )

    async def claims(self, identity: Identity, audience: str = ACR_AUDIENCE) -> dict[str, Any]:
        """Get a token and return its claims; the tenant's signature holds and it is for ACR."""
        return self.upstreams.tenant.verify(await self.tokens.token(identity, audience))

    async def refused(self, identity: Identity) -> IdentityFailure:
        with pytest.raises(Refusal) as caught:
            await self.tokens.token(identity, ACR_AUDIENCE)
        assert isinstance(caught.value, IdentityFailure)
        return caught.value


@pytest.fixture
async def entra(own: Upstreams, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Entra]:
    for name, value in own.identity.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SSL_CERT_FILE", str(own.ca.ca_file))
    own.identity.board.requests.clear()
    own.authority.board.requests.clear()
    entra = Entra(own)
    yield entra
    await entra.http.aclose()
    own.identity.board.clear()
    own.authority.board.clear()
    own.authority.applications.clear()


# --- Managed identity


async def test_system_assigned_identity(entra: Entra) -> None:
    claims = await entra.claims(entra.identity("managed_identity"))
    system = entra.upstreams.identity.system
    assert system is not None
    assert (claims["oid"], claims["aud"]) == (system.object_id, ACR_AUDIENCE)
    assert entra.upstreams.identity.resources[-1] == ACR_AUDIENCE


@pytest.mark.parametrize("by", ["client_id", "resource_id"])
async def test_user_assigned_identity(entra: Entra, by: str) -> None:
    user_assigned = entra.upstreams.identity.user_assigned[0]
    claims = await entra.claims(entra.identity("managed_identity", **{by: getattr(user_assigned, by)}))
    assert claims["oid"] == user_assigned.object_id


async def test_identity_that_the_app_does_not_have_may_be_assigned_yet(entra: Entra) -> None:
    """The endpoint says the same of an identity that was assigned a minute ago."""
    refusal = await entra.refused(entra.identity("managed_identity", client_id=str(uuid.uuid4())))
    assert (refusal.reason, refusal.status) == (Reason.IDENTITY_UNAVAILABLE, 400)
    assert entra.upstreams.identity.board.requests["token"] == 3


@pytest.mark.parametrize("status", [400, 403, 404])
@pytest.mark.parametrize("body", [b"", b'{"error": "invalid_request", "error_description": "Identity not found"}'])
@pytest.mark.parametrize("kind", ["managed_identity", "federated_app"])
async def test_identity_endpoint_that_does_not_know_the_app_yet_is_asked_again(
    entra: Entra, status: int, body: bytes, kind: Kind
) -> None:
    identity = entra.identity("managed_identity") if kind == "managed_identity" else federated(entra)
    board = entra.upstreams.identity.board
    board.set("token", Fault(status=status, body=body), times=2)
    await entra.tokens.token(identity, ACR_AUDIENCE)
    assert board.requests["token"] == 3


@pytest.mark.parametrize("status", [400, 403, 404])
async def test_identity_endpoint_that_goes_on_refusing_is_unavailable(entra: Entra, status: int) -> None:
    entra.upstreams.identity.board.set("token", Fault(status=status, body=b""))
    refusal = await entra.refused(entra.identity("managed_identity"))
    assert (refusal.reason, refusal.status) == (Reason.IDENTITY_UNAVAILABLE, status)


@pytest.mark.parametrize("status", [401, 405, 409])
async def test_other_refusals_of_the_identity_endpoint_are_final(entra: Entra, status: int) -> None:
    entra.upstreams.identity.board.set("token", Fault(status=status, body=b""))
    assert (await entra.refused(entra.identity("managed_identity"))).reason is Reason.IDENTITY_REFUSED
    assert entra.upstreams.identity.board.requests["token"] == 1


async def test_error_of_entra_behind_the_identity_endpoint_is_final(entra: Entra) -> None:
    body = b'{"error": "invalid_client", "error_description": "AADSTS700016: Application was not found"}'
    entra.upstreams.identity.board.set("token", Fault(status=400, body=body))
    refusal = await entra.refused(entra.identity("managed_identity"))
    assert (refusal.reason, refusal.entra_error) == (Reason.IDENTITY_REFUSED, "AADSTS700016")


async def test_rotated_identity_header_is_read_anew(entra: Entra, monkeypatch: pytest.MonkeyPatch) -> None:
    await entra.claims(entra.identity("managed_identity"))
    monkeypatch.setattr(entra.upstreams.identity, "header", "rotated")
    monkeypatch.setenv("IDENTITY_HEADER", "rotated")
    await entra.claims(entra.identity("managed_identity"), "https://storage.azure.com")


async def test_token_audience_can_be_another(entra: Entra) -> None:
    claims = await entra.claims(entra.identity("managed_identity"), "https://management.azure.com")
    assert claims["aud"] == "https://management.azure.com"


async def test_callers_share_one_token_for_each_identity_and_audience(entra: Entra) -> None:
    identity = entra.identity("managed_identity")
    await asyncio.gather(*(entra.claims(identity) for _ in range(20)))
    assert entra.upstreams.identity.board.requests["token"] == 1
    await entra.claims(identity, "https://storage.azure.com")
    await entra.claims(replace(identity, client_id=entra.upstreams.identity.user_assigned[0].client_id))
    assert entra.upstreams.identity.board.requests["token"] == 3


async def test_plain_http_to_the_identity_endpoint_takes_no_proxy(
    entra: Entra, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    await entra.claims(entra.identity("managed_identity"))


# --- An application that trusts the managed identity


def federated(entra: Entra, **trust: Any) -> Identity:
    """Register an application in another tenant that trusts the user-assigned identity, and name it."""
    trusted = entra.upstreams.identity.user_assigned[0]
    tenant = entra.upstreams.tenant
    credential = FederatedCredential(
        **{"issuer": tenant.issuer_v2, "subject": trusted.object_id, "published": lambda: [tenant.key], **trust}
    )
    application = entra.upstreams.authority.register(Application(federated=[credential]), OTHER_TENANT)
    return entra.identity(
        "federated_app",
        tenant_id=OTHER_TENANT,
        client_id=application.client_id,
        assertion_client_id=trusted.client_id,
    )


async def test_managed_identity_as_federated_credential_of_an_app_in_another_tenant(entra: Entra) -> None:
    identity = federated(entra)
    claims = await entra.claims(identity)
    assert (claims["tid"], claims["appid"], claims["aud"]) == (OTHER_TENANT, identity.client_id, ACR_AUDIENCE)
    assert entra.upstreams.identity.resources[-1] == "api://AzureADTokenExchange"


async def test_app_that_does_not_trust_the_managed_identity_refuses_it(entra: Entra) -> None:
    refusal = await entra.refused(federated(entra, subject=str(uuid.uuid4())))
    assert (refusal.reason, refusal.entra_error) == (Reason.IDENTITY_REFUSED, "AADSTS700213")


async def test_managed_identity_that_is_missing_behind_an_app_may_be_assigned_yet(entra: Entra) -> None:
    identity = replace(federated(entra), assertion_client_id=str(uuid.uuid4()))
    assert (await entra.refused(identity)).reason is Reason.IDENTITY_UNAVAILABLE
    assert entra.upstreams.authority.board.requests["token"] == 0


# --- Workload identity


@pytest.fixture
def token_file(entra: Entra, tmp_path: Path) -> Path:
    path = tmp_path / "token"
    entra.settings["AZURE_FEDERATED_TOKEN_FILE"] = str(path)
    return path


def workload(entra: Entra) -> Identity:
    cluster = entra.upstreams.issuers.cluster
    credential = FederatedCredential(
        issuer=cluster.url,
        subject="system:serviceaccount:production:deployer",
        published=lambda: cluster.keys,
    )
    application = entra.upstreams.authority.register(Application(federated=[credential]))
    return entra.identity(
        "workload_identity", tenant_id=entra.upstreams.tenant.tenant_id, client_id=application.client_id
    )


async def test_workload_identity_reads_its_token_file_each_time(entra: Entra, token_file: Path) -> None:
    identity = workload(entra)
    cluster = entra.upstreams.issuers.cluster
    token_file.write_text(cluster.token("api://AzureADTokenExchange", at=time.time() - 90_000))
    assert (await entra.refused(identity)).entra_error == "AADSTS700024"  # the pod's token is over
    entra.hands.turn(60)
    token_file.write_text(cluster.token("api://AzureADTokenExchange"))
    assert (await entra.claims(identity))["appid"] == identity.client_id


async def test_workload_identity_takes_what_the_policy_leaves_out_from_the_pod(entra: Entra, token_file: Path) -> None:
    named = workload(entra)
    token_file.write_text(entra.upstreams.issuers.cluster.token("api://AzureADTokenExchange"))
    entra.settings |= {"AZURE_TENANT_ID": str(named.tenant_id), "AZURE_CLIENT_ID": str(named.client_id)}
    assert (await entra.claims(entra.identity("workload_identity")))["appid"] == named.client_id


@pytest.mark.parametrize("setting", ["AZURE_FEDERATED_TOKEN_FILE", "AZURE_TENANT_ID", "AZURE_CLIENT_ID"])
async def test_workload_identity_without_its_settings_is_not_set_up(
    entra: Entra, token_file: Path, setting: str
) -> None:
    token_file.write_text("token")
    entra.settings |= {"AZURE_TENANT_ID": OTHER_TENANT, "AZURE_CLIENT_ID": OTHER_TENANT}
    del entra.settings[setting]
    refusal = await entra.refused(entra.identity("workload_identity"))
    assert refusal.reason is Reason.IDENTITY_REFUSED
    assert "workload_identity) is not set up" in refusal.description


async def test_token_file_that_is_missing_is_a_setting_to_mend_and_not_an_outage(
    entra: Entra, token_file: Path
) -> None:
    refusal = await entra.refused(workload(entra))
    assert refusal.reason is Reason.IDENTITY_REFUSED
    assert str(token_file) not in refusal.description


# --- Service principals


def principal(entra: Entra, application: Application, **settings: str) -> Identity:
    entra.upstreams.authority.register(application)
    return entra.identity(
        "service_principal",
        tenant_id=entra.upstreams.tenant.tenant_id,
        client_id=application.client_id,
        **settings,
    )


async def test_service_principal_with_a_secret(entra: Entra) -> None:
    identity = principal(entra, Application(secrets=["s3cret"]), secret_setting="VENDING_SECRET_SP")
    entra.settings["VENDING_SECRET_SP"] = "s3cret"
    assert (await entra.claims(identity))["appid"] == identity.client_id


async def test_rotated_secret_is_read_anew(entra: Entra) -> None:
    application = Application(secrets=["old"])
    identity = principal(entra, application, secret_setting="VENDING_SECRET_SP")
    entra.settings["VENDING_SECRET_SP"] = "old"
    await entra.claims(identity)
    application.secrets[:] = ["new"]
    entra.settings["VENDING_SECRET_SP"] = "new"
    await entra.claims(identity, "https://management.azure.com")


@pytest.mark.parametrize(
    ("value", "entra_error"),
    [("wrong", "AADSTS7000215"), ("", None), (None, None)],
    ids=["wrong", "empty", "missing"],
)
async def test_service_principal_with_a_bad_secret_is_refused(
    entra: Entra, value: str | None, entra_error: str | None
) -> None:
    identity = principal(entra, Application(secrets=["s3cret"]), secret_setting="VENDING_SECRET_SP")
    if value is not None:
        entra.settings["VENDING_SECRET_SP"] = value
    refusal = await entra.refused(identity)
    assert (refusal.reason, refusal.entra_error) == (Reason.IDENTITY_REFUSED, entra_error)


@pytest.fixture(scope="module")
def self_signed() -> SelfSigned:
    return SelfSigned.new("vending")


def _pkcs12(pair: SelfSigned) -> bytes:
    return pkcs12.serialize_key_and_certificates(b"vending", pair.key, pair.certificate, None, NoEncryption())


def _wrapped(data: bytes) -> str:
    return base64.encodebytes(data).decode()


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(lambda pair: pair.pem.decode(), id="PEM"),
        pytest.param(lambda pair: pair.pem.decode().replace("\n", "\\n"), id="PEM with line breaks spelt out"),
        pytest.param(lambda pair: base64.b64encode(pair.pem).decode(), id="PEM in base64"),
        pytest.param(lambda pair: base64.b64encode(_pkcs12(pair)).decode(), id="PKCS 12 in base64"),
        pytest.param(lambda pair: _wrapped(_pkcs12(pair)), id="PKCS 12 in base64 of several lines"),
    ],
)
async def test_service_principal_with_a_certificate(entra: Entra, self_signed: SelfSigned, form: Any) -> None:
    identity = principal(
        entra, Application(certificates=[self_signed.certificate]), certificate_setting="VENDING_SECRET_CERT"
    )
    entra.settings["VENDING_SECRET_CERT"] = form(self_signed)
    assert (await entra.claims(identity))["appid"] == identity.client_id


@pytest.mark.parametrize("value", ["nonsense", "AAAA", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"])
async def test_certificate_that_cannot_be_read_is_a_setting_to_mend(entra: Entra, value: str) -> None:
    identity = principal(entra, Application(), certificate_setting="VENDING_SECRET_CERT")
    entra.settings["VENDING_SECRET_CERT"] = value
    refusal = await entra.refused(identity)
    assert refusal.reason is Reason.IDENTITY_REFUSED
    assert "not set up" in refusal.description


async def test_certificate_of_someone_else_is_refused(entra: Entra, self_signed: SelfSigned) -> None:
    registered = Application(certificates=[SelfSigned.new("other").certificate])
    identity = principal(entra, registered, certificate_setting="VENDING_SECRET_CERT")
    entra.settings["VENDING_SECRET_CERT"] = self_signed.pem.decode()
    assert (await entra.refused(identity)).entra_error == "AADSTS700027"


def test_text_that_is_no_certificate_is_not_quoted() -> None:
    with pytest.raises(ValueError, match=r"^the certificate is neither PEM nor base64$"):
        certificate("hünter2")


# --- The developer's own login


def fake_cli(directory: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put an `az` on the PATH that runs `script`; return the file where it writes its arguments."""
    az = directory / "az"
    az.write_text(f'#!/bin/sh\necho "$@" > "{directory}/arguments"\n{script}\n')
    az.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    return directory / "arguments"


async def test_developer_uses_the_azure_cli(entra: Entra, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = entra.upstreams.tenant.token("developer", "cli", ACR_AUDIENCE)
    answer = json.dumps({"accessToken": token, "expires_on": int(time.time()) + 3600, "tokenType": "Bearer"})
    arguments = fake_cli(tmp_path, f"echo '{answer}'", monkeypatch)
    assert (await entra.claims(entra.identity("developer", tenant_id=OTHER_TENANT)))["oid"] == "developer"
    assert f"--resource {ACR_AUDIENCE} --tenant {OTHER_TENANT}" in arguments.read_text()


@pytest.mark.parametrize(
    "script",
    [
        pytest.param("echo \"Please run 'az login' to setup account.\" >&2; exit 1", id="not logged in"),
        pytest.param("echo nonsense", id="nonsense"),
        pytest.param("exit 127", id="not found"),
    ],
)
async def test_developer_who_is_not_logged_in_is_refused(
    entra: Entra, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    fake_cli(tmp_path, script, monkeypatch)
    assert (await entra.refused(entra.identity("developer"))).reason is Reason.IDENTITY_REFUSED


async def test_developer_without_the_azure_cli_is_refused(
    entra: Entra, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (await entra.refused(entra.identity("developer"))).reason is Reason.IDENTITY_REFUSED


# --- Troubles of the authority; those of the identity endpoint are in the fault matrix


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param(Fault(reset=True), Reason.IDENTITY_UNAVAILABLE, id="reset"),
        pytest.param(Fault(status=500), Reason.IDENTITY_UNAVAILABLE, id="500"),
        pytest.param(Fault(status=503), Reason.IDENTITY_UNAVAILABLE, id="503"),
        pytest.param(Fault(status=429, headers={"Retry-After": "9"}), Reason.IDENTITY_UNAVAILABLE, id="429"),
        pytest.param(Fault(status=403, body=b"{}"), Reason.IDENTITY_REFUSED, id="403"),
        pytest.param(Fault(body=b"<html>"), Reason.IDENTITY_UNAVAILABLE, id="HTML"),
        pytest.param(Fault(body=b"{}"), Reason.IDENTITY_UNAVAILABLE, id="no token"),
        pytest.param(Fault(body=b'{"access_token": 5, "expires_in": 60}'), Reason.IDENTITY_UNAVAILABLE, id="a number"),
        pytest.param(
            Fault(body=b'{"access_token": "x", "expires_in": "soon"}'), Reason.IDENTITY_UNAVAILABLE, id="no expiry"
        ),
        pytest.param(Fault(truncate=True), Reason.IDENTITY_UNAVAILABLE, id="cut short"),
        pytest.param(Fault(stream_bytes=64 * 1024 * 1024), Reason.IDENTITY_UNAVAILABLE, id="huge"),
        pytest.param(Fault(drip=0.1), Reason.IDENTITY_UNAVAILABLE, id="dripping"),
        pytest.param(Fault(delay=60), Reason.IDENTITY_UNAVAILABLE, id="silent"),
    ],
)
async def test_trouble_of_the_authority_is_told_apart_from_a_refusal(
    entra: Entra, fault: Fault, reason: Reason
) -> None:
    identity = principal(entra, Application(secrets=["s3cret"]), secret_setting="VENDING_SECRET_SP")
    entra.settings["VENDING_SECRET_SP"] = "s3cret"
    entra.budget = 2.0
    entra.restart()
    entra.upstreams.authority.board.set("token", fault)
    with pytest.raises(Refusal) as caught:
        await entra.tokens.token(identity, ACR_AUDIENCE)
    assert caught.value.reason is reason
    assert caught.value.retry_after == (9 if fault.headers else None)


async def test_certificate_authority_that_nobody_knows_is_not_trusted(
    entra: Entra, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    identity = principal(entra, Application(secrets=["s3cret"]), secret_setting="VENDING_SECRET_SP")
    entra.settings["VENDING_SECRET_SP"] = "s3cret"
    assert (await entra.refused(identity)).reason is Reason.IDENTITY_UNAVAILABLE
    assert entra.upstreams.authority.board.requests["token"] == 0


async def test_identity_that_hangs_does_not_hold_up_another(entra: Entra) -> None:
    entra.upstreams.authority.board.set("token", Fault(delay=60))
    entra.settings["VENDING_SECRET_SP"] = "s3cret"
    hanging = [
        asyncio.create_task(
            entra.tokens.token(
                principal(entra, Application(secrets=["s3cret"]), secret_setting="VENDING_SECRET_SP"), ACR_AUDIENCE
            )
        )
        for _ in range(8)
    ]
    await asyncio.sleep(0.2)
    await asyncio.wait_for(entra.claims(entra.identity("managed_identity")), 5)
    await asyncio.wait_for(asyncio.to_thread(lambda: None), 5)
    entra.upstreams.authority.board.clear()
    for task in hanging:
        task.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)


async def test_no_secret_reaches_a_log_or_an_error(entra: Entra, caplog: pytest.LogCaptureFixture) -> None:
    identity = principal(entra, Application(secrets=["other"]), secret_setting="VENDING_SECRET_SP")
    entra.settings["VENDING_SECRET_SP"] = "hunter2-hunter2"
    with caplog.at_level(logging.DEBUG):
        refusal = await entra.refused(identity)
        token = await entra.tokens.token(entra.identity("managed_identity"), ACR_AUDIENCE)
    everything = f"{caplog.text} {refusal!r} {refusal} {identity!r} {entra.tokens!r}"
    assert "hunter2" not in everything
    assert token not in everything
    assert jwt.decode(token, options={"verify_signature": False})["uti"] not in everything
    assert entra.upstreams.identity.header not in everything


# --- Prefetching


async def test_prefetched_token_is_the_one_that_is_used(entra: Entra) -> None:
    identity = entra.identity("managed_identity")
    entra.tokens.prefetch(identity, ACR_AUDIENCE)
    await entra.claims(identity)
    assert entra.upstreams.identity.board.requests["token"] == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=400, body=b'{"error": "invalid_request"}'),
        Fault(status=403),
        Fault(status=429, headers={"Retry-After": "50"}),
        Fault(status=500),
        Fault(truncate=True),
        Fault(body=b"no json"),
    ],
)
async def test_prefetch_that_fails_is_one_call_and_counts_for_nothing(
    entra: Entra, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    identity = entra.identity("managed_identity")
    entra.upstreams.identity.board.set("token", fault)
    with caplog.at_level(logging.DEBUG, "vending"):
        for _ in range(4):
            assert await entra.tokens.prefetch(identity, ACR_AUDIENCE) is None
    assert entra.upstreams.identity.board.requests["token"] == 4
    assert not [record for record in caplog.records if record.name.startswith("vending")]
    entra.upstreams.identity.board.clear()
    await entra.claims(identity)


async def test_developers_login_is_not_prefetched(
    entra: Entra, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The Azure CLI is a program: none is started for what may never be needed."""
    az, ran = tmp_path / "az", tmp_path / "ran"
    az.write_text(f"#!/bin/sh\ntouch {ran}\nexit 1\n")
    az.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert await entra.tokens.prefetch(entra.identity("developer"), ACR_AUDIENCE) is None
    assert not ran.exists()
    with pytest.raises(Refusal):
        await entra.tokens.token(entra.identity("developer"), ACR_AUDIENCE)
    assert ran.exists()
