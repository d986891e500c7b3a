"""An issuer that misses a known one by a slip is told from one that is simply another."""

from __future__ import annotations

import pytest

from vending.oidc.issuer_url import difference, near_miss

OURS = "https://idp.example/realm"


@pytest.mark.parametrize(
    ("token", "policy", "how"),
    [
        (OURS, OURS, None),
        (f"{OURS}/", OURS, "the token's ends with a slash"),
        (OURS, f"{OURS}/", "the policy's ends with a slash"),
        (OURS, f"{OURS}/.well-known/openid-configuration", "the policy's goes on to"),
        ("https://IdP.example/realm", OURS, "upper and lower case differ"),
        ("http://idp.example/realm", OURS, "the token's begins with http://, the policy's with https://"),
        ("https://idp.example:443/realm", OURS, "only one of them has a port"),
        ("https://idp.example:8443/realm", "https://idp.example:443/realm", "their ports differ"),
        ("https://idp.example/other", OURS, "their paths differ"),
        ("https://idp.example.evil.example/realm", OURS, None),
        ("https://other.example/realm", OURS, None),
        ("https://idp.example:x/realm", OURS, None),
        ("idp", OURS, None),
        ("", OURS, None),
    ],
)
def test_difference(token: str, policy: str, how: str | None) -> None:
    said = difference(token, policy)
    assert said is None if how is None else said is not None and said.startswith(how)


def test_the_nearest_of_several_is_named() -> None:
    known = ["https://idp.example/other", "https://idp.example/realm", "https://far.example"]
    assert near_miss(f"{OURS}/", known) == (OURS, "the token's ends with a slash")
    assert near_miss("https://nobody.example", known) is None
