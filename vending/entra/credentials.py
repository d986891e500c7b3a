"""Entra tokens for the service's own identities, through azure-identity. Knows identities; knows nothing of registries.

azure-identity is imported on first use (it costs more than the rest of the app together) and runs in a thread, for it
blocks. Its own caches are not used: each token is asked for with a credential made for the purpose, so a rotated
`IDENTITY_HEADER`, token file or secret is read anew, and expiry is handled in one place, `RenewingCache`.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from vending.errors import Reason, Refusal
from vending.oplog import note
from vending.renewing import Credential, RenewingCache
from vending.retry import Transient, retrying

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from azure.core.credentials import TokenCredential
    from azure.core.pipeline import PipelineResponse

    from vending.clock import Clock

_CONNECT_SECONDS: Final = 3
_READ_SECONDS: Final = 8
"""The identity endpoint answers from its cache in milliseconds and from Entra in a second or two."""
_ENTRA_ERROR = re.compile(r"AADSTS\d{4,9}")


@dataclass(frozen=True, slots=True)
class ResolvedIdentity:
    """Name one identity so exactly that nothing else could answer to it; the key of every cache of credentials.

    `kind` is the policy's `type`. `authority_host` and `federation_audience` are the cloud's. The two settings are
    names of settings, never their values.
    """

    kind: str
    cloud: str
    authority_host: str
    federation_audience: str
    tenant_id: str | None = None
    client_id: str | None = None
    resource_id: str | None = None
    assertion_client_id: str | None = None
    assertion_resource_id: str | None = None
    secret_setting: str | None = None
    certificate_setting: str | None = None


class EntraTokens:
    """Get access tokens for the service's identities; one upstream call at a time for each identity and audience."""

    def __init__(self, clock: Clock, environment: Mapping[str, str], *, budget_seconds: float) -> None:
        self._clock = clock
        self._environment = environment
        self._budget_seconds = budget_seconds
        self._tokens: RenewingCache[tuple[ResolvedIdentity, str]] = RenewingCache(clock)

    async def token(self, identity: ResolvedIdentity, audience: str) -> str:
        """Return an access token of `identity` for `audience` (a resource URI, without `/.default`).

        Raises `Refusal` with `identity_refused` or `identity_unavailable`.
        """
        credential = await self._tokens.get((identity, audience), lambda: self._load(identity, audience))
        return credential.secret

    async def _load(self, identity: ResolvedIdentity, audience: str) -> Credential:
        return await retrying(
            lambda: asyncio.to_thread(self._ask, identity, audience), budget_seconds=self._budget_seconds
        )

    def _ask(self, identity: ResolvedIdentity, audience: str) -> Credential:
        last = _LastResponse()
        try:
            credential = _build(identity, self._environment, last)
            token = credential.get_token(f"{audience}/.default")
        except Exception as error:  # noqa: BLE001 - azure-identity and msal raise many types; all mean: no token.
            raise self._failure(identity, error, last) from None
        if not token.token or token.expires_on <= self._clock.now():
            raise Transient(Refusal(Reason.IDENTITY_UNAVAILABLE))
        return Credential(token.token, float(token.expires_on))

    def _failure(self, identity: ResolvedIdentity, error: Exception, last: _LastResponse) -> Exception:
        """Sort a failure by what was heard from upstream; the library's own text may quote it, so it goes nowhere."""
        code = _ENTRA_ERROR.search(str(error))
        note(
            logging.WARNING,
            "identity_failed",
            identity_type=identity.kind,
            status=last.status,
            error=type(error).__name__,
            entra_error=code.group() if code else None,
        )
        if last.status is None and not _is_network_failure(error):
            return Refusal(
                Reason.IDENTITY_REFUSED,
                f"The service's identity ({identity.kind}) is not set up; the operator must check the app's settings.",
            )
        if last.status is not None and 400 <= last.status < 500 and last.status not in {408, 429}:
            return Refusal(Reason.IDENTITY_REFUSED)
        return Transient(Refusal(Reason.IDENTITY_UNAVAILABLE, retry_after=last.retry_after(self._clock.now())))


