"""Which registry a request means. Pure: what it returns is an entry of the policy, or a refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vending.acr.target import origin
from vending.errors import Reason, Refusal, quote

if TYPE_CHECKING:
    from vending.policy.engine.policy import Policy, Registry


def find_registry(
    policy: Policy,
    audience: str | None,
    resource: str | None = None,
    *,
    allow_loopback: bool = False,
    reveal: bool = False,
) -> Registry:
    """Find the registry that a request names, or the policy's only one.

    `audience` is its name or one of its hosts, `resource` one of its hosts as a URL (RFC 8707); case, the port 443 and
    `/v2/` behind a host make no difference. Raises `Refusal` with `unknown_registry`, `multiple_registries` or
    `registry_required`; with `reveal` it lists the policy's registries, which callers are never told.
    """
    try:
        return _find(policy, audience, resource, allow_loopback=allow_loopback)
    except Refusal as refusal:
        if not reveal:
            raise
        known = ", ".join(sorted(policy.registries))
        raise Refusal(refusal.reason, f"{refusal.description.removesuffix('.')}; expected one of {known}.") from None


def _find(policy: Policy, audience: str | None, resource: str | None, *, allow_loopback: bool) -> Registry:
    named: list[Registry] = []
    if audience is not None:
        named.append(_known(_by_name(policy, audience), audience))
    if resource is not None:
        named.append(_known(_by_resource(policy, resource, allow_loopback=allow_loopback), resource))
    if not named:
        if len(policy.registries) != 1:
            raise Refusal(Reason.REGISTRY_REQUIRED)
        named = list(policy.registries.values())
    if any(registry is not named[0] for registry in named):
        raise Refusal(Reason.MULTIPLE_REGISTRIES, "The audience and the resource name two registries; name one.")
    return named[0]


def _by_resource(policy: Policy, resource: str, *, allow_loopback: bool) -> Registry | None:
    scheme, separator, rest = resource.partition("://")
    host = _normalized(rest)
    registry = policy.find_registry(host) if separator and host not in policy.registries else None
    if registry is None:
        return None
    # What may be spoken to in plain http here may be named so; everything else is https.
    named = next(own for own in registry.all_hosts if own == host)
    expected = {"https", origin(named, allow_loopback=allow_loopback).partition("://")[0]}
    return registry if scheme.lower() in expected else None


def _by_name(policy: Policy, audience: str) -> Registry | None:
    host = _normalized(audience)
    return policy.find_registry(audience) or (None if host in policy.registries else policy.find_registry(host))


def _normalized(host: str) -> str:
    """Write a host as policies do: in lower case, without the default port and without what clients put behind it."""
    plain = host.lower().removesuffix("/").removesuffix("/v2")
    return plain.removesuffix(":443")


def _known(registry: Registry | None, name: str) -> Registry:
    if registry is None:
        hint = "; audience is a registry's name or host, and a URL belongs in resource" if "://" in name else ""
        raise Refusal(Reason.UNKNOWN_REGISTRY, f"The policy lists no registry {quote(name)}{hint}.")
    return registry
