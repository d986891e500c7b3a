"""Compare issuer URLs for people: by how little an unknown one misses a known one. No decision looks at this."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

_DISCOVERY: Final = "/.well-known/openid-configuration"


def difference(token: str, policy: str) -> str | None:
    """Say how the `iss` of a token differs from a policy's issuer, where that may be a slip; None where it is another.

    They are compared character by character (OpenID Connect Core 1.0 section 3.1.3.7), so the smallest slip refuses
    every token.
    """
    if token == policy:
        return None
    if token.rstrip("/") == policy.rstrip("/"):
        longer = "token's" if len(token) > len(policy) else "policy's"
        return f"the {longer} ends with a slash"
    if token.rstrip("/") == policy.removesuffix(_DISCOVERY).rstrip("/"):
        return f"the policy's goes on to {_DISCOVERY}, where the issuer's configuration is"
    if token.casefold() == policy.casefold():
        return "upper and lower case differ"
    try:
        ours, theirs = urlsplit(policy), urlsplit(token)
        ports = (ours.port, theirs.port)
    except ValueError:
        return None
    if ours.hostname != theirs.hostname or not ours.hostname:
        return None
    if ours.scheme != theirs.scheme:
        return f"the token's begins with {theirs.scheme}://, the policy's with {ours.scheme}://"
    if ports[0] != ports[1]:
        return "only one of them has a port" if None in ports else "their ports differ"
    return "their paths differ"


def near_miss(token: str, issuers: Iterable[str]) -> tuple[str, str] | None:
    """Return the policy's issuer that an unknown `iss` was probably meant for, and how the two differ."""
    found = ((policy, difference(token, policy)) for policy in issuers)
    near = [(policy, how) for policy, how in found if how is not None]
    return min(near, key=lambda each: each[1] == "their paths differ", default=None)
