"""The policy file as models: what may be written where. Checks each value by itself; what values mean together is
checked where the policy is built. The JSON Schema comes from here.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from vending.policy.language.fields import (
    FILE_NAME,
    IDENTITY_RESOURCE,
    Accepted,
    Actions,
    Algorithm,
    Conditions,
    Duration,
    Guid,
    Host,
    MapValue,
    Moment,
    Name,
    OneOrMany,
    PresetName,
    Prose,
    RegistryName,
    RelativeFile,
    Repositories,
    RepositoryPatterns,
    Says,
    Scalar,
    Secret,
    Strict,
    Text,
    Url,
    WhenAny,
)
from vending.policy.providers.presets import PRESETS


def _together(*keys: str) -> dict[str, Any]:
    return {"dependentRequired": {key: [other for other in keys if other != key] for key in keys}}


def _not_both(*keys: str) -> dict[str, Any]:
    return {"not": {"required": list(keys)}}


def _if(key: str, values: list[str], then: dict[str, Any]) -> dict[str, Any]:
    return {"if": {"properties": {key: {"enum": values}}, "required": [key]}, "then": then}


_ACCEPT: Final = Field(
    description="Warnings of check that are right for this entry: code to reason.",
    examples=[{"no_immutable_id": "repositories of one owner, SEC-12"}],
)
_USE: Final = Field(
    description="Named conditions, one or several; all that is in them must hold besides what is written here."
)
_NOT_BEFORE: Final = Field(
    description="The first valid day, or the first valid minute, UTC.", examples=["2027-01-01", "2027-01-01T08:00Z"]
)
_EXPIRES: Final = Field(
    description="The last valid day, or the minute at which it ends, UTC.", examples=["2027-06-30", "2027-06-30T18:00Z"]
)
_WITHOUT_ISSUER: Final = [name for name, preset in PRESETS.items() if preset.default_issuer is None]
_GRANTS_SOMETHING: Final[dict[str, Any]] = {
    **_together("repositories", "actions"),
    "anyOf": [
        {"required": ["repositories"]},
        {"properties": {"catalog": {"const": True}}, "required": ["catalog"]},
    ],
}


class RegistryModel(Strict):
    """An Azure Container Registry that callers may get tokens for."""

    model_config = ConfigDict(
        json_schema_extra={
            **_if("cloud", ["custom"], {"required": ["authority_host", "token_audience"]}),
            "else": {"not": {"required": ["authority_host"]}},
        }
    )

    login_server: Annotated[
        Host,
        Field(description="Its login server, exact and in lower case: host[:port].", examples=["contoso.azurecr.io"]),
    ]
    cloud: Annotated[
        Literal["public", "usgovernment", "china", "custom"],
        Field(description="The Azure cloud it lives in; custom needs authority_host and token_audience."),
    ] = "public"
    identity: Annotated[Name, Field(description="The identity that mints tokens for it, by name.")] = "default"
    token_audience: Annotated[
        Url | None, Field(description="The audience of the Entra token, for clouds that need another than ACR's own.")
    ] = None
    service: Annotated[
        Host | None, Field(description="The service name in token requests, where it differs from the login server.")
    ] = None
    hosts: Annotated[
        list[Host],
        Field(
            description="Further hosts that the same token serves, such as regional endpoints.",
            min_length=1,
            examples=[["contoso.eastus.geo.azurecr.io"]],
        ),
    ] = []
    authority_host: Annotated[
        Host | None, Field(description="The Entra authority's bare host name; only for cloud: custom.")
    ] = None
    accept: Annotated[Accepted, _ACCEPT] = {}


class ManagedIdentityModel(Strict):
    """The app's managed identity: the system-assigned one, or a user-assigned one by client or resource id."""

    model_config = ConfigDict(json_schema_extra=_not_both("client_id", "resource_id"))

    type: Literal["managed_identity"]
    client_id: Annotated[Guid | None, Field(description="The client id of a user-assigned identity.")] = None
    resource_id: Annotated[
        Annotated[str, Field(pattern=IDENTITY_RESOURCE), Says("write /subscriptions/…/userAssignedIdentities/<name>")]
        | None,
        Field(description="The Azure resource id of a user-assigned identity."),
    ] = None


