"""Put a policy into its blob, and wait until the running service has taken it over; otherwise put the old one back.

For the pipelines of a policy repository. Knows HTTP, storage and `/readyz`; judges no policy. Needs no stored secret:
the storage token comes from the pipeline's own identity.
"""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

STORAGE_SCOPE: Final = "https://storage.azure.com/.default"
_VERSION: Final = "2021-12-02"
"""Of the storage REST API: https://learn.microsoft.com/rest/api/storageservices/versioning-for-the-azure-storage-services."""

_CALL_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 3.0
_MAX_STATUS_BYTES: Final = 64 * 1024


class DeliveryError(Exception):
    """Say what went wrong and what to change, without the answer's body or the token."""


@dataclass(frozen=True, slots=True)
class Blob:
    """Hold one version of the blob: its content and its ETag; both None where there is no blob yet."""

    content: bytes | None
    etag: str | None


@dataclass(frozen=True, slots=True)
class BlobStore:
    """Read and write one blob with an Entra token, never over somebody else's change."""

    url: str
    token: str = field(repr=False)
    client: httpx.Client = field(repr=False)

    def read(self) -> Blob:
        """Return what the blob holds now. Raises `DeliveryError`."""
        answer = self._call("GET")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return Blob(None, None)
        if answer.status_code != httpx.codes.OK:
            raise self._refused("read", answer)
        return Blob(answer.content, answer.headers.get("etag"))

    def write(self, content: bytes, *, over: Blob) -> Blob:
        """Write the blob if it still is what was read. Raises `DeliveryError`."""
        condition = {"If-None-Match": "*"} if over.etag is None else {"If-Match": over.etag}
        headers = {"x-ms-blob-type": "BlockBlob", "Content-Type": "application/json", **condition}
        answer = self._call("PUT", content=content, headers=headers)
        if answer.status_code in {httpx.codes.PRECONDITION_FAILED, httpx.codes.CONFLICT}:
            raise DeliveryError("The blob changed while this delivery ran. Let only one delivery run at a time.")
        if answer.status_code != httpx.codes.CREATED:
            raise self._refused("write", answer)
        return Blob(content, answer.headers.get("etag"))

    def delete(self, *, over: Blob) -> None:
        """Delete the blob if it still is what was written. Raises `DeliveryError`."""
        answer = self._call("DELETE", headers={"If-Match": over.etag or "*"})
        if answer.status_code != httpx.codes.ACCEPTED:
            raise self._refused("delete", answer)

    def _call(self, method: str, *, content: bytes | None = None, headers: Mapping[str, str] | None = None) -> Any:
        common = {"Authorization": f"Bearer {self.token}", "x-ms-version": _VERSION}
        try:
            return self.client.request(method, self.url, content=content, headers={**common, **(headers or {})})
        except httpx.HTTPError as error:
            host = urlsplit(self.url).netloc
            raise DeliveryError(f"The storage account {host} cannot be reached ({type(error).__name__}).") from None

    def _refused(self, what: str, answer: httpx.Response) -> DeliveryError:
        code = answer.headers.get("x-ms-error-code", "no error code")
        advice = {
            401: "Check the tenant of the identity.",
            403: "Give the identity the role Storage Blob Data Contributor on the container, and let its network in.",
            404: "Check the account and the container in the URL.",
        }.get(answer.status_code, "Try again later.")
        return DeliveryError(f"Storage refused to {what} the policy: {answer.status_code}, {code}. {advice}")


