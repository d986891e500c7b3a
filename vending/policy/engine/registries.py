"""Which registry a request means. Pure: what it returns is an entry of the policy, or a refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vending.acr.target import origin
from vending.errors import Reason, Refusal, quote

if TYPE_CHECKING:
    from vending.policy.engine.policy import Policy, Registry


def find_registry(
    policy: Policy, audience: str | None, resource: str | None = None, *, allow_loopback: bool = False
) -> Registry:
    """Find the registry that a request names, or the policy's only one.

    `audience` is its name or one of its hosts, `resource` one of its hosts as a URL (RFC 8707). Raises `Refusal` with
    `unknown_registry`, `multiple_registries` or `registry_required`.
    """
    named: list[Registry] = []
    if audience is not None:
        named.append(_known(policy.find_registry(audience), audience))
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
    for registry in policy.registries.values():
        for host in registry.all_hosts:
            local = origin(host, allow_loopback=allow_loopback)
            if resource.removesuffix("/") in {f"https://{host}", local}:
                return registry
    return None


def _known(registry: Registry | None, name: str) -> Registry:
    if registry is None:
        raise Refusal(Reason.UNKNOWN_REGISTRY, f"The policy lists no registry {quote(name)}.")
    return registry
