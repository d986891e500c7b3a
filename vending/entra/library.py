"""The one module that speaks to azure-identity: builds a credential for an identity and asks it for one token.

Blocks, so it runs in a thread. Nothing is cached here: each call makes a credential of its own, so that a rotated
`IDENTITY_HEADER`, token file or secret is read anew.
"""

from __future__ import annotations

import base64
import binascii
import re
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from azure.core.exceptions import ServiceRequestError, ServiceResponseError
from azure.identity import (
    AzureCliCredential,
    CertificateCredential,
    ClientAssertionCredential,
    ClientSecretCredential,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)

from vending.connection import cause_of
from vending.credential_cache import Credential
from vending.entra.no_token import NoToken
from vending.http_client import retry_after

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from azure.core.credentials import TokenCredential
    from azure.core.pipeline import PipelineResponse

    from vending.entra.identity import Identity, Kind
    from vending.entra.transport import AppTransport

_ENTRA_ERROR = re.compile(r"AADSTS\d{4,9}")


def ask(
    identity: Identity, audience: str, environment: Mapping[str, str], transport: AppTransport, *, now: float
) -> Credential:
    """Get one access token of `identity` for `audience` over `transport`. Raises `NoToken`."""
    call = _Call(environment, transport)
    try:
        token = _BUILDERS[identity.kind](identity, call).get_token(f"{audience}/.default")
        return _credential(token.token, token.expires_on, now)
    except Exception as error:  # noqa: BLE001 - azure-identity and msal raise many types; all mean: no token.
        network = _is_network_failure(error)
        code = _ENTRA_ERROR.search(str(error)) or _ENTRA_ERROR.search(call.said)
        raise NoToken(
            type(error).__name__,
            status=call.status,
            by_platform=not call.url.startswith(f"https://{identity.authority_host}/"),
            network=network,
            cause=cause_of(error) if network else None,
            entra_error=code.group() if code else None,
            retry_after=retry_after(call.headers.get("Retry-After", ""), now),
        ) from None


def _credential(token: object, expires_on: object, now: float) -> Credential:
    """Check what came back; the libraries pass on whatever types the answer had."""
    if not isinstance(token, str) or not token or not isinstance(expires_on, int) or expires_on <= now:
        raise ValueError("the token or its expiry is unusable")
    return Credential(token, float(expires_on))


def _is_network_failure(error: BaseException | None) -> bool:
    """Return whether nobody answered, as opposed to a setting, file or program that is missing."""
    while error is not None:
        if isinstance(error, (ServiceRequestError, ServiceResponseError, TimeoutError, subprocess.TimeoutExpired)):
            return True
        error = error.__cause__ or error.__context__
    return False


@dataclass(slots=True)
class _Call:
    """Hold what one call of the library needs, and what it heard last; its exceptions do not say."""

    environment: Mapping[str, str] = field(repr=False)
    transport: AppTransport
    status: int | None = None
    url: str = ""
    said: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def options(self) -> dict[str, Any]:
        return {
            "transport": self.transport,
            "retry_total": 0,  # `retrying` does that, in one way for all upstream calls.
            "raw_response_hook": self._hear,
        }

    def authority_options(self, identity: Identity) -> dict[str, Any]:
        # The authority comes from the policy's cloud; asking the public cloud whether it knows it would leak its name.
        return {**self.options, "authority": f"https://{identity.authority_host}", "disable_instance_discovery": True}

    def _hear(self, response: PipelineResponse[Any, Any]) -> None:
        self.status = response.http_response.status_code
        self.url = response.http_request.url
        # msal keeps the description of an identity endpoint's error to itself.
        self.said = "" if self.status < 400 else response.http_response.body().decode("utf-8", "replace")
        self.headers = response.http_response.headers

    def setting(self, name: str | None) -> str:
        value = self.environment.get(name or "", "").strip()
        if not value:
            raise ValueError(f"the setting {name} is not set")
        return value


def _managed_identity(identity: Identity, call: _Call) -> TokenCredential:
    return _managed(identity.client_id, identity.resource_id, call)


def _managed(client_id: str | None, resource_id: str | None, call: _Call) -> TokenCredential:
    if resource_id is not None:
        return ManagedIdentityCredential(identity_config={"resource_id": resource_id}, **call.options)
    return ManagedIdentityCredential(client_id=client_id, **call.options)


def _federated_app(identity: Identity, call: _Call) -> TokenCredential:
    """Use the managed identity's own token as the application's client assertion (RFC 7523 section 2.2)."""
    assertion = _managed(identity.assertion_client_id, identity.assertion_resource_id, call)
    scope = f"{identity.federation_audience}/.default"
    return ClientAssertionCredential(
        _required(identity.tenant_id, "tenant_id"),
        _required(identity.client_id, "client_id"),
        func=lambda: assertion.get_token(scope).token,
        **call.authority_options(identity),
    )


def _workload_identity(identity: Identity, call: _Call) -> TokenCredential:
    return WorkloadIdentityCredential(
        tenant_id=identity.tenant_id or call.setting("AZURE_TENANT_ID"),
        client_id=identity.client_id or call.setting("AZURE_CLIENT_ID"),
        token_file_path=call.setting("AZURE_FEDERATED_TOKEN_FILE"),
        **call.authority_options(identity),
    )


def _service_principal(identity: Identity, call: _Call) -> TokenCredential:
    tenant_id = _required(identity.tenant_id, "tenant_id")
    client_id = _required(identity.client_id, "client_id")
    options = call.authority_options(identity)
    if identity.certificate_setting is not None:
        data = certificate(call.setting(identity.certificate_setting))
        return CertificateCredential(tenant_id, client_id, certificate_data=data, **options)
    return ClientSecretCredential(tenant_id, client_id, call.setting(identity.secret_setting), **options)


def _developer(identity: Identity, call: _Call) -> TokenCredential:
    return AzureCliCredential(tenant_id=identity.tenant_id or "")


_BUILDERS: Final[Mapping[Kind, Callable[[Identity, _Call], TokenCredential]]] = {
    "managed_identity": _managed_identity,
    "federated_app": _federated_app,
    "workload_identity": _workload_identity,
    "service_principal": _service_principal,
    "developer": _developer,
}
"""The policy's `type` of an identity → how azure-identity calls it."""


def certificate(value: str) -> bytes:
    """Read a certificate with its private key from a setting: PEM text, or base64 of a PEM or PKCS#12 file."""
    if "-----BEGIN" in value:
        return value.replace("\\n", "\n").encode()  # Some portals keep a line break as these two characters.
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the certificate is neither PEM nor base64") from None


def _required(value: str | None, name: str) -> str:
    if not value:
        raise ValueError(f"{name} is not set")
    return value
