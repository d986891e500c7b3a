"""Loading: what files become, where problems are, and what never loads."""

from __future__ import annotations

from tests.policy.language import make_policy
from vending.policy import ManagedIdentity


def test_default_identity_exists_without_being_written() -> None:
    assert make_policy().identities == {"default": ManagedIdentity()}