def storage_token(environment: Mapping[str, str] = os.environ) -> str:
    """Return a token for storage: of the federated identity that the environment names, or of the Azure CLI's login.

    A federated identity is named by `AZURE_TENANT_ID`, `AZURE_CLIENT_ID` and `AZURE_FEDERATED_TOKEN_FILE` (a file with
    the pipeline's own OIDC token for `api://AzureADTokenExchange`). Raises `DeliveryError`.
    """
    from azure.core.exceptions import ClientAuthenticationError
    from azure.identity import AzureCliCredential, CredentialUnavailableError, WorkloadIdentityCredential

    names = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE")
    missing = [name for name in names if not environment.get(name)]
    federated = len(missing) < len(names)
    if federated and missing:
        raise DeliveryError(f"Set {', '.join(missing)} too: a federated identity needs all of {', '.join(names)}.")
    try:
        if federated:
            tenant, client, file = (environment[name] for name in names)
            return (
                WorkloadIdentityCredential(tenant_id=tenant, client_id=client, token_file_path=file)
                .get_token(STORAGE_SCOPE)
                .token
            )
        return str(AzureCliCredential().get_token(STORAGE_SCOPE).token)
    except (ClientAuthenticationError, CredentialUnavailableError, OSError, ValueError) as error:
        what = "Entra gave no token to the federated identity" if federated else "The Azure CLI has no login"
        advice = (
            "Check its federated credential: issuer, subject and audience must be those of this pipeline's token."
            if federated
            else f"Run az login, or set {', '.join(names)}."
        )
        raise DeliveryError(f"{what} ({type(error).__name__}). {advice}") from None


@dataclass(frozen=True, slots=True)
class Service:
    """Watch which policy a running service has in force."""

    url: str
    client: httpx.Client = field(repr=False)

    def status(self) -> Mapping[str, Any]:
        """Return the body of `/readyz`, whatever its status; empty where the service does not answer."""
        try:
            with self.client.stream("GET", f"{self.url.rstrip('/')}/readyz") as answer:
                body = b""
                for chunk in answer.iter_bytes():
                    body += chunk
                    if len(body) > _MAX_STATUS_BYTES:
                        return {}
        except httpx.HTTPError:
            return {}
        try:
            value = httpx.Response(200, content=body).json()
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


def deliver(
    content: bytes,
    store: BlobStore,
    service: Service,
    *,
    timeout_seconds: float,
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Deliver a compiled policy and return its SHA-256 in hex, once the service has it in force.

    Whatever else happens, the previous version is put back. Raises `DeliveryError`.
    """
    wanted = hashlib.sha256(content).hexdigest()
    before = store.read()
    if before.content == content:
        say("The blob already holds this policy.")
        written = before
    else:
        written = store.write(content, over=before)
        say(f"Uploaded the policy, sha256 {wanted}.")
    try:
        _await(service, wanted, timeout_seconds, say, sleep)
    except BaseException as error:
        if written is not before:
            _roll_back(store, before, written, say)
        if isinstance(error, DeliveryError):
            raise
        raise DeliveryError("The delivery was interrupted.") from error
    return wanted


def _await(
    service: Service, wanted: str, timeout_seconds: float, say: Callable[[str], None], sleep: Callable[[float], None]
) -> None:
    end = time.monotonic() + timeout_seconds
    refusals = 0
    while True:
        status = service.status()
        if status.get("sha256") == wanted:
            say("The service has it in force.")
            return
        failure = status.get("reload_failure")
        refusals = refusals + 1 if failure in {"invalid", "refused"} else 0
        if refusals > 1:
            raise DeliveryError(f"The service does not take the policy: its last reload was {failure}.")
        if time.monotonic() >= end:
            seen = status.get("sha256") or "nothing"
            raise DeliveryError(
                f"After {timeout_seconds:.0f} s the service still has {seen} in force. Does it read this blob?"
            )
        sleep(_POLL_SECONDS)


def _roll_back(store: BlobStore, before: Blob, written: Blob, say: Callable[[str], None]) -> None:
    if before.content is None:
        store.delete(over=written)
        say("Deleted the blob again: there was none before.")
    else:
        store.write(before.content, over=written)
        say(f"Put the previous policy back, sha256 {hashlib.sha256(before.content).hexdigest()}.")
