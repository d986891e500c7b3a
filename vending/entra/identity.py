"""One identity of the service, in one form from the policy file to the cache key. Pure; asks nobody for anything."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from vending.entra.clouds import CLOUDS

if TYPE_CHECKING:
    from vending.entra.clouds import Cloud

Kind: TypeAlias = Literal["managed_identity", "federated_app", "workload_identity", "service_principal", "developer"]
"""The policy's `type` of an identity."""

_RESOLVED_KEPT: Final = 256
"""A policy names a few; only policies make new ones."""
_PUBLIC: Final = CLOUDS["public"]


@dataclass(frozen=True, slots=True)
class Identity:
    """Name one identity so exactly that nothing else could answer to it; a part of every credential's cache key.

    A managed identity is system-assigned, or user-assigned by `client_id` or `resource_id`. A `federated_app` is an
    application in `tenant_id` that trusts the managed identity of the `assertion_…` ids. None for a workload identity
    is what the pod's environment says. The two settings are names of settings, never their values. `cloud`,
    `authority_host` and `federation_audience` are those of the registry's cloud, once it is known (`resolve`).
    """

    kind: Kind
    tenant_id: str | None = None
    client_id: str | None = None
    resource_id: str | None = None
    assertion_client_id: str | None = None
    assertion_resource_id: str | None = None
    secret_setting: str | None = None
    certificate_setting: str | None = None
    cloud: str = _PUBLIC.name
    authority_host: str = _PUBLIC.authority_host
    federation_audience: str = _PUBLIC.federation_audience

    def trusted_as(self, managed: Identity) -> Identity:
        """Return this application with `managed` as the managed identity that it trusts."""
        return replace(self, assertion_client_id=managed.client_id, assertion_resource_id=managed.resource_id)


@lru_cache(_RESOLVED_KEPT)
def resolve(
    identity: Identity, *, cloud: Cloud, authority_host: str, own_client_id: str | None, is_default: bool
) -> Identity:
    """Complete a policy's identity for a registry in `cloud`.

    `own_client_id` (the setting `AZURE_CLIENT_ID`) is the user-assigned identity behind `default`, unless the file
    gives that one an id of its own; it is also behind a federated application, which cannot trust a system-assigned
    identity.
    """
    named = replace(
        identity,
        cloud=cloud.name,
        authority_host=authority_host,
        federation_audience=cloud.federation_audience or _PUBLIC.federation_audience,
    )
    if named.kind == "managed_identity" and is_default and named.client_id is None and named.resource_id is None:
        return replace(named, client_id=own_client_id)
    if named.kind == "federated_app" and named.assertion_client_id is None and named.assertion_resource_id is None:
        return replace(named, assertion_client_id=own_client_id)
    return named
