"""What mends what `doctor` finds: sentences for operators, by what was heard. Data; checks nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vending.errors import Reason
from vending.oidc.discovery import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping

POLICY: Final = (
    "A file: check VENDING_POLICY. A blob: give the app's identity Storage Blob Data Reader on its container, and let "
    "the app reach the storage account."
)
REPLAY_MEMORY: Final = "Set VENDING_REPLAY_STORE to a table, so that a token is used once over all instances."
REPLAY_TABLE: Final = (
    "Create the table, give the app's identity Storage Table Data Contributor on it, and let the app reach the storage "
    "account."
)
_UNREACHED: Final = "Let the app reach the issuer (outbound rules, DNS), or write its keys into the policy with jwks."
_SAY_WHERE: Final = "Write the issuer exactly as its discovery document and its tokens have it."
NO_USABLE_KEY: Final = "The issuer must publish a key with a kid: RSA of 2048 bits or more, an EC key, or EdDSA."
ISSUER: Final[Mapping[Failure, str]] = {
    Failure.UNREACHABLE: _UNREACHED,
    Failure.TIMED_OUT: _UNREACHED,
    Failure.TOO_LARGE: "The answer is no discovery document or key set; check the issuer's URL.",
    Failure.REDIRECT_REFUSED: "Redirects to another host are not followed; write the issuer that its tokens name.",
    Failure.BAD_STATUS: "Check the issuer's URL; where it needs a login to be read, write its keys with jwks.",
    Failure.BAD_ADDRESS: "Issuers and their key sets must be https, without a user name or a fragment.",
    Failure.BAD_DISCOVERY: _SAY_WHERE,
    Failure.ISSUER_MISMATCH: _SAY_WHERE,
    Failure.BAD_KEY_SET: "What jwks_uri points to is no key set; tell the issuer's operator.",
    Failure.NO_KEYS: NO_USABLE_KEY,
    Failure.NO_USABLE_KEY: NO_USABLE_KEY,
}
NO_IDENTITY_ENDPOINT: Final = (
    "IDENTITY_ENDPOINT is not set: switch the app's managed identity on, and run doctor where the app runs; on a "
    "laptop use a policy whose registries name an identity of type developer."
)
AUTHORITY_UNAVAILABLE: Final = (
    "Let the app reach the cloud's authority host (outbound rules, DNS, proxy, certificates)."
)
IDENTITY_UNAVAILABLE: Final[Mapping[str, str]] = {
    "managed_identity": "The platform's identity endpoint does not answer; restart the app, and see Azure's status.",
    "developer": "The Azure CLI takes too long; run az account get-access-token by hand.",
}
IDENTITY_NOT_SET_UP: Final[Mapping[str, str]] = {
    "managed_identity": "Assign the identity to the app; client_id, resource_id or AZURE_CLIENT_ID must be that one's.",
    "federated_app": "Check tenant_id and client_id, and that the managed identity is user-assigned and the app's own.",
    "workload_identity": "Set AZURE_FEDERATED_TOKEN_FILE, AZURE_TENANT_ID and AZURE_CLIENT_ID; on AKS label the pod "
    "azure.workload.identity/use: true.",
    "service_principal": "Set the app setting that secret_setting or certificate_setting names (PEM, or base64 of PEM "
    "or PKCS#12).",
    "developer": "Install the Azure CLI and run az login.",
}
_NO_FEDERATION: Final = (
    "No federated credential matches: its issuer, subject and audience must be exactly those of the token."
)
ENTRA: Final[Mapping[str | None, str]] = {
    "AADSTS700016": "The tenant has no such application: check client_id and tenant_id, and grant consent there.",
    "AADSTS90002": "There is no such tenant in this cloud: check tenant_id and cloud.",
    "AADSTS500011": "The tenant does not know this audience: check token_audience and cloud.",
    "AADSTS50001": "The tenant does not know this audience: check token_audience and cloud.",
    "AADSTS7000215": "The secret is wrong: write a new one into the app setting (its value, not its id).",
    "AADSTS7000222": "The secret has expired: make a new one, or better, use a managed identity.",
    "AADSTS700027": "The application does not know this certificate: upload it, or check the app setting.",
    "AADSTS700024": "The token file is out of date: see that the platform renews it.",
    "AADSTS70021": _NO_FEDERATION,
    "AADSTS700213": f"{_NO_FEDERATION[:-1]}; for a managed identity the subject is its object id.",
    "AADSTS700211": _NO_FEDERATION,
}
AUDIENCE: Final = (
    "The registry does not take tokens of this audience: leave token_audience out, or, where the cloud has no "
    "https://containerregistry.azure.net, enable authentication-as-arm on the registry."
)
FIREWALL: Final = (
    "Let the app in: a private endpoint with its DNS zone in the app's network, or the app's outbound address in the "
    "registry's network rules."
)
REGISTRY: Final[Mapping[Reason, str]] = {
    Reason.REGISTRY_UNAVAILABLE: "Check login_server; let the app reach it (outbound rules, private DNS zone).",
    Reason.REGISTRY_THROTTLED: "Wait, and run doctor again; see how often tokens are asked for.",
    Reason.REGISTRY_REFUSED: "Check login_server and service.",
    Reason.REGISTRY_RESPONSE_INVALID: "What answers there is no Azure Container Registry; check login_server.",
}
EXCESS: Final = (
    "Take away the role that allows it (delete: AcrDelete, or Repository Contributor); what the identity cannot do, "
    "no mistake in a policy can grant."
)
