"""Which exact identity mints for a registry: what the policy says and what the settings add to it."""

from __future__ import annotations

from typing import Any

import pytest

from vending.entra.identity import Identity
from vending.policy import Environment, Policy, load_bytes

TENANT = "00000000-0000-0000-0000-000000000001"
APP = "00000000-0000-0000-0000-000000000002"
USER_ASSIGNED = "00000000-0000-0000-0000-000000000003"
SETTING = "00000000-0000-0000-0000-000000000009"
RESOURCE = (
    "/subscriptions/00000000-0000-0000-0000-00000000c0de/resourcegroups/vending"
    "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/vending"
)

POLICY = """\
version: 1
audience: https://vend.contoso.example
registries:
  prod: {{login_server: contoso.azurecr.io, identity: minter}}
  gov: {{login_server: contoso.azurecr.us, identity: minter, cloud: usgovernment}}
  china: {{login_server: contoso.azurecr.cn, identity: minter, cloud: china}}
  own:
    login_server: registry.contoso.example
    identity: minter
    cloud: custom
    authority_host: login.contoso.example
    token_audience: https://registry.contoso.example
identities:
  minter: {minter}
  user: {{type: managed_identity, client_id: {user}}}
issuers:
  github: {{preset: github}}
rules:
  - name: web
    issuer: github
    when: {{repository_id: "123456"}}
    grant: [{{registry: prod, repositories: [web/api], actions: [pull]}}]
"""


def policy(minter: str) -> Policy:
    text = POLICY.format(minter=minter, user=USER_ASSIGNED)
    hosts = frozenset({"registry.contoso.example", "login.contoso.example"})
    return load_bytes(text.encode(), name="policy.yaml", environment=Environment(custom_hosts=hosts), directory=None)


def resolved(minter: str, registry: str = "prod", setting: str | None = None) -> Identity:
    loaded = policy(minter)
    return loaded.identity_of(loaded.registries[registry], setting)


@pytest.mark.parametrize(
    ("minter", "expected"),
    [
        ("{type: managed_identity}", {"kind": "managed_identity"}),
        (
            f"{{type: managed_identity, client_id: {USER_ASSIGNED}}}",
            {"kind": "managed_identity", "client_id": USER_ASSIGNED},
        ),
        (
            f"{{type: managed_identity, resource_id: {RESOURCE}}}",
            {"kind": "managed_identity", "resource_id": RESOURCE},
        ),
        (
            f"{{type: federated_app, tenant_id: {TENANT}, client_id: {APP}, managed_identity: user}}",
            {
                "kind": "federated_app",
                "tenant_id": TENANT,
                "client_id": APP,
                "assertion_client_id": USER_ASSIGNED,
            },
        ),
        ("{type: workload_identity}", {"kind": "workload_identity"}),
        (
            f"{{type: workload_identity, tenant_id: {TENANT}, client_id: {APP}}}",
            {"kind": "workload_identity", "tenant_id": TENANT, "client_id": APP},
        ),
        (
            f"{{type: service_principal, tenant_id: {TENANT}, client_id: {APP}, secret_setting: VENDING_SECRET_SP}}",
            {
                "kind": "service_principal",
                "tenant_id": TENANT,
                "client_id": APP,
                "secret_setting": "VENDING_SECRET_SP",
            },
        ),
        (
            (
                f"{{type: service_principal, tenant_id: {TENANT}, client_id: {APP}, "
                "certificate_setting: VENDING_SECRET_C}"
            ),
            {
                "kind": "service_principal",
                "tenant_id": TENANT,
                "client_id": APP,
                "certificate_setting": "VENDING_SECRET_C",
            },
        ),
        (f"{{type: developer, tenant_id: {TENANT}}}", {"kind": "developer", "tenant_id": TENANT}),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else None,
)
def test_identity_of_the_policy_is_resolved(minter: str, expected: dict[str, Any]) -> None:
    assert resolved(minter) == Identity(
        cloud="public",
        authority_host="login.microsoftonline.com",
        federation_audience="api://AzureADTokenExchange",
        **expected,
    )


@pytest.mark.parametrize(
    ("registry", "authority", "audience"),
    [
        ("prod", "login.microsoftonline.com", "api://AzureADTokenExchange"),
        ("gov", "login.microsoftonline.us", "api://AzureADTokenExchangeUSGov"),
        ("china", "login.chinacloudapi.cn", "api://AzureADTokenExchangeChina"),
        ("own", "login.contoso.example", "api://AzureADTokenExchange"),
    ],
)
def test_cloud_of_the_registry_says_who_is_asked(registry: str, authority: str, audience: str) -> None:
    identity = resolved("{type: managed_identity}", registry)
    assert (identity.authority_host, identity.federation_audience) == (authority, audience)


def test_identity_is_another_one_in_another_cloud() -> None:
    assert len({resolved("{type: managed_identity}", name) for name in ("prod", "gov", "china", "own")}) == 4


def test_setting_is_the_user_assigned_identity_behind_default_and_behind_no_other() -> None:
    loaded = load_bytes(
        POLICY.format(minter="{type: managed_identity}", user=USER_ASSIGNED)
        .replace("contoso.azurecr.io, identity: minter", "contoso.azurecr.io")
        .encode(),
        name="policy.yaml",
        environment=Environment(custom_hosts=frozenset({"registry.contoso.example", "login.contoso.example"})),
        directory=None,
    )
    assert loaded.identity_of(loaded.registries["prod"], SETTING).client_id == SETTING
    assert loaded.identity_of(loaded.registries["prod"], None).client_id is None
    assert loaded.identity_of(loaded.registries["gov"], SETTING).client_id is None


def test_setting_stands_behind_an_app_that_trusts_default() -> None:
    app = f"{{type: federated_app, tenant_id: {TENANT}, client_id: {APP}}}"
    assert resolved(app, setting=SETTING).assertion_client_id == SETTING
    app = f"{{type: federated_app, tenant_id: {TENANT}, client_id: {APP}, managed_identity: user}}"
    assert resolved(app, setting=SETTING).assertion_client_id == USER_ASSIGNED
