"""Who a caller is to the rate limiter: tokens of two tenants never share a bucket, whatever claims they lack."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from tests.policy.language import make_policy
from vending.judge import caller_of
from vending.oidc.types import Claims, VerifiedClaims
from vending.policy import PRESETS, PolicyIssuer
from vending.policy.providers.preset import Preset

SAMPLES = [(preset, key) for preset in PRESETS.values() for key in sorted(preset.samples)]


def issuer_of(preset: Preset) -> PolicyIssuer:
    known = next(iter(make_policy().issuers.values()))
    return PolicyIssuer(preset.name, known.verification, preset)


def caller(preset: Preset, claims: Claims) -> tuple[str, ...]:
    return caller_of(issuer_of(preset), VerifiedClaims(preset.name, claims))


def top_level(preset: Preset) -> set[str]:
    names = {name for names in preset.callers for name in names} | {*preset.identity, "sub"}
    return {name for name in names if not name.startswith("/")}


@pytest.mark.parametrize(("preset", "key"), SAMPLES, ids=[f"{preset.name}-{key}" for preset, key in SAMPLES])
def test_two_tenants_share_no_bucket_whatever_claims_their_tokens_lack(preset: Preset, key: str) -> None:
    ours: dict[str, Any] = dict(preset.samples[key].claims)
    names = sorted(top_level(preset) & set(ours))
    assert names, "a sample names its caller"
    theirs = ours | {name: f"other-{ours[name]}" for name in names}
    for count in range(len(names)):
        for lacking in combinations(names, count):
            mine = {name: value for name, value in ours.items() if name not in lacking}
            other = {name: value for name, value in theirs.items() if name not in lacking}
            assert caller(preset, mine) != caller(preset, other)


@pytest.mark.parametrize("empty", [None, ""])
def test_caller_claim_without_a_value_names_nobody(empty: str | None) -> None:
    preset = PRESETS["buildkite"]
    tenants = [
        {"pipeline_id": empty, "organization_slug": slug, "pipeline_slug": "web", "sub": f"organization:{slug}"}
        for slug in ("acme", "contoso")
    ]
    first, second = (caller(preset, claims) for claims in tenants)
    assert first != second
    assert not any(part.endswith("=None") for part in first)


def test_claims_that_are_there_name_the_caller_alone() -> None:
    """A job must not get a bucket of its own by what it chooses: its ref, its environment."""
    claims: Claims = {"repository_id": "1", "repository_owner_id": "2", "ref": "a", "sub": "repo:x:ref:a"}
    again: Claims = {**claims, "ref": "b", "sub": "repo:x:ref:b"}
    assert caller(PRESETS["github"], claims) == caller(PRESETS["github"], again)


def test_value_that_looks_like_two_is_still_one() -> None:
    preset = PRESETS["azure-devops"]
    assert caller(preset, {"prj_id": "a", "def_id": "b"}) != caller(preset, {"prj_id": "a=b", "def_id": ""})
