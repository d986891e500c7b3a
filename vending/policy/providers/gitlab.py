"""GitLab CI: gitlab.com, GitLab Dedicated and self-managed instances."""

from __future__ import annotations

import datetime
import re
from typing import Final

from vending.policy.providers.forms import BOOLEAN_TEXT, COMMIT, NUMBER, REF, REF_TYPE, SOME, WORD, form, one_of
from vending.policy.providers.preset import (
    HOUR,
    Address,
    BeginsWith,
    ClaimType,
    Follows,
    Gate,
    Preset,
    Sample,
    frozen,
    named,
    samples,
    varied,
)

_PAGE: Final = "https://docs.gitlab.com/ci/secrets/id_token_authentication/#token-payload"

_PATH: Final = form(r"[^/]+(/[^/]+)+", "is <group>/<project>", "contoso/web")
_UPDATE: Final = "update GitLab to 18.4"

# runner_id is the one number; every other id is a string. Claims about a configuration, an environment or a person are
# null or left out where there is none.
_CLAIMS = frozen(
    named("project_id namespace_id", always=True, form=NUMBER),
    named("project_path", always=True, form=_PATH, instead="project_id"),
    named("namespace_path", always=True, instead="namespace_id"),
    named("pipeline_id job_id", always=True, form=NUMBER),
    named(
        "pipeline_source",
        always=True,
        form=WORD,
    ),
    named(
        "ref",
        always=True,
        form=form(r"(?!refs/(heads|tags)/).*", "has no refs/heads/ before it; ref_path has", "main"),
    ),
    named("ref_path", always=True, since="16.0", form=REF),
    named("ref_protected", always=True, form=BOOLEAN_TEXT),
    named("ref_type", always=True, form=REF_TYPE),
    named("runner_id", ClaimType.INTEGER, since="16.0"),
    named("runner_environment", since="16.0", form=one_of("gitlab-hosted", "self-hosted")),
    named("sha", always=True, since="16.0", form=COMMIT),
    named("project_visibility", always=True, since="16.3", form=one_of("public", "private", "internal")),
    named("ci_config_ref_uri ci_config_sha", since="16.2"),
    named("environment", form=SOME),
    named("environment_action deployment_tier deployment_url"),
    named("environment_protected", form=BOOLEAN_TEXT),
    named("user_id user_login user_email", always=True),
    named("user_access_level", since="16.9"),
    named("user_identities", many=True, since="16.0"),
    named("groups_direct", many=True, since="16.11"),
    named("job_project_id job_namespace_id", since="18.4", form=NUMBER, obtain=_UPDATE),
    named("job_project_path job_namespace_path", since="18.4", obtain=_UPDATE),
    named("job_source", since="18.4"),
    named(
        "sub",
        always=True,
        form=form(r".+:.+", "is project_path:<path>:ref_type:<type>:ref:<ref>", "project_path:a/b:ref:main"),
    ),
    named("nbf", ClaimType.INTEGER, always=True),
    named("jti", always=True),
)

_DEFAULT = Sample(
    "a push to the main branch of contoso/api",
    {
        "namespace_id": "77",
        "namespace_path": "contoso",
        "project_id": "4200",
        "project_path": "contoso/api",
        "user_id": "12",
        "user_login": "sidney",
        "user_email": "sidney@contoso.example",
        "user_access_level": "maintainer",
        "job_project_id": "4200",
        "job_project_path": "contoso/api",
        "job_namespace_id": "77",
        "job_namespace_path": "contoso",
        "pipeline_id": "1212",
        "pipeline_source": "push",
        "job_id": "1363",
        "ref": "main",
        "ref_type": "branch",
        "ref_path": "refs/heads/main",
        "ref_protected": "true",
        "runner_id": 1,
        "runner_environment": "self-hosted",
        "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
        "project_visibility": "private",
        "ci_config_ref_uri": "gitlab.contoso.example/contoso/api//.gitlab-ci.yml@refs/heads/main",
        "ci_config_sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
        "jti": "235b3a54-b797-45c7-ae9a-f72d7bc6ef5b",
        "iat": 1795860300,
        "nbf": 1795860295,
        "exp": 1795863900,
        "iss": "https://gitlab.contoso.example",
        "sub": "project_path:contoso/api:ref_type:branch:ref:main",
        "aud": "https://vend.contoso.example",
    },
    "project_path:{project_path}:ref_type:{ref_type}:ref:{ref}",
)

