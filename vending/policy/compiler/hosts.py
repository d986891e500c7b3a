"""Judge the hosts, URLs and audiences of a policy: where this service would send its credentials, and whom it would
trust. Each check returns what is wrong, or None. Talks to nobody.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from vending.entra.clouds import CLOUDS
from vending.settings import is_loopback

if TYPE_CHECKING:
    from vending.entra.clouds import Cloud
    from vending.policy.engine.policy import Environment

_REGISTRY: Final = r"[a-z0-9]+(-[a-z0-9]+)*"
# One label: the registry's name, and the hash of a registry with a domain name label scope:
# https://learn.microsoft.com/azure/container-registry/container-registry-get-started-azure-cli
_PORT: Final = r"(:[1-9][0-9]{0,4})?"
_MAX_PORT: Final = 65535

_SHARED_AUDIENCE = re.compile(
    r"api://azureadtokenexchange.*|(https://)?sts\.amazonaws\.com/?|(https://)?sigstore/?|(https://)?pypi/?"
    r"|https://github\.com(/.*)?",
    re.IGNORECASE,
)


def is_shared_audience(audience: str) -> bool:
    """Return whether other services accept this audience too, so that a token meant for them would be good here."""
    return _SHARED_AUDIENCE.fullmatch(audience) is not None


def bare_host(host: str) -> str:
    """Strip the port, and the brackets of an IPv6 address."""
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


def _bad_port(host: str) -> bool:
    port = host.rpartition("]")[2] if host.startswith("[") else host
    number = port.rpartition(":")[2] if ":" in port else ""
    return bool(number) and int(number) > _MAX_PORT


def _is_allowed_loopback(host: str, environment: Environment) -> bool:
    return environment.allow_loopback and is_loopback(bare_host(host))


def check_registry_host(host: str, cloud: Cloud, environment: Environment, *, further: bool) -> str | None:
    """Judge a login server, or with `further` one of the `hosts`, for a cloud."""
    if _bad_port(host):
        return f"the port of {host} is above {_MAX_PORT}"
    if _is_allowed_loopback(host, environment):
        return None
    if not cloud.suffix:
        return check_custom_host(host, environment)
    suffix = re.escape(cloud.suffix)
    if re.fullmatch(_REGISTRY + suffix + _PORT, host):
        return None
    if re.fullmatch(rf"{_REGISTRY}\.[a-z0-9]+\.geo{suffix}{_PORT}", host):
        return None if further else f"{host} is a regional endpoint; write it under hosts"
    return _not_of_cloud(host, cloud)


def _not_of_cloud(host: str, cloud: Cloud) -> str:
    bare = bare_host(host)
    other = next((name for name, known in CLOUDS.items() if known.suffix and bare.endswith(known.suffix)), None)
    if other is not None and other != cloud.name:
        return f"{host} is a registry of the cloud {other}; write cloud: {other}"
    if "." not in bare:
        return f"{host} is not a login server; write {bare}{cloud.suffix}"
    return (
        f"{host} is not a registry of the cloud {cloud.name}; write <name>{cloud.suffix}: a custom domain cannot be "
        "told from anybody's host, and would be sent an Entra token"
    )


def check_token_audience(audience: str) -> str | None:
    """Judge the audience of the Entra token for a registry: one for all registries of a cloud, never one registry."""
    if audience.rstrip("/").endswith("/.default"):
        return f"{audience} is a scope, which is made from the audience; write {audience.rpartition('/.default')[0]}"
    host = bare_host(audience.partition("://")[2].partition("/")[0])
    if any(cloud.suffix and host.endswith(cloud.suffix) for cloud in CLOUDS.values()):
        return (
            f"{audience} is a registry, and Entra has no tokens for a single one; leave token_audience out, which is "
            "right for ACR in every cloud"
        )
    return None


def is_regional(host: str) -> bool:
    """Return whether a host is a regional endpoint of a registry in any cloud."""
    return any(bare_host(host).endswith(f".geo{cloud.suffix}") for cloud in CLOUDS.values())


def check_custom_host(host: str, environment: Environment) -> str | None:
    """Judge a host of a custom cloud: it must be listed in the app's settings."""
    if _bad_port(host):
        return f"the port of {host} is above {_MAX_PORT}"
    if host in environment.custom_hosts or _is_allowed_loopback(host, environment):
        return None
    return f"{host} is not allowed; list it in the app setting VENDING_CUSTOM_HOSTS"


def check_url(url: str, environment: Environment) -> str | None:
    """Judge an issuer or audience URL: https, or http to this machine where loopback is allowed."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return f"{url} is not a valid URL"
    if not host or port == 0:
        return f"{url} names no host"
    if parts.scheme == "http" and not (environment.allow_loopback and is_loopback(host)):
        return _plain_http(url)
    return None


def _plain_http(url: str) -> str:
    return f"{url} is plain http; write https"


def check_issuer_url(url: str, environment: Environment, *, has_static_keys: bool) -> str | None:
    """Judge an issuer's URL. With keys of its own in the policy nothing is fetched, and plain http is just a name."""
    problem = check_url(url, environment)
    if problem is None or problem != _plain_http(url):
        return problem
    if has_static_keys:
        return None
    return (
        f"{url} is plain http, over which anybody could publish keys; write https if its tokens have that in iss, and "
        "else put the issuer's keys beside it with jwks_file"
    )


def check_audience(audience: str, environment: Environment) -> str | None:
    """Judge the policy's own audience."""
    if is_shared_audience(audience):
        return f"{audience} is an audience that other services accept too; write a URL of this deployment's own"
    return check_url(audience, environment)
