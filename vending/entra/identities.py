"""From the policy's identities to resolved ones: which exact identity, in which cloud, mints for a registry. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vending.entra.clouds import CLOUDS
from vending.entra.credentials import ResolvedIdentity
from vending.policy.engine.policy import (
    DEFAULT_IDENTITY,
    Developer,
    FederatedApp,
    ManagedIdentity,
    ServicePrincipal,
    WorkloadIdentity,
)

if TYPE_CHECKING:
    from vending.policy import Policy, Registry


def resolve(policy: Policy, registry: Registry, default_client_id: str | None) -> ResolvedIdentity:
    """Name the identity that mints for `registry`.

    `default_client_id` (the setting `AZURE_CLIENT_ID`) is the user-assigned identity behind `default`, unless the file
    gives that one an id of its own; it also stands behind a federated application, which cannot trust a system-assigned
    identity.
    """
    identity = policy.identities[registry.identity]
    cloud = registry.cloud

    def resolved(
        kind: str,
        *,
        tenant_id: str | None = None,
        client_id: str | None = None,
        resource_id: str | None = None,
        assertion: ManagedIdentity | None = None,
        secret_setting: str | None = None,
        certificate_setting: str | None = None,
    ) -> ResolvedIdentity:
        return ResolvedIdentity(
            kind=kind,
            cloud=cloud.name,
            authority_host=registry.authority_host,
            federation_audience=cloud.federation_audience or CLOUDS["public"].federation_audience,
            tenant_id=tenant_id,
            client_id=client_id,
            resource_id=resource_id,
            assertion_client_id=None if assertion is None else assertion.client_id,
            assertion_resource_id=None if assertion is None else assertion.resource_id,
            secret_setting=secret_setting,
            certificate_setting=certificate_setting,
        )

    match identity:
        case ManagedIdentity():
            own = _or_default(identity, default_client_id if registry.identity == DEFAULT_IDENTITY else None)
            return resolved("managed_identity", client_id=own.client_id, resource_id=own.resource_id)
        case FederatedApp(tenant_id, client_id, managed_identity):
            assertion = _or_default(managed_identity, default_client_id)
            return resolved("federated_app", tenant_id=tenant_id, client_id=client_id, assertion=assertion)
        case WorkloadIdentity(tenant_id, client_id):
            return resolved("workload_identity", tenant_id=tenant_id, client_id=client_id)
        case ServicePrincipal(tenant_id, client_id, secret_setting, certificate_setting):
            return resolved(
                "service_principal",
                tenant_id=tenant_id,
                client_id=client_id,
                secret_setting=secret_setting,
                certificate_setting=certificate_setting,
            )
        case Developer(tenant_id):
            return resolved("developer", tenant_id=tenant_id)


def _or_default(identity: ManagedIdentity, client_id: str | None) -> ManagedIdentity:
    if identity.client_id is None and identity.resource_id is None:
        return ManagedIdentity(client_id=client_id)
    return identity