class FederatedAppModel(Strict):
    """A managed identity as the federated credential of an app registration, for registries in another tenant."""

    type: Literal["federated_app"]
    tenant_id: Annotated[Guid, Field(description="The tenant that holds the registry.")]
    client_id: Annotated[Guid, Field(description="The application (client) id of the app registration.")]
    managed_identity: Annotated[Name, Field(description="The managed identity, by its name under identities.")] = (
        "default"
    )


class WorkloadIdentityModel(Strict):
    """Azure workload identity of a Kubernetes pod; what is left out comes from the pod's environment."""

    type: Literal["workload_identity"]
    tenant_id: Annotated[Guid | None, Field(description="The tenant; default AZURE_TENANT_ID.")] = None
    client_id: Annotated[Guid | None, Field(description="The client id; default AZURE_CLIENT_ID.")] = None


class ServicePrincipalModel(Strict):
    """An app registration with a secret or a certificate, held in an app setting and never in this file."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["secret_setting"]}, {"required": ["certificate_setting"]}]}
    )

    type: Literal["service_principal"]
    tenant_id: Annotated[Guid, Field(description="The tenant of the app registration.")]
    client_id: Annotated[Guid, Field(description="The application (client) id.")]
    secret_setting: Annotated[Secret | None, Field(description="The app setting that holds the client secret.")] = None
    certificate_setting: Annotated[
        Secret | None, Field(description="The app setting that holds certificate and private key, as PEM.")
    ] = None


class DeveloperModel(Strict):
    """Whoever is signed in on this machine (Azure CLI and its relatives); for local work only."""

    type: Literal["developer"]
    tenant_id: Annotated[Guid | None, Field(description="The tenant to get tokens of.")] = None


IdentityModel: TypeAlias = Annotated[
    ManagedIdentityModel | FederatedAppModel | WorkloadIdentityModel | ServicePrincipalModel | DeveloperModel,
    Field(discriminator="type"),
]


class IssuerModel(Strict):
    """An OpenID Connect issuer whose tokens are accepted."""

    model_config = ConfigDict(
        json_schema_extra={
            "allOf": [
                _not_both("jwks", "jwks_file"),
                _not_both("ca", "ca_file"),
                _if("preset", _WITHOUT_ISSUER, {"required": ["issuer"]}),
                {**_if("preset", ["generic"], {}), "else": {"not": {"required": ["identity_claims"]}}},
            ]
        }
    )

    preset: Annotated[PresetName, Field(description="The provider; fills in everything that is left out.")]
    issuer: Annotated[
        Url | None, Field(description="The issuer's URL, character by character as its tokens carry it in iss.")
    ] = None
    audience: Annotated[
        Text | None, Field(description="The aud of its tokens, only where it cannot be the policy's own.")
    ] = None
    allow_extra_audiences: Annotated[
        bool, Field(description="Accept tokens that name further audiences beside ours.")
    ] = False
    algorithms: Annotated[
        list[Algorithm], Field(description="The signature algorithms that are accepted; default RS256.", min_length=1)
    ] = ["RS256"]
    max_token_lifetime: Annotated[
        Duration | None, Field(description="The longest accepted exp - iat, at most 30d.", examples=["15m", "1h"])
    ] = None
    replay: Annotated[
        Literal["once", "reuse"] | None, Field(description="once: each token is accepted a single time, by its jti.")
    ] = None
    identity_claims: Annotated[
        list[Text] | None,
        Field(description="preset: generic only: the claims that say who the caller is.", min_length=1),
    ] = None
    jwks: Annotated[
        dict[str, Any] | None, Field(description="Static keys as a JWK set (RFC 7517); nothing is fetched then.")
    ] = None
    jwks_file: Annotated[RelativeFile | None, Field(description="A file with a JWK set, beside the policy.")] = None
    ca: Annotated[
        Annotated[str, Field(max_length=262_144), Says("write PEM certificates")] | None,
        Field(description="PEM certificates of a private CA, trusted for this issuer alone."),
    ] = None
    ca_file: Annotated[RelativeFile | None, Field(description="A file with such certificates, beside the policy.")] = (
        None
    )
    enabled: Annotated[bool, Field(description="false refuses every token of this issuer.")] = True
    accept: Annotated[Accepted, _ACCEPT] = {}


class NamedConditionModel(Strict):
    """A piece of conditions, for use in rules and deny entries."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": [key]} for key in ("when", "when_any", "unless")]}
    )

    when: Annotated[Conditions, Field(description="All must hold.")] = {}
    when_any: Annotated[
        WhenAny, Field(description="All of at least one of these must hold; only for rules to use.")
    ] = []
    unless: Annotated[
        Conditions, Field(description="As in the rule or deny entry that uses it: excludes, or exempts.")
    ] = {}


