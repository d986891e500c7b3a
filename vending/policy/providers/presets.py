"""What is known about each identity provider, as data: one table for each, with the source of its facts.

Claims are written as in a policy: a top-level name, or a JSON Pointer. Nothing here decides; what a policy file writes
wins over its preset.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vending.oidc.types import Replay

MINUTE: Final = 60
HOUR: Final = 60 * MINUTE

MultiTenant: TypeAlias = "bool | Literal['at_shared_issuer']"


class ClaimType(Enum):
    """Say which JSON type a claim has; of a list, the type of its elements."""

    TEXT = "text"
    TRUTH = "true or false"
    INTEGER = "an integer"

    def accepts(self, value: object) -> bool:
        """Tell whether a condition's value has this type."""
        kind = bool if self is ClaimType.TRUTH else int if self is ClaimType.INTEGER else str
        return type(value) is kind


@dataclass(frozen=True, slots=True)
class Preset:
    """Describe the tokens of one identity provider.

    - `default_issuer` is the URL where the file names none; `issuer_form` says what to write otherwise;
      `shared_issuer` is the URL that signs for many tenants.
    - `identity` are the claims that say who the caller is, `immutable` those of them that survive renames, `pins`
      those of which each alone belongs to one tenant, `caller` those that name the caller to the rate limiter.
    - `folded` claims are compared without case.
    - A token with one of the `refused` values is refused unless a rule names the value.
    - `personal` claims describe a person and stay out of the audit log.
    - `types` are the claims that the provider sends and their JSON types; claims that begin with one of `prefixes` are
      text; `other` is the type of all remaining ones, where it is certain.
    - `lifetime` is the longest life of a token, in seconds.
    """

    name: str
    multi_tenant: MultiTenant
    identity: tuple[str, ...]
    immutable: tuple[str, ...]
    caller: tuple[str, ...]
    replay: Replay
    lifetime: int
    default_issuer: str | None = None
    shared_issuer: str | None = None
    issuer_form: str = ""
    pins: tuple[str, ...] = ()
    folded: frozenset[str] = frozenset()
    refused: tuple[tuple[str, str | bool], ...] = ()
    personal: frozenset[str] = frozenset()
    types: Mapping[str, ClaimType] = field(default_factory=dict)
    prefixes: tuple[str, ...] = ()
    other: ClaimType | None = None

    def type_of(self, key: str) -> ClaimType | None:
        """Return the JSON type of a claim; None where it is not known."""
        known = self.types.get(key)
        if known is not None:
            return known
        return ClaimType.TEXT if self.prefixes and key.startswith(self.prefixes) else self.other

    def sends(self, key: str) -> bool:
        """Tell whether the provider is known to send a claim; True for providers that may send anything."""
        return not self.types or key in self.types or bool(self.prefixes and key.startswith(self.prefixes))


def _types(text: str, *, truths: str = "", integers: str = "") -> Mapping[str, ClaimType]:
    """Tabulate claims by type, with the registered claims (RFC 7519 section 4.1) that every provider sends."""
    table = dict.fromkeys(("iss", "sub", "aud", "jti", *text.split()), ClaimType.TEXT)
    table |= dict.fromkeys(("exp", "nbf", "iat", *integers.split()), ClaimType.INTEGER)
    table |= dict.fromkeys(truths.split(), ClaimType.TRUTH)
    return MappingProxyType(table)


# https://docs.github.com/actions/reference/security/oidc: every value is a string, ids and booleans included. Custom
# properties of the repository come as repo_property_<name>. Names of owners, repositories, people and environments are
# compared without case by GitHub; ids are never reused, deleted names can be registered again.
# pull_request_target and workflow_run run with the base repository's rights on another's code:
# https://securitylab.github.com/resources/github-actions-preventing-pwn-requests/
_GITHUB = Preset(
    name="github",
    default_issuer="https://token.actions.githubusercontent.com",
    shared_issuer="https://token.actions.githubusercontent.com",
    issuer_form="https://token.actions.githubusercontent.com/<enterprise>, https://token.actions.<name>.ghe.com "
    "or https://<host>/_services/token",
    multi_tenant=True,
    identity=("repository_id", "repository_owner_id", "repository", "repository_owner", "enterprise_id"),
    immutable=("repository_id", "repository_owner_id", "enterprise_id"),
    pins=("repository_id", "repository_owner_id", "repository", "repository_owner", "enterprise_id"),
    caller=("repository_id",),
    replay="once",
    lifetime=15 * MINUTE,
    folded=frozenset({"environment", "repository", "repository_owner", "actor"}),
    refused=(("event_name", "pull_request_target"), ("event_name", "workflow_run")),
    personal=frozenset({"actor", "actor_id"}),
    types=_types(
        "actor actor_id base_ref check_run_id enterprise enterprise_id environment environment_node_id event_name "
        "head_ref job_workflow_ref job_workflow_sha ref ref_protected ref_type repository repository_id "
        "repository_owner repository_owner_id repository_visibility run_attempt run_id run_number runner_environment "
        "sha workflow workflow_ref workflow_sha"
    ),
    prefixes=("repo_property_",),
    other=ClaimType.TEXT,
)

