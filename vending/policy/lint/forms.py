"""What providers send, for advice: which claims, what their values look like, and which ids stand behind names.

Only what a provider documents or its identifiers cannot but follow; a claim that is not listed may hold anything. The
sources are those of `presets.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from vending.oidc.claim_path import ClaimPath, parse_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vending.policy.engine.policy import PolicyIssuer
    from vending.policy.providers.presets import Preset

_GUID: Final = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_EXAMPLE_GUID: Final = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class Form:
    """Describe a claim's values: `pattern` matches all of them, they begin with `prefix`, and `example` is one.

    `says` completes the sentence "a value of this claim …".
    """

    pattern: re.Pattern[str]
    says: str
    example: str
    prefix: str = ""

    def admits(self, value: str) -> bool:
        """Tell whether a value, or something that a pattern matches, can have this form."""
        fixed, star, _ = value.partition("*")
        if star:
            return fixed.startswith(self.prefix) or self.prefix.startswith(fixed)
        return self.pattern.fullmatch(value) is not None


def _form(pattern: str, says: str, example: str, prefix: str = "") -> Form:
    return Form(re.compile(pattern), says, example, prefix)


def _one_of(*values: str) -> Form:
    return _form("|".join(map(re.escape, values)), f"is {' or '.join(values)}", values[0])


_NUMBER: Final = _form(r"[0-9]+", "is a number", "123456")
_REF: Final = _form(r"|refs/.+", "begins with refs/heads/ or refs/tags/", "refs/heads/main", "refs/")
_WORKFLOW: Final = _form(
    r"[^/]+/[^/]+/.+@.+", "is <owner>/<repository>/<path>@<ref>", "contoso/web/.github/workflows/ci.yml@refs/heads/main"
)
_BOOLEAN: Final = _one_of("true", "false")
_UUID: Final = _form(_GUID, "is a GUID", _EXAMPLE_GUID)
_BRACED: Final = _form(rf"\{{{_GUID}\}}", "is a GUID in braces", f"{{{_EXAMPLE_GUID}}}", "{")
_TWO_PARTS: Final = _form(r"[^/]+/[^/]+", "is <owner>/<name>", "contoso/web")
_PATH: Final = _form(r"[^/]+(/[^/]+)+", "is <group>/<project>", "contoso/web")
_SERVICE_ACCOUNT: Final = _form(
    r"system:serviceaccount:[^:]+:[^:]+",
    "is system:serviceaccount:<namespace>:<name>",
    "system:serviceaccount:web:deployer",
    "system:serviceaccount:",
)
_REF_TYPE: Final = _one_of("branch", "tag")

FORMS: Final[Mapping[str, Mapping[str, Form]]] = MappingProxyType(
    {
        "github": {
            "actor_id": _NUMBER,
            "enterprise_id": _NUMBER,
            "job_workflow_ref": _WORKFLOW,
            "ref": _REF,
            "ref_protected": _BOOLEAN,
            "ref_type": _REF_TYPE,
            "repository": _TWO_PARTS,
            "repository_id": _NUMBER,
            "repository_owner": _form(r"[^/]+", "has no slash", "contoso"),
            "repository_owner_id": _NUMBER,
            "repository_visibility": _one_of("public", "private", "internal"),
            "runner_environment": _one_of("github-hosted", "self-hosted"),
            "sub": _form(r".+:.+", "is repo:<owner>/<name>:<context>", "repo:contoso/web:ref:refs/heads/main"),
            "workflow_ref": _WORKFLOW,
        },
        "gitlab": {
            "environment_protected": _BOOLEAN,
            "namespace_id": _NUMBER,
            "project_id": _NUMBER,
            "project_path": _PATH,
            "ref": _form(r"(?!refs/(heads|tags)/).*", "has no refs/heads/ before it; ref_path has", "main"),
            "ref_path": _REF,
            "ref_protected": _BOOLEAN,
            "ref_type": _REF_TYPE,
            "runner_environment": _one_of("gitlab-hosted", "self-hosted"),
            "sub": _form(r".+:.+", "is project_path:<path>:ref_type:<type>:ref:<ref>", "project_path:a/b:ref:main"),
        },
        "azure-devops": {"org_id": _UUID, "prj_id": _UUID},
        "circleci": {"oidc.circleci.com/project-id": _UUID},
        "bitbucket": {"repositoryUuid": _BRACED, "workspaceUuid": _BRACED},
        "buildkite": {"organization_id": _UUID, "pipeline_id": _UUID},
        "terraform-cloud": {
            "terraform_organization_id": _form(r"org-.+", "begins with org-", "org-1", "org-"),
            "terraform_run_phase": _one_of("plan", "apply"),
            "terraform_workspace_id": _form(r"ws-.+", "begins with ws-", "ws-1", "ws-"),
        },
        "kubernetes": {"sub": _SERVICE_ACCOUNT, "/kubernetes.io/serviceaccount/uid": _UUID},
        "google": {"email": _form(r"[^@]+@[^@]+", "is an e-mail address", "a@b.example"), "sub": _NUMBER},
        "entra": {"oid": _UUID, "tid": _UUID},
        "spacelift": {"callerType": _one_of("stack", "module"), "scope": _one_of("read", "write")},
    }
)
"""Preset, then claim as its tables write it."""

REPLACED_BY: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "github": {"repository": "repository_id", "repository_owner": "repository_owner_id"},
        "gitlab": {"project_path": "project_id", "namespace_path": "namespace_id"},
        "buildkite": {"pipeline_slug": "pipeline_id", "organization_slug": "organization_id"},
        "terraform-cloud": {
            "terraform_organization_name": "terraform_organization_id",
            "terraform_workspace_name": "terraform_workspace_id",
        },
        "kubernetes": {
            "sub": "/kubernetes.io/serviceaccount/uid",
            "/kubernetes.io/serviceaccount/name": "/kubernetes.io/serviceaccount/uid",
        },
        "google": {"email": "sub", "azp": "sub"},
    }
)
"""Preset, then a claim that can be renamed or given away, to the immutable one that says the same."""

_IN_EVERY_TOKEN: Final = frozenset({"aud", "exp", "iat", "iss", "jti", "nbf"})
"""Claims that verification has judged already; a rule has no use for them."""


def form_of(preset: Preset, claim: ClaimPath) -> Form | None:
    """Return what the values of a claim look like; None where they may be anything."""
    return FORMS.get(preset.name, {}).get(written(claim))


def is_sent(preset: Preset, claim: ClaimPath) -> bool:
    """Tell whether a provider sends a claim; a pointer may lead into a list or to an object on the way."""
    return preset.sends(claim[0]) or any(
        len(known) > 1 and known[: len(claim)] == claim for known in map(parse_key, preset.types)
    )


def not_sent(issuer: PolicyIssuer, key: str, effect: str) -> str:
    """Say that an issuer does not send a claim, what follows, and what to write instead."""
    known = issuer.preset.types
    close = get_close_matches(key, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(known.keys() - _IN_EVERY_TOKEN))}"
    return f"tokens of {issuer.name} have no claim {key!r}, so {effect}; {hint}"


def written(claim: ClaimPath) -> str:
    """Write a claim as the tables of presets do."""
    return claim[0] if len(claim) == 1 else "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in claim)