class GrantModel(Strict):
    """What a rule grants in one registry, or the same in several."""

    model_config = ConfigDict(json_schema_extra=_GRANTS_SOMETHING)

    registry: Annotated[OneOrMany[RegistryName], Field(description="The registry, by name, or several.")]
    repositories: Annotated[
        Repositories | None,
        Field(
            description="Exact names, patterns with * and **, or templates such as ci/{repository|lower|path}.",
            examples=[["web/api", "web/cache/**", "ci/{repository|lower|path}"]],
        ),
    ] = None
    actions: Annotated[
        Actions | None,
        Field(description="Exactly these actions; push does not imply pull.", examples=[["pull", "push"]]),
    ] = None
    catalog: Annotated[bool, Field(description="Also grant registry:catalog:*, the list of all repositories.")] = False


class RuleModel(Strict):
    """Who gets what: grants for callers of an issuer whose conditions hold."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": [key]} for key in ("when", "when_any", "use")]})

    name: Annotated[Name, Field(description="Unique among rules; shown to callers whom the rule is about.")]
    description: Annotated[Prose, Field(description="For people.")] = ""
    issuer: Annotated[OneOrMany[Name], Field(description="The issuer, by name, or several.")]
    when: Annotated[
        Conditions,
        Field(
            description="All must hold: claim (or JSON Pointer) to a value, or a list of which any may match.",
            examples=[{"repository_id": "123456", "ref": ["refs/heads/main", "refs/tags/v*"]}],
        ),
    ] = Field(default_factory=dict)
    when_any: Annotated[
        WhenAny,
        Field(
            description="All of at least one of these must hold, besides `when`.",
            examples=[[{"ref": "refs/heads/main"}, {"ref": "refs/tags/v*"}]],
        ),
    ] = Field(default_factory=list)
    use: Annotated[OneOrMany[Name], _USE] = Field(default_factory=list)
    unless: Annotated[
        Conditions | None, Field(description="Excludes the caller when any holds, or its claim is missing.")
    ] = None
    grant: Annotated[list[GrantModel], Field(description="What the rule grants.", min_length=1)]
    not_before: Annotated[Moment | None, _NOT_BEFORE] = None
    expires: Annotated[Moment | None, _EXPIRES] = None
    mode: Annotated[Literal["enforce", "audit"], Field(description="audit: evaluated and logged, grants nothing.")] = (
        "enforce"
    )
    enabled: Annotated[bool, Field(description="false has the effect of removing the rule.")] = True
    accept: Annotated[Accepted, _ACCEPT] = Field(default_factory=dict)


class DenyModel(Strict):
    """What nobody gets, whatever the rules grant."""

    model_config = ConfigDict(
        json_schema_extra={
            **_GRANTS_SOMETHING,
            "dependentRequired": {
                **_together("repositories", "actions")["dependentRequired"],
                "when": ["issuer"],
                "unless": ["issuer"],
                "use": ["issuer"],
            },
        }
    )

    name: Annotated[Name, Field(description="Unique among deny entries.")]
    description: Annotated[Prose, Field(description="For people.")] = ""
    issuer: Annotated[
        OneOrMany[Name] | None, Field(description="Only for callers of this issuer, or these; default all.")
    ] = None
    registry: Annotated[RegistryName | None, Field(description="Only in this registry; default every one.")] = None
    repositories: Annotated[
        RepositoryPatterns | None, Field(description="Exact names or patterns; no templates.", examples=[["**"]])
    ] = None
    actions: Annotated[Actions | None, Field(description="The actions that are denied.")] = None
    catalog: Annotated[bool, Field(description="Also deny registry:catalog:*.")] = False
    when: Annotated[
        Conditions | None, Field(description="Only when all hold; a claim of another type than written holds too.")
    ] = None
    unless: Annotated[Conditions | None, Field(description="Not when all of these hold.")] = None
    use: Annotated[OneOrMany[Name], _USE] = Field(default_factory=list)
    not_before: Annotated[Moment | None, _NOT_BEFORE] = None
    expires: Annotated[Moment | None, _EXPIRES] = None
    enabled: Annotated[bool, Field(description="false has the effect of removing the entry.")] = True
    accept: Annotated[Accepted, _ACCEPT] = Field(default_factory=dict)


class NeverModel(DenyModel):
    """What must never be granted to anybody whom it describes; denied at run time, and proved by check."""


class FileBoundsModel(Strict):
    """What one file of a directory may say; a key that is left out does not bound, but for deny."""

    repositories: Annotated[
        RepositoryPatterns | None,
        Field(description="Its grants and denies stay within these.", examples=[["web/**"]]),
    ] = None
    registries: Annotated[
        list[RegistryName] | None, Field(description="Its grants and denies name only these.", min_length=1)
    ] = None
    issuers: Annotated[
        list[Name] | None, Field(description="Its rules and denies are about callers of these only.", min_length=1)
    ] = None
    deny: Annotated[bool, Field(description="true lets it have deny entries.")] = False


class LimitsModel(Strict):
    """How much one caller may ask for."""

    requests_per_minute: Annotated[
        int, Field(description="Requests of one caller to one instance, per minute.", ge=1, le=1_000_000)
    ] = 600
    max_scopes: Annotated[int, Field(description="Scopes in one request.", ge=1, le=128)] = 32


class AuditModel(Strict):
    """What the audit log holds beyond its defaults."""

    claims: Annotated[
        list[Text],
        Field(
            description="Personal claims (names, e-mail) that the audit log shall hold.",
            min_length=1,
            examples=[["actor"]],
        ),
    ]


class SourcesModel(Strict):
    """Where each entry of a compiled policy was written: name to file:line:column. Written by compile."""

    registries: dict[str, str] = {}
    identities: dict[str, str] = {}
    issuers: dict[str, str] = {}
    maps: dict[str, str] = {}
    conditions: dict[str, str] = {}
    lists: dict[str, str] = {}
    files: dict[str, str] = {}
    rules: dict[str, str] = {}
    deny: dict[str, str] = {}
    never: dict[str, str] = {}


class PolicyModel(Strict):
    """A policy of ACR Token Vending: which callers get which registry tokens."""

    version: Annotated[
        int,
        Field(ge=1, le=1, description="The version of this language."),
        Says("write 1, the version of this language", also={"const": 1}),
    ]
    audience: Annotated[
        Url,
        Field(
            description="The aud that callers ask their CI for: an https URL of this deployment's own.",
            examples=["https://vend.contoso.example"],
        ),
    ]
    registries: Annotated[
        dict[RegistryName, RegistryModel], Field(description="The registries, by name.", min_length=1)
    ]
    identities: Annotated[
        dict[Name, IdentityModel],
        Field(
            description="The Azure identities that mint tokens; `default` exists without being written.", min_length=1
        ),
    ] = {}
    issuers: Annotated[dict[Name, IssuerModel], Field(description="The issuers, by name.", min_length=1)]
    maps: Annotated[
        dict[Name, Annotated[dict[Text, MapValue], Field(min_length=1)]],
        Field(
            description="Tables for templates: a claim's value to a repository name, or to a list of names and "
            "patterns.",
            min_length=1,
            examples=[{"images": {"123456": "web/api"}}, {"images": {"123456": ["web/api", "web/api/**"]}}],
        ),
    ] = {}
    conditions: Annotated[
        dict[Name, NamedConditionModel],
        Field(
            description="Pieces of conditions, by name, for `use`.",
            min_length=1,
            examples=[{"people": {"unless": {"actor": "*[bot]"}}}],
        ),
    ] = {}
    lists: Annotated[
        dict[Name, Annotated[list[Scalar], Field(min_length=1)]],
        Field(
            description="Lists of values, by name, for conditions: {in: name}.",
            min_length=1,
            examples=[{"pay-repositories": ["640000001", "640000002"]}],
        ),
    ] = {}
    files: Annotated[
        dict[
            Annotated[str, Field(pattern=FILE_NAME), Says("write the name of a file beside this one")], FileBoundsModel
        ],
        Field(
            description="What each other file of the directory may say; with this, every one is listed.",
            min_length=1,
            examples=[{"team-web.yaml": {"repositories": ["web/**"], "registries": ["prod"]}}],
        ),
    ] = {}
    rules: Annotated[list[RuleModel], Field(description="Who gets what. Their order means nothing.")] = []
    deny: Annotated[list[DenyModel], Field(description="What nobody gets; deny wins over every rule.")] = []
    never: Annotated[
        list[NeverModel], Field(description="What must never be granted: check proves it, and the app denies it.")
    ] = []
    limits: Annotated[LimitsModel, Field(description="Limits of each caller.")] = LimitsModel()
    audit: Annotated[AuditModel | None, Field(description="Additions to the audit log.")] = None
    sources: Annotated[SourcesModel | None, Field(description="Written by compile; leave it out.")] = None


_LOCATIONS: Final[tuple[tuple[re.Pattern[str], type[BaseModel]], ...]] = tuple(
    (re.compile(pattern), model)
    for pattern, model in (
        (r"", PolicyModel),
        (r"registries/[^/]+", RegistryModel),
        (r"issuers/[^/]+", IssuerModel),
        (r"conditions/[^/]+", NamedConditionModel),
        (r"files/[^/]+", FileBoundsModel),
        (r"rules/#", RuleModel),
        (r"rules/#/grant/#", GrantModel),
        (r"deny/#", DenyModel),
        (r"never/#", NeverModel),
        (r"limits", LimitsModel),
        (r"audit", AuditModel),
        (r"sources", SourcesModel),
    )
)
_IDENTITIES: Final[dict[str, type[BaseModel]]] = {
    "managed_identity": ManagedIdentityModel,
    "federated_app": FederatedAppModel,
    "workload_identity": WorkloadIdentityModel,
    "service_principal": ServicePrincipalModel,
    "developer": DeveloperModel,
}


def known_keys(path: tuple[str | int, ...], identity_type: object = None) -> tuple[str, ...]:
    """Return the keys that a mapping at `path` may have; none where any key is allowed."""
    if len(path) == 2 and path[0] == "identities":
        model = _IDENTITIES.get(str(identity_type))
        return tuple(model.model_fields) if model else ("type",)
    place = "/".join("#" if isinstance(part, int) else part for part in path)
    return next((tuple(model.model_fields) for pattern, model in _LOCATIONS if pattern.fullmatch(place)), ())