# https://docs.gitlab.com/ci/secrets/id_token_authentication/#token-payload: runner_id is the one number.
_GITLAB = Preset(
    name="gitlab",
    default_issuer="https://gitlab.com",
    shared_issuer="https://gitlab.com",
    issuer_form="the URL of your GitLab instance",
    multi_tenant="at_shared_issuer",
    identity=("project_id", "namespace_id", "project_path", "namespace_path"),
    immutable=("project_id", "namespace_id"),
    pins=("project_id", "namespace_id", "project_path", "namespace_path"),
    caller=("project_id",),
    replay="reuse",
    lifetime=25 * HOUR,
    personal=frozenset({"user_id", "user_login", "user_email", "user_identities", "groups_direct"}),
    types=_types(
        "ci_config_ref_uri ci_config_sha deployment_tier deployment_url environment environment_action "
        "environment_protected groups_direct job_id job_namespace_id job_namespace_path job_project_id "
        "job_project_path job_source namespace_id namespace_path pipeline_id pipeline_source project_id project_path "
        "project_visibility ref ref_path ref_protected ref_type runner_environment sha user_access_level user_email "
        "user_id user_identities user_login",
        integers="runner_id",
    ),
)

# https://learn.microsoft.com/azure/devops/pipelines/release/configure-workload-identity and the token's own fields.
_AZURE_DEVOPS = Preset(
    name="azure-devops",
    issuer_form="https://vstoken.dev.azure.com/<organization id>",
    multi_tenant=False,
    identity=("org_id", "prj_id", "def_id", "rpo_id"),
    immutable=("org_id", "prj_id", "def_id", "rpo_id"),
    caller=("prj_id", "def_id"),
    replay="once",
    lifetime=15 * MINUTE,
    types=_types("org_id prj_id def_id rpo_id rpo_uri rpo_ver rpo_ref run_id"),
)

# https://circleci.com/docs/openid-connect-tokens/: claim names hold dots and a slash; they are names, not pointers.
# The root issuer signs for every organisation. A job rerun with SSH lets whoever may log in use its token.
_CIRCLECI = Preset(
    name="circleci",
    shared_issuer="https://oidc.circleci.com",
    issuer_form="https://oidc.circleci.com/org/<organization id>",
    multi_tenant="at_shared_issuer",
    identity=("oidc.circleci.com/project-id",),
    immutable=("oidc.circleci.com/project-id",),
    pins=("oidc.circleci.com/project-id",),
    caller=("oidc.circleci.com/project-id",),
    replay="reuse",
    lifetime=65 * MINUTE,
    refused=(("oidc.circleci.com/ssh-rerun", True),),
    types=_types(
        "oidc.circleci.com/context-ids oidc.circleci.com/job-id oidc.circleci.com/pipeline-definition-id "
        "oidc.circleci.com/pipeline-id oidc.circleci.com/project-id oidc.circleci.com/vcs-origin "
        "oidc.circleci.com/vcs-ref oidc.circleci.com/workflow-id",
        truths="oidc.circleci.com/ssh-rerun",
    ),
)

# https://support.atlassian.com/bitbucket-cloud/docs/integrate-pipelines-with-resource-servers-using-oidc/: identifiers
# keep their braces; `sub` names the step and so changes with each one.
_BITBUCKET = Preset(
    name="bitbucket",
    issuer_form="https://api.bitbucket.org/2.0/workspaces/<workspace>/pipelines-config/identity/oidc",
    multi_tenant=False,
    identity=("repositoryUuid", "workspaceUuid"),
    immutable=("repositoryUuid", "workspaceUuid"),
    caller=("repositoryUuid",),
    replay="reuse",
    lifetime=25 * HOUR,
    types=_types(
        "repositoryUuid workspaceUuid branchName deploymentEnvironmentUuid pipelineRunUuid pipelineUuid stepUuid"
    ),
)

# https://buildkite.com/docs/agent/v3/cli-oidc#claims: an organisation chooses its pipelines' slugs freely, so a slug
# alone pins nothing.
_BUILDKITE = Preset(
    name="buildkite",
    default_issuer="https://agent.buildkite.com",
    shared_issuer="https://agent.buildkite.com",
    multi_tenant=True,
    identity=("organization_id", "pipeline_id", "organization_slug", "pipeline_slug"),
    immutable=("organization_id", "pipeline_id"),
    pins=("organization_id", "pipeline_id", "organization_slug"),
    caller=("pipeline_id",),
    replay="once",
    lifetime=15 * MINUTE,
    types=_types(
        "agent_id build_branch build_commit build_id build_source build_tag cluster_id cluster_name job_id "
        "organization_id organization_slug pipeline_id pipeline_slug queue_id queue_key runner_environment step_key",
        integers="build_number",
    ),
    prefixes=("agent_tag:",),
)

