"""The policy file of the local stack: the fictional organisation contoso, as plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from devstack.upstreams import Upstreams

_POLICY = """\
version: 1
audience: {audience}

registries:
  prod:
    login_server: {login_server}
    cloud: public
    identity: default

issuers:
  github: {{preset: github, issuer: "{github}"}}
  gitlab: {{preset: gitlab, issuer: "{gitlab}"}}
  cluster: {{preset: kubernetes, issuer: "{cluster}"}}

rules:
  - name: web-release
    description: main and release tags of contoso/web may push its image and use its cache
    issuer: github
    when:
      repository_id: "123456"
      repository_owner_id: "9919"
      ref: [refs/heads/main, "refs/tags/v*"]
      event_name: [push, workflow_dispatch]
    grant:
      - registry: prod
        repositories: [web/api, web/ui]
        actions: [pull, push, metadata_read]
      - registry: prod
        repositories: ["web/cache/**"]
        actions: [pull, push]

  - name: web-pull-request
    description: pull requests of contoso/web may pull what main has built
    issuer: github
    when:
      repository_id: "123456"
      repository_owner_id: "9919"
      event_name: pull_request
    grant:
      - registry: prod
        repositories: [web/api, web/ui]
        actions: [pull, metadata_read]

  - name: api-release
    description: the protected main branch of contoso/api on GitLab
    issuer: gitlab
    when:
      project_id: "4200"
      namespace_id: "77"
      ref_path: refs/heads/main
      ref_protected: "true"
    grant:
      - registry: prod
        repositories: [api/server]
        actions: [pull, push, metadata_read]

  - name: production-pulls
    description: the deployer of the production namespace pulls what it runs
    issuer: cluster
    when:
      sub: system:serviceaccount:production:deployer
      /kubernetes.io/serviceaccount/uid: {service_account_uid}
    grant:
      - registry: prod
        repositories: ["web/*", "api/*"]
        actions: [pull]

deny:
  - name: nothing-is-deleted
    registry: prod
    repositories: ["**"]
    actions: [delete]
"""


def policy_text(upstreams: Upstreams) -> str:
    """Return the stack's policy for these upstreams; the issuer `/other` is none of its own."""
    from devstack.issuer.claims import SERVICE_ACCOUNT_UID

    return _POLICY.format(
        audience=upstreams.audience,
        login_server=upstreams.registry.login_server,
        github=upstreams.issuers.github.url,
        gitlab=upstreams.issuers.gitlab.url,
        cluster=upstreams.issuers.cluster.url,
        service_account_uid=SERVICE_ACCOUNT_UID,
    )
