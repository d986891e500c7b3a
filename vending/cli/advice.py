"""How to fix what `doctor` finds: sentences for operators, by what was heard. Data; checks nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vending.connection import Cause
from vending.errors import Reason
from vending.oidc.discovery import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vending.policy.providers.preset import Form

POLICY: Final = (
    "A file: check VENDING_POLICY. A blob: give the app's identity Storage Blob Data Reader on its container, and let "
    "the app reach the storage account."
)
REPLAY_MEMORY: Final = "Set VENDING_REPLAY_STORE to a table, so that a token is used once over all instances."
REPLAY_TABLE: Final = (
    "Create the table, give the app's identity Storage Table Data Contributor on it, and let the app reach the storage "
    "account."
)
CONNECTION: Final[Mapping[Cause, str]] = {
    Cause.DNS: "Check the host's name; where it is private, link its DNS zone to the app's network.",
    Cause.REFUSED: "Check host and port, and that the server runs.",
    Cause.NO_ROUTE: "Give the app's network a route to the host (outbound rules, peering, private endpoint).",
    Cause.TIMED_OUT: "Let the app reach the host (outbound rules, its firewall), or find out why the server is slow.",
    Cause.RESET: "Something between hangs up: see the server's log, and firewalls that inspect TLS.",
    Cause.NOT_HTTP: "Check host and port: what answers there is not a web server.",
    Cause.BAD_CODING: "The server must honour Accept-Encoding: identity.",
    Cause.TLS_EXPIRED: "Renew the expired certificate, be it the server's, an intermediate's or the authority's.",
    Cause.TLS_NOT_YET_VALID: "Check the clock of this machine and that of whoever issued the certificate.",
    Cause.TLS_UNKNOWN_AUTHORITY: "Let the server send its intermediate certificates; where its authority is private, "
    "set SSL_CERT_FILE to a PEM file of the authorities to trust.",
    Cause.TLS_WRONG_NAME: "Write the name that the certificate's subjectAltName has, or issue one for this name.",
    Cause.TLS_WEAK: "Issue certificates with RSA keys of 2,048 bits or more, or EC keys, signed with SHA-256.",
    Cause.TLS_BAD_CHAIN: "Issue the certificate anew: for servers, by an authority that may sign it (basicConstraints, "
    "keyUsage, path length, name constraints).",
    Cause.TLS_BAD_CERTIFICATE: "Look at what the server sends with openssl s_client, and reissue its certificate.",
    Cause.TLS_CLIENT_CERTIFICATE: "The service has no client certificate; let the server ask for none at this address.",
    Cause.TLS_NOT_SPOKEN: "Check the port: this one does not speak https.",
    Cause.TLS_HANDSHAKE: "The server must speak TLS 1.2 or 1.3 with forward secrecy.",
    Cause.BAD_TRUST: "The file of SSL_CERT_FILE, or the directory of SSL_CERT_DIR, must hold PEM certificates.",
    Cause.BAD_ADDRESS: "Check how the address is written.",
    Cause.UNKNOWN: "Let the app reach the host (outbound rules, DNS).",
}
"""What fixes a failure below HTTP, whoever was called."""
_OR_STATIC: Final = "or write its keys into the policy with jwks"
ISSUER_CONNECTION: Final[Mapping[Cause, str]] = {
    **CONNECTION,
    **{
        cause: f"{CONNECTION[cause][:-1]}; {_OR_STATIC}."
        for cause in (Cause.DNS, Cause.REFUSED, Cause.NO_ROUTE, Cause.TIMED_OUT, Cause.TLS_CLIENT_CERTIFICATE)
    },
    Cause.TLS_UNKNOWN_AUTHORITY: "Let the server send its intermediate certificates; where its authority is private, "
    "write that one's certificate at the issuer with ca or ca_file.",
    Cause.BAD_TRUST: "Write PEM certificates at the issuer with ca or ca_file, or correct SSL_CERT_FILE.",
}
"""The same for an issuer, whose authority and keys can be written into the policy."""
_SAY_WHERE: Final = "Write the issuer exactly as its discovery document and its tokens have it."
NO_USABLE_KEY: Final = "The issuer must publish a key with a kid: RSA of 2048 bits or more, an EC key, or EdDSA."
UNUSABLE_KEY: Final = "Tokens that name this key are refused: let the issuer publish one that can be used in its place."
PRIVATE_KEY: Final = (
    "Whoever has read it can sign as this issuer: switch the issuer off (enabled: false) until the key pair is "
    "replaced, and only its public half published."
)
ALGORITHMS: Final = "List the algorithm that the issuer signs with under algorithms."
ISSUER: Final[Mapping[Failure, str]] = {
    Failure.UNREACHABLE: ISSUER_CONNECTION[Cause.UNKNOWN],
    Failure.TIMED_OUT: ISSUER_CONNECTION[Cause.TIMED_OUT],
    Failure.TOO_LARGE: "The answer is not a discovery document or key set; check the issuer's URL.",
    Failure.REDIRECT_REFUSED: "Redirects to another host are not followed; write the issuer that its tokens name.",
    Failure.BAD_STATUS: f"Check the issuer's URL; where a document needs a login, let everybody read it, {_OR_STATIC}.",
    Failure.BAD_ADDRESS: "The issuer must publish its keys at an https URL with a host name, without user name or "
    f"fragment, and name that as jwks_uri; {_OR_STATIC}.",
    Failure.BAD_DISCOVERY: "Check the issuer's URL: its discovery document must be there, as JSON in UTF-8 with issuer "
    f"and jwks_uri, and readable without a login; {_OR_STATIC}.",
    Failure.ISSUER_MISMATCH: _SAY_WHERE,
    Failure.BAD_KEY_SET: "What jwks_uri points to must be a JWK set, as JSON in UTF-8 and readable without a login: "
    f"tell those who run the issuer, {_OR_STATIC}.",
    Failure.NO_KEYS: NO_USABLE_KEY,
    Failure.NO_USABLE_KEY: NO_USABLE_KEY,
}


def connection(cause: Cause | None, otherwise: str) -> str:
    """Return what fixes a failure below HTTP; `otherwise` where it was none, or tells nothing."""
    return otherwise if cause is None or cause is Cause.UNKNOWN else CONNECTION[cause]


def fixed_audience(form: Form) -> str:
    """Return what to write for an issuer whose tokens have an audience that nobody can choose."""
    return f"Write audience at this issuer as its tokens have it, for example {form.example}."


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
