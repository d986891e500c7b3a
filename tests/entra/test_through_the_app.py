"""One service, one policy, an identity of every type: each mints for the registry that names it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest

from devstack.certs import SelfSigned
from devstack.entra.authority import Application, FederatedCredential
from devstack.entra.tenant import ACR_AUDIENCE
from devstack.registry.server import Registry
from devstack.stack import Stack, Upstreams
from tests.support.caller import vend

pytestmark = pytest.mark.e2e

OTHER_TENANT = "0b1d2f3a-0000-4000-8000-000000000002"
DEVELOPER = "d0000000-0000-4000-8000-00000000dee0"
KINDS = ("system", "user", "federated", "workload", "secret", "certificate", "developer")

REGISTRY = """\
  {name}:
    login_server: "{host}"
    identity: {name}
    cloud: custom
    authority_host: "{authority}"
    token_audience: https://containerregistry.azure.net
"""
POLICY = """\
version: 1
audience: {audience}
registries:
{registries}
identities:
  system: {{type: managed_identity}}
  user: {{type: managed_identity, resource_id: "{user}"}}
  federated: {{type: federated_app, tenant_id: {other}, client_id: {federated}, managed_identity: user}}
  workload: {{type: workload_identity, tenant_id: {tenant}, client_id: {workload}}}
  secret: {{type: service_principal, tenant_id: {tenant}, client_id: {secret}, secret_setting: VENDING_SECRET_SP}}
  certificate:
    {{type: service_principal, tenant_id: {tenant}, client_id: {certificate}, certificate_setting: VENDING_SECRET_CERT}}
  developer: {{type: developer}}
issuers:
  github: {{preset: github, issuer: "{issuer}"}}
rules:
  - name: web
    issuer: github
    when: {{repository_id: "123456"}}
    grant:
{grants}
"""


class Everyone:
    """An identity of each type, with a registry of its own where nobody else has any rights."""

    def __init__(self, upstreams: Upstreams, directory: Path) -> None:
        self.upstreams = upstreams
        tenant, authority, cluster = upstreams.tenant, upstreams.authority, upstreams.issuers.cluster
        system, user = upstreams.identity.system, upstreams.identity.user_assigned[0]
        assert system is not None
        pair = SelfSigned.new("vending")
        trusts_user = FederatedCredential(tenant.issuer_v2, user.object_id, lambda: [tenant.key])
        trusts_pod = FederatedCredential(cluster.url, "system:serviceaccount:production:deployer", lambda: cluster.keys)
        self.apps = {
            "federated": authority.register(Application(federated=[trusts_user]), OTHER_TENANT),
            "workload": authority.register(Application(federated=[trusts_pod])),
            "secret": authority.register(Application(secrets=["s3cret"])),
            "certificate": authority.register(Application(certificates=[pair.certificate])),
        }
        self.objects = {
            "system": system.object_id,
            "user": user.object_id,
            "developer": DEVELOPER,
            **{name: application.object_id for name, application in self.apps.items()},
        }
        self.registries = {name: self._registry(name) for name in KINDS}
        token_file = directory / "token"
        token_file.write_text(cluster.token("api://AzureADTokenExchange"))
        cli_token = tenant.token(DEVELOPER, "azure-cli", ACR_AUDIENCE)
        answer = json.dumps({"accessToken": cli_token, "expires_on": int(time.time()) + 3600})
        az = directory / "az"
        az.write_text(f"#!/bin/sh\necho '{answer}'\n")
        az.chmod(0o755)
        self.settings = {
            "PATH": f"{directory}:{os.environ['PATH']}",
            "SSL_CERT_FILE": str(upstreams.ca.ca_file),
            "AZURE_FEDERATED_TOKEN_FILE": str(token_file),
            "VENDING_SECRET_SP": "s3cret",
            "VENDING_SECRET_CERT": pair.pem.decode(),
            "VENDING_CUSTOM_HOSTS": ",".join(
                [authority.host, *(registry.login_server for registry in self.registries.values())]
            ),
        }

    def _registry(self, name: str) -> Registry:
        registry = self.upstreams.new_registry()
        registry.tokens.rights.clear()
        registry.allow(self.objects[name])
        return registry

    def policy(self, upstreams: Upstreams) -> str:
        authority = upstreams.authority.host
        hosts = {name: registry.login_server for name, registry in self.registries.items()}
        return POLICY.format(
            audience=upstreams.audience,
            issuer=upstreams.issuers.github.url,
            tenant=upstreams.tenant.tenant_id,
            other=OTHER_TENANT,
            user=upstreams.identity.user_assigned[0].resource_id,
            registries="".join(
                REGISTRY.format(name=name, host=host, authority=authority) for name, host in hosts.items()
            ),
            grants="\n".join(
                f"      - {{registry: {name}, repositories: [web/api], actions: [pull, push]}}" for name in KINDS
            ),
            **{name: application.client_id for name, application in self.apps.items()},
        )


@pytest.fixture(scope="module")
def everyone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everyone]:
    with Upstreams(docker_registry=False) as upstreams:
        yield Everyone(upstreams, tmp_path_factory.mktemp("identities"))


@pytest.fixture(scope="module")
def service(everyone: Everyone) -> Iterator[Stack]:
    with Stack(everyone.upstreams, policy=everyone.policy, settings=everyone.settings) as started:
        yield started


@pytest.mark.parametrize("kind", KINDS)
def test_registry_is_minted_for_with_the_identity_that_it_names(everyone: Everyone, service: Stack, kind: str) -> None:
    vended = vend(
        service.url,
        everyone.upstreams.issuers.github.token(),
        audience=kind,
        scope="repository:web/api:pull,push",
    )
    claims = jwt.decode(vended["access_token"], options={"verify_signature": False})
    assert claims["sub"] == everyone.objects[kind]
    assert vended["registry"] == everyone.registries[kind].login_server