PRESET: Final = Preset(
    name="gitlab",
    as_of=datetime.date(2026, 11, 28),
    page=_PAGE,
    default_issuer="https://gitlab.com",
    shared_issuers=("https://gitlab.com",),
    issuer_form="the URL of your GitLab instance, without a slash at its end",
    addresses=(Address(re.compile(r"https://[^/]+(/[^/]+)*")),),
    multi_tenant="at_shared_issuer",
    identity=("project_id", "namespace_id", "project_path", "namespace_path"),
    immutable=("project_id", "namespace_id"),
    pins=("project_id", "namespace_id", "project_path", "namespace_path"),
    callers=(("project_id",),),
    replay="reuse",
    lifetime=25 * HOUR,
    prefix_free=frozenset({"project_path"}),
    personal=frozenset({"user_id", "user_login", "user_email", "user_identities", "groups_direct"}),
    job=("pipeline_id", "job_id", "ref_path", "sha", "environment"),
    claims=_CLAIMS,
    relations=(
        BeginsWith("project_path", "namespace_path"),
        Follows("ref_path", "refs/heads/**", "ref_type", "branch"),
        Follows("ref_path", "refs/tags/**", "ref_type", "tag"),
    ),
    units=frozenset({"project_id", "project_path"}),
    gates={
        "ref_path": Gate.REF,
        "ref": Gate.BARE_REF,
        "ref_type": Gate.KIND,
        "ref_protected": Gate.FLAG,
        "environment": Gate.ENVIRONMENT,
        "environment_protected": Gate.FLAG,
        "pipeline_source": Gate.TRIGGER,
        "ci_config_sha": Gate.FLAG,
        "ci_config_ref_uri": Gate.WORKFLOW,
        "sha": Gate.FLAG,
        "user_id": Gate.CHOSEN,
        "user_login": Gate.CHOSEN,
        "user_email": Gate.CHOSEN,
        "user_access_level": Gate.CHOSEN,
        "deployment_tier": Gate.CHOSEN,
    },
    unreviewed=(("pipeline_source", "merge_request_event"), ("pipeline_source", "external_pull_request_event")),
    deep=frozenset({"ref", "ref_path", "project_path", "namespace_path", "environment", "ci_config_ref_uri"}),
    samples=samples(
        default=_DEFAULT,
        merge_request=varied(
            _DEFAULT,
            "a merge request pipeline of contoso/api",
            {
                "pipeline_source": "merge_request_event",
                "ref": "add-cache",
                "ref_path": "refs/heads/add-cache",
                "ref_protected": "false",
                "sub": "project_path:contoso/api:ref_type:branch:ref:add-cache",
            },
        ),
        tag=varied(
            _DEFAULT,
            "the protected tag v1.2.0 of contoso/api",
            {
                "ref": "v1.2.0",
                "ref_type": "tag",
                "ref_path": "refs/tags/v1.2.0",
                "sub": "project_path:contoso/api:ref_type:tag:ref:v1.2.0",
            },
        ),
        environment=varied(
            _DEFAULT,
            "a job of contoso/api in the protected environment production",
            {
                "environment": "production",
                "environment_protected": "true",
                "environment_action": "start",
                "deployment_tier": "production",
            },
        ),
        before_18_4=varied(
            _DEFAULT,
            "a push to main of contoso/api on a GitLab before 18.4",
            {},
            without=("job_project_id", "job_project_path", "job_namespace_id", "job_namespace_path"),
        ),
    ),
)
