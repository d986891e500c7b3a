"""Criticise what stands around the rules: identities and issuers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vending.policy.compiler.hosts import is_shared_audience
from vending.policy.language.models import ServicePrincipalModel
from vending.policy.lint.codes import Findings, Lint, finding

if TYPE_CHECKING:
    from vending.policy.lint.view import View


def service_principal(view: View, now: float) -> Findings:
    """Find identities with a stored secret or certificate."""
    for name, identity in view.loaded.model.identities.items():
        if isinstance(identity, ServicePrincipalModel):
            yield finding(
                Lint.SERVICE_PRINCIPAL,
                ("identities", name, "type"),
                "a service principal has a secret that must be kept and renewed; write managed_identity, or "
                "federated_app for a registry in another tenant",
            )


def shared_audience(view: View, now: float) -> Findings:
    """Find issuers whose audience other services accept too."""
    for name, issuer in view.loaded.model.issuers.items():
        if issuer.audience is not None and is_shared_audience(issuer.audience):
            yield finding(
                Lint.SHARED_AUDIENCE,
                ("issuers", name, "audience"),
                f"every service that accepts {issuer.audience} could present its callers' tokens here; leave audience "
                "out where the platform lets jobs choose it, else pin every rule to an id",
            )