class _LastResponse:
    """Remember the status of the last HTTP response that a credential got; its exceptions do not say."""

    def __init__(self) -> None:
        self.status: int | None = None
        self._headers: Mapping[str, str] = {}

    def __call__(self, response: PipelineResponse[Any, Any]) -> None:
        self.status = response.http_response.status_code
        self._headers = response.http_response.headers

    def retry_after(self, now: float) -> float | None:
        from vending.net import retry_after

        return retry_after(self._headers.get("Retry-After", ""), now)


def _is_network_failure(error: BaseException | None) -> bool:
    from azure.core.exceptions import ServiceRequestError, ServiceResponseError

    while error is not None:
        if isinstance(error, (ServiceRequestError, ServiceResponseError, OSError)):
            return True
        error = error.__cause__ or error.__context__
    return False


def _build(identity: ResolvedIdentity, environment: Mapping[str, str], last: _LastResponse) -> TokenCredential:
    options: dict[str, Any] = {
        "retry_total": 0,  # `retrying` does that, in one way for all upstream calls.
        "connection_timeout": _CONNECT_SECONDS,
        "read_timeout": _READ_SECONDS,
        "raw_response_hook": last,
    }
    return _BUILDERS[identity.kind](identity, environment, options)


def _managed_identity(client_id: str | None, resource_id: str | None, options: dict[str, Any]) -> TokenCredential:
    from azure.identity import ManagedIdentityCredential

    if resource_id is not None:
        return ManagedIdentityCredential(identity_config={"resource_id": resource_id}, **options)
    return ManagedIdentityCredential(client_id=client_id, **options)


def _app_identity(
    identity: ResolvedIdentity, environment: Mapping[str, str], options: dict[str, Any]
) -> TokenCredential:
    return _managed_identity(identity.client_id, identity.resource_id, options)


def _federated_app(
    identity: ResolvedIdentity, environment: Mapping[str, str], options: dict[str, Any]
) -> TokenCredential:
    """Use the managed identity's own token as the application's client assertion (RFC 7523 section 2.2)."""
    from azure.identity import ClientAssertionCredential

    assertion = _managed_identity(identity.assertion_client_id, identity.assertion_resource_id, options)
    scope = f"{identity.federation_audience}/.default"
    return ClientAssertionCredential(
        _required(identity.tenant_id, "tenant_id"),
        _required(identity.client_id, "client_id"),
        func=lambda: assertion.get_token(scope).token,
        authority=identity.authority_host,
        **options,
    )


def _workload_identity(
    identity: ResolvedIdentity, environment: Mapping[str, str], options: dict[str, Any]
) -> TokenCredential:
    from azure.identity import WorkloadIdentityCredential

    return WorkloadIdentityCredential(
        tenant_id=identity.tenant_id, client_id=identity.client_id, authority=identity.authority_host, **options
    )


def _service_principal(
    identity: ResolvedIdentity, environment: Mapping[str, str], options: dict[str, Any]
) -> TokenCredential:
    from azure.identity import CertificateCredential, ClientSecretCredential

    tenant_id = _required(identity.tenant_id, "tenant_id")
    client_id = _required(identity.client_id, "client_id")
    options["authority"] = identity.authority_host
    if identity.certificate_setting is not None:
        data = certificate(_required(environment.get(identity.certificate_setting), identity.certificate_setting))
        return CertificateCredential(tenant_id, client_id, certificate_data=data, **options)
    name = _required(identity.secret_setting, "secret_setting")
    return ClientSecretCredential(tenant_id, client_id, _required(environment.get(name), name), **options)


def _developer(identity: ResolvedIdentity, environment: Mapping[str, str], options: dict[str, Any]) -> TokenCredential:
    from azure.identity import AzureCliCredential

    return AzureCliCredential(tenant_id=identity.tenant_id or "")


_BUILDERS: Final[Mapping[str, Callable[[ResolvedIdentity, Mapping[str, str], dict[str, Any]], TokenCredential]]] = {
    "managed_identity": _app_identity,
    "federated_app": _federated_app,
    "workload_identity": _workload_identity,
    "service_principal": _service_principal,
    "developer": _developer,
}


def certificate(value: str) -> bytes:
    """Read a certificate with its private key from a setting: PEM text, or base64 of a PEM or PKCS#12 file."""
    if "-----BEGIN" in value:
        return value.replace("\\n", "\n").encode()
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        raise ValueError("the certificate is neither PEM nor base64") from None


def _required(value: str | None, name: str) -> str:
    if not value:
        raise ValueError(f"{name} is not set")
    return value