# https://developer.hashicorp.com/terraform/cloud-docs/workspaces/dynamic-provider-credentials/workload-identity-tokens
_TERRAFORM_CLOUD = Preset(
    name="terraform-cloud",
    default_issuer="https://app.terraform.io",
    shared_issuer="https://app.terraform.io",
    issuer_form="the URL of your Terraform Enterprise",
    multi_tenant=True,
    identity=(
        "terraform_organization_id",
        "terraform_workspace_id",
        "terraform_organization_name",
        "terraform_workspace_name",
    ),
    immutable=("terraform_organization_id", "terraform_workspace_id"),
    pins=("terraform_organization_id", "terraform_workspace_id", "terraform_organization_name"),
    caller=("terraform_workspace_id",),
    replay="reuse",
    lifetime=25 * HOUR,
    types=_types(
        "terraform_full_workspace terraform_organization_id terraform_organization_name terraform_project_id "
        "terraform_project_name terraform_run_id terraform_run_phase terraform_workspace_id terraform_workspace_name"
    ),
)

# https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens
_KUBERNETES = Preset(
    name="kubernetes",
    issuer_form="the cluster's issuer, as `kubectl get --raw /.well-known/openid-configuration` shows it",
    multi_tenant=False,
    identity=(
        "sub",
        "/kubernetes.io/namespace",
        "/kubernetes.io/serviceaccount/name",
        "/kubernetes.io/serviceaccount/uid",
    ),
    immutable=("/kubernetes.io/serviceaccount/uid",),
    caller=("sub",),
    replay="reuse",
    lifetime=65 * MINUTE,
    types=_types(
        "/kubernetes.io/namespace /kubernetes.io/serviceaccount/name /kubernetes.io/serviceaccount/uid "
        "/kubernetes.io/pod/name /kubernetes.io/pod/uid /kubernetes.io/node/name /kubernetes.io/node/uid",
        integers="/kubernetes.io/warnafter",
    ),
)

# https://cloud.google.com/docs/authentication/token-types#id: the numeric `sub` is never reused, an e-mail can be.
_GOOGLE = Preset(
    name="google",
    default_issuer="https://accounts.google.com",
    shared_issuer="https://accounts.google.com",
    multi_tenant=True,
    identity=("sub", "email", "azp"),
    immutable=("sub",),
    pins=("sub", "email", "azp"),
    caller=("sub",),
    replay="reuse",
    lifetime=65 * MINUTE,
    personal=frozenset({"email", "name", "given_name", "family_name", "picture"}),
    types=_types(
        "azp email hd /google/compute_engine/project_id /google/compute_engine/zone "
        "/google/compute_engine/instance_id /google/compute_engine/instance_name",
        truths="email_verified",
        integers="/google/compute_engine/project_number /google/compute_engine/instance_creation_timestamp",
    ),
)

# https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference: v1.0 tokens carry `appid`, v2.0
# tokens `azp`.
_ENTRA = Preset(
    name="entra",
    issuer_form="https://login.microsoftonline.com/<tenant id>/v2.0 or https://sts.windows.net/<tenant id>/",
    multi_tenant=False,
    identity=("tid", "oid", "azp", "appid"),
    immutable=("tid", "oid", "azp", "appid"),
    caller=("oid",),
    replay="reuse",
    lifetime=25 * HOUR,
    personal=frozenset({"email", "name", "preferred_username", "unique_name", "upn", "family_name", "given_name"}),
    types=_types(
        "acr acrs aio amr appid appidacr azp azpacr email family_name given_name groups idp idtyp ipaddr name oid "
        "preferred_username rh roles scp tid unique_name upn uti ver wids xms_mirid"
    ),
)

# https://docs.spacelift.io/integrations/cloud-providers/oidc/#standard-claims
_SPACELIFT = Preset(
    name="spacelift",
    issuer_form="https://<account>.app.spacelift.io",
    multi_tenant=False,
    identity=("spaceId", "callerId"),
    immutable=("spaceId", "callerId"),
    caller=("spaceId",),
    replay="reuse",
    lifetime=25 * HOUR,
    types=_types("spaceId callerId callerType runId runType scope"),
)

_GENERIC = Preset(
    name="generic",
    issuer_form="the issuer's URL, exactly as its tokens carry it in `iss`",
    multi_tenant=False,
    identity=("sub",),
    immutable=(),
    caller=("sub",),
    replay="reuse",
    lifetime=65 * MINUTE,
)

PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            _GITHUB,
            _GITLAB,
            _AZURE_DEVOPS,
            _CIRCLECI,
            _BITBUCKET,
            _BUILDKITE,
            _TERRAFORM_CLOUD,
            _KUBERNETES,
            _GOOGLE,
            _ENTRA,
            _SPACELIFT,
            _GENERIC,
        )
    }
)

_OWNED: Final = tuple((preset.shared_issuer, preset.name) for preset in PRESETS.values() if preset.shared_issuer)


def owner_of(url: str) -> str | None:
    """Return the preset that alone may describe an issuer which many tenants share; None for any other issuer."""
    for issuer, name in _OWNED:
        if url == issuer or url.startswith(f"{issuer}/"):
            return name
    return None
