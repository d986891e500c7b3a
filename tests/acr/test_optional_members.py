"""A name is no value: what is null in a registry's answers is absent, and never something else."""

from __future__ import annotations

from typing import Any

import pytest

from vending.acr.access import allowed
from vending.acr.exchange import _service_of
from vending.errors import Reason, Refusal

PULL = frozenset({("repository", "web/api", "pull")})


@pytest.mark.parametrize(
    "access",
    [
        [{"type": "repository", "name": "web/api", "actions": ["pull"], "class": None}],
        [{"type": "repository", "name": "web/api", "actions": ["pull"], "Name": None}],
        [{"Type": None, "type": "repository", "name": "web/api", "actions": ["pull"]}],
        [{"type": "repository", "name": "web/api", "actions": ["pull"]}, {"type": "x", "name": "y", "actions": None}],
    ],
)
def test_a_null_member_of_an_entry_is_absent(access: Any) -> None:
    assert allowed(access) == PULL


@pytest.mark.parametrize("member", ["type", "name"])
def test_a_required_member_that_is_null_makes_the_entry_unreadable(member: str) -> None:
    with pytest.raises(Refusal) as refused:
        allowed([{"type": "repository", "name": "web/api", "actions": ["pull"], member: None}])
    assert refused.value.reason is Reason.REGISTRY_RESPONSE_INVALID


@pytest.mark.parametrize(
    ("challenge", "service"),
    [
        ('Bearer realm="https://contoso.azurecr.io/oauth2/token",service="contoso.azurecr.io"', "contoso.azurecr.io"),
        ('Bearer service=contoso.azurecr.io, realm="https://x"', "contoso.azurecr.io"),
        ('Bearer realm="https://x/?service=evil.example",service="contoso.azurecr.io"', "contoso.azurecr.io"),
        ('Bearer realm="a, service=evil.example",service="contoso.azurecr.io"', "contoso.azurecr.io"),
        ('Bearer realm="https://x/?service=evil.example"', None),
        ('Bearer realm="https://x",service=""', None),
        ('Bearer realm="https://x",service', None),
        ('Bearer realm="https://x",aservice="evil.example"', None),
        ("Bearer", None),
        ("", None),
        (f'Bearer service="{"x" * 10_000}"', None),
    ],
)
def test_the_service_of_a_challenge_is_its_parameter_and_nothing_else(challenge: str, service: str | None) -> None:
    assert _service_of(challenge) == service
