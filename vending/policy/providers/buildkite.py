"""Buildkite: one issuer for all organisations."""

from __future__ import annotations

import datetime
import re
from typing import Final

from vending.policy.providers.forms import GUID
from vending.policy.providers.preset import (
    MINUTE,
    Address,
    ClaimType,
    Gate,
    Preset,
    Sample,
    frozen,
    named,
    samples,
    varied,
)

_PAGE: Final = "https://buildkite.com/docs/agent/v3/cli-oidc#claims"
_URL: Final = "https://agent.buildkite.com"
_ASK: Final = "ask for them with `buildkite-agent oidc request-token --claim organization_id,pipeline_id`"

# An organisation chooses the slugs of its pipelines freely, so a pipeline's slug alone pins nothing.
_CLAIMS = frozen(
    named("organization_slug", always=True, instead="organization_id"),
    named("pipeline_slug", always=True, instead="pipeline_id"),
    named("organization_id pipeline_id", form=GUID, obtain=_ASK),
    named("build_number", ClaimType.INTEGER, always=True),
    named("build_branch job_id agent_id", always=True),
    named("build_commit", always=True),
    named("build_source runner_environment"),
    named("build_tag step_key"),
    named("build_id cluster_id cluster_name queue_id queue_key"),
    named("nbf", ClaimType.INTEGER, always=True),
    named("jti", since="2025-01"),
)

_BY_SLUG = Sample(
    "a build of contoso/web on main",
    {
        "iss": _URL,
        "sub": "organization:contoso:pipeline:web:ref:refs/heads/main:"
        "commit:0b5c1a9d5d1c4f5e8a9e2b7c3d4e5f60718293a4:step:build",
        "aud": "https://buildkite.com/contoso",
        "iat": 1795860300,
        "nbf": 1795860300,
        "exp": 1795860600,
        "jti": "0194b014-8517-7cef-b232-76a827315f08",
        "organization_slug": "contoso",
        "pipeline_slug": "web",
        "build_number": 41,
        "build_branch": "main",
        "build_tag": None,
        "build_commit": "0b5c1a9d5d1c4f5e8a9e2b7c3d4e5f60718293a4",
        "step_key": "build",
        "job_id": "0184990a-477b-4fa8-9968-496074483cee",
        "agent_id": "0184990a-4782-42b5-afc1-16715b10b8ff",
        "build_source": "webhook",
        "runner_environment": "self-hosted",
    },
    "organization:{organization_slug}:pipeline:{pipeline_slug}:ref:refs/heads/{build_branch}:commit:{build_commit}:step:{step_key}",
)

PRESET: Final = Preset(
    name="buildkite",
    as_of=datetime.date(2026, 11, 28),
    page=_PAGE,
    default_issuer=_URL,
    shared_issuers=(_URL,),
    issuer_form=_URL,
    addresses=(Address(re.compile(re.escape(_URL))),),
    multi_tenant=True,
    identity=("organization_id", "pipeline_id", "organization_slug", "pipeline_slug"),
    immutable=("organization_id", "pipeline_id"),
    pins=("organization_id", "pipeline_id", "organization_slug"),
    callers=(("pipeline_id",),),
    replay="reuse",
    lifetime=15 * MINUTE,
    job=("job_id", "build_number", "build_branch", "build_tag", "build_commit"),
    claims=_CLAIMS,
    prefixes=("agent_tag:",),
    units=frozenset({"pipeline_id", "pipeline_slug"}),
    gates={
        "build_branch": Gate.BRANCH,
        "build_tag": Gate.BRANCH,
        "build_source": Gate.TRIGGER,
        "build_commit": Gate.FLAG,
        "step_key": Gate.CHOSEN,
    },
    deep=frozenset({"build_branch", "build_tag"}),
    samples=samples(
        default=_BY_SLUG,
        ids=varied(
            _BY_SLUG,
            "the same build, with --claim organization_id,pipeline_id",
            {
                "organization_id": "0184990a-477b-4fa8-9968-496074483c01",
                "pipeline_id": "0184990a-4782-42b5-afc1-16715b10b802",
            },
        ),
        tag=varied(
            _BY_SLUG,
            "a build of the tag v1.2.0 of contoso/web",
            {
                "build_branch": "v1.2.0",
                "build_tag": "v1.2.0",
                "sub": "organization:contoso:pipeline:web:ref:refs/tags/v1.2.0:"
                "commit:0b5c1a9d5d1c4f5e8a9e2b7c3d4e5f60718293a4:step:build",
            },
            subject="organization:{organization_slug}:pipeline:{pipeline_slug}:ref:refs/tags/{build_tag}"
            ":commit:{build_commit}:step:{step_key}",
        ),
        older_agent=varied(_BY_SLUG, "a build before tokens had a jti", {"step_key": None}, without=("jti",)),
    ),
)
