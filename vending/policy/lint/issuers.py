"""Criticise identities and issuers: what is trusted, and on what terms."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from vending.oidc.claim_path import parse_key
from vending.policy.compiler.hosts import is_shared_audience
from vending.policy.language.models import ServicePrincipalModel
from vending.policy.lint.codes import Findings, Lint, finding
from vending.settings import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vending.policy.engine.policy import PolicyIssuer
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
        if issuer.enabled and issuer.audience is not None and is_shared_audience(issuer.audience):
            yield finding(
                Lint.SHARED_AUDIENCE,
                ("issuers", name, "audience"),
                f"every service that accepts {issuer.audience} could present its callers' tokens here; leave audience "
                "out where the platform lets jobs choose it, else pin every rule to an id",
            )


def _issuers(view: View) -> Iterator[PolicyIssuer]:
    """Yield what is trusted: the enabled issuers, but for stand-ins on this machine, which have no provider's URL."""
    for issuer in view.loaded.policy.issuers.values():
        if issuer.verification.enabled and not is_loopback(urlsplit(issuer.verification.url).hostname):
            yield issuer


def issuer_form(view: View, now: float) -> Findings:
    """Find issuers whose URL does not have a form that its provider uses."""
    for issuer in _issuers(view):
        addresses, url = issuer.preset.addresses, issuer.verification.url
        if addresses and not any(address.pattern.fullmatch(url) for address in addresses):
            yield finding(
                Lint.ISSUER_FORM,
                ("issuers", issuer.name, "issuer"),
                f"no token of {issuer.preset.name} has {url} in iss; write {issuer.preset.issuer_form}",
            )


def fixed_audience(view: View, now: float) -> Findings:
    """Find issuers whose tokens never have the audience that is demanded of them."""
    for issuer in _issuers(view):
        made = issuer.verification
        for address in issuer.preset.addresses:
            fixed = address.audience
            if fixed is not None and address.pattern.fullmatch(made.url) and not fixed.admits(made.audience):
                yield finding(
                    Lint.FIXED_AUDIENCE,
                    ("issuers", issuer.name),
                    f"aud of tokens of {made.url} {fixed.says}, so a demand for {made.audience} refuses every one of "
                    "them; write that value as this issuer's audience",
                    at_key=True,
                )


def issuer_ends(view: View, now: float) -> Findings:
    """Find issuers whose end their provider has announced; those that are switched off as well."""
    today = datetime.datetime.fromtimestamp(now, datetime.UTC).date()
    for issuer in view.loaded.policy.issuers.values():
        for address in issuer.preset.addresses:
            if address.ends is not None and address.pattern.fullmatch(issuer.verification.url):
                yield finding(
                    Lint.ISSUER_ENDS,
                    ("issuers", issuer.name),
                    f"{issuer.verification.url} signs no tokens from {address.ends.isoformat()} on; {address.instead}",
                    at_key=True,
                    severity="info" if today < address.ends else "warning",
                )


def shared_issuer(view: View, now: float) -> Findings:
    """Find rules for callers of an issuer that many tenants share, which do not say whose."""
    for rule in view.rules:
        for issuer in rule.issuers:
            apart = _tells_apart(issuer)
            wanted = {parse_key(name) for name in apart}
            if apart and not any(clause.pins and clause.claim in wanted for clause in rule.clauses):
                yield finding(
                    Lint.SHARED_ISSUER,
                    (*rule.path, "when"),
                    f"{issuer.verification.url} signs for every customer of that service, so anybody's workload can "
                    f"match; add {' or '.join(apart)}",
                    at_key=True,
                )


def _tells_apart(issuer: PolicyIssuer) -> tuple[str, ...]:
    """Return the claims that tell the tenants of a shared issuer without a preset apart; none for any other."""
    return issuer.preset.shared_hosts.get(issuer.verification.url.rstrip("/"), ())


def loosened_preset(view: View, now: float) -> Findings:
    """Find issuers of whose tokens less is demanded than their preset does."""
    for issuer in _issuers(view):
        model, made, preset = view.loaded.model.issuers[issuer.name], issuer.verification, issuer.preset
        if preset.name == "generic":
            continue
        loosened = {
            "replay": (made.replay == "reuse" and preset.replay == "once", "a token that leaks can be used again"),
            "max_token_lifetime": (
                made.max_token_lifetime > preset.lifetime,
                f"a token that leaks is good for longer than any of {preset.name} lives",
            ),
            "allow_extra_audiences": (
                made.allow_extra_audiences,
                "a service that a token names too can present it here",
            ),
        }
        for key, (is_loose, effect) in loosened.items():
            if is_loose and key in model.model_fields_set:
                yield finding(
                    Lint.LOOSENED_PRESET,
                    ("issuers", issuer.name, key),
                    f"{effect}; remove {key}, and what the preset demands holds",
                    at_key=True,
                )
